/*
 * The engine that every machine has: constant-time AES, GHASH and SHA-1 in C, in vectors where the machine's baseline
 * has them. Lanes are filled across the packets of a burst: all keystream in one go, then all MACs; what is received
 * and verified is decrypted in a second go.
 */
#include "engine.h"

#define GROUP 16 /* jobs that are worked on at once */

typedef struct portable_key {
  uint32_t loaded; /* 0 in a wiped key, which answers UMS_ENGINE */
  ums_transform transform;
  ums_aes aes;
  union {
    ums_hmac_sha1 hmac;
    ums_ghash ghash;
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
    ums_aes_init(&k->aes, key->cipher_key, key->cipher_key_len);
  if (key->transform != UMS_AES_GCM) {
    ums_hmac_sha1_init(&k->hmac, ums_sha1_blocks_portable, key->auth_key, key->auth_key_len);
    return UMS_OK;
  }
  const uint8_t zero[12] = {0};
  uint8_t h[16] = {0}; /* AES(0) */
  ums_aes_ctr(&(ums_ctr_span){&k->aes, zero, h, sizeof h, 0}, 1);
  ums_ghash_init(&k->ghash, h);
  ums_wipe(h, sizeof h);
  return UMS_OK;
}

static void drop_key(const ums_engine *e, ums_key *key) {
  (void)e;
  ums_wipe(key, sizeof *key);
}

typedef struct group { /* what is known of each of up to GROUP jobs */
  ums_job *job[GROUP];
  uint8_t mac[GROUP][UMS_SHA1_DIGEST]; /* the right tag, longer than any that is sent */
  uint8_t mask[GROUP][UMS_GCM_TAG];
  size_t n;
} group;

static int encrypts(const ums_job *job) { return (job->flags & UMS_JOB_ENCRYPT) != 0; }

static ums_ctr_span payload(const ums_job *job) {
  const portable_key *k = prepared(job->key);
  const uint32_t count = k->transform == UMS_AES_GCM ? 2 : ums_load32(job->iv + 12); /* SP 800-38D, 7.1: J0 is 1 */
  return (ums_ctr_span){&k->aes, job->iv, job->data + job->cipher_off, job->cipher_len, count};
}

/* GCM's tag masks, and the ciphertext of what is to be sent. */
static void encrypt_all(group *g) {
  ums_ctr_span span[2 * GROUP];
  size_t n = 0;
  for (size_t i = 0; i < g->n; i++) {
    const ums_job *job = g->job[i];
    const portable_key *k = prepared(job->key);
    if (k->transform == UMS_AES_GCM) {
      memset(g->mask[i], 0, UMS_GCM_TAG);
      span[n++] = (ums_ctr_span){&k->aes, job->iv, g->mask[i], UMS_GCM_TAG, 1};
    }
    if (k->transform != UMS_NULL_CIPHER && encrypts(job))
      span[n++] = payload(job);
  }
  ums_aes_ctr(span, n);
}

static void gcm_tag(const portable_key *k, const ums_job *job, const uint8_t mask[UMS_GCM_TAG],
                    uint8_t y[UMS_GCM_TAG]) {
  uint8_t rest[32], lengths[16];
  size_t rest_len = ums_gcm_aad_rest(job, rest);
  ums_gcm_lengths(job, lengths);
  memset(y, 0, UMS_GCM_TAG);
  ums_ghash_update(&k->ghash, y, job->data, job->auth_len & ~(size_t)15);
  ums_ghash_update(&k->ghash, y, rest, rest_len);
  ums_ghash_update(&k->ghash, y, job->data + job->cipher_off, job->cipher_len);
  ums_ghash_update(&k->ghash, y, lengths, sizeof lengths);
  for (int i = 0; i < UMS_GCM_TAG; i++)
    y[i] ^= mask[i];
}

static void authenticate_all(group *g) {
  ums_mac_span span[GROUP];
  size_t n = 0;
  for (size_t i = 0; i < g->n; i++) {
    const ums_job *job = g->job[i];
    const portable_key *k = prepared(job->key);
    if (k->transform == UMS_AES_GCM)
      gcm_tag(k, job, g->mask[i], g->mac[i]);
    else
      span[n++] = (ums_mac_span){&k->hmac, job->data, job->tail, g->mac[i], job->auth_len, job->tail_len};
  }
  ums_hmac_sha1_macs(span, n);
}

/* Tags what is sent; compares what is received and decrypts it only when it has verified. */
static void finish_all(group *g) {
  ums_ctr_span span[GROUP];
  size_t n = 0;
  for (size_t i = 0; i < g->n; i++) {
    ums_job *job = g->job[i];
    job->status = UMS_OK;
    if (encrypts(job))
      memcpy(job->data + job->tag_off, g->mac[i], job->tag_len);
    else if (!ums_equal(g->mac[i], job->data + job->tag_off, job->tag_len))
      job->status = UMS_AUTH_FAIL;
    else if (prepared(job->key)->transform != UMS_NULL_CIPHER)
      span[n++] = payload(job);
  }
  ums_aes_ctr(span, n);
}

static int is_sound(const ums_job *job) {
  const portable_key *k = prepared(job->key);
  if (!k->loaded)
    return 0;
  if (k->transform == UMS_AES_GCM)
    return job->tag_len == UMS_GCM_TAG && ums_job_lengths_ok(job, UMS_GCM_TAG);
  return ums_job_lengths_ok(job, UMS_SHA1_DIGEST);
}

static size_t submit(const ums_engine *e, ums_job *const job[], size_t n) {
  (void)e;
  group g;
  size_t used = 0; /* the most jobs that a group had */
  for (size_t i = 0; i < n;) {
    for (g.n = 0; i < n && g.n < GROUP; i++) {
      job[i]->status = UMS_ENGINE;
      if (is_sound(job[i]))
        g.job[g.n++] = job[i];
    }
    used = g.n > used ? g.n : used;
    encrypt_all(&g);
    authenticate_all(&g);
    finish_all(&g);
  }
  /* A mask with its tag would give GHASH's result, and so H; a MAC may be the right one for what somebody made up. */
  ums_wipe(g.mac, used * sizeof *g.mac);
  ums_wipe(g.mask, used * sizeof *g.mask);
  return n;
}

const ums_engine ums_engine_portable = {
    .name = "portable",
#ifdef UMS_AES_VECTOR
    .batch = GROUP,
#else
    .batch = 1, /* its words are filled by one packet */
#endif
    .probe = probe,
    .supports = ums_cpu_supports,
    .load_key = load_key,
    .drop_key = drop_key,
    .submit = submit,
};
