/*
 * Intel's multi-buffer library. Its interfaces are subjects of their own, each in the mode the library chooses for this
 * processor and held to SSE (with SHA-NI, where there is):
 *   jobs    submit job by job, flush what is left     burst   submit a burst, flush what is left
 *   passes  a cipher burst, then a hash burst         direct  one call a packet (GCM)
 * All without the library's parameter checks.
 */
#include <intel-ipsec-mb.h>

#include "thin.h"

typedef struct context {
  _Alignas(64) struct gcm_key_data gcm;
  _Alignas(16) uint8_t encrypt[16 * 15], decrypt[16 * 15];
  _Alignas(16) uint8_t ipad[20], opad[20];
  thin_salt salt;
} context;

typedef struct state state;
struct state {
  _Alignas(64) IMB_JOB job[UMS_BENCH_BATCH]; /* of `passes` */
  struct gcm_context_data gcm[UMS_BENCH_BATCH];
  _Alignas(16) uint8_t iv[UMS_BENCH_BATCH][16], mac[UMS_BENCH_BATCH][32], tag[UMS_BENCH_BATCH][16];
  const ums_bench_setup *setup;
  IMB_MGR *mgr;
  context *context;
  thin_stream *stream;
  int protects;
};

static int is_gcm(const ums_bench_setup *b) { return b->suite->transform == UMS_AES_GCM; }

static void load_key(IMB_MGR *m, context *c, const ums_bench_setup *b, const ums_bench_keys *k) {
  c->salt = thin_salt_of(k->cipher_salt, b->suite->salt_len);
  if (is_gcm(b)) {
    if (b->suite->key_len == 16)
      IMB_AES128_GCM_PRE(m, k->cipher_key, &c->gcm);
    else
      IMB_AES256_GCM_PRE(m, k->cipher_key, &c->gcm);
    return;
  }
  if (b->suite->key_len == 16)
    IMB_AES_KEYEXP_128(m, k->cipher_key, c->encrypt, c->decrypt);
  else if (b->suite->key_len == 24)
    IMB_AES_KEYEXP_192(m, k->cipher_key, c->encrypt, c->decrypt);
  else
    IMB_AES_KEYEXP_256(m, k->cipher_key, c->encrypt, c->decrypt);
  uint8_t pad[64];
  memset(pad, 0x36, sizeof pad);
  for (int i = 0; i < 20; i++)
    pad[i] ^= k->auth_key[i];
  IMB_SHA1_ONE_BLOCK(m, pad, c->ipad);
  for (int i = 0; i < 64; i++)
    pad[i] ^= 0x36 ^ 0x5c;
  IMB_SHA1_ONE_BLOCK(m, pad, c->opad);
}

static void close_all(void *p) {
  state *s = p;
  if (s->mgr != NULL)
    free_mb_mgr(s->mgr);
  free(s->context);
  free(s->stream);
  free(s);
}

static void *open_mode(const ums_bench_setup *setup, int sse) {
  if (!thin_can(setup) || setup->suite->transform == UMS_NULL_CIPHER)
    return NULL;
  state *s = aligned_alloc(64, (sizeof *s + 63) & ~(size_t)63);
  memset(s, 0, sizeof *s);
  s->setup = setup;
  s->protects = setup->config.operation == UMS_BENCH_PROTECT;
  s->mgr = alloc_mb_mgr(0);
  s->context = aligned_alloc(64, setup->config.n_contexts * sizeof *s->context);
  s->stream = calloc(thin_streams(setup), sizeof *s->stream);
  if (s->mgr == NULL || s->context == NULL) {
    close_all(s);
    return NULL;
  }
  IMB_ARCH arch;
  if (sse)
    init_mb_mgr_sse(s->mgr);
  else
    init_mb_mgr_auto(s->mgr, &arch);
  for (size_t i = 0; i < setup->config.n_contexts; i++)
    load_key(s->mgr, &s->context[i], setup, &setup->keys[i]);
  return s;
}

static void *open_cm(const ums_bench_setup *b) { return is_gcm(b) ? NULL : open_mode(b, 0); }
static void *open_cm_sse(const ums_bench_setup *b) { return is_gcm(b) ? NULL : open_mode(b, 1); }
static void *open_gcm(const ums_bench_setup *b) { return is_gcm(b) ? open_mode(b, 0) : NULL; }
static void *open_gcm_sse(const ums_bench_setup *b) { return is_gcm(b) ? open_mode(b, 1) : NULL; }
static void *open_any(const ums_bench_setup *b) { return open_mode(b, 0); }
static void *open_any_sse(const ums_bench_setup *b) { return open_mode(b, 1); }

/* What does not change from packet to packet of a stream. */
static inline void job_of_stream(const state *s, IMB_JOB *job, size_t slot) {
  const ums_bench_setup *b = s->setup;
  const context *c = &s->context[b->stream[slot] / b->config.n_ssrc];
  uint8_t *data = b->data[slot];
  job->key_len_in_bytes = b->suite->key_len;
  job->src = data;
  job->dst = data + THIN_HEADER;
  job->cipher_start_src_offset_in_bytes = THIN_HEADER;
  job->msg_len_to_cipher_in_bytes = b->plain_len - THIN_HEADER;
  job->cipher_direction = s->protects ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
  job->chain_order = s->protects ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
  job->iv = s->iv[slot];
  job->auth_tag_output = (uint8_t *)s->mac[slot];
  if (is_gcm(b)) {
    job->cipher_mode = IMB_CIPHER_GCM;
    job->hash_alg = IMB_AUTH_AES_GMAC;
    job->enc_keys = job->dec_keys = &c->gcm;
    job->iv_len_in_bytes = 12;
    job->u.GCM.aad = data;
    job->u.GCM.aad_len_in_bytes = THIN_HEADER;
    job->auth_tag_output_len_in_bytes = 16;
    job->hash_start_src_offset_in_bytes = THIN_HEADER;
    job->msg_len_to_hash_in_bytes = b->plain_len - THIN_HEADER;
    return;
  }
  job->cipher_mode = IMB_CIPHER_CNTR;
  job->hash_alg = IMB_AUTH_HMAC_SHA_1;
  job->enc_keys = job->dec_keys = c->encrypt;
  job->iv_len_in_bytes = 16;
  job->hash_start_src_offset_in_bytes = 0;
  job->msg_len_to_hash_in_bytes = b->plain_len + 4;
  job->auth_tag_output_len_in_bytes = 20;
  job->u.HMAC._hashed_auth_key_xor_ipad = c->ipad;
  job->u.HMAC._hashed_auth_key_xor_opad = c->opad;
}

static void prepare(void *p) {
  state *s = p;
  for (size_t i = 0; i < UMS_BENCH_BATCH; i++) {
    s->job[i].status = IMB_STATUS_BEING_PROCESSED;
    job_of_stream(s, &s->job[i], i);
  }
}

/* IV; the ROC behind the packet for the MAC; a received tag out of its way. */
static inline void before(state *s, size_t slot) {
  const ums_bench_setup *b = s->setup;
  const uint32_t stream = b->stream[slot];
  const thin_salt *salt = &s->context[stream / b->config.n_ssrc].salt;
  uint8_t *data = b->data[slot];
  const uint16_t seq = thin_seq(data);
  const uint32_t ssrc = thin_load32(data + 8), roc = thin_roc(&s->stream[stream], seq);
  if (is_gcm(b)) {
    thin_gcm_iv(salt, ssrc, roc, seq, s->iv[slot]);
    return;
  }
  thin_cm_iv(salt, ssrc, roc, seq, s->iv[slot]);
  if (!s->protects)
    memcpy(s->tag[slot], data + b->plain_len, 10);
  thin_store32(data + b->plain_len, roc);
}

/* Does not stop at the first difference. */
static inline int same(const uint8_t *a, const uint8_t *b, size_t len) {
  uint8_t differs = 0;
  for (size_t i = 0; i < len; i++)
    differs |= (uint8_t)(a[i] ^ b[i]);
  return differs == 0;
}

static inline size_t after(state *s, size_t slot) {
  const ums_bench_setup *b = s->setup;
  uint8_t *end = b->data[slot] + b->plain_len;
  const size_t tag = b->suite->rtp_tag;
  if (s->protects) {
    memcpy(end, s->mac[slot], tag);
    return 1;
  }
  return (size_t)same(is_gcm(b) ? end : s->tag[slot], s->mac[slot], tag);
}

static inline size_t after_all(state *s, size_t first, size_t n) {
  size_t ok = 0;
  for (size_t i = first; i < first + n; i++)
    ok += after(s, i);
  return ok;
}

static size_t run_jobs(void *p, size_t first, size_t n) {
  state *s = p;
  size_t done = 0;
  IMB_JOB *job;
  for (size_t i = first; i < first + n; i++) {
    before(s, i);
    job = IMB_GET_NEXT_JOB(s->mgr);
    job_of_stream(s, job, i);
    for (job = IMB_SUBMIT_JOB_NOCHECK(s->mgr); job != NULL; job = IMB_GET_COMPLETED_JOB(s->mgr))
      done += job->status == IMB_STATUS_COMPLETED;
  }
  while ((job = IMB_FLUSH_JOB(s->mgr)) != NULL)
    done += job->status == IMB_STATUS_COMPLETED;
  return done == n ? after_all(s, first, n) : 0;
}

static size_t run_burst(void *p, size_t first, size_t n) {
  state *s = p;
  IMB_JOB *job[UMS_BENCH_BATCH];
  if (IMB_GET_NEXT_BURST(s->mgr, (uint32_t)n, job) != n)
    return 0;
  for (size_t i = 0; i < n; i++) {
    before(s, first + i);
    job_of_stream(s, job[i], first + i);
  }
  size_t done = IMB_SUBMIT_BURST_NOCHECK(s->mgr, (uint32_t)n, job);
  while (done < n) {
    const uint32_t more = IMB_FLUSH_BURST(s->mgr, (uint32_t)(n - done), job);
    if (more == 0)
      return 0;
    done += more;
  }
  return after_all(s, first, n);
}

static size_t run_passes(void *p, size_t first, size_t n) {
  state *s = p;
  IMB_JOB *jobs = &s->job[first];
  const IMB_CIPHER_DIRECTION direction = s->protects ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
  const IMB_KEY_SIZE_BYTES key_size = (IMB_KEY_SIZE_BYTES)s->setup->suite->key_len;
  const uint32_t count = (uint32_t)n;
  size_t done = 0;
  for (size_t i = first; i < first + n; i++)
    before(s, i);
  if (s->protects)
    done += IMB_SUBMIT_CIPHER_BURST_NOCHECK(s->mgr, jobs, count, IMB_CIPHER_CNTR, direction, key_size);
  done += IMB_SUBMIT_HASH_BURST_NOCHECK(s->mgr, jobs, count, IMB_AUTH_HMAC_SHA_1);
  if (!s->protects)
    done += IMB_SUBMIT_CIPHER_BURST_NOCHECK(s->mgr, jobs, count, IMB_CIPHER_CNTR, direction, key_size);
  return done == 2 * n ? after_all(s, first, n) : 0;
}

static size_t run_direct(void *p, size_t first, size_t n) {
  state *s = p;
  const ums_bench_setup *b = s->setup;
  const uint64_t len = b->plain_len - THIN_HEADER;
  const int short_key = b->suite->key_len == 16;
  const aes_gcm_enc_dec_t call = s->protects ? (short_key ? s->mgr->gcm128_enc : s->mgr->gcm256_enc)
                                             : (short_key ? s->mgr->gcm128_dec : s->mgr->gcm256_dec);
  size_t ok = 0;
  for (size_t i = first; i < first + n; i++) {
    uint8_t *data = b->data[i], *text = data + THIN_HEADER;
    before(s, i);
    call(&s->context[b->stream[i] / b->config.n_ssrc].gcm, &s->gcm[i], text, text, len, s->iv[i], data, THIN_HEADER,
         s->mac[i], 16);
    ok += after(s, i);
  }
  return ok;
}

static const ums_bench_subject SUBJECTS[] = {
    {"ipsecmb-jobs", 1, open_any, prepare, run_jobs, NULL, close_all},
    {"ipsecmb-burst", 1, open_any, prepare, run_burst, NULL, close_all},
    {"ipsecmb-passes", 1, open_cm, prepare, run_passes, NULL, close_all},
    {"ipsecmb-direct", 0, open_gcm, prepare, run_direct, NULL, close_all},
    {"ipsecmb-jobs-sse", 1, open_any_sse, prepare, run_jobs, NULL, close_all},
    {"ipsecmb-burst-sse", 1, open_any_sse, prepare, run_burst, NULL, close_all},
    {"ipsecmb-passes-sse", 1, open_cm_sse, prepare, run_passes, NULL, close_all},
    {"ipsecmb-direct-sse", 0, open_gcm_sse, prepare, run_direct, NULL, close_all},
};

PEER_EXPORT const ums_bench_subject *ueagent_bench_peer(size_t i) {
  return i < sizeof SUBJECTS / sizeof *SUBJECTS ? &SUBJECTS[i] : NULL;
}
PEER_EXPORT const char *ueagent_bench_peer_version(void) { return imb_get_version_str(); }
