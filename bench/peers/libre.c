/* libre (baresip): a struct srtp per context. */
#define HAVE_INTTYPES_H 1 /* what its headers ask of the build system */
#define HAVE_STDBOOL_H 1
#include <sys/socket.h>

#include <re/re.h>

#include "thin.h"

typedef struct state {
  const ums_bench_setup *setup;
  struct srtp **srtp;
  struct srtp *slot_srtp[UMS_BENCH_BATCH];
  struct mbuf mbuf[UMS_BENCH_BATCH];
} state;

static int suite_of(ums_suite suite) {
  switch (suite) {
  case UMS_AES_CM_128_HMAC_SHA1_80:
    return SRTP_AES_CM_128_HMAC_SHA1_80;
  case UMS_AES_CM_128_HMAC_SHA1_32:
    return SRTP_AES_CM_128_HMAC_SHA1_32;
  case UMS_AES_256_CM_HMAC_SHA1_80:
    return SRTP_AES_256_CM_HMAC_SHA1_80;
  case UMS_AES_256_CM_HMAC_SHA1_32:
    return SRTP_AES_256_CM_HMAC_SHA1_32;
  case UMS_AEAD_AES_128_GCM:
    return SRTP_AES_128_GCM;
  case UMS_AEAD_AES_256_GCM:
    return SRTP_AES_256_GCM;
  default:
    return -1;
  }
}

static int create(state *s, size_t i) {
  const ums_suite_info *suite = s->setup->suite;
  const int number = suite_of(s->setup->config.suite);
  uint8_t key[46];
  memcpy(key, s->setup->keys[i].key, suite->key_len);
  memcpy(key + suite->key_len, s->setup->keys[i].salt, suite->salt_len);
  const size_t len = (size_t)suite->key_len + suite->salt_len;
  return number >= 0 && srtp_alloc(&s->srtp[i], (enum srtp_suite)number, key, len, 0) == 0;
}

static void close_all(void *p) {
  state *s = p;
  for (size_t i = 0; i < s->setup->config.n_contexts; i++)
    mem_deref(s->srtp[i]);
  free(s->srtp);
  free(s);
}

static void *open_all(const ums_bench_setup *setup) {
  state *s = calloc(1, sizeof *s);
  s->setup = setup;
  s->srtp = calloc(setup->config.n_contexts, sizeof *s->srtp);
  int ok = setup->config.n_ssrc <= 8; /* its struct srtp has room for no more streams */
  if (setup->config.rtcp && setup->suite->rtp_tag == 4)
    ok = 0; /* its SRTCP then has a tag of 32 bits, against RFC 4568, 6.2.2 */
  for (size_t i = 0; ok && i < setup->config.n_contexts; i++)
    ok = create(s, i);
  if (ok)
    return s;
  close_all(s);
  return NULL;
}

static void prepare(void *p) {
  state *s = p;
  const ums_bench_setup *b = s->setup;
  for (size_t i = 0; i < UMS_BENCH_BATCH; i++) {
    s->slot_srtp[i] = s->srtp[b->stream[i] / b->config.n_ssrc];
    s->mbuf[i] = (struct mbuf){.buf = b->data[i],
                               .size = UMS_BENCH_STRIDE,
                               .end = b->config.operation == UMS_BENCH_UNPROTECT ? b->secured_len : b->plain_len};
  }
}

static size_t each(state *s, int (*call)(struct srtp *, struct mbuf *), size_t first, size_t n) {
  size_t ok = 0;
  for (size_t i = first; i < first + n; i++)
    ok += call(s->slot_srtp[i], &s->mbuf[i]) == 0;
  return ok;
}

static size_t run(void *p, size_t first, size_t n) {
  state *s = p;
  const ums_bench_config *c = &s->setup->config;
  if (c->operation == UMS_BENCH_UNPROTECT)
    return each(s, c->rtcp ? srtcp_decrypt : srtp_decrypt, first, n);
  return each(s, c->rtcp ? srtcp_encrypt : srtp_encrypt, first, n);
}

static size_t renew(void *p, size_t first, size_t n) {
  state *s = p;
  size_t ok = 0;
  for (size_t i = first; i < first + n; i++) {
    s->srtp[i] = mem_deref(s->srtp[i]);
    ok += (size_t)create(s, i);
    s->slot_srtp[i] = s->srtp[i];
  }
  return ok;
}

static const ums_bench_subject LIBRE = {"libre", 0, open_all, prepare, run, renew, close_all};

PEER_EXPORT const ums_bench_subject *ueagent_bench_peer(size_t i) { return i == 0 ? &LIBRE : NULL; }
PEER_EXPORT const char *ueagent_bench_peer_version(void) { return sys_libre_version_get(); }
