/*
 * What every file of the core may use: big-endian access, wiping, the fork generation, session keys.
 *
 * All network formats here are big-endian (RFC 3711, 2); loads and stores go octet by octet, so neither the machine's
 * byte order nor its alignment rules matter. Compilers turn them into single instructions.
 */
#ifndef UMS_CORE_H
#define UMS_CORE_H

#include <stdatomic.h>
#include <stdint.h>

#include "ums.h"

static inline uint16_t ums_load16(const uint8_t *p) { return (uint16_t)((p[0] << 8) | p[1]); }

static inline uint32_t ums_load32(const uint8_t *p) {
  return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}

static inline uint64_t ums_load64(const uint8_t *p) { return ((uint64_t)ums_load32(p) << 32) | ums_load32(p + 4); }

static inline void ums_store16(uint8_t *p, uint16_t v) {
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

static inline void ums_store32(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)(v >> 24);
  p[1] = (uint8_t)(v >> 16);
  p[2] = (uint8_t)(v >> 8);
  p[3] = (uint8_t)v;
}

static inline void ums_store64(uint8_t *p, uint64_t v) {
  ums_store32(p, (uint32_t)(v >> 32));
  ums_store32(p + 4, (uint32_t)v);
}

/*
 * How often this process image has been forked: a child of fork() sees a larger number than its parent. An object
 * remembers the number it was made under and answers UMS_FORKED when it has changed.
 */
extern atomic_uint ums_fork_count;
static inline uint32_t ums_fork_generation(void) { return atomic_load_explicit(&ums_fork_count, memory_order_relaxed); }

/* Session keys of one master key for RTP or for RTCP (RFC 3711, 4.3). The owner wipes it. */
typedef struct ums_session_keys {
  uint8_t cipher_key[32], auth_key[20], salt[14];
  uint8_t cipher_key_len, auth_key_len, salt_len; /* salt_len: 14, or 12 for GCM */
} ums_session_keys;

#define UMS_RTP 0 /* the same numbers as ums_packet.rtcp */
#define UMS_RTCP 1

/* All session keys of one master key, whose lengths are the suite's: out[UMS_RTP], out[UMS_RTCP]. */
void ums_derive_session_keys(const ums_suite_info *suite, const uint8_t *key, const uint8_t *salt,
                             ums_session_keys out[2]);

/* `keys` as load_key of an engine wants them; points into `keys`. */
static inline ums_session_key ums_session_key_view(const ums_suite_info *suite, const ums_session_keys *keys) {
  return (ums_session_key){.transform = suite->transform,
                           .cipher_key_len = keys->cipher_key_len,
                           .auth_key_len = keys->auth_key_len,
                           .cipher_key = keys->cipher_key,
                           .auth_key = keys->auth_key};
}

#endif
