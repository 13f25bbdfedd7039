/* libsrtp 2: a session per context. */
#include <srtp2/srtp.h>

#include "thin.h"

typedef struct state {
  const ums_bench_setup *setup;
  srtp_policy_t policy;
  srtp_t *session;
  srtp_t slot_session[UMS_BENCH_BATCH];
  int len[UMS_BENCH_BATCH];
  uint8_t key[46];
} state;

typedef srtp_err_status_t transform(srtp_t, void *, int *);

static int set_suite(srtp_policy_t *p, ums_suite suite) {
  switch (suite) {
  case UMS_AES_CM_128_HMAC_SHA1_80:
    srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&p->rtp);
    srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&p->rtcp);
    return 1;
  case UMS_AES_CM_128_HMAC_SHA1_32: /* RFC 4568, 6.2.2: the tag of SRTCP has 80 bits */
    srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32(&p->rtp);
    srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&p->rtcp);
    return 1;
  case UMS_AES_192_CM_HMAC_SHA1_80:
    srtp_crypto_policy_set_aes_cm_192_hmac_sha1_80(&p->rtp);
    srtp_crypto_policy_set_aes_cm_192_hmac_sha1_80(&p->rtcp);
    return 1;
  case UMS_AES_192_CM_HMAC_SHA1_32:
    srtp_crypto_policy_set_aes_cm_192_hmac_sha1_32(&p->rtp);
    srtp_crypto_policy_set_aes_cm_192_hmac_sha1_80(&p->rtcp);
    return 1;
  case UMS_AES_256_CM_HMAC_SHA1_80:
    srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&p->rtp);
    srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&p->rtcp);
    return 1;
  case UMS_AES_256_CM_HMAC_SHA1_32:
    srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32(&p->rtp);
    srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&p->rtcp);
    return 1;
  case UMS_AEAD_AES_128_GCM:
    srtp_crypto_policy_set_aes_gcm_128_16_auth(&p->rtp);
    srtp_crypto_policy_set_aes_gcm_128_16_auth(&p->rtcp);
    return 1;
  case UMS_AEAD_AES_256_GCM:
    srtp_crypto_policy_set_aes_gcm_256_16_auth(&p->rtp);
    srtp_crypto_policy_set_aes_gcm_256_16_auth(&p->rtcp);
    return 1;
  default:
    return 0;
  }
}

static int create(state *s, size_t i) {
  const ums_suite_info *suite = s->setup->suite;
  memcpy(s->key, s->setup->keys[i].key, suite->key_len);
  memcpy(s->key + suite->key_len, s->setup->keys[i].salt, suite->salt_len);
  return srtp_create(&s->session[i], &s->policy) == srtp_err_status_ok;
}

static void drop(state *s, size_t i) {
  if (s->session[i] != NULL)
    srtp_dealloc(s->session[i]);
  s->session[i] = NULL;
}

static void close_all(void *p) {
  state *s = p;
  for (size_t i = 0; i < s->setup->config.n_contexts; i++)
    drop(s, i);
  free(s->session);
  free(s);
}

static void *open_all(const ums_bench_setup *setup) {
  static int started;
  if (!started && srtp_init() != srtp_err_status_ok)
    return NULL;
  started = 1;
  state *s = calloc(1, sizeof *s);
  s->setup = setup;
  s->session = calloc(setup->config.n_contexts, sizeof *s->session);
  const int unprotect = setup->config.operation == UMS_BENCH_UNPROTECT;
  s->policy.ssrc.type = unprotect ? ssrc_any_inbound : ssrc_any_outbound;
  s->policy.key = s->key;
  s->policy.window_size = 128;
  int ok = set_suite(&s->policy, setup->config.suite);
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
    s->slot_session[i] = s->session[b->stream[i] / b->config.n_ssrc];
    s->len[i] = (int)(b->config.operation == UMS_BENCH_UNPROTECT ? b->secured_len : b->plain_len);
  }
}

static size_t each(state *s, transform *call, size_t first, size_t n) {
  size_t ok = 0;
  for (size_t i = first; i < first + n; i++)
    ok += call(s->slot_session[i], s->setup->data[i], &s->len[i]) == srtp_err_status_ok;
  return ok;
}

static size_t run(void *p, size_t first, size_t n) {
  state *s = p;
  const ums_bench_config *c = &s->setup->config;
  if (c->operation == UMS_BENCH_UNPROTECT)
    return each(s, c->rtcp ? srtp_unprotect_rtcp : srtp_unprotect, first, n);
  return each(s, c->rtcp ? srtp_protect_rtcp : srtp_protect, first, n);
}

static size_t renew(void *p, size_t first, size_t n) {
  state *s = p;
  size_t ok = 0;
  for (size_t i = first; i < first + n; i++) {
    drop(s, i);
    ok += (size_t)create(s, i);
    s->slot_session[i] = s->session[i];
  }
  return ok;
}

static const ums_bench_subject LIBSRTP = {"libsrtp", 0, open_all, prepare, run, renew, close_all};

PEER_EXPORT const ums_bench_subject *ueagent_bench_peer(size_t i) { return i == 0 ? &LIBSRTP : NULL; }
PEER_EXPORT const char *ueagent_bench_peer_version(void) { return srtp_get_version_string(); }
