/*
 * A thin SRTP layer for libraries that have the algorithms only: ROC of a stream that never loses a packet, IV, where
 * the tag goes. It does not look at the header, look up the SSRC or keep a replay list, so it costs less than SRTP.
 * RFC 3711, 4.1.1 and 4.2; RFC 7714, 8.1.
 */
#ifndef UEAGENT_BENCH_THIN_H
#define UEAGENT_BENCH_THIN_H

#include <stdlib.h>
#include <string.h>

#include "ums.h"

/* What every peer's shared library exports. */
#define PEER_EXPORT __attribute__((visibility("default")))
const ums_bench_subject *ueagent_bench_peer(size_t i); /* NULL when out of range */
const char *ueagent_bench_peer_version(void);

#define THIN_HEADER 12

static inline uint64_t thin_load64(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return __builtin_bswap64(v);
}
static inline void thin_store64(uint8_t *p, uint64_t v) {
  v = __builtin_bswap64(v);
  memcpy(p, &v, 8);
}
static inline void thin_store32(uint8_t *p, uint32_t v) {
  v = __builtin_bswap32(v);
  memcpy(p, &v, 4);
}
static inline uint32_t thin_load32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return __builtin_bswap32(v);
}
static inline uint16_t thin_seq(const uint8_t *p) { return (uint16_t)((p[2] << 8) | p[3]); }

typedef struct thin_stream {
  uint32_t roc;
  uint16_t last;
} thin_stream;

static inline uint32_t thin_roc(thin_stream *s, uint16_t seq) {
  s->roc += seq < s->last;
  s->last = seq;
  return s->roc;
}

typedef struct thin_salt { /* as a 16-octet block; 12-octet salts end with the block's 12th octet */
  uint64_t hi, lo;
} thin_salt;

static inline thin_salt thin_salt_of(const uint8_t *salt, size_t len) {
  uint8_t block[16] = {0};
  memcpy(block, salt, len);
  return (thin_salt){thin_load64(block), thin_load64(block + 8)};
}

static inline void thin_cm_iv(const thin_salt *salt, uint32_t ssrc, uint32_t roc, uint16_t seq, uint8_t iv[16]) {
  thin_store64(iv, salt->hi ^ ssrc);
  thin_store64(iv + 8, salt->lo ^ ((uint64_t)roc << 32 | (uint64_t)seq << 16));
}

static inline void thin_gcm_iv(const thin_salt *salt, uint32_t ssrc, uint32_t roc, uint16_t seq, uint8_t iv[16]) {
  thin_store64(iv, salt->hi ^ ((uint64_t)ssrc << 16 | roc >> 16));
  thin_store64(iv + 8, salt->lo ^ ((uint64_t)roc << 48 | (uint64_t)seq << 32));
}

static inline uint32_t thin_streams(const ums_bench_setup *s) { return s->config.n_contexts * s->config.n_ssrc; }

/* RTP, and no key set-up: a thin layer has neither SRTCP nor a key derivation. */
static inline int thin_can(const ums_bench_setup *s) {
  return !s->config.rtcp && s->config.operation != UMS_BENCH_SETUP;
}

#endif
