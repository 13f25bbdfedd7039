/*
 * What the x86-64 engines have in common: the prepared key and how it is made, and how a burst is shared out.
 *
 * GHASH's numbers: a block is loaded with its octets reversed, so bit 127 is the coefficient of x^0 and a carry-less
 * product comes out multiplied by x. The powers of H are therefore stored divided by x. Their table falls, so that
 * neighbouring blocks are one load wherever vectors are wide enough, and a packet of up to X86_POWERS blocks needs one
 * reduction:  y' = (y + b1) H^n + b2 H^(n-1) + ... + bn H.
 */
#ifndef X86_KEY_H
#define X86_KEY_H

#include <immintrin.h>

#include "engine.h"
#include "x86/mac.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define X86_POWERS 32

typedef struct x86_key {
  __m128i round_key[UMS_AES_MAX_ROUNDS + 1];
  const x86_mac_plan *plan;
  uint8_t rounds, loaded, transform, sha_ni; /* `loaded` is 0 in a wiped key, which answers UMS_ENGINE */
  _Alignas(64) uint32_t states[16];          /* HMAC: inner in [0..5), outer in [8..13) */
  uint8_t h_power[X86_POWERS][16];           /* [i] is H^(X86_POWERS - i) / x. Vectors read up to 48 octets past it */
} x86_key;

_Static_assert(sizeof(x86_key) + 48 <= UMS_KEY_MAX, "a prepared key fits into ums_key");

static inline const x86_key *prepared(const ums_key *key) { return (const x86_key *)(const void *)key->prepared; }

ALWAYS_INLINE __m128i load(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
ALWAYS_INLINE void store(void *p, __m128i v) { _mm_storeu_si128((__m128i *)p, v); }
ALWAYS_INLINE __m128i reversed(__m128i v) {
  return _mm_shuffle_epi8(v, _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f));
}

/* Round keys stay in registers, and the next function that the linker binds lazily would put them on the stack. */
ALWAYS_INLINE void x86_wipe_registers(void) {
#ifdef __AVX512F__
  __asm__ volatile("vzeroall\n"
                   "vpxorq %%zmm16, %%zmm16, %%zmm16\nvpxorq %%zmm17, %%zmm17, %%zmm17\n"
                   "vpxorq %%zmm18, %%zmm18, %%zmm18\nvpxorq %%zmm19, %%zmm19, %%zmm19\n"
                   "vpxorq %%zmm20, %%zmm20, %%zmm20\nvpxorq %%zmm21, %%zmm21, %%zmm21\n"
                   "vpxorq %%zmm22, %%zmm22, %%zmm22\nvpxorq %%zmm23, %%zmm23, %%zmm23\n"
                   "vpxorq %%zmm24, %%zmm24, %%zmm24\nvpxorq %%zmm25, %%zmm25, %%zmm25\n"
                   "vpxorq %%zmm26, %%zmm26, %%zmm26\nvpxorq %%zmm27, %%zmm27, %%zmm27\n"
                   "vpxorq %%zmm28, %%zmm28, %%zmm28\nvpxorq %%zmm29, %%zmm29, %%zmm29\n"
                   "vpxorq %%zmm30, %%zmm30, %%zmm30\nvpxorq %%zmm31, %%zmm31, %%zmm31\n"
                   :
                   :
                   : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                     "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22",
                     "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31");
#elif defined __AVX__
  __asm__ volatile("vzeroall"
                   :
                   :
                   : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                     "xmm12", "xmm13", "xmm14", "xmm15");
#else
  __asm__ volatile("pxor %%xmm0, %%xmm0\npxor %%xmm1, %%xmm1\npxor %%xmm2, %%xmm2\npxor %%xmm3, %%xmm3\n"
                   "pxor %%xmm4, %%xmm4\npxor %%xmm5, %%xmm5\npxor %%xmm6, %%xmm6\npxor %%xmm7, %%xmm7\n"
                   "pxor %%xmm8, %%xmm8\npxor %%xmm9, %%xmm9\npxor %%xmm10, %%xmm10\npxor %%xmm11, %%xmm11\n"
                   "pxor %%xmm12, %%xmm12\npxor %%xmm13, %%xmm13\npxor %%xmm14, %%xmm14\npxor %%xmm15, %%xmm15\n"
                   :
                   :
                   : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                     "xmm12", "xmm13", "xmm14", "xmm15");
#endif
}

/* ------------------------------------------------------------------------------------------------------- GHASH -- */

/* A product's 256 bits, hi, mid shifted by 64, lo, folded twice from the lowest 64 bits, which are the highest powers
 * of x: x^128 = 1 + x + x^2 + x^7. */
ALWAYS_INLINE __m128i x86_reduce(__m128i hi, __m128i mid, __m128i lo) {
  const __m128i fold = _mm_set_epi64x(0, (long long)0xc200000000000000);
  lo = _mm_xor_si128(lo, _mm_slli_si128(mid, 8));
  hi = _mm_xor_si128(hi, _mm_srli_si128(mid, 8));
  lo = _mm_xor_si128(_mm_shuffle_epi32(lo, 0x4e), _mm_clmulepi64_si128(lo, fold, 0x00));
  lo = _mm_xor_si128(_mm_shuffle_epi32(lo, 0x4e), _mm_clmulepi64_si128(lo, fold, 0x00));
  return _mm_xor_si128(hi, lo);
}

static inline __m128i x86_divide_by_x(__m128i v) { /* shift up; what falls off is x^-1 = x^127 + x^6 + x + 1 */
  const __m128i top = _mm_shuffle_epi32(_mm_srai_epi32(v, 31), 0xff);
  const __m128i carry = _mm_slli_si128(_mm_srli_epi64(v, 63), 8);
  v = _mm_or_si128(_mm_slli_epi64(v, 1), carry);
  return _mm_xor_si128(v, _mm_and_si128(top, _mm_set_epi64x((long long)0xc200000000000000, 1)));
}

static inline void x86_compute_h_powers(x86_key *k) {
  __m128i h = k->round_key[0];
  for (uint32_t r = 1; r < k->rounds; r++)
    h = _mm_aesenc_si128(h, k->round_key[r]);
  h = x86_divide_by_x(reversed(_mm_aesenclast_si128(h, k->round_key[k->rounds])));
  __m128i power = h;
  for (int i = X86_POWERS - 1;; i--) {
    store(k->h_power[i], power);
    if (i == 0)
      break;
    const __m128i mid = _mm_xor_si128(_mm_clmulepi64_si128(power, h, 0x10), _mm_clmulepi64_si128(power, h, 0x01));
    power = x86_reduce(_mm_clmulepi64_si128(power, h, 0x11), mid, _mm_clmulepi64_si128(power, h, 0x00));
  }
}

/* ------------------------------------------------------------------------------------------------ prepared keys -- */

static inline uint32_t x86_sub_word(uint32_t word) { /* AESKEYGENASSIST puts SubWord of element 1 into element 0 */
  return (uint32_t)_mm_cvtsi128_si32(_mm_aeskeygenassist_si128(_mm_set_epi32(0, 0, (int)word, 0), 0));
}

static inline void x86_expand_cipher_key(x86_key *k, const ums_session_key *key) {
  uint32_t words[4 * (UMS_AES_MAX_ROUNDS + 1)];
  k->rounds = (uint8_t)ums_aes_rounds(key->cipher_key_len);
  ums_aes_expand_key(words, key->cipher_key, key->cipher_key_len, x86_sub_word);
  memcpy(k->round_key, words, 16 * (k->rounds + 1u)); /* both little-endian */
  ums_wipe(words, sizeof words);
}

/* `avx` as ums_mac_plan wants it. */
static inline ums_status x86_load_key(ums_key *out, const ums_session_key *key, int avx) {
  if (!ums_cpu_supports(key->transform, key->cipher_key_len))
    return UMS_UNSUPPORTED;
  x86_key *k = (x86_key *)(void *)out->prepared;
  memset(out, 0, sizeof *out);
  k->loaded = 1;
  k->transform = (uint8_t)key->transform;
  k->sha_ni = (uint8_t)ums_sha1_ni_present();
  k->plan = ums_mac_plan(avx);
  if (key->transform != UMS_NULL_CIPHER)
    x86_expand_cipher_key(k, key);
  if (key->transform == UMS_AES_GCM) {
    x86_compute_h_powers(k);
  } else {
    ums_hmac_sha1 hmac;
    ums_hmac_sha1_init(&hmac, k->sha_ni ? ums_sha1_blocks_ni : ums_sha1_blocks_portable, key->auth_key,
                       key->auth_key_len);
    memcpy(k->states, hmac.inner, sizeof hmac.inner);
    memcpy(k->states + 8, hmac.outer, sizeof hmac.outer);
    ums_wipe(&hmac, sizeof hmac);
  }
  x86_wipe_registers();
  return UMS_OK;
}

static void x86_drop_key(const ums_engine *e, ums_key *key) {
  (void)e;
  ums_wipe(key, sizeof *key);
}

/* ---------------------------------------------------------------------------------------------------- AES-CM -- */

/* Block numbers stand in the last octet of the counter block: a packet has at most 128 blocks. */
static inline int x86_from_block_0(const ums_job *job) {
  return (job->iv[14] | job->iv[15]) == 0 && job->cipher_len <= UMS_MAX_PACKET;
}

/* RFC 3711, 4.1.1 starts every packet at block 0. What does not, or is no packet (vectors), goes block by block. */
ALWAYS_INLINE void x86_ctr_block_by_block(const x86_key *k, const ums_job *job,
                                          void (*ctr_job)(const x86_key *, const ums_job *)) {
  ums_job block = *job;
  uint32_t count = ums_load32(job->iv + 12);
  for (uint32_t left = job->cipher_len; left > 0; left -= block.cipher_len, block.cipher_off += block.cipher_len) {
    block.cipher_len = left < 16 ? left : 16;
    ums_store32(block.iv + 12, count++);
    ctr_job(k, &block);
  }
}

/* ------------------------------------------------------------------------------------------------------- HMAC -- */

/* The end of a MAC's input: tail, 0x80, and the length of the message with the key block. */
typedef struct mac_end {
  uint64_t octets; /* tail and 0x80, first octet lowest */
  uint32_t n;      /* of them: tail_len + 1 */
  uint32_t bits;
} mac_end;

ALWAYS_INLINE mac_end mac_end_of(const ums_job *job) {
  uint32_t tail;
  memcpy(&tail, job->tail, 4);
  const uint32_t shift = 8 * job->tail_len;
  return (mac_end){(shift == 0 ? 0 : tail & (0xffffffff >> (32 - shift))) | (uint64_t)0x80 << shift, job->tail_len + 1u,
                   8 * (64 + job->auth_len + job->tail_len)};
}

ALWAYS_INLINE uint32_t mac_blocks(const ums_job *job) { return (job->auth_len + job->tail_len + 9 + 63) / 64; }

typedef void x86_job_void(const x86_key *k, const ums_job *job);
typedef void x86_item_last(x86_mac_item *item, const ums_job *job); /* fills `last`; the rest of the item is set */
typedef void x86_tag_store(ums_job *job, const uint8_t digest[32]);
typedef int x86_tag_equal(const ums_job *job, const uint8_t digest[32]);

/*
 * RFC 3711, 3.3, for up to X86_MAC_BURST packets: all ciphers, then all MACs in as many lanes as there are packets;
 * receiving, the MACs first, and only what verified is decrypted.
 */
ALWAYS_INLINE void x86_hmac_burst(ums_job *const job[], size_t n, x86_job_void *cipher, x86_item_last *last,
                                  x86_tag_store *tag_store, x86_tag_equal *tag_equal) {
  x86_mac_item item[X86_MAC_BURST];
  for (size_t i = 0; i < n; i++) /* all of them first: what was just stored in parts is slow to load as a whole */
    if ((job[i]->flags & UMS_JOB_ENCRYPT) != 0)
      cipher(prepared(job[i]->key), job[i]);
  for (size_t i = 0; i < n; i++) {
    item[i].data = job[i]->data;
    item[i].states = prepared(job[i]->key)->states;
    item[i].direct = job[i]->auth_len / 64;
    item[i].blocks = mac_blocks(job[i]);
    last(&item[i], job[i]);
  }
  ums_mac_burst(prepared(job[0]->key)->plan, item, n);
  for (size_t i = 0; i < n; i++) {
    job[i]->status = UMS_OK;
    if ((job[i]->flags & UMS_JOB_ENCRYPT) != 0)
      tag_store(job[i], item[i].digest);
    else if (tag_equal(job[i], item[i].digest))
      cipher(prepared(job[i]->key), job[i]);
    else
      job[i]->status = UMS_AUTH_FAIL;
  }
}

/* -------------------------------------------------------------------------------------------------- the engine -- */

/* GCM packets one by one; HMAC packets together, or alone where SHA-1 by instructions makes that cheap. */
ALWAYS_INLINE size_t x86_submit(ums_job *const job[], size_t n, ums_status (*gcm)(const x86_key *, ums_job *),
                                ums_status (*hmac_one)(const x86_key *, ums_job *),
                                void (*hmac_burst)(ums_job *const job[], size_t n)) {
  ums_job *hmac[X86_MAC_BURST];
  size_t n_hmac = 0;
  for (size_t i = 0; i < n; i++) {
    const x86_key *k = prepared(job[i]->key);
    if (!k->loaded || !ums_job_lengths_ok(job[i], UMS_SHA1_DIGEST)) {
      job[i]->status = UMS_ENGINE;
    } else if (k->transform == UMS_AES_GCM) {
      job[i]->status = (uint8_t)gcm(k, job[i]);
    } else if (n == 1 && k->sha_ni) {
      job[i]->status = (uint8_t)hmac_one(k, job[i]);
    } else {
      hmac[n_hmac++] = job[i];
      if (n_hmac == X86_MAC_BURST) {
        hmac_burst(hmac, n_hmac);
        n_hmac = 0;
      }
    }
  }
  if (n_hmac > 0)
    hmac_burst(hmac, n_hmac);
  x86_wipe_registers();
  return n;
}

#endif
