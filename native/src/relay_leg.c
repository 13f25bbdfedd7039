/*
 * One leg between two bursts: what the commands of relay.c do, and what happens when time passes.
 *
 * Receive keys (RFC 4568, 7.1.4; SDES-17). `receive` holds the newest context, `former` the one before:
 *
 *   install           former = receive, receive = new; former goes at the latest after grace_max_ms
 *   first authentic   former goes after grace_ms
 *   install again     the old former goes at once
 */
#include <string.h>

#include "core.h"
#include "relay.h"
#include "srtp.h"

static const int NET[2] = {NET_RTP, NET_RTCP}, LOOP[2] = {LOOP_RTP, LOOP_RTCP};

/* --------------------------------------------------------------------------------------------- open and close -- */

static void reset(relay_leg *leg) {
  relay_ssrcs heard = leg->heard, spoken = leg->spoken, held = leg->held;
  memset(leg, 0, sizeof *leg);
  heard.n = heard.next = spoken.n = spoken.next = held.n = held.next = 0;
  leg->heard = heard;
  leg->spoken = spoken;
  leg->held = held;
  for (int s = 0; s < RELAY_SOCKETS; s++)
    leg->fd[s] = -1;
}

static ums_status check_sockets(const int fd[RELAY_SOCKETS], uint8_t family[RELAY_SOCKETS]) {
  for (int s = 0; s < RELAY_SOCKETS; s++) {
    int may_be_muxed = s == NET_RTCP || s == LOOP_RTCP;
    if (fd[s] == -1 && may_be_muxed)
      continue;
    if (fd[s] < 0 || relay_socket_check(fd[s], &family[s]) != 0)
      return UMS_BAD_ARGUMENT;
    for (int other = 0; other < s; other++)
      if (fd[other] == fd[s])
        return UMS_BAD_ARGUMENT;
  }
  return UMS_OK;
}

ums_status relay_leg_open(ums_relay *r, relay_leg *leg, void *args) {
  const ums_leg_config *cfg = args;
  int fd[RELAY_SOCKETS] = {cfg->net_rtp, cfg->net_rtcp, cfg->loop_rtp, cfg->loop_rtcp};
  reset(leg);
  ums_status status = check_sockets(fd, leg->family);
  if (status != UMS_OK)
    return status;
  memcpy(leg->fd, fd, sizeof fd);
  for (int s = 0; s < RELAY_SOCKETS; s++) {
    if (fd[s] < 0 || relay_socket_add(r, leg, s) == 0)
      continue;
    while (--s >= 0)
      if (fd[s] >= 0)
        relay_socket_remove(r, fd[s]);
    return UMS_BAD_ARGUMENT; /* already in use by another leg, or not pollable */
  }
  leg->never_plain = cfg->never_plain != 0;
  leg->learn_peer = cfg->learn_peer != 0;
  leg->idle_ms = (uint64_t)cfg->idle_seconds * 1000;
  leg->accepted_at = r->now;
  leg->id = ++r->last_id;
  return UMS_OK;
}

/* What a context has counted must outlive it, so that no counter ever goes back. */
static void add_stats(ums_srtp_stats *to, const ums_srtp_stats *from) {
  to->packets += from->packets;
  to->octets += from->octets;
  to->rtcp_packets += from->rtcp_packets;
  to->auth_fail += from->auth_fail;
  to->replay += from->replay;
  to->too_old += from->too_old;
  to->wrong_mki += from->wrong_mki;
  to->bad_packet += from->bad_packet;
  to->ssrc_full += from->ssrc_full;
  to->expired += from->expired;
  to->held += from->held;
  to->engine += from->engine;
}

static void drop_keys(ums_relay *r, relay_leg *leg, int direction, relay_keys *keys) {
  ums_srtp_stats last;
  if (keys->ctx == NULL)
    return;
  if (r->link != NULL)
    relay_offload_forget(r, keys);
  ums_srtp_stats_get(keys->ctx, &last);
  add_stats(&leg->gone[direction], &last);
  relay_pool_release(r, direction, keys->ctx);
  *keys = (relay_keys){0};
}

static void drop_former(ums_relay *r, relay_leg *leg, relay_part *part) {
  if (part->former.ctx == NULL)
    return;
  drop_keys(r, leg, UMS_RECEIVE, &part->former);
  relay_emit(r, leg, UMS_EVENT_OLD_KEY_GONE, 0, 0);
}

static void drop_part(ums_relay *r, relay_leg *leg, relay_part *part) {
  drop_keys(r, leg, UMS_SEND, &part->send);
  drop_keys(r, leg, UMS_RECEIVE, &part->receive);
  drop_keys(r, leg, UMS_RECEIVE, &part->former);
}

ums_status relay_leg_close(ums_relay *r, relay_leg *leg, void *args) {
  (void)args;
  for (int s = 0; s < RELAY_SOCKETS; s++) {
    if (leg->fd[s] < 0)
      continue;
    relay_socket_remove(r, leg->fd[s]);
    relay_socket_close(leg->fd[s]);
  }
  for (int i = 0; i < 2; i++)
    drop_part(r, leg, &leg->part[i]);
  relay_early_forget(r, leg);
  relay_emit(r, leg, UMS_EVENT_LEG_CLOSED, 0, 0);
  reset(leg);
  return UMS_OK;
}

/* ----------------------------------------------------------------------------------------- addresses and mode -- */

/* Both addresses or none: a socket for it must exist, in a family that can reach it. */
static ums_status read_remotes(const relay_leg *leg, const int sockets[2], const relay_remote_args *args,
                               relay_address out[2]) {
  const ums_address *given[2] = {args->rtp, args->rtcp};
  for (int i = 0; i < 2; i++) {
    out[i].len = 0;
    if (given[i] == NULL || given[i]->family == 0)
      continue;
    if (leg->fd[sockets[i]] < 0)
      return UMS_BAD_ARGUMENT;
    if (!relay_address_from(&out[i], given[i], leg->family[sockets[i]]))
      return UMS_BAD_ARGUMENT;
  }
  return UMS_OK;
}

ums_status relay_leg_set_dialer(ums_relay *r, relay_leg *leg, void *args) {
  (void)r;
  relay_address to[2];
  ums_status status = read_remotes(leg, LOOP, args, to);
  for (int i = 0; i < 2 && status == UMS_OK; i++) {
    if (to[i].len == 0)
      continue;
    if (relay_socket_connect(leg->fd[LOOP[i]], &to[i]) != 0)
      return UMS_SYSTEM;
    leg->remote[LOOP[i]] = to[i];
  }
  return status;
}

ums_status relay_leg_set_peer(ums_relay *r, relay_leg *leg, void *args) {
  (void)r;
  relay_address to[2];
  ums_status status = read_remotes(leg, NET, args, to);
  for (int i = 0; i < 2 && status == UMS_OK; i++)
    if (to[i].len != 0)
      leg->remote[NET[i]] = to[i];
  return status;
}

ums_status relay_leg_set_mode(ums_relay *r, relay_leg *leg, void *args) {
  ums_leg_mode mode = *(const ums_leg_mode *)args;
  if (mode != UMS_LEG_CLOSED && mode != UMS_LEG_SECURE && mode != UMS_LEG_PLAIN)
    return UMS_BAD_ARGUMENT;
  if (mode == UMS_LEG_PLAIN && leg->never_plain)
    return UMS_BAD_ARGUMENT;
  if (leg->mode == UMS_LEG_CLOSED && mode != UMS_LEG_CLOSED) { /* silence counts from here */
    leg->silent_since = r->now;
    leg->told_idle = 0;
    if (leg->idle_ms != 0)
      relay_due(r, r->now + leg->idle_ms);
  }
  if (mode != UMS_LEG_SECURE)
    relay_early_forget(r, leg);
  leg->mode = (uint8_t)mode;
  return UMS_OK;
}

ums_status relay_leg_set_ice(ums_relay *r, relay_leg *leg, void *args) {
  (void)r;
  leg->ice = *(const int *)args != 0;
  return UMS_OK;
}

ums_status relay_leg_send(ums_relay *r, relay_leg *leg, void *args) {
  (void)r;
  const relay_send_args *send = args;
  /* Only handshakes and checks leave this way: nobody can send media past SRTP by mistake. */
  ums_class class = ums_demux(send->data, send->len, UMS_CARRIES_BOTH);
  if (class != UMS_CLASS_DTLS && !(class == UMS_CLASS_STUN && leg->ice))
    return UMS_BAD_ARGUMENT;
  int socket = send->rtcp ? NET_RTCP : NET_RTP;
  if (leg->fd[socket] < 0)
    return UMS_BAD_ARGUMENT;
  relay_address to = leg->remote[socket];
  if (send->to != NULL && !relay_address_from(&to, send->to, leg->family[socket]))
    return UMS_BAD_ARGUMENT;
  if (to.len == 0)
    return UMS_BAD_ARGUMENT;
  if (relay_socket_send(leg->fd[socket], &to, send->data, send->len) == 0)
    return UMS_OK;
  leg->totals.send_errors++;
  return UMS_SYSTEM;
}

/* ----------------------------------------------------------------------------------------------------- keys -- */

/* RTCP gets keys of its own, or goes back to those of RTP. */
static void split(ums_relay *r, relay_leg *leg, int wanted) {
  if (leg->split && !wanted)
    drop_part(r, leg, &leg->part[1]);
  leg->split = (uint8_t)wanted;
}

ums_status relay_leg_install(ums_relay *r, relay_leg *leg, void *args) {
  const relay_install_args *keys = args;
  split(r, leg, keys->part != UMS_PART_BOTH);
  relay_part *part = relay_part_of(leg, keys->part == UMS_PART_RTCP);
  if (keys->send.ctx != NULL) {
    drop_keys(r, leg, UMS_SEND, &part->send);
    part->send = keys->send;
    leg->held.n = leg->held.next = 0;
  }
  if (keys->receive.ctx != NULL) {
    drop_former(r, leg, part);
    part->former = part->receive;
    part->receive = keys->receive;
    part->grace_ms = keys->grace_ms;
    part->former_until = r->now + keys->grace_max_ms;
    if (part->former.ctx != NULL)
      relay_due(r, part->former_until);
  }
  leg->has_keys = 1;
  leg->installed_at = r->now;
  if (r->link != NULL && keys->send.ctx != NULL)
    relay_offload_install(r, leg, &part->send, UMS_SEND);
  if (r->link != NULL && keys->receive.ctx != NULL)
    relay_offload_install(r, leg, &part->receive, UMS_RECEIVE);
  if (r->link != NULL && relay_offload_crowded(r, &part->receive))
    drop_former(r, leg, part); /* its slots are for the new keys */
  if (keys->receive.ctx != NULL)
    relay_early_release(r, leg);
  return UMS_OK;
}

ums_status relay_leg_set_engine(ums_relay *r, relay_leg *leg, void *args) {
  (void)r;
  enum { SETS = 6 };
  const ums_engine *wanted = args, *engines[SETS];
  relay_part *rtp = &leg->part[0], *rtcp = &leg->part[1];
  relay_keys *keys[SETS] = {&rtp->send, &rtp->receive, &rtp->former, &rtcp->send, &rtcp->receive, &rtcp->former};
  for (int i = 0; i < SETS; i++) {
    if (keys[i]->ctx == NULL || ums_srtp_engine(keys[i]->ctx) == &ums_engine_surrendered)
      continue;
    engines[i] = wanted != NULL ? wanted : ums_engine_choose(keys[i]->suite);
    const ums_suite_info *suite = ums_suite_find(keys[i]->suite);
    if (engines[i] == NULL || !engines[i]->probe() || !engines[i]->supports(suite->transform, suite->key_len))
      return UMS_UNSUPPORTED;
  }
  for (int i = 0; i < SETS; i++) {
    if (keys[i]->ctx == NULL || ums_srtp_engine(keys[i]->ctx) == &ums_engine_surrendered)
      continue;
    ums_status status = ums_srtp_set_engine(keys[i]->ctx, engines[i]);
    if (status != UMS_OK)
      return status;
  }
  leg->engine = wanted;
  return UMS_OK;
}

/* ---------------------------------------------------------------------------------------------------- timers -- */

void relay_due(ums_relay *r, uint64_t at) {
  if (at < r->next_due)
    r->next_due = at;
}

static void tick(ums_relay *r, relay_leg *leg) {
  for (int i = 0; i < 2; i++) {
    relay_part *part = &leg->part[i];
    if (part->former.ctx == NULL)
      continue;
    if (r->now >= part->former_until)
      drop_former(r, leg, part);
    else
      relay_due(r, part->former_until);
  }
  if (leg->burst_until != 0) {
    if (r->now < leg->burst_until) {
      relay_due(r, leg->burst_until);
    } else {
      if (leg->burst_count > r->cfg.auth_burst)
        relay_emit(r, leg, UMS_EVENT_AUTH_BURST, leg->burst_count, 0);
      leg->burst_until = 0;
    }
  }
  if (leg->idle_ms != 0 && leg->mode != UMS_LEG_CLOSED && !leg->told_idle) {
    if (r->now >= leg->silent_since + leg->idle_ms) {
      leg->told_idle = 1;
      relay_emit(r, leg, UMS_EVENT_IDLE, 0, 0);
    } else {
      relay_due(r, leg->silent_since + leg->idle_ms);
    }
  }
}

void relay_legs_tick(ums_relay *r) {
  if (r->now < r->next_due)
    return;
  r->next_due = UINT64_MAX;
  for (uint32_t i = 0; i < r->cfg.max_legs; i++)
    if (r->legs[i].id != 0)
      tick(r, &r->legs[i]);
  relay_early_tick(r);
  relay_report_lost(r);
}

/* -------------------------------------------------------------------------------------------------- counters -- */

static void add_context(ums_srtp_stats *to, const relay_keys *keys) {
  ums_srtp_stats one;
  if (keys->ctx == NULL)
    return;
  ums_srtp_stats_get(keys->ctx, &one);
  add_stats(to, &one);
}

static void current_stats(const relay_leg *leg, int direction, ums_srtp_stats *out) {
  const relay_keys *newest = direction == UMS_SEND ? &leg->part[0].send : &leg->part[0].receive;
  ums_srtp_stats one;
  *out = leg->gone[direction];
  if (newest->ctx != NULL) {
    ums_srtp_stats_get(newest->ctx, &one);
    add_stats(out, &one);
    out->key_packets = one.key_packets;
    out->n_streams = one.n_streams;
    out->soft = one.soft;
    out->hard = one.hard;
  }
  add_context(out, direction == UMS_SEND ? &leg->part[1].send : &leg->part[1].receive);
  for (int i = 0; i < 2 && direction == UMS_RECEIVE; i++)
    add_context(out, &leg->part[i].former);
}

static const char *engine_name(const ums_relay *r, const relay_keys *keys) {
  if (keys->ctx == NULL)
    return NULL;
  return r->link != NULL && relay_offload_serves(r, keys) ? "serial" : ums_srtp_engine(keys->ctx)->name;
}

ums_status relay_leg_stats_get(ums_relay *r, relay_leg *leg, void *args) {
  ums_leg_stats *out = args;
  *out = leg->totals;
  out->leg = leg->id;
  out->mode = leg->mode;
  out->send_engine = engine_name(r, &leg->part[0].send);
  out->receive_engine = engine_name(r, &leg->part[0].receive);
  current_stats(leg, UMS_SEND, &out->send);
  current_stats(leg, UMS_RECEIVE, &out->receive);
  out->key_age_ms = leg->has_keys ? r->now - leg->installed_at : 0;
  out->idle_ms = r->now - leg->accepted_at;
  return UMS_OK;
}

ums_status relay_leg_streams_get(ums_relay *r, relay_leg *leg, void *args) {
  (void)r;
  relay_streams_args *streams = args;
  if (streams->direction != UMS_SEND && streams->direction != UMS_RECEIVE)
    return UMS_BAD_ARGUMENT;
  const ums_srtp *ctx = streams->direction == UMS_SEND ? leg->part[0].send.ctx : leg->part[0].receive.ctx;
  streams->n = ctx == NULL ? 0 : ums_srtp_streams(ctx, streams->out, streams->max);
  return UMS_OK;
}
