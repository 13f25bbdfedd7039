/*
 * What every file of the core may use: big-endian access, wiping, the fork generation, session keys.
 *
 * All network formats here are big-endian (RFC 3711, 2). Loads and stores go through memcpy, so alignment does not
 * matter; compilers turn them into single instructions (spelt octet by octet, gcc 12 does not).
 */
#ifndef UMS_CORE_H
#define UMS_CORE_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "ums.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define UMS_BE16 __builtin_bswap16
#define UMS_BE32 __builtin_bswap32
#define UMS_BE64 __builtin_bswap64
#else
#define UMS_BE16(v) (v)
#define UMS_BE32(v) (v)
#define UMS_BE64(v) (v)
#endif

#define UMS_ACCESS(bits)                                                                                               \
  static inline uint##bits##_t ums_load##bits(const uint8_t *p) {                                                      \
    uint##bits##_t v;                                                                                                  \
    memcpy(&v, p, sizeof v);                                                                                           \
    return UMS_BE##bits(v);                                                                                            \
  }                                                                                                                    \
  static inline void ums_store##bits(uint8_t *p, uint##bits##_t v) {                                                   \
    v = UMS_BE##bits(v);                                                                                               \
    memcpy(p, &v, sizeof v);                                                                                           \
  }
UMS_ACCESS(16)
UMS_ACCESS(32)
UMS_ACCESS(64)
#undef UMS_ACCESS

/*
 * The verdict on a tag: the one bit computed from secrets that a branch may depend on. A core built to be watched by
 * valgrind with its keys poisoned (native/tests/memcheck.c) says so here.
 */
#ifdef UMS_MEMCHECK
#include <valgrind/memcheck.h>
static inline int ums_verdict(int verdict) {
  VALGRIND_MAKE_MEM_DEFINED(&verdict, sizeof verdict);
  return verdict;
}
static inline void ums_publish(void *p, size_t len) { VALGRIND_MAKE_MEM_DEFINED(p, len); }
#else
static inline void ums_publish(void *p, size_t len) { (void)p, (void)len; } /* octets that are about to be told */
static inline int ums_verdict(int verdict) { return verdict; }
#endif

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

/*
 * Clears the stack below the caller. Where registers run out, compilers keep round keys there and nobody can name the
 * places; so what a burst or the preparation of a key left behind goes when the key does.
 */
void ums_scrub_stack(void);

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
