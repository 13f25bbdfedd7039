/*
 * The relay and its accelerator: which keys are in slots, which packets go there, and what becomes of each.
 *
 * A packet is begun as always: its index is checked and spent. Then it leaves the burst, with a copy of everything that
 * finishing it takes. The device's result is put where a CPU engine would have put it; when there is none in time, the
 * context's CPU engine does the same job: same index, same octets. In device custody that engine is gone, and the
 * packet with it. All of this runs in the relay's thread.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "link.h"
#include "relay.h"
#include "srtp.h"

/* Octets of a job on the line beside its packet: op and what follows it, index, CRC, COBS and delimiter; a tag. */
#define OVERHEAD (UMSA_HEAD + UMSA_JOB_LEN + UMSA_CRC + 2 + 10)

enum { SLOT_NONE = 0, SLOT_LOADING = 1, SLOT_READY = 2 };

typedef struct flight { /* the owner's octets of an entry */
  ums_item item;
  ums_packet packet;
  relay_leg *leg;
  ums_srtp *ctx; /* NULL: it was wiped meanwhile */
  relay_address from;
  uint16_t octets; /* towards the device */
  uint8_t direction, in, out, kind;
} flight;

_Static_assert(sizeof(flight) <= LINK_OWNER, "a flight fits into an entry");

static flight *flight_of(link_entry *e) { return (flight *)(void *)e->owner; }

static link_entry *take_entry(ums_link *l) {
  for (uint32_t i = 0; i < LINK_ENTRIES; i++)
    if (!l->entry[i].busy) {
      l->entry[i].busy = 1;
      return &l->entry[i];
    }
  return NULL;
}

static void free_entry(ums_link *l, link_entry *e, size_t used) {
  (void)l;
  ums_wipe(e->plain, used < sizeof e->plain ? used : sizeof e->plain);
  e->busy = 0;
}

static uint32_t number_of(const ums_link *l, const link_entry *e) { return (uint32_t)(e - l->entry); }

/* -------------------------------------------------------------------------------------------------------- slots -- */

static int in_custody(const ums_link *l) { return l->cfg.custody == UMS_CUSTODY_DEVICE; }

static int surrendered(const relay_keys *keys) { return ums_srtp_engine(keys->ctx) == &ums_engine_surrendered; }

/* Keys of a leg that has others for RTCP serve one kind of packet; RTCP leaves the host in device custody only. */
static int needs_slot(const ums_link *l, const relay_leg *leg, const relay_keys *keys, int kind) {
  const relay_part *other = &leg->part[1];
  if (leg->split && kind != (keys == &other->send || keys == &other->receive || keys == &other->former))
    return 0;
  return kind == UMS_RTP || in_custody(l);
}

static void count_slots(ums_link *l) {
  uint64_t n = 0;
  for (uint32_t i = 0; i < UMSA_SLOTS; i++)
    n += l->slot_used[i];
  atomic_store_explicit(&l->used_slots, n, memory_order_relaxed);
}

static uint8_t take_slot(ums_link *l) {
  for (uint32_t i = 0; i < l->slots; i++)
    if (!l->slot_used[i]) {
      l->slot_used[i] = 1;
      count_slots(l);
      return (uint8_t)(i + 1);
    }
  return 0;
}

static void leave_slot(ums_link *l, relay_keys *keys, int kind) {
  if (keys->slot[kind] != 0) {
    l->slot_used[keys->slot[kind] - 1] = 0;
    l->slot_freed = 1;
  }
  keys->slot[kind] = keys->slot_state[kind] = keys->slot_bound[kind] = 0;
  count_slots(l);
}

static int holds_suite(const ums_suite_info *suite) {
  return suite->transform != UMS_NULL_CIPHER && (suite->key_len == 16 || suite->key_len == 32);
}

static void write_key(const ums_srtp *c, int direction, int kind, uint8_t out[UMSA_KEY_LEN]) {
  const ums_session_keys *s = &c->masters[0].session[kind];
  const ums_stream *recent = c->recent;
  const uint64_t most = ((uint64_t)1 << 48) - 1, used = ums_counter_get(&c->masters[0].used[kind]);
  const uint64_t limit = c->masters[0].limit[kind];
  memset(out, 0, UMSA_KEY_LEN);
  out[UMSA_KEY_SUITE_AT] = (uint8_t)c->suite->suite;
  out[UMSA_KEY_DIRECTION_AT] = direction == UMS_RECEIVE;
  out[UMSA_KEY_KIND_AT] = (uint8_t)kind;
  out[UMSA_KEY_FLAGS_AT] = recent == NULL ? UMSA_ANY_SSRC : 0;
  if (recent != NULL) { /* a stream that goes on on a device that has forgotten it */
    umsa_put(out + UMSA_KEY_SSRC_AT, recent->ssrc, 4);
    umsa_put(out + UMSA_KEY_INDEX_FLOOR_AT, direction == UMS_SEND ? ums_window_next(&recent->window[kind]) : 0, 6);
  }
  umsa_put(out + UMSA_KEY_PACKET_LIMIT_AT, limit > used ? (limit - used < most ? limit - used : most) : 0, 6);
  memcpy(out + UMSA_KEY_CIPHER_KEY_AT, s->cipher_key, s->cipher_key_len);
  memcpy(out + UMSA_KEY_AUTH_KEY_AT, s->auth_key, s->auth_key_len);
  memcpy(out + UMSA_KEY_SALT_AT, s->salt, s->salt_len);
}

/* SP 800-38D; PROTOCOL.md, Keys. In place; the tag follows. */
static void wrap(ums_link *l, uint8_t slot, uint8_t *body) {
  uint8_t iv[12] = {0}, aad[2 + UMSA_KEY_LOAD_LEN] = {UMSA_OP_KEY_LOAD, slot}, *key = body + UMSA_KEY_LOAD_LEN;
  uint8_t *tag = key + UMSA_KEY_LEN, lengths[16];
  ums_store32(iv + 8, l->counter);
  memcpy(aad + 2, body, UMSA_KEY_LOAD_LEN);
  ums_aes_ctr(&(ums_ctr_span){&l->wrap_aes, iv, key, UMSA_KEY_LEN, 2}, 1);
  memset(tag, 0, 16);
  ums_store64(lengths, 8 * sizeof aad);
  ums_store64(lengths + 8, 8 * (uint64_t)UMSA_KEY_LEN);
  ums_ghash_update(&l->wrap_ghash, tag, aad, sizeof aad);
  ums_ghash_update(&l->wrap_ghash, tag, key, UMSA_KEY_LEN);
  ums_ghash_update(&l->wrap_ghash, tag, lengths, sizeof lengths);
  ums_aes_ctr(&(ums_ctr_span){&l->wrap_aes, iv, tag, 16, 1}, 1);
}

static void request_load(ums_link *l, relay_leg *leg, relay_keys *keys, int direction, int kind) {
  const uint8_t slot = take_slot(l);
  link_entry *e = slot != 0 ? take_entry(l) : NULL;
  keys->slot[kind] = slot;
  if (e == NULL) {
    leave_slot(l, keys, kind);
    link_count(&l->no_slot, 1);
    l->slot_wanted = 1;
    return;
  }
  flight *f = flight_of(e);
  *f = (flight){.leg = leg, .ctx = keys->ctx, .direction = (uint8_t)direction, .kind = (uint8_t)kind};
  e->head = (umsa_head){.op = UMSA_OP_KEY_LOAD, .slot = (uint8_t)(slot - 1)};
  e->body_len = UMSA_KEY_LOAD_LEN + UMSA_KEY_LEN;
  e->body[UMSA_KEY_LOAD_WRAPPED_AT] = l->wrapped;
  umsa_put(e->body + UMSA_KEY_LOAD_COUNTER_AT, l->wrapped ? ++l->counter : 0, 4);
  write_key(keys->ctx, direction, kind, e->body + UMSA_KEY_LOAD_LEN);
  if (l->wrapped) {
    wrap(l, e->head.slot, e->body);
    e->body_len += 16;
  }
  keys->slot_state[kind] = SLOT_LOADING;
  const ums_stream *recent = keys->ctx->recent;
  keys->slot_bound[kind] = recent != NULL;
  keys->slot_ssrc[kind] = recent != NULL ? recent->ssrc : 0;
  if (link_submit(l, number_of(l, e), LINK_CONTROL))
    return;
  ums_wipe(e->body, e->body_len);
  free_entry(l, e, 0);
  leave_slot(l, keys, kind);
}

void relay_offload_install(ums_relay *r, relay_leg *leg, relay_keys *keys, int direction) {
  ums_link *l = r->link;
  if (keys->ctx == NULL || surrendered(keys))
    return; /* keys that are gone cannot be loaded again */
  if (keys->ctx->n_keys != 1 || !holds_suite(keys->ctx->suite) || keys->ctx->flags != 0 || keys->ctx->rcc.mode != 0) {
    if (in_custody(l))
      relay_emit_limited(r, leg, UMS_EVENT_ENGINE, (uint32_t)direction, 0);
    return; /* lab contexts stay here, and those that carry the ROC: the device knows one shape of packet */
  }
  for (int kind = 0; kind < 2 && link_up(l); kind++)
    if (keys->slot[kind] == 0 && needs_slot(l, leg, keys, kind))
      request_load(l, leg, keys, direction, kind);
}

static void install_all(ums_relay *r) {
  for (uint32_t i = 0; i < r->cfg.max_legs; i++) {
    relay_leg *leg = &r->legs[i];
    for (int p = 0; p < 2 && leg->id != 0; p++) {
      relay_offload_install(r, leg, &leg->part[p].send, UMS_SEND);
      relay_offload_install(r, leg, &leg->part[p].receive, UMS_RECEIVE);
    }
  }
}

static void clear_on_device(ums_link *l, uint8_t slot) {
  link_entry *e = take_entry(l);
  if (e == NULL)
    return; /* the next load overwrites it */
  *flight_of(e) = (flight){.ctx = NULL};
  e->head = (umsa_head){.op = UMSA_OP_KEY_CLEAR, .slot = slot};
  e->body_len = 0;
  if (!link_submit(l, number_of(l, e), LINK_CONTROL))
    free_entry(l, e, 0);
}

void relay_offload_forget(ums_relay *r, relay_keys *keys) {
  ums_link *l = r->link;
  for (uint32_t i = 0; i < LINK_ENTRIES; i++)
    if (l->entry[i].busy && flight_of(&l->entry[i])->ctx == keys->ctx)
      flight_of(&l->entry[i])->ctx = NULL;
  for (int kind = 0; kind < 2; kind++) {
    if (keys->slot[kind] == 0)
      continue;
    clear_on_device(l, (uint8_t)(keys->slot[kind] - 1));
    leave_slot(l, keys, kind);
  }
}

int relay_offload_serves(const ums_relay *r, const relay_keys *keys) {
  return in_custody(r->link) || (link_up(r->link) && keys->slot_state[UMS_RTP] == SLOT_READY);
}

int relay_offload_crowded(const ums_relay *r, const relay_keys *keys) {
  return in_custody(r->link) && keys->ctx != NULL && r->link->slot_wanted && keys->slot[UMS_RTP] == 0;
}

static relay_keys *keys_of(const flight *f) {
  for (int k = 0; k < 2; k++) {
    relay_part *part = &f->leg->part[k];
    relay_keys *all[3] = {&part->send, &part->receive, &part->former};
    for (int i = 0; i < 3; i++)
      if (f->ctx != NULL && all[i]->ctx == f->ctx)
        return all[i];
  }
  return NULL;
}

/* The leg whose packets may have waited for this; NULL: none. */
static relay_leg *load_ended(ums_relay *r, link_entry *e) {
  ums_link *l = r->link;
  const flight *f = flight_of(e);
  relay_keys *keys = keys_of(f);
  if (keys == NULL || keys->slot[f->kind] != e->head.slot + 1)
    return NULL;
  if (e->status != UMSA_STATUS_OK) {
    leave_slot(l, keys, f->kind);
    link_count(&l->no_slot, 1);
    if (in_custody(l) && link_up(l))
      relay_emit_limited(r, f->leg, UMS_EVENT_ENGINE, f->direction, 0);
    return NULL;
  }
  keys->slot_state[f->kind] = SLOT_READY;
  link_count(&l->loads, 1);
  int ready = in_custody(l);
  for (int kind = 0; kind < 2; kind++)
    ready = ready && (keys->slot_state[kind] == SLOT_READY || !needs_slot(l, f->leg, keys, kind));
  if (ready)
    ums_srtp_surrender(keys->ctx);
  return f->direction == UMS_RECEIVE ? f->leg : NULL;
}

/* ---------------------------------------------------------------------------------------------------------- jobs -- */

/* The spent or estimated index; the fast path of begin does not write it down. */
static uint64_t index_of(const ums_item *item, int direction) {
  const int rtcp = item->packet->rtcp != 0;
  if (direction == UMS_RECEIVE)
    return item->index;
  const uint64_t last = ums_window_next(&item->stream->window[rtcp]) - 1;
  if (rtcp)
    return last;
  const int16_t ahead = (int16_t)(uint16_t)(ums_load16(item->packet->data + 2) - (uint16_t)last);
  return last + (uint64_t)(int64_t)ahead;
}

static void fill_request(link_entry *e, const flight *f, uint8_t slot) {
  const ums_job *job = &f->item.job;
  const size_t clear_and_cipher = (size_t)job->cipher_off + job->cipher_len;
  const int sending = f->direction == UMS_SEND;
  e->head = (umsa_head){.op = sending ? UMSA_OP_PROTECT : UMSA_OP_UNPROTECT, .slot = slot};
  umsa_put(e->body, index_of(&f->item, f->direction), 6);
  memcpy(e->body + UMSA_JOB_LEN, job->data, clear_and_cipher);
  if (!sending)
    memcpy(e->body + UMSA_JOB_LEN + clear_and_cipher, job->data + job->tag_off, job->tag_len);
  e->body_len = (uint16_t)(UMSA_JOB_LEN + clear_and_cipher + (sending ? 0u : job->tag_len));
}

static void run_on_cpu(ums_item *item) {
  const ums_engine *engine = ums_srtp_engine(item->ctx);
  ums_job *job = &item->job;
  engine->submit(engine, &job, 1);
}

static int result_fits(const link_entry *e, const flight *f) {
  const ums_job *job = &f->item.job;
  return e->body_len == job->cipher_len + (f->direction == UMS_SEND ? job->tag_len : 0u);
}

static int same_as_result(const link_entry *e, const flight *f) {
  const ums_job *job = &f->item.job;
  return memcmp(e->body, job->data + job->cipher_off, job->cipher_len) == 0 &&
         (f->direction == UMS_RECEIVE ||
          memcmp(e->body + job->cipher_len, job->data + job->tag_off, job->tag_len) == 0);
}

static void disagree(ums_link *l) {
  link_count(&l->wrong, 1);
  link_go_down(l, UMS_LINK_WRONG);
}

static void use_result(ums_link *l, link_entry *e, flight *f) {
  ums_job *job = &f->item.job;
  const int verify =
      l->cfg.custody == UMS_CUSTODY_SHARED && l->cfg.verify_every != 0 && ++l->since_verified >= l->cfg.verify_every;
  if (!verify) {
    memcpy(job->data + job->cipher_off, e->body, job->cipher_len);
    if (f->direction == UMS_SEND)
      memcpy(job->data + job->tag_off, e->body + job->cipher_len, job->tag_len);
    job->status = UMS_OK;
    f->leg->totals.accelerated++;
    return;
  }
  l->since_verified = 0;
  link_count(&l->verified, 1);
  run_on_cpu(&f->item);
  if (job->status == UMS_OK && same_as_result(e, f))
    f->leg->totals.accelerated++;
  else
    disagree(l);
}

/* Sets the job's status, and its octets when that is UMS_OK. */
static void complete(ums_link *l, link_entry *e, flight *f) {
  if (e->status == UMSA_STATUS_OK && result_fits(e, f)) {
    use_result(l, e, f);
    return;
  }
  if (in_custody(l)) {
    f->item.job.status = e->status == UMSA_STATUS_AUTH_FAIL ? UMS_AUTH_FAIL : UMS_ENGINE;
    if (e->status == UMSA_STATUS_OK)
      disagree(l);
    else if (e->status != UMSA_STATUS_AUTH_FAIL)
      link_count(&l->fallback, 1);
    return;
  }
  run_on_cpu(&f->item);
  if (e->status == UMSA_STATUS_OK || (e->status == UMSA_STATUS_AUTH_FAIL && f->item.job.status == UMS_OK))
    disagree(l);
  else if (e->status != UMSA_STATUS_AUTH_FAIL)
    link_count(&l->fallback, 1);
}

static void to_item(const flight *f, relay_item *item, link_entry *e) {
  *item = (relay_item){.leg = f->leg,
                       .data = e->plain,
                       .len = f->packet.len,
                       .in = f->in,
                       .out = f->out,
                       .rtcp = f->packet.rtcp,
                       .from = f->from};
}

static void land(ums_relay *r, link_entry *e, relay_item *item) {
  flight *f = flight_of(e);
  to_item(f, item, e);
  complete(r->link, e, f);
  ums_srtp_finish_one(&f->item, f->direction);
  relay_path_result(r, item, &f->packet, f->direction);
  if (f->leg->mode != UMS_LEG_SECURE || f->leg->remote[item->out].len == 0)
    item->go = 0; /* closed meanwhile */
}

/* Nanoseconds that this job may take; 0: the model says that it would be too late. */
static uint64_t time_for(const ums_link *l, size_t up, size_t down) {
  const uint64_t most = (uint64_t)l->cfg.deadline_us * 1000;
  if (l->cfg.octet_ns == 0)
    return most;
  const uint64_t line = (uint64_t)(l->flying_octets + up + down) * l->cfg.octet_ns;
  const uint64_t needs = line + ((uint64_t)(l->flying + 1) * l->cfg.job_us + l->cfg.host_us) * 1000;
  if (in_custody(l))
    return 2 * needs > most ? 2 * needs : most;
  return needs > most ? 0 : 2 * needs < most ? 2 * needs : most;
}

/* The device does not take this packet: a CPU does, or in device custody nobody. */
static int not_taken(ums_relay *r, relay_item *item, const relay_keys *keys, int kind, int direction) {
  ums_link *l = r->link;
  if (!in_custody(l) || surrendered(keys))
    return 0; /* a CPU engine, or the one that refuses */
  if (keys->slot_state[kind] == SLOT_LOADING && direction == UMS_RECEIVE && relay_early_keep(r, item))
    return 1; /* until its key is in the slot */
  item->leg->totals.dropped_closed++;
  link_count(&l->fallback, 1);
  if (keys->slot_state[kind] != SLOT_LOADING)
    relay_emit_limited(r, item->leg, UMS_EVENT_ENGINE, (uint32_t)direction, 0);
  return 1;
}

int relay_offload_take(ums_relay *r, relay_item *item, int direction) {
  ums_link *l = r->link;
  relay_part *part = relay_part_of(item->leg, item->rtcp);
  relay_keys *keys = direction == UMS_SEND ? &part->send : &part->receive;
  const int kind = item->rtcp;
  const uint32_t ssrc = ums_load32(item->data + (kind ? 4 : 8));
  if (keys->slot_state[kind] != SLOT_READY || !link_up(l) || item->len > UMSA_MAX_PACKET)
    return not_taken(r, item, keys, kind, direction);
  if (keys->slot_bound[kind] && keys->slot_ssrc[kind] != ssrc)
    return not_taken(r, item, keys, kind, direction);
  const uint64_t time = time_for(l, item->len + OVERHEAD, item->len + OVERHEAD);
  link_entry *e = time != 0 ? take_entry(l) : NULL;
  if (e == NULL)
    return not_taken(r, item, keys, kind, direction);
  ums_burst burst;
  flight *f = flight_of(e);
  ums_srtp *ctx = keys->ctx;
  memcpy(e->plain, item->data, item->len);
  *f = (flight){.leg = item->leg,
                .ctx = ctx,
                .from = item->from,
                .direction = (uint8_t)direction,
                .in = item->in,
                .out = item->out,
                .kind = (uint8_t)kind};
  f->packet = (ums_packet){.data = e->plain, .len = item->len, .capacity = UMS_MAX_PACKET, .rtcp = item->rtcp};
  ums_srtp_begin(&burst, direction, &ctx, &f->packet, 1);
  if (burst.n == 0) { /* refused */
    ums_srtp_finish(&burst);
    relay_path_result(r, item, &f->packet, direction);
    free_entry(l, e, item->len);
    return 1;
  }
  f->item = burst.item[0];
  ums_srtp_detach(&burst);
  fill_request(e, f, (uint8_t)(keys->slot[kind] - 1));
  keys->slot_bound[kind] = 1;
  keys->slot_ssrc[kind] = ssrc;
  e->submitted = link_now();
  e->deadline = e->submitted + time;
  f->octets = (uint16_t)(item->len + OVERHEAD);
  if (link_submit(l, number_of(l, e), direction == UMS_SEND ? LINK_PROTECT : LINK_UNPROTECT)) {
    l->flying++;
    l->flying_octets += f->octets;
    return 1;
  }
  e->status = LINK_LOST;
  relay_item landed;
  land(r, e, &landed);
  item->len = landed.len;
  item->go = landed.go;
  if (landed.go)
    memcpy(item->data, e->plain, landed.len);
  free_entry(l, e, UMS_MAX_PACKET);
  return 1;
}

/* -------------------------------------------------------------------------------------------------------- events -- */

static void tell_lost_keys(ums_relay *r) {
  for (uint32_t i = 0; i < r->cfg.max_legs; i++) {
    relay_leg *leg = &r->legs[i];
    int lost = 0;
    for (int p = 0; p < 2 && leg->id != 0; p++)
      lost |= (leg->part[p].send.ctx != NULL && surrendered(&leg->part[p].send)) ||
              (leg->part[p].receive.ctx != NULL && surrendered(&leg->part[p].receive));
    if (lost)
      relay_emit(r, leg, UMS_EVENT_KEYS_LOST, 0, 0);
  }
}

static void look_at_link(ums_relay *r) {
  ums_link *l = r->link;
  const uint32_t state = atomic_load(&l->state), generation = atomic_load(&l->generation);
  const int fell = l->seen_state == UMS_LINK_UP && (state != UMS_LINK_UP || generation != l->seen_generation);
  if (fell)
    tell_lost_keys(r); /* first: who hears of the device knows what it took along */
  if (state != l->seen_state) {
    l->seen_state = state;
    relay_emit(r, NULL, UMS_EVENT_ACCELERATOR, state, 0);
  }
  if (generation == l->seen_generation) {
    if (l->slot_wanted && l->slot_freed && link_up(l)) {
      l->slot_wanted = l->slot_freed = 0;
      install_all(r);
    }
    return;
  }
  l->seen_generation = generation; /* another session: every slot is empty */
  for (uint32_t i = 0; i < r->cfg.max_legs; i++) {
    relay_leg *leg = &r->legs[i];
    for (int p = 0; p < 2 && leg->id != 0; p++) {
      relay_part *part = &leg->part[p];
      relay_keys *all[3] = {&part->send, &part->receive, &part->former};
      for (int k = 0; k < 3; k++)
        for (int kind = 0; kind < 2; kind++)
          leave_slot(l, all[k], kind);
    }
  }
  l->slot_wanted = l->slot_freed = 0;
  install_all(r);
}

void relay_offload_drain(ums_relay *r) {
  ums_link *l = r->link;
  link_entry *landed[RELAY_BURST];
  relay_leg *loaded[LINK_ENTRIES], *leg;
  size_t n = 0, n_loaded = 0;
  uint64_t count;
  uint32_t *number;
  while (read(l->done_fd, &count, sizeof count) < 0 && errno == EINTR) {
  }
  r->n_items = 0;
  while (n < RELAY_BURST && (number = ums_spsc_peek(&l->done)) != NULL) {
    link_entry *e = &l->entry[*number];
    ums_spsc_release(&l->done);
    const int job = e->head.op == UMSA_OP_PROTECT || e->head.op == UMSA_OP_UNPROTECT;
    if (job) {
      l->flying--;
      l->flying_octets -= flight_of(e)->octets;
    }
    if (job && flight_of(e)->ctx != NULL) {
      land(r, e, &r->items[r->n_items++]);
      landed[n++] = e;
      continue;
    }
    if (e->head.op == UMSA_OP_KEY_LOAD && n_loaded < LINK_ENTRIES && (leg = load_ended(r, e)) != NULL)
      loaded[n_loaded++] = leg;
    free_entry(l, e, job ? UMS_MAX_PACKET : 0);
  }
  relay_send_burst(r);
  r->n_items = 0;
  for (size_t i = 0; i < n; i++)
    free_entry(l, landed[i], UMS_MAX_PACKET);
  for (size_t i = 0; i < n_loaded; i++)
    relay_early_release(r, loaded[i]);
  look_at_link(r);
}

ums_status ums_relay_attach(ums_relay *r, ums_link *l) {
  if (r == NULL || l == NULL || r->state != RELAY_NEW || r->link != NULL)
    return UMS_BAD_ARGUMENT;
  if (relay_link_add(r, l->done_fd) != 0)
    return UMS_SYSTEM;
  r->link = l;
  return UMS_OK;
}
