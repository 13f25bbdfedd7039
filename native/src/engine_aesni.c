/*
 * The engine for x86-64 with AES-NI and PCLMULQDQ; SHA-1 with the SHA extensions where the processor has them.
 *
 * Counter mode keeps eight blocks in flight. GHASH multiplies up to eight blocks by falling powers of H and reduces
 * their sum once:  y' = (y + b1) H^8 + b2 H^7 + ... + b8 H.
 *
 * GHASH's numbers: a block is loaded with its octets reversed, so bit 127 is the coefficient of x^0 and a carry-less
 * product comes out multiplied by x. The powers are therefore stored divided by x.
 */
#include <immintrin.h>

#include "engine.h"

#define LANES 8
#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef struct aesni_key {
  __m128i round_key[UMS_AES_MAX_ROUNDS + 1];
  __m128i h_power[LANES]; /* [i] is H^(i + 1) / x */
  ums_hmac_sha1 hmac;
  ums_sha1_blocks *sha1;
  uint32_t rounds;
  uint32_t loaded; /* 0 in a wiped key, which answers UMS_ENGINE */
  ums_transform transform;
} aesni_key;

_Static_assert(sizeof(aesni_key) <= UMS_KEY_MAX, "a prepared key fits into ums_key");

static const aesni_key *prepared(const ums_key *key) { return (const aesni_key *)(const void *)key->prepared; }

ALWAYS_INLINE __m128i load(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
ALWAYS_INLINE void store(uint8_t *p, __m128i v) { _mm_storeu_si128((__m128i *)(void *)p, v); }
ALWAYS_INLINE __m128i reverse_octets(__m128i v) {
  return _mm_shuffle_epi8(v, _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f));
}

/* --------------------------------------------------------------------------------------------------------- AES -- */

ALWAYS_INLINE void encrypt(const aesni_key *k, __m128i block[], int n) {
  for (int i = 0; i < n; i++)
    block[i] = _mm_xor_si128(block[i], k->round_key[0]);
  for (uint32_t r = 1; r < k->rounds; r++)
    for (int i = 0; i < n; i++)
      block[i] = _mm_aesenc_si128(block[i], k->round_key[r]);
  for (int i = 0; i < n; i++)
    block[i] = _mm_aesenclast_si128(block[i], k->round_key[k->rounds]);
}

/* Keystream of n blocks whose counters start at `count`. */
ALWAYS_INLINE void keystream(const aesni_key *k, __m128i block[], int n, __m128i counter, uint32_t count) {
  for (int i = 0; i < n; i++)
    block[i] = _mm_insert_epi32(counter, (int)__builtin_bswap32(count + (uint32_t)i), 3);
  encrypt(k, block, n);
}

ALWAYS_INLINE void xor_block(uint8_t *p, __m128i stream) { store(p, _mm_xor_si128(load(p), stream)); }

/* The last, at most LANES * 16 octets; `stream` has enough blocks for them. */
ALWAYS_INLINE void xor_rest(uint8_t *data, size_t len, const __m128i stream[]) {
  for (; len >= 16; data += 16, len -= 16)
    xor_block(data, *stream++);
  if (len == 0)
    return;
  uint8_t last[16] = {0};
  memcpy(last, data, len);
  xor_block(last, *stream);
  memcpy(data, last, len);
}

static void ctr(const aesni_key *k, __m128i counter, uint32_t count, uint8_t *data, size_t len) {
  __m128i stream[LANES];
  for (; len >= LANES * 16; data += LANES * 16, len -= LANES * 16, count += LANES) {
    UMS_OPAQUE(len);
    keystream(k, stream, LANES, counter, count);
    for (int i = 0; i < LANES; i++)
      xor_block(data + 16 * i, stream[i]);
  }
  if (len > LANES / 2 * 16)
    keystream(k, stream, LANES, counter, count);
  else if (len > 16)
    keystream(k, stream, LANES / 2, counter, count);
  else if (len > 0)
    keystream(k, stream, 1, counter, count);
  xor_rest(data, len, stream);
}

static void cipher_range(const void *cipher, const ums_job *job) {
  ctr(cipher, load(job->iv), ums_load32(job->iv + 12), job->data + job->cipher_off, job->cipher_len);
}

/* ------------------------------------------------------------------------------------------------------- GHASH -- */

typedef struct product { /* 256 bits: hi, mid shifted by 64, lo */
  __m128i hi, mid, lo;
} product;

ALWAYS_INLINE void add_product(product *p, __m128i a, __m128i b) {
  p->hi = _mm_xor_si128(p->hi, _mm_clmulepi64_si128(a, b, 0x11));
  p->lo = _mm_xor_si128(p->lo, _mm_clmulepi64_si128(a, b, 0x00));
  p->mid = _mm_xor_si128(p->mid, _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x10), _mm_clmulepi64_si128(a, b, 0x01)));
}

/* Folds the lowest 64 bits, the highest powers of x, twice: x^128 = 1 + x + x^2 + x^7. */
ALWAYS_INLINE __m128i reduce(product p) {
  const __m128i fold = _mm_set_epi64x(0, (long long)0xc200000000000000);
  __m128i lo = _mm_xor_si128(p.lo, _mm_slli_si128(p.mid, 8));
  __m128i hi = _mm_xor_si128(p.hi, _mm_srli_si128(p.mid, 8));
  lo = _mm_xor_si128(_mm_shuffle_epi32(lo, 0x4e), _mm_clmulepi64_si128(lo, fold, 0x00));
  lo = _mm_xor_si128(_mm_shuffle_epi32(lo, 0x4e), _mm_clmulepi64_si128(lo, fold, 0x00));
  return _mm_xor_si128(hi, lo);
}

ALWAYS_INLINE __m128i divide_by_x(__m128i v) { /* shift up; what falls off is x^-1 = x^127 + x^6 + x + 1 */
  __m128i top = _mm_shuffle_epi32(_mm_srai_epi32(v, 31), 0xff);
  __m128i carry = _mm_slli_si128(_mm_srli_epi64(v, 63), 8);
  v = _mm_or_si128(_mm_slli_epi64(v, 1), carry);
  return _mm_xor_si128(v, _mm_and_si128(top, _mm_set_epi64x((long long)0xc200000000000000, 1)));
}

/* One GHASH computation over `left` more blocks. A group of up to LANES blocks shares a reduction. */
typedef struct ghash {
  const __m128i *h_power;
  __m128i y;
  product sum;
  size_t left, in_group;
} ghash;

ALWAYS_INLINE void ghash_block(ghash *g, __m128i block) {
  block = reverse_octets(block);
  if (g->in_group == 0) {
    g->in_group = g->left < LANES ? g->left : LANES;
    g->sum = (product){_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
    block = _mm_xor_si128(block, g->y);
  }
  g->left--;
  add_product(&g->sum, block, g->h_power[--g->in_group]);
  if (g->in_group == 0)
    g->y = reduce(g->sum);
}

/* SP 800-38D, 6.4 over AAD, tail, ciphertext and lengths of a job. */
static __m128i gcm_hash(const aesni_key *k, const ums_job *job) {
  uint8_t rest[32], last[16] = {0}, lengths[16];
  const uint8_t *aad = job->data, *text = job->data + job->cipher_off;
  size_t rest_len = ums_gcm_aad_rest(job, rest);
  size_t aad_blocks = job->auth_len / 16, text_blocks = job->cipher_len / 16, text_rest = job->cipher_len % 16;
  ums_gcm_lengths(job, lengths);
  ghash g = {.h_power = k->h_power, .y = _mm_setzero_si128()};
  g.left = aad_blocks + rest_len / 16 + text_blocks + (text_rest > 0) + 1;
  for (size_t i = 0; i < aad_blocks; i++)
    ghash_block(&g, load(aad + 16 * i));
  for (size_t i = 0; i < rest_len; i += 16)
    ghash_block(&g, load(rest + i));
  for (size_t i = 0; i < text_blocks; i++)
    ghash_block(&g, load(text + 16 * i));
  if (text_rest > 0) {
    memcpy(last, text + 16 * text_blocks, text_rest);
    ghash_block(&g, load(last));
  }
  ghash_block(&g, load(lengths));
  return reverse_octets(g.y);
}

/* SP 800-38D, 7.1 and 7.2. Decryption starts only when the tag has verified. */
static ums_status run_gcm(const aesni_key *k, ums_job *job) {
  if (job->tag_len != UMS_GCM_TAG || !ums_job_lengths_ok(job, UMS_GCM_TAG))
    return UMS_ENGINE;
  uint8_t *text = job->data + job->cipher_off, *tag = job->data + job->tag_off;
  uint8_t first_counter[16];
  ums_gcm_first_counter(job, first_counter);
  __m128i counter = load(first_counter), mask;
  if ((job->flags & UMS_JOB_ENCRYPT) != 0) {
    ctr(k, counter, 2, text, job->cipher_len);
    keystream(k, &mask, 1, counter, 1);
    store(tag, _mm_xor_si128(gcm_hash(k, job), mask));
    return UMS_OK;
  }
  keystream(k, &mask, 1, counter, 1);
  __m128i difference = _mm_xor_si128(_mm_xor_si128(gcm_hash(k, job), mask), load(tag));
  if (!ums_verdict(_mm_testz_si128(difference, difference)))
    return UMS_AUTH_FAIL;
  ctr(k, counter, 2, text, job->cipher_len);
  return UMS_OK;
}

/* -------------------------------------------------------------------------------------------------- the engine -- */

static int probe(void) {
  return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

static uint32_t sub_word(uint32_t word) { /* AESKEYGENASSIST puts SubWord of element 1 into element 0 */
  return (uint32_t)_mm_cvtsi128_si32(_mm_aeskeygenassist_si128(_mm_set_epi32(0, 0, (int)word, 0), 0));
}

static void expand_cipher_key(aesni_key *k, const ums_session_key *key) {
  uint32_t words[4 * (UMS_AES_MAX_ROUNDS + 1)];
  k->rounds = ums_aes_rounds(key->cipher_key_len);
  ums_aes_expand_key(words, key->cipher_key, key->cipher_key_len, sub_word);
  memcpy(k->round_key, words, 16 * (k->rounds + 1)); /* both little-endian */
  ums_wipe(words, sizeof words);
}

static void compute_h_powers(aesni_key *k) {
  __m128i h = _mm_setzero_si128();
  encrypt(k, &h, 1);
  k->h_power[0] = divide_by_x(reverse_octets(h));
  for (int i = 1; i < LANES; i++) {
    product p = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
    add_product(&p, k->h_power[i - 1], k->h_power[0]);
    k->h_power[i] = reduce(p);
  }
}

static ums_status load_key(const ums_engine *e, ums_key *out, const ums_session_key *key) {
  (void)e;
  if (!ums_cpu_supports(key->transform, key->cipher_key_len))
    return UMS_UNSUPPORTED;
  aesni_key *k = (aesni_key *)(void *)out->prepared;
  memset(out, 0, sizeof *out);
  k->loaded = 1;
  k->transform = key->transform;
  k->sha1 = ums_sha1_ni_present() ? ums_sha1_blocks_ni : ums_sha1_blocks_portable;
  if (key->transform != UMS_NULL_CIPHER)
    expand_cipher_key(k, key);
  if (key->transform == UMS_AES_GCM)
    compute_h_powers(k);
  else
    ums_hmac_sha1_init(&k->hmac, k->sha1, key->auth_key, key->auth_key_len);
  return UMS_OK;
}

static void drop_key(const ums_engine *e, ums_key *key) {
  (void)e;
  ums_wipe(key, sizeof *key);
}

static size_t submit(const ums_engine *e, ums_job *const job[], size_t n) {
  (void)e;
  for (size_t i = 0; i < n; i++) {
    const aesni_key *k = prepared(job[i]->key);
    ums_status status = UMS_ENGINE;
    switch (k->loaded ? (int)k->transform : -1) {
    case UMS_AES_GCM:
      status = run_gcm(k, job[i]);
      break;
    case UMS_AES_CM:
      status = ums_run_hmac_job(job[i], &k->hmac, k->sha1, cipher_range, k);
      break;
    case UMS_NULL_CIPHER:
      status = ums_run_hmac_job(job[i], &k->hmac, k->sha1, NULL, NULL);
      break;
    }
    job[i]->status = (uint8_t)status;
  }
  return n;
}

const ums_engine ums_engine_aesni = {
    .name = "aesni",
    .batch = 1, /* its lanes are filled by one packet */
    .probe = probe,
    .supports = ums_cpu_supports,
    .load_key = load_key,
    .drop_key = drop_key,
    .submit = submit,
};
