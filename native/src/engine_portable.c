/* The engine that every machine has: constant-time AES and GHASH in plain C, SHA-1 as it is written. */
#include "engine.h"

typedef struct portable_key {
  uint32_t loaded; /* 0 in a wiped key, which answers UMS_ENGINE */
  ums_transform transform;
  ums_aes_ct64 aes;
  union {
    ums_hmac_sha1 hmac;
    ums_ghash_ct64 ghash;
  };
} portable_key;

_Static_assert(sizeof(portable_key) <= UMS_KEY_MAX, "a prepared key fits into ums_key");

static const portable_key *prepared(const ums_key *key) { return (const portable_key *)(const void *)key->prepared; }

static int probe(void) { return 1; }

static ums_status load_key(const ums_engine *e, ums_key *out, const ums_session_key *key) {
  (void)e;
  if (!ums_cpu_supports(key->transform, key->cipher_key_len))
    return UMS_UNSUPPORTED;
  portable_key *k = (portable_key *)(void *)out->prepared;
  memset(out, 0, sizeof *out);
  k->loaded = 1;
  k->transform = key->transform;
  if (key->transform != UMS_NULL_CIPHER)
    ums_aes_ct64_init(&k->aes, key->cipher_key, key->cipher_key_len);
  if (key->transform != UMS_AES_GCM) {
    ums_hmac_sha1_init(&k->hmac, ums_sha1_blocks_portable, key->auth_key, key->auth_key_len);
    return UMS_OK;
  }
  uint8_t blocks[64] = {0}; /* H = AES(0) */
  ums_aes_ct64_encrypt4(&k->aes, blocks);
  ums_ghash_ct64_init(&k->ghash, blocks);
  ums_wipe(blocks, sizeof blocks);
  return UMS_OK;
}

static void drop_key(const ums_engine *e, ums_key *key) {
  (void)e;
  ums_wipe(key, sizeof *key);
}

static void cipher_range(const void *cipher, const ums_job *job) {
  ums_aes_ct64_ctr(cipher, job->iv, NULL, job->data + job->cipher_off, job->cipher_len);
}

static void gcm_hash(const portable_key *k, const ums_job *job, uint8_t y[16]) {
  uint8_t rest[32], lengths[16];
  size_t rest_len = ums_gcm_aad_rest(job, rest);
  ums_gcm_lengths(job, lengths);
  memset(y, 0, 16);
  ums_ghash_ct64_update(&k->ghash, y, job->data, job->auth_len & ~(size_t)15);
  ums_ghash_ct64_update(&k->ghash, y, rest, rest_len);
  ums_ghash_ct64_update(&k->ghash, y, job->data + job->cipher_off, job->cipher_len);
  ums_ghash_ct64_update(&k->ghash, y, lengths, sizeof lengths);
}

/* SP 800-38D, 7.1 and 7.2. Decryption starts only when the tag has verified. */
static ums_status run_gcm(const portable_key *k, ums_job *job) {
  uint8_t counter[16], mask[16], tag[16];
  if (job->tag_len != UMS_GCM_TAG || !ums_job_lengths_ok(job, UMS_GCM_TAG))
    return UMS_ENGINE;
  uint8_t *text = job->data + job->cipher_off;
  int encrypt = (job->flags & UMS_JOB_ENCRYPT) != 0;
  ums_gcm_first_counter(job, counter);
  ums_aes_ct64_ctr(&k->aes, counter, mask, text, encrypt ? job->cipher_len : 0);
  gcm_hash(k, job, tag);
  for (int i = 0; i < UMS_GCM_TAG; i++)
    tag[i] ^= mask[i];
  ums_wipe(mask, sizeof mask); /* with the tag it would give GHASH's result, and so H */
  if (encrypt) {
    memcpy(job->data + job->tag_off, tag, sizeof tag);
    return UMS_OK;
  }
  if (!ums_equal(tag, job->data + job->tag_off, sizeof tag)) {
    ums_wipe(tag, sizeof tag);
    return UMS_AUTH_FAIL;
  }
  ums_store32(counter + UMS_GCM_IV, 2);
  ums_aes_ct64_ctr(&k->aes, counter, NULL, text, job->cipher_len);
  return UMS_OK;
}

static size_t submit(const ums_engine *e, ums_job *const job[], size_t n) {
  (void)e;
  for (size_t i = 0; i < n; i++) {
    const portable_key *k = prepared(job[i]->key);
    ums_status status = UMS_ENGINE;
    switch (k->loaded ? (int)k->transform : -1) {
    case UMS_AES_GCM:
      status = run_gcm(k, job[i]);
      break;
    case UMS_AES_CM:
      status = ums_run_hmac_job(job[i], &k->hmac, ums_sha1_blocks_portable, cipher_range, &k->aes);
      break;
    case UMS_NULL_CIPHER:
      status = ums_run_hmac_job(job[i], &k->hmac, ums_sha1_blocks_portable, NULL, NULL);
      break;
    }
    job[i]->status = (uint8_t)status;
  }
  return n;
}

const ums_engine ums_engine_portable = {
    .name = "portable",
    .batch = 1, /* its four lanes are filled by one packet */
    .probe = probe,
    .supports = ums_cpu_supports,
    .load_key = load_key,
    .drop_key = drop_key,
    .submit = submit,
};
