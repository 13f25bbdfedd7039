/*
 * What engines share. A CPU engine is one file that defines one constant `ums_engine`; it prepares keys in ums_key,
 * runs whole bursts in submit and finishes them there. The two orders of work below, which decide what a failed
 * packet leaves behind, are written once.
 */
#ifndef UMS_ENGINE_H
#define UMS_ENGINE_H

#include <string.h>

#include "core.h"
#include "prim/prim.h"

/* Weak: an engine that was not built for this machine has the address NULL, and its row in ENGINES is empty. */
extern const ums_engine ums_engine_portable;
extern const ums_engine ums_engine_aesni __attribute__((weak));
extern const ums_engine ums_engine_vaes256 __attribute__((weak));
extern const ums_engine ums_engine_vaes512 __attribute__((weak));
extern const ums_engine ums_engine_armv8ce __attribute__((weak));

/* Changes with every call of ums_engine_corrupt_test, so that remembered verdicts can be told to be old. */
unsigned ums_engine_corrupt_epoch(void);

#define UMS_GCM_TAG 16
#define UMS_GCM_IV 12

/* What the CPU engines can do: AES-CM with 16, 24, 32 octets, GCM with 16, 32, and HMAC alone with any. */
static inline int ums_cpu_supports(ums_transform t, size_t cipher_key_len) {
  switch (t) {
  case UMS_AES_CM:
    return cipher_key_len == 16 || cipher_key_len == 24 || cipher_key_len == 32;
  case UMS_AES_GCM:
    return cipher_key_len == 16 || cipher_key_len == 32;
  case UMS_NULL_CIPHER:
    return 1;
  }
  return 0;
}

/* A tag and a tail that an engine may touch. On the receiving side there is no such thing as an empty tag. */
static inline int ums_job_lengths_ok(const ums_job *job, size_t max_tag) {
  return job->tag_len <= max_tag && job->tail_len <= sizeof job->tail &&
         (job->tag_len > 0 || (job->flags & UMS_JOB_ENCRYPT) != 0);
}

/*
 * For loops over a length that also count blocks: a compiler may see that the loop could as well end when the counter
 * gets somewhere, and the counter contains salt. Behind this it knows nothing about the length any more.
 */
#define UMS_OPAQUE(length) __asm__("" : "+r"(length))

/* XORs the keystream that belongs to the job's IV to its cipher range. */
typedef void ums_cipher_range(const void *cipher, const ums_job *job);

/* RFC 3711, 3.3: encrypt, then MAC; receiving: verify, and decrypt only what verified. `cipher` NULL: no encryption. */
static inline ums_status ums_run_hmac_job(ums_job *job, const ums_hmac_sha1 *hmac, ums_sha1_blocks *blocks,
                                          ums_cipher_range *cipher_range, const void *cipher) {
  uint8_t mac[UMS_SHA1_DIGEST];
  if (!ums_job_lengths_ok(job, sizeof mac))
    return UMS_ENGINE;
  int encrypt = (job->flags & UMS_JOB_ENCRYPT) != 0;
  if (encrypt && cipher != NULL)
    cipher_range(cipher, job);
  ums_hmac_sha1_mac(hmac, blocks, job->data, job->auth_len, job->tail, job->tail_len, mac);
  if (encrypt) {
    memcpy(job->data + job->tag_off, mac, job->tag_len);
    return UMS_OK;
  }
  if (!ums_equal(mac, job->data + job->tag_off, job->tag_len)) {
    ums_wipe(mac, sizeof mac); /* it is the right tag for a packet somebody made up */
    return UMS_AUTH_FAIL;
  }
  if (cipher != NULL)
    cipher_range(cipher, job);
  return UMS_OK;
}

/*
 * GCM's input to GHASH that is not whole blocks of the packet: the end of the AAD with the job's tail, and the length
 * block of SP 800-38D, 7.1. Fills `out`, returns its length, 0, 16 or 32.
 */
static inline size_t ums_gcm_aad_rest(const ums_job *job, uint8_t out[32]) {
  size_t rest = job->auth_len % 16, len = rest + job->tail_len;
  memset(out, 0, 32);
  if (rest > 0)
    memcpy(out, job->data + (job->auth_len - rest), rest);
  memcpy(out + rest, job->tail, job->tail_len);
  return (len + 15) & ~(size_t)15;
}

static inline void ums_gcm_lengths(const ums_job *job, uint8_t out[16]) {
  ums_store64(out, 8 * ((uint64_t)job->auth_len + job->tail_len));
  ums_store64(out + 8, 8 * (uint64_t)job->cipher_len);
}

static inline void ums_gcm_first_counter(const ums_job *job, uint8_t out[16]) { /* SP 800-38D, 7.1: J0 */
  memcpy(out, job->iv, UMS_GCM_IV);
  ums_store32(out + UMS_GCM_IV, 1);
}

#endif
