/* Timed loops of `ueagent bench`: see ums.h. The method: serialised clock reads around whole batches, clock calibrated
 * by a chain of dependent additions, every subject's output checked by the core. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core.h"

#define BATCH UMS_BENCH_BATCH
#define RTP_HEADER 12
#define SR_LEN 28          /* RTCP sender report without report blocks (RFC 3550, 6.4.1) */
#define MIN_RTCP 44        /* with an SDES packet that has room for an item */
#define MAX_CHECKED 64     /* contexts that can check a protected packet; more streams are looked at in turn */
#define WINDOW 128         /* packets, every subject's replay list */
#define FIRST_SSRC 0x10000 /* any */

struct ums_bench {
  ums_bench_setup setup;
  const ums_bench_subject *subject;
  void *state;
  ums_arena arena;     /* of the partners */
  uint8_t *partners;   /* contexts on the other side: they make what is unprotected, or check what was protected */
  size_t partner_size; /* octets of one */
  uint32_t n_partners; /* contexts 0 .. n_partners - 1 have one */
  ums_bench_keys *keys;
  uint16_t *next_seq;     /* by stream */
  uint8_t *slots, *plain; /* what the subject works on, and what it started from or has to come to */
  uint8_t *data[BATCH];
  uint32_t stream[BATCH];
  uint32_t next_stream;
  uint32_t turn; /* slot that is checked next */
};

/* --------------------------------------------------------------------------------------------------- clock -- */

#if defined(__x86_64__)
static inline uint64_t clock_start(void) {
  uint32_t lo, hi;
  __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(lo), "=d"(hi) : : "memory");
  return ((uint64_t)hi << 32) | lo;
}
static inline uint64_t clock_stop(void) {
  uint32_t lo, hi;
  __asm__ volatile("rdtscp\n\tlfence" : "=a"(lo), "=d"(hi) : : "rcx", "memory");
  return ((uint64_t)hi << 32) | lo;
}
#define CLOCK "rdtscp"
#elif defined(__aarch64__)
static inline uint64_t clock_start(void) {
  uint64_t t;
  __asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(t) : : "memory");
  return t;
}
#define clock_stop clock_start
#define CLOCK "cntvct"
#else
static inline uint64_t clock_start(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
#define clock_stop clock_start
#define CLOCK "clock_gettime"
#endif

uint64_t ums_bench_ticks(void) { return clock_stop(); }

const char *ums_bench_clock(void) { return CLOCK; }

const char *ums_bench_compiler(void) {
#if defined(__clang__)
  return __VERSION__;
#else
  return "gcc " __VERSION__;
#endif
}

/* A register is added, not a constant: cores that fold constant additions away would run this faster than they are. */
uint64_t ums_bench_chain(uint64_t adds) {
  uint64_t sum = 0, one = 1;
  const uint64_t start = clock_start();
  for (uint64_t i = 0; i < adds; i += 16) {
#define STEP                                                                                                           \
  sum += one;                                                                                                          \
  __asm__ volatile("" : "+r"(sum), "+r"(one));
    STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP
#undef STEP
  }
  return clock_stop() - start;
}

/* ------------------------------------------------------------------------------------------------- packets -- */

static void fill_payload(uint8_t *out, size_t len, uint32_t seed) {
  for (size_t i = 0; i < len; i++) {
    seed = seed * 1664525u + 1013904223u;
    out[i] = (uint8_t)(seed >> 24);
  }
}

static void plain_template(uint8_t *p, const ums_bench_setup *s, uint32_t slot) {
  fill_payload(p, s->plain_len, slot);
  if (!s->config.rtcp) {
    p[0] = 0x80;
    p[1] = 96;
    return;
  }
  const uint32_t sdes = s->plain_len - SR_LEN;
  p[0] = 0x80; /* SR, no report blocks */
  p[1] = 200;
  ums_store16(p + 2, SR_LEN / 4 - 1);
  p[SR_LEN] = 0x81; /* SDES of one chunk: CNAME, end of the chunk */
  p[SR_LEN + 1] = 202;
  ums_store16(p + SR_LEN + 2, (uint16_t)(sdes / 4 - 1));
  p[SR_LEN + 8] = 1;
  p[SR_LEN + 9] = (uint8_t)(sdes - 12);
  p[s->plain_len - 2] = p[s->plain_len - 1] = 0;
}

static uint8_t *plain_of(const ums_bench *b, size_t slot) { return b->plain + slot * UMS_BENCH_STRIDE; }

static ums_srtp *partner_of(const ums_bench *b, uint32_t context) {
  return (ums_srtp *)(void *)(b->partners + context * b->partner_size);
}

static uint32_t context_of(const ums_bench *b, size_t slot) { return b->stream[slot] / b->setup.config.n_ssrc; }

static ums_status partners_protect(ums_bench *b) {
  ums_packet packet[BATCH];
  ums_srtp *ctx[BATCH];
  for (size_t i = 0; i < BATCH; i++) {
    packet[i] = (ums_packet){
        .data = b->data[i], .len = b->setup.plain_len, .capacity = UMS_BENCH_STRIDE, .rtcp = b->setup.config.rtcp};
    ctx[i] = partner_of(b, context_of(b, i));
  }
  return ums_srtp_protect(ctx, packet, BATCH) == BATCH ? UMS_OK : UMS_ENGINE;
}

/* Packets of the next streams in turn, in every slot. */
static ums_status fill_slots(ums_bench *b) {
  const ums_bench_setup *s = &b->setup;
  const uint32_t n_streams = s->config.n_contexts * s->config.n_ssrc;
  for (size_t i = 0; i < BATCH; i++) {
    const uint32_t stream = b->next_stream;
    b->next_stream = stream + 1 == n_streams ? 0 : stream + 1;
    b->stream[i] = stream;
    uint8_t *p = plain_of(b, i);
    if (s->config.rtcp) {
      ums_store32(p + 4, s->first_ssrc + stream);
    } else {
      ums_store16(p + 2, b->next_seq[stream]++);
      ums_store32(p + 8, s->first_ssrc + stream);
    }
    memcpy(b->data[i], p, s->plain_len);
  }
  return s->config.operation == UMS_BENCH_UNPROTECT ? partners_protect(b) : UMS_OK;
}

static ums_status init_partner(const ums_bench *b, uint32_t context);

static ums_status check_slot(ums_bench *b, size_t slot) {
  const ums_bench_setup *s = &b->setup;
  if (s->config.operation != UMS_BENCH_UNPROTECT) {
    const uint32_t context = context_of(b, slot);
    if (context >= b->n_partners)
      return UMS_OK;
    /* A context made anew counts its roll-overs anew. */
    const ums_status status = s->config.operation == UMS_BENCH_SETUP ? init_partner(b, context) : UMS_OK;
    if (status != UMS_OK)
      return status;
    ums_packet packet = {
        .data = b->data[slot], .len = s->secured_len, .capacity = UMS_BENCH_STRIDE, .rtcp = s->config.rtcp};
    ums_srtp *ctx = partner_of(b, context);
    if (ums_srtp_unprotect(&ctx, &packet, 1) != 1)
      return (ums_status)packet.status;
  }
  return memcmp(b->data[slot], plain_of(b, slot), s->plain_len) == 0 ? UMS_OK : UMS_BAD_PACKET;
}

/* --------------------------------------------------------------------------------------------------- bench -- */

static ums_srtp_config context_config(const ums_bench_setup *s, const ums_master_key *key, int direction) {
  return (ums_srtp_config){.suite = s->config.suite,
                           .direction = (uint8_t)direction,
                           .n_keys = 1,
                           .max_ssrc = (uint16_t)s->config.n_ssrc,
                           .rtp_window = WINDOW,
                           .rtcp_window = WINDOW,
                           .keys = key};
}

static ums_master_key master_key(const ums_bench_setup *s, uint32_t context) {
  return (ums_master_key){.key = s->keys[context].key, .salt = s->keys[context].salt};
}

static ums_status init_partner(const ums_bench *b, uint32_t context) {
  const int direction = b->setup.config.operation == UMS_BENCH_UNPROTECT ? UMS_SEND : UMS_RECEIVE;
  const ums_master_key key = master_key(&b->setup, context);
  const ums_srtp_config cfg = context_config(&b->setup, &key, direction);
  return ums_srtp_init(partner_of(b, context), b->partner_size, &cfg, NULL);
}

static ums_status open_partners(ums_bench *b) {
  const int unprotect = b->setup.config.operation == UMS_BENCH_UNPROTECT;
  const ums_master_key key = master_key(&b->setup, 0);
  const ums_srtp_config cfg = context_config(&b->setup, &key, unprotect ? UMS_SEND : UMS_RECEIVE);
  const uint32_t n = b->setup.config.n_contexts;
  b->n_partners = unprotect || n < MAX_CHECKED ? n : MAX_CHECKED;
  b->partner_size = ums_srtp_sizeof(&cfg);
  ums_status status = ums_arena_open(&b->arena, b->n_partners * b->partner_size);
  b->partners = b->arena.base;
  for (uint32_t i = 0; status == UMS_OK && i < b->n_partners; i++)
    status = init_partner(b, i);
  return status;
}

static ums_status make_keys(ums_bench *b) {
  const ums_suite_info *info = b->setup.suite;
  const uint8_t label = b->setup.config.rtcp ? 3 : 0; /* RFC 3711, 4.3.2 */
  ums_status status = UMS_OK;
  for (uint32_t i = 0; i < b->setup.config.n_contexts && status == UMS_OK; i++) {
    ums_bench_keys *k = &b->keys[i];
    fill_payload(k->key, sizeof k->key, 2 * i);
    fill_payload(k->salt, sizeof k->salt, 2 * i + 1);
    uint8_t *const out[3] = {k->cipher_key, k->auth_key, k->cipher_salt};
    const uint8_t len[3] = {info->key_len, info->auth_key_len, info->salt_len};
    for (uint8_t j = 0; j < 3 && status == UMS_OK; j++)
      if (len[j] > 0)
        status = ums_kdf(k->key, info->key_len, k->salt, info->salt_len, (uint8_t)(label + j), out[j], len[j]);
  }
  return status;
}

static int config_valid(const ums_bench_config *c, const ums_suite_info *info) {
  if (info == NULL || c->n_contexts < 1 || c->n_contexts > 1u << 20 || c->n_ssrc < 1 || c->n_ssrc > 1024)
    return 0;
  if (c->operation > UMS_BENCH_SETUP || (c->operation == UMS_BENCH_SETUP && c->n_contexts < BATCH))
    return 0;
  if (c->rtcp && (c->payload < MIN_RTCP || c->payload % 4 != 0))
    return 0;
  return c->payload <= UMS_BENCH_STRIDE - RTP_HEADER - UMS_MAX_TRAILER;
}

static ums_status open_parts(ums_bench *b, const ums_bench_config *cfg, const ums_suite_info *info) {
  const uint32_t n_streams = cfg->n_contexts * cfg->n_ssrc;
  b->keys = calloc(cfg->n_contexts, sizeof *b->keys);
  b->next_seq = calloc(n_streams, sizeof *b->next_seq);
  b->slots = aligned_alloc(64, (size_t)BATCH * UMS_BENCH_STRIDE);
  b->plain = aligned_alloc(64, (size_t)BATCH * UMS_BENCH_STRIDE);
  if (b->keys == NULL || b->next_seq == NULL || b->slots == NULL || b->plain == NULL)
    return UMS_SYSTEM;
  for (size_t i = 0; i < BATCH; i++)
    b->data[i] = b->slots + i * UMS_BENCH_STRIDE;
  const uint32_t plain_len = cfg->rtcp ? cfg->payload : RTP_HEADER + cfg->payload;
  const uint32_t trailer = cfg->rtcp ? 4u + info->rtcp_tag : info->rtp_tag;
  b->setup = (ums_bench_setup){.config = *cfg,
                               .suite = info,
                               .keys = b->keys,
                               .first_ssrc = FIRST_SSRC,
                               .plain_len = plain_len,
                               .secured_len = plain_len + trailer,
                               .data = b->data,
                               .stream = b->stream};
  for (uint32_t i = 0; i < BATCH; i++)
    plain_template(plain_of(b, i), &b->setup, i);
  ums_status status = make_keys(b);
  if (status == UMS_OK)
    status = open_partners(b);
  if (status != UMS_OK)
    return status;
  b->state = b->subject->open(&b->setup);
  return b->state != NULL ? UMS_OK : UMS_UNSUPPORTED;
}

ums_status ums_bench_open(const ums_bench_config *cfg, const ums_bench_subject *subject, ums_bench **out) {
  *out = NULL;
  const ums_suite_info *info = ums_suite_find(cfg->suite);
  if (!config_valid(cfg, info) || subject == NULL)
    return UMS_BAD_ARGUMENT;
  if (cfg->operation == UMS_BENCH_SETUP && subject->renew == NULL)
    return UMS_UNSUPPORTED;
  ums_bench *b = calloc(1, sizeof *b);
  if (b == NULL)
    return UMS_SYSTEM;
  b->subject = subject;
  const ums_status status = open_parts(b, cfg, info);
  if (status != UMS_OK)
    ums_bench_close(b);
  else
    *out = b;
  return status;
}

void ums_bench_close(ums_bench *b) {
  if (b == NULL)
    return;
  if (b->state != NULL)
    b->subject->close(b->state);
  ums_arena_close(&b->arena);
  free(b->keys);
  free(b->next_seq);
  free(b->slots);
  free(b->plain);
  free(b);
}

/* One batch. Every packet is checked when `all`, else one, a different one each time. */
static ums_status sample(ums_bench *b, uint32_t burst, int all, uint64_t *ticks) {
  const ums_bench_subject *subject = b->subject;
  void *state = b->state;
  const int renews = b->setup.config.operation == UMS_BENCH_SETUP;
  size_t (*timed)(void *, size_t, size_t) = renews ? subject->renew : subject->run;
  ums_status status = fill_slots(b);
  if (status != UMS_OK)
    return status;
  subject->prepare(state);

  size_t ok = 0;
  const uint64_t start = clock_start();
  for (size_t first = 0; first < BATCH; first += burst)
    ok += timed(state, first, burst);
  *ticks = clock_stop() - start;

  if (ok == BATCH && renews)
    ok = subject->run(state, 0, BATCH);
  if (ok != BATCH)
    return UMS_BAD_PACKET;
  for (size_t i = 0; all && status == UMS_OK && i < BATCH; i++)
    status = check_slot(b, i);
  return all ? status : check_slot(b, b->turn++ % BATCH);
}

size_t ums_bench_run(ums_bench *b, uint32_t burst, uint64_t ticks[], size_t n, uint64_t budget, ums_status *status) {
  const uint64_t start = clock_stop();
  size_t done = 0;
  uint64_t untimed;
  if (burst == 0 || BATCH % burst != 0) {
    *status = UMS_BAD_ARGUMENT;
    return 0;
  }
  *status = sample(b, burst, 1, &untimed);
  while (*status == UMS_OK && done < n) {
    *status = sample(b, burst, 0, &ticks[done]);
    if (*status != UMS_OK)
      break;
    done++;
    if (clock_stop() - start >= budget)
      break;
  }
  return done;
}

/* ---------------------------------------------------------------------------------------- this core as subject -- */

#define GUARD_ROOM 64 /* keeps the contexts aligned */

typedef struct core_state {
  const ums_bench_setup *setup;
  ums_arena arena;  /* the guard, then the contexts */
  ums_guard *guard; /* one for all: they are used together, as a relay's are */
  size_t size;      /* octets of a context */
  ums_srtp *ctx[BATCH];
  ums_packet packet[BATCH];
} core_state;

static ums_srtp *core_context(const core_state *c, uint32_t i) {
  return (ums_srtp *)(void *)((uint8_t *)c->arena.base + GUARD_ROOM + i * c->size);
}

static ums_status core_init(const core_state *c, uint32_t i) {
  const ums_master_key key = master_key(c->setup, i);
  const int direction = c->setup->config.operation == UMS_BENCH_UNPROTECT ? UMS_RECEIVE : UMS_SEND;
  ums_srtp_config cfg = context_config(c->setup, &key, direction);
  cfg.guard = c->guard;
  return ums_srtp_init(core_context(c, i), c->size, &cfg, c->setup->config.engine);
}

static void core_close(void *state) {
  core_state *c = state;
  ums_arena_close(&c->arena);
  free(c);
}

static void *core_open(const ums_bench_setup *setup) {
  core_state *c = calloc(1, sizeof *c);
  if (c == NULL)
    return NULL;
  c->setup = setup;
  const ums_master_key key = master_key(setup, 0);
  const ums_srtp_config cfg = context_config(setup, &key, UMS_RECEIVE); /* the larger one */
  c->size = ums_srtp_sizeof(&cfg);
  ums_status status = ums_arena_open(&c->arena, GUARD_ROOM + setup->config.n_contexts * c->size);
  c->guard = c->arena.base;
  if (status == UMS_OK)
    status = ums_guard_init(c->guard, GUARD_ROOM);
  for (uint32_t i = 0; status == UMS_OK && i < setup->config.n_contexts; i++)
    status = core_init(c, i);
  if (status == UMS_OK)
    return c;
  core_close(c);
  return NULL;
}

static void core_prepare(void *state) {
  core_state *c = state;
  const ums_bench_setup *s = c->setup;
  const int unprotect = s->config.operation == UMS_BENCH_UNPROTECT;
  for (size_t i = 0; i < BATCH; i++) {
    c->ctx[i] = core_context(c, s->stream[i] / s->config.n_ssrc);
    c->packet[i] = (ums_packet){.data = s->data[i],
                                .len = unprotect ? s->secured_len : s->plain_len,
                                .capacity = UMS_BENCH_STRIDE,
                                .rtcp = s->config.rtcp};
  }
}

static size_t core_run(void *state, size_t first, size_t n) {
  core_state *c = state;
  return c->setup->config.operation == UMS_BENCH_UNPROTECT ? ums_srtp_unprotect(c->ctx + first, c->packet + first, n)
                                                           : ums_srtp_protect(c->ctx + first, c->packet + first, n);
}

static size_t core_renew(void *state, size_t first, size_t n) {
  const core_state *c = state;
  size_t ok = 0;
  for (size_t i = first; i < first + n; i++) {
    ums_srtp_wipe(core_context(c, (uint32_t)i));
    ok += core_init(c, (uint32_t)i) == UMS_OK;
  }
  return ok;
}

const ums_bench_subject *ums_bench_core(void) {
  static const ums_bench_subject core = {.name = "core",
                                         .batched = 1,
                                         .open = core_open,
                                         .prepare = core_prepare,
                                         .run = core_run,
                                         .renew = core_renew,
                                         .close = core_close};
  return &core;
}
