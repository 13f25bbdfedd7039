/*
 * OpenSSL by hand, as well as its API allows: EVP contexts re-used, only the IV is new per packet; SHA-1 starts from
 * copied ipad and opad states. Stands for a good libsrtp. -DEVP_NAME names the subject.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "thin.h"

#ifndef EVP_NAME
#define EVP_NAME "evp"
#endif

typedef struct context {
  EVP_CIPHER_CTX *cipher;
  SHA_CTX inner, outer;
  thin_salt salt;
} context;

typedef struct state {
  const ums_bench_setup *setup;
  context *context;
  thin_stream *stream;
  int encrypt;
} state;

static const EVP_CIPHER *cipher_of(const ums_suite_info *s) {
  switch (s->transform) {
  case UMS_AES_CM:
    return s->key_len == 16 ? EVP_aes_128_ctr() : s->key_len == 24 ? EVP_aes_192_ctr() : EVP_aes_256_ctr();
  case UMS_AES_GCM:
    return s->key_len == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
  default:
    return NULL;
  }
}

static void hmac_states(context *c, const uint8_t key[20]) {
  uint8_t pad[64];
  memset(pad, 0x36, sizeof pad);
  for (int i = 0; i < 20; i++)
    pad[i] ^= key[i];
  SHA1_Init(&c->inner);
  SHA1_Update(&c->inner, pad, sizeof pad);
  for (int i = 0; i < 64; i++)
    pad[i] ^= 0x36 ^ 0x5c;
  SHA1_Init(&c->outer);
  SHA1_Update(&c->outer, pad, sizeof pad);
}

static void close_all(void *p) {
  state *s = p;
  for (size_t i = 0; i < s->setup->config.n_contexts; i++)
    EVP_CIPHER_CTX_free(s->context[i].cipher);
  free(s->context);
  free(s->stream);
  free(s);
}

static void *open_all(const ums_bench_setup *setup) {
  const EVP_CIPHER *cipher = cipher_of(setup->suite);
  if (!thin_can(setup) || cipher == NULL)
    return NULL;
  state *s = calloc(1, sizeof *s);
  s->setup = setup;
  s->encrypt = setup->config.operation == UMS_BENCH_PROTECT;
  s->context = calloc(setup->config.n_contexts, sizeof *s->context);
  s->stream = calloc(thin_streams(setup), sizeof *s->stream);
  int ok = 1;
  for (size_t i = 0; ok && i < setup->config.n_contexts; i++) {
    context *c = &s->context[i];
    const ums_bench_keys *k = &setup->keys[i];
    c->salt = thin_salt_of(k->cipher_salt, setup->suite->salt_len);
    c->cipher = EVP_CIPHER_CTX_new();
    hmac_states(c, k->auth_key);
    const int encrypt = s->encrypt || setup->suite->transform == UMS_AES_CM;
    ok = EVP_CipherInit_ex(c->cipher, cipher, NULL, k->cipher_key, NULL, encrypt) == 1;
  }
  if (ok)
    return s;
  close_all(s);
  return NULL;
}

static void prepare(void *p) { (void)p; }

static inline int ctr(const context *c, uint8_t *data, int len, uint32_t roc) {
  uint8_t iv[16];
  thin_cm_iv(&c->salt, thin_load32(data + 8), roc, thin_seq(data), iv);
  int out;
  return EVP_EncryptInit_ex(c->cipher, NULL, NULL, NULL, iv) &&
         EVP_EncryptUpdate(c->cipher, data + THIN_HEADER, &out, data + THIN_HEADER, len - THIN_HEADER);
}

static inline void hmac(const context *c, const uint8_t *data, size_t len, uint32_t roc, uint8_t mac[20]) {
  uint8_t tail[4];
  thin_store32(tail, roc);
  SHA_CTX sha = c->inner;
  SHA1_Update(&sha, data, len);
  SHA1_Update(&sha, tail, 4);
  SHA1_Final(mac, &sha);
  sha = c->outer;
  SHA1_Update(&sha, mac, 20);
  SHA1_Final(mac, &sha);
}

static inline int cm(const state *s, const context *c, uint8_t *data, uint32_t roc) {
  const size_t len = s->setup->plain_len, tag = s->setup->suite->rtp_tag;
  uint8_t mac[20];
  if (s->encrypt) {
    const int ok = ctr(c, data, (int)len, roc);
    hmac(c, data, len, roc, mac);
    memcpy(data + len, mac, tag);
    return ok;
  }
  hmac(c, data, len, roc, mac);
  return CRYPTO_memcmp(data + len, mac, tag) == 0 && ctr(c, data, (int)len, roc);
}

static inline int gcm(const state *s, const context *c, uint8_t *data, uint32_t roc) {
  const int len = (int)s->setup->plain_len - THIN_HEADER;
  uint8_t *text = data + THIN_HEADER, iv[16];
  int out;
  thin_gcm_iv(&c->salt, thin_load32(data + 8), roc, thin_seq(data), iv);
  if (s->encrypt)
    return EVP_EncryptInit_ex(c->cipher, NULL, NULL, NULL, iv) &&
           EVP_EncryptUpdate(c->cipher, NULL, &out, data, THIN_HEADER) &&
           EVP_EncryptUpdate(c->cipher, text, &out, text, len) && EVP_EncryptFinal_ex(c->cipher, text + len, &out) &&
           EVP_CIPHER_CTX_ctrl(c->cipher, EVP_CTRL_AEAD_GET_TAG, 16, text + len);
  return EVP_DecryptInit_ex(c->cipher, NULL, NULL, NULL, iv) &&
         EVP_CIPHER_CTX_ctrl(c->cipher, EVP_CTRL_AEAD_SET_TAG, 16, text + len) &&
         EVP_DecryptUpdate(c->cipher, NULL, &out, data, THIN_HEADER) &&
         EVP_DecryptUpdate(c->cipher, text, &out, text, len) && EVP_DecryptFinal_ex(c->cipher, text + len, &out);
}

static size_t run(void *p, size_t first, size_t n) {
  state *s = p;
  const ums_bench_setup *b = s->setup;
  const int is_gcm = b->suite->transform == UMS_AES_GCM;
  size_t ok = 0;
  for (size_t i = first; i < first + n; i++) {
    const uint32_t stream = b->stream[i];
    uint8_t *data = b->data[i];
    const context *c = &s->context[stream / b->config.n_ssrc];
    const uint32_t roc = thin_roc(&s->stream[stream], thin_seq(data));
    ok += (size_t)(is_gcm ? gcm(s, c, data, roc) : cm(s, c, data, roc));
  }
  return ok;
}

static const ums_bench_subject EVP = {EVP_NAME, 0, open_all, prepare, run, NULL, close_all};

PEER_EXPORT const ums_bench_subject *ueagent_bench_peer(size_t i) { return i == 0 ? &EVP : NULL; }
PEER_EXPORT const char *ueagent_bench_peer_version(void) { return OpenSSL_version(OPENSSL_VERSION); }
