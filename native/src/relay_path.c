/*
 * One burst of datagrams through the relay. Nothing here waits, allocates or knows about system calls.
 *
 *   class and direction (RFC 7983, RFC 5761) -> protect | unprotect, again with the former keys | as it is -> verdicts
 *
 * A datagram from the network moves state (destination, idle clock, SSRC list) only after it authenticated.
 */
#include <string.h>

#include "relay.h"
#include "srtp.h"

static int from_network(const relay_item *item) { return item->in == NET_RTP || item->in == NET_RTCP; }

/* ums_demux has seen the whole fixed header. Neither direction of SRTP moves the SSRC. */
static uint32_t ssrc_of(const relay_item *item) { return ums_load32(item->data + (item->rtcp ? 4 : 8)); }

/* --------------------------------------------------------------------------------------------------- routing -- */

static void take_control(ums_relay *r, relay_item *item, int kind) {
  relay_leg *leg = item->leg;
  if (r->now >= leg->control_until) {
    leg->control_until = r->now + RELAY_LIMIT_MS;
    memset(leg->control_count, 0, sizeof leg->control_count);
  }
  ums_control *slot = leg->control_count[kind] < r->cfg.control_per_second ? ums_spsc_reserve(&r->controls) : NULL;
  if (slot == NULL) {
    leg->totals.control_dropped++;
    return;
  }
  leg->control_count[kind]++;
  leg->totals.control_passed++;
  slot->leg = leg->id;
  slot->len = item->len;
  slot->rtcp = item->in == NET_RTCP;
  relay_address_to(&slot->from, &item->from);
  memcpy(slot->data, item->data, item->len);
  ums_spsc_commit(&r->controls);
  r->announce = 1;
}

/* Fills `out` and `rtcp`; 0 when the datagram ends here. */
static int classify(ums_relay *r, relay_item *item) {
  relay_leg *leg = item->leg;
  int network = from_network(item);
  ums_carries carries = item->in == NET_RTCP || item->in == LOOP_RTCP  ? UMS_CARRIES_RTCP
                        : leg->fd[network ? NET_RTCP : LOOP_RTCP] >= 0 ? UMS_CARRIES_RTP
                                                                       : UMS_CARRIES_BOTH;
  ums_class class = ums_demux(item->data, item->len, carries);
  if (network && (class == UMS_CLASS_DTLS || (class == UMS_CLASS_STUN && leg->ice))) {
    /* The peer's handshake, and the checks that keep its path open, go on while somebody else floods. */
    int peer = relay_address_equal(&item->from, &leg->remote[item->in]);
    take_control(r, item,
                 class == UMS_CLASS_DTLS ? (peer ? KIND_DTLS_PEER : KIND_DTLS) : (peer ? KIND_STUN_PEER : KIND_STUN));
    return 0;
  }
  if (class != UMS_CLASS_RTP && class != UMS_CLASS_RTCP) {
    leg->totals.dropped_class++;
    return 0;
  }
  item->rtcp = class == UMS_CLASS_RTCP;
  int rtp_out = network ? LOOP_RTP : NET_RTP, rtcp_out = network ? LOOP_RTCP : NET_RTCP;
  item->out = (uint8_t)(item->rtcp && leg->fd[rtcp_out] >= 0 ? rtcp_out : rtp_out);
  return 1;
}

static void add(relay_batch *batch, relay_item *item, ums_srtp *ctx) {
  batch->ctx[batch->n] = ctx;
  batch->item[batch->n] = item;
  batch->packet[batch->n++] =
      (ums_packet){.data = item->data, .len = item->len, .capacity = UMS_MAX_PACKET, .rtcp = item->rtcp};
}

static void note_accepted(ums_relay *r, relay_leg *leg) {
  leg->accepted_at = leg->silent_since = r->now;
  if (!leg->told_idle)
    return;
  leg->told_idle = 0;
  relay_due(r, r->now + leg->idle_ms);
}

static void route(ums_relay *r, relay_item *item) {
  relay_leg *leg = item->leg;
  int network = from_network(item);
  if (!network) {
    /* The kernel refuses other senders once the socket is connected; what it had queued before stays out here. */
    if (!relay_address_equal(&item->from, &leg->remote[item->in])) {
      leg->totals.dropped_closed++;
      return;
    }
    leg->totals.from_dialer++;
  }
  if (!classify(r, item))
    return;
  int nowhere = leg->remote[item->out].len == 0;
  if (leg->mode == UMS_LEG_SECURE && !nowhere) {
    const relay_part *part = relay_part_of(leg, item->rtcp);
    ums_srtp *ctx = network ? part->receive.ctx : part->send.ctx;
    if (ctx != NULL && r->link != NULL && relay_offload_take(r, item, network ? UMS_RECEIVE : UMS_SEND))
      return;
    if (ctx != NULL) {
      add(network ? &r->unprotect : &r->protect, item, ctx);
      return;
    }
    if (network && relay_early_keep(r, item))
      return;
  }
  /* Nothing authenticates a plain packet, so it has to come from where signalling said. */
  if (leg->mode == UMS_LEG_PLAIN && !nowhere &&
      (!network || relay_address_equal(&item->from, &leg->remote[item->in]))) {
    if (network)
      note_accepted(r, leg);
    item->go = 1;
    return;
  }
  leg->totals.dropped_closed++;
}

/* -------------------------------------------------------------------------------------------------- verdicts -- */

/* A late packet under the former keys may look forged, repeated or too old to the newest ones. */
static int may_be_former(const relay_part *part, uint8_t status) {
  return part->former.ctx != NULL &&
         (status == UMS_AUTH_FAIL || status == UMS_WRONG_MKI || status == UMS_REPLAY || status == UMS_TOO_OLD);
}

static int knows(const relay_part *part, uint32_t ssrc) {
  return (part->receive.ctx != NULL && ums_srtp_knows(part->receive.ctx, ssrc)) ||
         (part->former.ctx != NULL && ums_srtp_knows(part->former.ctx, ssrc));
}

static void note_failure(ums_relay *r, relay_item *item, int direction, uint8_t status) {
  relay_leg *leg = item->leg;
  relay_part *part = relay_part_of(leg, item->rtcp);
  relay_keys *keys = direction == UMS_SEND ? &part->send : &part->receive;
  switch (status) {
  case UMS_AUTH_FAIL:
  case UMS_WRONG_MKI:
    if (!knows(part, ssrc_of(item)))
      leg->totals.unknown_ssrc++;
    if (leg->burst_until == 0) {
      leg->burst_until = r->now + RELAY_LIMIT_MS;
      leg->burst_count = 0;
      relay_due(r, leg->burst_until);
    }
    leg->burst_count++;
    break;
  case UMS_SSRC_FULL:
    relay_emit_limited(r, leg, UMS_EVENT_SSRC_FULL, ssrc_of(item), 0);
    break;
  case UMS_KEY_EXPIRED:
    if (!keys->told_expired)
      relay_emit(r, leg, UMS_EVENT_KEY_EXPIRED, (uint32_t)direction, 0);
    keys->told_expired = 1;
    break;
  case UMS_HELD:
    if (relay_ssrcs_add(&leg->held, ssrc_of(item)))
      relay_emit(r, leg, UMS_EVENT_RESTART, ssrc_of(item), 0);
    break;
  case UMS_ENGINE:
    relay_emit_limited(r, leg, UMS_EVENT_ENGINE, (uint32_t)direction, 0);
    break;
  default:
    break;
  }
}

static void note_sent(ums_relay *r, relay_item *item) {
  relay_leg *leg = item->leg;
  if (!relay_ssrcs_add(&leg->spoken, ssrc_of(item)) || item->rtcp)
    return;
  uint32_t first = ums_load16(item->data + 2);
  /* RFC 3711, 3.3.1 and RFC 4568, 6.4: a first number near the wrap may leave the two ends with different ROCs. */
  if (first >= 1u << 15)
    relay_emit(r, leg, UMS_EVENT_LATE_START, ssrc_of(item), first);
}

static void note_received(ums_relay *r, relay_item *item, int newest) {
  relay_leg *leg = item->leg;
  note_accepted(r, leg);
  if (relay_ssrcs_add(&leg->heard, ssrc_of(item)))
    relay_emit(r, leg, UMS_EVENT_FIRST_PACKET, ssrc_of(item), 0);
  if (!newest)
    return; /* a late packet under the former keys may come from the former place */
  relay_part *part = relay_part_of(leg, item->rtcp);
  if (!part->receive.seen) {
    part->receive.seen = 1;
    relay_emit(r, leg, UMS_EVENT_NEW_KEY_SEEN, 0, 0);
    if (part->former.ctx != NULL && r->now + part->grace_ms < part->former_until) {
      part->former_until = r->now + part->grace_ms;
      relay_due(r, part->former_until);
    }
  }
  if (leg->learn_peer && !leg->ice && !relay_address_equal(&item->from, &leg->remote[item->in])) {
    leg->remote[item->in] = item->from;
    relay_emit_limited(r, leg, UMS_EVENT_PEER_MOVED, 0, 0);
  }
}

static void note(ums_relay *r, relay_item *item, const ums_packet *packet, int direction, int newest) {
  item->leg->touched = 1;
  if (packet->status != UMS_OK) {
    note_failure(r, item, direction, packet->status);
    return;
  }
  item->len = packet->len;
  item->go = 1;
  if (direction == UMS_SEND)
    note_sent(r, item);
  else
    note_received(r, item, newest);
}

static void run_protect(ums_relay *r) {
  relay_batch *batch = &r->protect;
  if (batch->n == 0)
    return;
  ums_srtp_protect(batch->ctx, batch->packet, batch->n);
  for (size_t i = 0; i < batch->n; i++)
    note(r, batch->item[i], &batch->packet[i], UMS_SEND, 1);
}

static void run_unprotect(ums_relay *r) {
  relay_batch *batch = &r->unprotect, *retry = &r->retry;
  uint8_t first[RELAY_BURST];
  if (batch->n == 0)
    return;
  ums_srtp_unprotect(batch->ctx, batch->packet, batch->n);
  for (size_t i = 0; i < batch->n; i++) {
    relay_item *item = batch->item[i];
    const relay_part *part = relay_part_of(item->leg, item->rtcp);
    if (may_be_former(part, batch->packet[i].status)) {
      first[retry->n] = batch->packet[i].status;
      add(retry, item, part->former.ctx);
    } else {
      note(r, item, &batch->packet[i], UMS_RECEIVE, 1);
    }
  }
  if (retry->n == 0)
    return;
  ums_srtp_unprotect(retry->ctx, retry->packet, retry->n);
  for (size_t i = 0; i < retry->n; i++) {
    int opened = retry->packet[i].status == UMS_OK;
    const relay_part *part = relay_part_of(retry->item[i]->leg, retry->item[i]->rtcp);
    /* One packet, one count: success under either keys is none, else the newest keys' verdict stands. */
    if (opened) {
      ums_srtp_forgive(part->receive.ctx, ssrc_of(retry->item[i]), first[i]);
    } else {
      ums_srtp_forgive(part->former.ctx, ssrc_of(retry->item[i]), retry->packet[i].status);
      retry->packet[i].status = first[i];
    }
    note(r, retry->item[i], &retry->packet[i], UMS_RECEIVE, 0);
  }
}

/* ----------------------------------------------------------------------------------------------------- burst -- */

static void watch_lifetime(ums_relay *r, relay_leg *leg, relay_keys *keys, int direction) {
  if (keys->ctx == NULL || keys->told_soft || !(ums_srtp_notes(keys->ctx) & UMS_NOTE_SOFT))
    return;
  keys->told_soft = 1;
  relay_emit(r, leg, UMS_EVENT_SOFT_LIMIT, (uint32_t)direction, 0);
}

void relay_path_result(ums_relay *r, relay_item *item, ums_packet *packet, int direction) {
  relay_leg *leg = item->leg;
  relay_part *part = relay_part_of(leg, item->rtcp);
  int newest = 1;
  if (direction == UMS_RECEIVE && may_be_former(part, packet->status)) {
    ums_packet again = {.data = item->data, .len = item->len, .capacity = UMS_MAX_PACKET, .rtcp = item->rtcp};
    newest = 0;
    if (ums_srtp_unprotect(&part->former.ctx, &again, 1) == 1) {
      ums_srtp_forgive(part->receive.ctx, ssrc_of(item), packet->status);
      *packet = again;
    } else {
      ums_srtp_forgive(part->former.ctx, ssrc_of(item), again.status);
    }
  }
  note(r, item, packet, direction, newest);
  leg->touched = 0;
  watch_lifetime(r, leg, &part->send, UMS_SEND);
  watch_lifetime(r, leg, &part->receive, UMS_RECEIVE);
}

void relay_path_run(ums_relay *r) {
  r->protect.n = r->unprotect.n = r->retry.n = 0;
  for (size_t i = 0; i < r->n_items; i++)
    route(r, &r->items[i]);
  run_protect(r);
  run_unprotect(r);
  for (size_t i = 0; i < r->n_items; i++) {
    relay_leg *leg = r->items[i].leg;
    if (!leg->touched)
      continue;
    leg->touched = 0;
    for (int k = 0; k < 2; k++) {
      watch_lifetime(r, leg, &leg->part[k].send, UMS_SEND);
      watch_lifetime(r, leg, &leg->part[k].receive, UMS_RECEIVE);
    }
  }
  relay_send_burst(r);
}
