/* SRTP contexts (RFC 3711, 3.2): their memory, their keys, their counters. Packets are in srtp.c. */
#include <sched.h>
#include <string.h>

#include "srtp.h"

#define RTP_LIMIT ((uint64_t)1 << 48)        /* RFC 3711, 9.2 */
#define RTCP_LIMIT (((uint64_t)1 << 31) - 1) /* indices 1..2^31 - 1 */
#define KNOWN_FLAGS (UMS_LAB_UNENCRYPTED_SRTCP | UMS_LAB_SESSION_KEYS | UMS_LAB_NO_MAC)
#define BARE_RATE 16384 /* so that half the circle of sequence numbers still holds a lost packet with ROC */

static size_t round64(size_t n) { return (n + 63) & ~(size_t)63; }

static uint32_t rtcp_list(const ums_srtp_config *cfg) { return cfg->direction == UMS_RECEIVE ? cfg->rtcp_window : 0; }

static int has_bare_packets(const ums_rcc *rcc) { return rcc->mode == 3 || (rcc->mode == 1 && rcc->rate > 1); }

/* RFC 4771, 4 and 5. */
static int rcc_valid(const ums_rcc *rcc, const ums_suite_info *suite, uint32_t flags) {
  if (rcc->mode == 0)
    return rcc->tag_len == 0 && rcc->rate == 0;
  if (rcc->mode > 3 || rcc->rate == 0 || suite->transform == UMS_AES_GCM)
    return 0;
  if (has_bare_packets(rcc) && (!(flags & UMS_LAB_NO_MAC) || rcc->rate > BARE_RATE))
    return 0;
  return rcc->mode == 3 ? rcc->tag_len == 4 : rcc->tag_len >= 8 && rcc->tag_len <= 20;
}

size_t ums_srtp_sizeof(const ums_srtp_config *cfg) {
  if (cfg == NULL || ums_suite_find(cfg->suite) == NULL || cfg->direction > UMS_RECEIVE)
    return 0;
  if (cfg->n_keys < 1 || cfg->n_keys > UMS_MAX_KEYS || cfg->max_ssrc < 1 || cfg->max_ssrc > 1024)
    return 0;
  if (cfg->rtp_window < 64 || cfg->rtp_window > UMS_MAX_WINDOW)
    return 0;
  if (cfg->rtcp_window < 64 || cfg->rtcp_window > UMS_MAX_WINDOW || (cfg->flags & ~(uint32_t)KNOWN_FLAGS))
    return 0;
  if (!rcc_valid(&cfg->rcc, ums_suite_find(cfg->suite), cfg->flags))
    return 0;
  return round64(sizeof(ums_srtp)) + cfg->n_keys * sizeof(ums_master) +
         ums_streams_sizeof(cfg->max_ssrc, cfg->rtp_window, rtcp_list(cfg));
}

/* Several keys are told apart by MKIs of one length (RFC 3711, 3.1), so these must differ. */
static int keys_valid(const ums_srtp_config *cfg) {
  if (cfg->keys == NULL)
    return 0;
  const size_t mki_len = cfg->keys[0].mki_len;
  if (mki_len > UMS_MAX_MKI || (cfg->n_keys > 1 && mki_len == 0))
    return 0;
  for (size_t i = 0; i < cfg->n_keys; i++) {
    const ums_master_key *k = &cfg->keys[i];
    if (k->key == NULL || k->salt == NULL || k->mki_len != mki_len || (mki_len && k->mki == NULL))
      return 0;
    for (size_t j = 0; j < i; j++)
      if (memcmp(k->mki, cfg->keys[j].mki, mki_len) == 0)
        return 0;
  }
  return 1;
}

static ums_status engine_fits(const ums_engine *e, const ums_suite_info *suite) {
  if (e == NULL || (e->flags & UMS_ENGINE_ASYNC))
    return UMS_UNSUPPORTED;
  return e->probe() && e->supports(suite->transform, suite->key_len) ? UMS_OK : UMS_UNSUPPORTED;
}

static void drop_keys(ums_srtp *c, const ums_engine *e, size_t n) {
  for (size_t i = 0; i < n; i++)
    e->drop_key(e, &c->masters[i / 2].key[i % 2]);
}

static ums_status load_keys(ums_srtp *c, const ums_engine *e) {
  for (size_t i = 0; i < 2u * c->n_keys; i++) {
    const ums_session_key view = ums_session_key_view(c->suite, &c->masters[i / 2].session[i % 2]);
    const ums_status s = e->load_key(e, &c->masters[i / 2].key[i % 2], &view);
    if (s == UMS_OK)
      continue;
    drop_keys(c, e, i);
    return s;
  }
  ums_scrub_stack();
  atomic_store_explicit(&c->engine, e, memory_order_relaxed);
  return UMS_OK;
}

static void given_session_keys(const ums_suite_info *suite, const ums_master_key *k, ums_session_keys out[2]) {
  memset(out, 0, 2 * sizeof out[0]);
  for (int i = 0; i < 2; i++) {
    out[i].cipher_key_len = suite->key_len;
    out[i].auth_key_len = suite->auth_key_len;
    out[i].salt_len = suite->salt_len;
    memcpy(out[i].cipher_key, k->key, suite->key_len);
    memcpy(out[i].salt, k->salt, suite->salt_len);
  }
}

/* A soft limit at or behind the hard one would never ask in time. */
static uint64_t soft_for(uint64_t soft, uint64_t limit) {
  if (soft == 0)
    return UINT64_MAX;
  return soft < limit ? soft : limit - limit / 16;
}

static void master_init(ums_master *m, const ums_srtp_config *cfg, const ums_suite_info *suite,
                        const ums_master_key *k) {
  if (cfg->flags & UMS_LAB_SESSION_KEYS)
    given_session_keys(suite, k, m->session);
  else
    ums_derive_session_keys(suite, k->key, k->salt, m->session);
  const uint64_t lifetime = k->lifetime != 0 && k->lifetime < RTP_LIMIT ? k->lifetime : RTP_LIMIT;
  m->limit[UMS_RTP] = lifetime;
  m->limit[UMS_RTCP] = lifetime < RTCP_LIMIT ? lifetime : RTCP_LIMIT;
  for (int i = 0; i < 2; i++) {
    m->salt[i] = ums_layout_salt(m->session[i].salt, m->session[i].salt_len);
    m->soft[i] = soft_for(cfg->soft_limit, m->limit[i]);
    /* Packets under way may use up what a whole burst can. */
    const uint64_t near = m->limit[i] > UMS_BURST ? m->limit[i] - UMS_BURST : 0;
    m->look[i] = m->soft[i] < near ? m->soft[i] : near;
  }
  if (k->mki_len)
    memcpy(m->mki, k->mki, k->mki_len);
}

ums_status ums_srtp_init(ums_srtp *c, size_t len, const ums_srtp_config *cfg, const ums_engine *engine) {
  const size_t size = ums_srtp_sizeof(cfg);
  if (c == NULL || size == 0 || !keys_valid(cfg) || ((uintptr_t)c & 63))
    return UMS_BAD_ARGUMENT;
  if (len < size)
    return UMS_NO_ROOM;
  const ums_suite_info *suite = ums_suite_find(cfg->suite);
  if (engine == NULL)
    engine = ums_engine_choose(cfg->suite);
  ums_status s = engine_fits(engine, suite);
  if (s != UMS_OK)
    return s;

  uint8_t *at = (uint8_t *)c + round64(sizeof *c);
  memset(c, 0, size);
  c->size = size;
  c->guard = cfg->guard != NULL ? cfg->guard : &c->own;
  c->suite = suite;
  c->flags = cfg->flags;
  c->restart_after = cfg->restart_after ? cfg->restart_after : 32;
  c->n_keys = cfg->n_keys;
  c->masters = (ums_master *)(void *)at;
  for (size_t i = 0; i < c->n_keys; i++)
    master_init(&c->masters[i], cfg, suite, &cfg->keys[i]);
  ums_streams_init(&c->streams, at + c->n_keys * sizeof(ums_master), cfg->max_ssrc, cfg->rtp_window, rtcp_list(cfg));
  const int plain_rtcp = (cfg->flags & UMS_LAB_UNENCRYPTED_SRTCP) != 0;
  c->rcc = cfg->rcc;
  for (int kind = 0; kind < (c->rcc.mode ? UMS_LAYOUTS : UMS_RTP_ROC); kind++)
    ums_layout_init(&c->layout[kind], suite, &c->rcc, kind, cfg->keys[0].mki_len, plain_rtcp, cfg->direction);
  s = load_keys(c, engine);
  if (s != UMS_OK) {
    ums_wipe(c, size);
    return s;
  }
  atomic_store_explicit(&c->pass, ums_srtp_pass(ums_fork_generation(), cfg->direction), memory_order_release);
  return UMS_OK;
}

/* Everything behind the head holds keys or depends on them; the head keeps only what makes it answer BAD_ARGUMENT. */
static void wipe_taken(ums_srtp *c) {
  const ums_engine *e = atomic_load_explicit(&c->engine, memory_order_relaxed);
  if (e != NULL)
    drop_keys(c, e, 2u * c->n_keys);
  atomic_store_explicit(&c->engine, NULL, memory_order_relaxed);
  atomic_store_explicit(&c->streams.count, 0, memory_order_relaxed);
  atomic_store_explicit(&c->pass, (uint64_t)(ums_fork_generation() + 1) << 32 | UMS_SRTP_WIPED << 8,
                        memory_order_relaxed);
  c->recent = NULL;
  const size_t head = round64(sizeof *c);
  ums_wipe((uint8_t *)c + head, c->size - head);
  ums_scrub_stack();
}

void ums_srtp_wipe(ums_srtp *c) {
  const ums_status s = ums_srtp_usable(c);
  const uintptr_t me = (uintptr_t)&s;
  if (s == UMS_FORKED && c->size > 0) { /* whoever used it stayed in the parent, and so did the engine's state */
    const size_t size = c->size;
    ums_wipe(c, size);
  }
  if (s != UMS_OK)
    return;
  ums_status taken;
  while ((taken = ums_srtp_take(c, me)) == UMS_BUSY)
    sched_yield(); /* a burst is microseconds */
  if (taken != UMS_OK)
    return;
  wipe_taken(c);
  ums_srtp_release(c);
}

static int always(void) { return 1; }
static int any_key(ums_transform t, size_t cipher_key_len) {
  (void)t;
  (void)cipher_key_len;
  return 1;
}
static ums_status no_load(const ums_engine *e, ums_key *out, const ums_session_key *key) {
  (void)e;
  (void)out;
  (void)key;
  return UMS_UNSUPPORTED;
}
static void no_drop(const ums_engine *e, ums_key *key) {
  (void)e;
  ums_wipe(key, sizeof *key);
}
static size_t fail_all(const ums_engine *e, ums_job *const job[], size_t n) {
  (void)e;
  for (size_t i = 0; i < n; i++)
    job[i]->status = UMS_ENGINE;
  return n;
}

const ums_engine ums_engine_surrendered = {.name = "serial",
                                           .flags = UMS_ENGINE_OPAQUE_KEYS,
                                           .batch = 1,
                                           .probe = always,
                                           .supports = any_key,
                                           .load_key = no_load,
                                           .drop_key = no_drop,
                                           .submit = fail_all};

void ums_srtp_surrender(ums_srtp *c) {
  const ums_engine *old = atomic_load_explicit(&c->engine, memory_order_relaxed);
  drop_keys(c, old, 2u * c->n_keys);
  for (size_t i = 0; i < c->n_keys; i++)
    ums_wipe(c->masters[i].session, sizeof c->masters[i].session);
  atomic_store_explicit(&c->engine, &ums_engine_surrendered, memory_order_relaxed);
  ums_scrub_stack();
}

ums_status ums_srtp_set_engine(ums_srtp *c, const ums_engine *e) {
  ums_status s = ums_srtp_usable(c);
  if (s != UMS_OK)
    return s;
  if (atomic_load_explicit(&c->engine, memory_order_relaxed) == &ums_engine_surrendered)
    return UMS_UNSUPPORTED; /* its keys are elsewhere */
  if (e == NULL)
    e = ums_engine_choose(c->suite->suite);
  s = engine_fits(e, c->suite);
  if (s != UMS_OK)
    return s;
  s = ums_srtp_take(c, (uintptr_t)&s);
  if (s != UMS_OK)
    return s;
  const ums_engine *old = atomic_load_explicit(&c->engine, memory_order_relaxed);
  if (old != e) {
    drop_keys(c, old, 2u * c->n_keys);
    s = load_keys(c, e);
    if (s != UMS_OK && load_keys(c, old) != UMS_OK) {
      atomic_store_explicit(&c->engine, NULL, memory_order_relaxed);
      wipe_taken(c);
    }
  }
  ums_srtp_release(c);
  return s;
}

const ums_engine *ums_srtp_engine(const ums_srtp *c) {
  return ums_srtp_usable(c) == UMS_OK ? atomic_load_explicit(&c->engine, memory_order_relaxed) : NULL;
}

/* Where refusals with this status are counted for one SSRC. NULL: nowhere, or the SSRC is not bound. */
static ums_counter *refusals_of(const ums_srtp *c, uint32_t ssrc, ums_status status) {
  if (status != UMS_AUTH_FAIL && status != UMS_REPLAY && status != UMS_TOO_OLD)
    return NULL;
  ums_stream *s = ums_streams_find(&c->streams, ssrc);
  if (s == NULL)
    return NULL;
  return status == UMS_AUTH_FAIL ? &s->auth_fail : status == UMS_REPLAY ? &s->replay : &s->too_old;
}

void ums_srtp_blame(ums_srtp *c, uint32_t ssrc, ums_status status) {
  ums_counter *refusals = refusals_of(c, ssrc, status);
  if (refusals != NULL)
    ums_counter_add(refusals, 1);
}

static void take_back(ums_counter *counter) {
  if (counter != NULL && ums_counter_get(counter) > 0)
    ums_counter_add(counter, UINT64_MAX);
}

void ums_srtp_forgive(ums_srtp *c, uint32_t ssrc, ums_status status) {
  take_back(&c->refused[status]);
  take_back(refusals_of(c, ssrc, status));
}

void ums_srtp_stats_get(const ums_srtp *c, ums_srtp_stats *out) {
  memset(out, 0, sizeof *out);
  if (ums_srtp_usable(c) != UMS_OK)
    return;
  const ums_counter *refused = c->refused;
  const uint32_t notes = ums_srtp_notes(c);
  *out = (ums_srtp_stats){
      .auth_fail = ums_counter_get(&refused[UMS_AUTH_FAIL]),
      .replay = ums_counter_get(&refused[UMS_REPLAY]),
      .too_old = ums_counter_get(&refused[UMS_TOO_OLD]),
      .wrong_mki = ums_counter_get(&refused[UMS_WRONG_MKI]),
      .bad_packet = ums_counter_get(&refused[UMS_BAD_PACKET]) + ums_counter_get(&refused[UMS_NO_ROOM]),
      .ssrc_full = ums_counter_get(&refused[UMS_SSRC_FULL]),
      .expired = ums_counter_get(&refused[UMS_KEY_EXPIRED]),
      .held = ums_counter_get(&refused[UMS_HELD]),
      .engine = ums_counter_get(&refused[UMS_ENGINE]),
      .n_streams = ums_streams_count(&c->streams),
      .soft = (notes & UMS_NOTE_SOFT) != 0,
      .hard = (notes & UMS_NOTE_HARD) != 0,
      .packets = ums_counter_get(&c->bare_packets),
      .octets = ums_counter_get(&c->bare_octets),
  };
  for (uint32_t i = 0; i < out->n_streams; i++) {
    const ums_stream *s = ums_streams_at(&c->streams, i);
    out->packets += ums_counter_get(&s->packets);
    out->octets += ums_counter_get(&s->octets);
    out->rtcp_packets += ums_counter_get(&s->rtcp_packets);
  }
  for (size_t i = 0; i < c->n_keys; i++) {
    const uint64_t used = ums_counter_get(&c->masters[i].used[UMS_RTP]);
    if (used > out->key_packets)
      out->key_packets = used;
  }
}

size_t ums_srtp_streams(const ums_srtp *c, ums_stream_stats out[], size_t max) {
  if (ums_srtp_usable(c) != UMS_OK)
    return 0;
  const size_t n = ums_streams_count(&c->streams);
  for (size_t i = 0; i < n && i < max; i++) {
    const ums_stream *s = ums_streams_at(&c->streams, (uint32_t)i);
    const uint64_t next = ums_window_next(&s->window[UMS_RTP]);
    const uint64_t highest = next ? next - 1 : 0;
    out[i] = (ums_stream_stats){
        .ssrc = s->ssrc,
        .roc = (uint32_t)(highest >> 16),
        .packets = ums_counter_get(&s->packets),
        .octets = ums_counter_get(&s->octets),
        .rtcp_packets = ums_counter_get(&s->rtcp_packets),
        .auth_fail = ums_counter_get(&s->auth_fail),
        .replay = ums_counter_get(&s->replay),
        .too_old = ums_counter_get(&s->too_old),
        .highest_seq = (uint16_t)highest,
        .held = atomic_load_explicit(&s->held, memory_order_relaxed) != 0,
        .late_start = atomic_load_explicit(&s->late_start, memory_order_relaxed) != 0,
    };
  }
  return n;
}

size_t ums_guard_sizeof(void) { return sizeof(ums_guard); }

ums_status ums_guard_init(ums_guard *guard, size_t len) {
  if (guard == NULL || len < sizeof *guard)
    return UMS_NO_ROOM;
  atomic_store_explicit(&guard->user, 0, memory_order_relaxed);
  return UMS_OK;
}
