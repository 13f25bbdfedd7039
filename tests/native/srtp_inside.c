/*
 * What packets alone cannot reach in a test's time, shown from inside: counters set near their ends, engines that fail.
 * Each case is a function; the program runs the one that is named and exits with 0 when it holds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "srtp.h"

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                  \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

static const uint8_t KEY[32] = {1}, SALT[14] = {2};

/* An engine made of the portable one, with a fault. */
static ums_engine faulty;
static size_t submits, jobs_seen, loads_left;

static size_t submit_nothing(const ums_engine *e, ums_job *const job[], size_t n) {
  (void)e, (void)job, (void)n;
  return 0;
}

static size_t submit_spoiling(const ums_engine *e, ums_job *const job[], size_t n) {
  (void)e;
  for (size_t i = 0; i < n; i++) {
    memset(job[i]->data + job[i]->cipher_off, 'x', job[i]->cipher_len);
    job[i]->status = UMS_ENGINE;
  }
  return n;
}

static size_t submit_counting(const ums_engine *e, ums_job *const job[], size_t n) {
  (void)e;
  submits++;
  jobs_seen += n;
  const ums_engine *portable = ums_engine_find("portable");
  return portable->submit(portable, job, n);
}

static ums_status load_some(const ums_engine *e, ums_key *out, const ums_session_key *key) {
  (void)e;
  const ums_engine *portable = ums_engine_find("portable");
  return loads_left-- > 0 ? portable->load_key(portable, out, key) : UMS_ENGINE;
}

static const ums_engine *with_submit(size_t (*submit)(const ums_engine *, ums_job *const[], size_t)) {
  faulty = *ums_engine_find("portable");
  faulty.name = "faulty";
  faulty.submit = submit;
  return &faulty;
}

static ums_srtp *context(int direction, const ums_engine *engine) {
  static _Alignas(64) uint8_t memory[8][32768];
  static size_t used;
  CHECK(used < 8);
  const ums_master_key master = {.key = KEY, .salt = SALT};
  const ums_srtp_config cfg = {.suite = UMS_AES_CM_128_HMAC_SHA1_80,
                               .direction = (uint8_t)direction,
                               .n_keys = 1,
                               .max_ssrc = 4,
                               .rtp_window = 64,
                               .rtcp_window = 64,
                               .keys = &master};
  ums_srtp *c = (ums_srtp *)(void *)memory[used++];
  CHECK(ums_srtp_init(c, sizeof memory[0], &cfg, engine) == UMS_OK);
  return c;
}

static uint8_t buffer[256];

static ums_packet rtp(uint32_t ssrc, uint16_t seq) {
  memset(buffer, 'p', sizeof buffer);
  buffer[0] = 0x80;
  ums_store16(buffer + 2, seq);
  ums_store32(buffer + 8, ssrc);
  return (ums_packet){.data = buffer, .len = 60, .capacity = sizeof buffer};
}

static ums_packet rtcp(uint32_t ssrc) {
  memset(buffer, 'p', sizeof buffer);
  ums_store32(buffer, 0x80c80006);
  ums_store32(buffer + 4, ssrc);
  return (ums_packet){.data = buffer, .len = 28, .capacity = sizeof buffer, .rtcp = 1};
}

static ums_status send(ums_srtp *c, ums_packet p) {
  CHECK(ums_srtp_protect(&c, &p, 1) == (p.status == UMS_OK));
  return (ums_status)p.status;
}

/* SRTP-8: 2^48 indices per SSRC. */
static void rtp_index_ends(void) {
  ums_srtp *tx = context(UMS_SEND, NULL), *rx = context(UMS_RECEIVE, NULL);
  CHECK(send(tx, rtp(1, 0xfffe)) == UMS_OK);
  ums_streams_at(&tx->streams, 0)->window[UMS_RTP].next = ((uint64_t)1 << 48) - 1; /* next is 2^48 - 1: SEQ 0xffff */
  ums_packet last = rtp(1, 0xffff);
  CHECK(ums_srtp_protect(&tx, &last, 1) == 1);
  ums_streams_bind(&rx->streams, 1)->window[UMS_RTP].next = ((uint64_t)1 << 48) - 1;
  CHECK(ums_srtp_unprotect(&rx, &last, 1) == 1);
  CHECK(send(tx, rtp(1, 0)) == UMS_KEY_EXPIRED);
  CHECK(send(tx, rtp(1, 0xffff)) == UMS_REPLAY);
  CHECK(send(tx, rtp(2, 0)) == UMS_OK);
  ums_packet beyond = rtp(1, 0);
  beyond.len += 10;
  CHECK(ums_srtp_unprotect(&rx, &beyond, 1) == 0 && beyond.status == UMS_KEY_EXPIRED);
}

/* SRTP-8: the 31-bit SRTCP index never wraps. */
static void rtcp_index_ends(void) {
  ums_srtp *tx = context(UMS_SEND, NULL);
  CHECK(send(tx, rtcp(1)) == UMS_OK);
  ums_streams_at(&tx->streams, 0)->window[UMS_RTCP].next = 0x7fffffff;
  CHECK(send(tx, rtcp(1)) == UMS_OK && ums_load32(buffer + 28) == 0xffffffff);
  CHECK(send(tx, rtcp(1)) == UMS_KEY_EXPIRED);
  CHECK(send(tx, rtcp(2)) == UMS_OK);
}

/* SRTP-8, SDES-19: 2^31 - 1 SRTCP and 2^48 SRTP packets per key without any lifetime named. */
static void key_counts_end(void) {
  ums_srtp *tx = context(UMS_SEND, NULL);
  tx->masters[0].used[UMS_RTCP] = ((uint64_t)1 << 31) - 2;
  CHECK(send(tx, rtcp(1)) == UMS_OK && (ums_srtp_notes(tx) & UMS_NOTE_HARD));
  CHECK(send(tx, rtcp(1)) == UMS_KEY_EXPIRED && send(tx, rtcp(2)) == UMS_KEY_EXPIRED);
  tx->masters[0].used[UMS_RTP] = ((uint64_t)1 << 48) - 1;
  CHECK(send(tx, rtp(1, 1)) == UMS_OK);
  CHECK(send(tx, rtp(1, 2)) == UMS_KEY_EXPIRED);
}

/* A sending index is spent when its job is built, whatever happens later. */
static void failed_engine_spends_the_index(void) {
  ums_srtp *tx = context(UMS_SEND, with_submit(submit_nothing));
  CHECK(send(tx, rtp(1, 7)) == UMS_ENGINE && send(tx, rtcp(1)) == UMS_ENGINE);
  CHECK(ums_srtp_set_engine(tx, NULL) == UMS_OK);
  CHECK(send(tx, rtp(1, 7)) == UMS_REPLAY && send(tx, rtp(1, 8)) == UMS_OK);
  CHECK(send(tx, rtcp(1)) == UMS_OK && ums_load32(buffer + 28) == 0x80000002);
  ums_srtp_stats s;
  ums_srtp_stats_get(tx, &s);
  CHECK(s.engine == 2 && s.packets == 1 && s.key_packets == 2);
}

static void failed_engine_leaves_no_trace_of_a_received_packet(void) {
  ums_srtp *tx = context(UMS_SEND, NULL), *rx = context(UMS_RECEIVE, with_submit(submit_spoiling));
  ums_packet p = rtp(1, 7);
  CHECK(ums_srtp_protect(&tx, &p, 1) == 1);
  CHECK(ums_srtp_unprotect(&rx, &p, 1) == 0 && p.status == UMS_ENGINE && p.len == 70);
  for (int i = 12; i < 60; i++)
    CHECK(buffer[i] == 0);
  CHECK(ums_streams_count(&rx->streams) == 0 && !ums_srtp_knows(rx, 1));
}

static void engine_that_cannot_load_leaves_the_old_one(void) {
  for (loads_left = 0; loads_left < 2;) {
    const size_t loads = loads_left;
    ums_srtp *tx = context(UMS_SEND, NULL);
    const ums_engine *before = ums_srtp_engine(tx);
    CHECK(send(tx, rtp(1, 7)) == UMS_OK);
    with_submit(submit_nothing);
    faulty.load_key = load_some;
    CHECK(ums_srtp_set_engine(tx, &faulty) == UMS_ENGINE && ums_srtp_engine(tx) == before);
    CHECK(send(tx, rtp(1, 7)) == UMS_REPLAY && send(tx, rtp(1, 8)) == UMS_OK);
    loads_left = loads + 1;
  }
}

static void asynchronous_engine_is_unsupported(void) {
  ums_srtp *tx = context(UMS_SEND, NULL);
  with_submit(submit_nothing);
  faulty.flags = UMS_ENGINE_ASYNC;
  CHECK(ums_srtp_set_engine(tx, &faulty) == UMS_UNSUPPORTED && send(tx, rtp(1, 7)) == UMS_OK);
}

static void neighbours_with_one_engine_go_in_one_submit(void) {
  ums_srtp *own[3] = {context(UMS_SEND, with_submit(submit_counting)), context(UMS_SEND, &faulty),
                      context(UMS_SEND, ums_engine_find("portable"))};
  static uint8_t space[100][128];
  ums_packet p[100];
  ums_srtp *ctx[100];
  for (uint16_t i = 0; i < 100; i++) {
    const ums_packet one = rtp(i % 2, i);
    memcpy(space[i], one.data, 60);
    p[i] = (ums_packet){.data = space[i], .len = 60, .capacity = 128};
    ctx[i] = own[i == 50 ? 2 : i % 2]; /* two contexts of the engine in turn; once another engine */
  }
  CHECK(ums_srtp_protect(ctx, p, 100) == 100);
  CHECK(jobs_seen == 99 && submits == 3); /* 0..49, 51..63, and the next burst */
}

/* For the relay: a packet tried here first turned out to belong to another context. */
static void refusal_is_taken_back(void) {
  ums_srtp *rx = context(UMS_RECEIVE, NULL);
  ums_packet p = rtp(1, 7);
  ums_srtp_stats s;
  ums_stream_stats one;
  const ums_stream *stream = ums_streams_bind(&rx->streams, 1);
  CHECK(ums_srtp_unprotect(&rx, &p, 1) == 0 && p.status == UMS_AUTH_FAIL);
  CHECK(ums_srtp_streams(rx, &one, 1) == 1 && one.ssrc == stream->ssrc && one.auth_fail == 1);
  ums_srtp_forgive(rx, 1, UMS_AUTH_FAIL);
  ums_srtp_forgive(rx, 1, UMS_AUTH_FAIL);
  ums_srtp_stats_get(rx, &s);
  CHECK(s.auth_fail == 0);
  CHECK(ums_srtp_streams(rx, &one, 1) == 1 && one.auth_fail == 0);
}

/* Notes are set once their event has come. */
static void notes_tell_what_happened(void) {
  ums_srtp *tx = context(UMS_SEND, NULL);
  CHECK(send(tx, rtp(1, 5)) == UMS_OK && ums_srtp_notes(tx) == 0);
  CHECK(send(tx, rtp(2, 0x8000)) == UMS_OK && ums_srtp_notes(tx) == UMS_NOTE_LATE_START);
  for (int i = 0; i < 32; i++)
    send(tx, rtp(1, 5));
  CHECK(ums_srtp_notes(tx) == (UMS_NOTE_LATE_START | UMS_NOTE_HELD));
}

#define CASE(name)                                                                                                     \
  { #name, name }
static const struct {
  const char *name;
  void (*run)(void);
} CASES[] = {
    CASE(rtp_index_ends),
    CASE(rtcp_index_ends),
    CASE(key_counts_end),
    CASE(failed_engine_spends_the_index),
    CASE(failed_engine_leaves_no_trace_of_a_received_packet),
    CASE(engine_that_cannot_load_leaves_the_old_one),
    CASE(asynchronous_engine_is_unsupported),
    CASE(neighbours_with_one_engine_go_in_one_submit),
    CASE(refusal_is_taken_back),
    CASE(notes_tell_what_happened),
};

int main(int argc, char **argv) {
  for (size_t i = 0; argc == 2 && i < sizeof CASES / sizeof CASES[0]; i++) {
    if (strcmp(argv[1], CASES[i].name) != 0)
      continue;
    CASES[i].run();
    return 0;
  }
  return 2;
}
