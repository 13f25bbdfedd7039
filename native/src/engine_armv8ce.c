/*
 * The engine for ARMv8 with the cryptography extensions: AES, PMULL and SHA1, each asked for by itself, because
 * processors with some of them exist. Without SHA1 the portable compression function serves; without PMULL there is no
 * GCM here. The same intrinsics build for AArch64 and, in 32-bit mode, for ARMv8-A with NEON.
 *
 * Counter mode keeps up to eight blocks in flight. GHASH multiplies up to eight blocks by falling powers of H and
 * reduces their sum once:  y' = (y + b1) H^8 + b2 H^7 + ... + b8 H.
 *
 * GHASH's numbers: a block is loaded with the octets of each half reversed, so its element 0 is the *upper* half of a
 * bit-reversed polynomial, and a carry-less product comes out multiplied by x. The powers are therefore stored divided
 * by x.
 */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ &&                                            \
    (defined(__aarch64__) || defined(__ARM_PCS_VFP))

#include <arm_neon.h>
#include <sys/auxv.h>

#include "engine.h"

#define LANES 8
#define UNROLLED _Pragma("GCC unroll 16") /* keeps arrays of blocks in registers */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Linux: AT_HWCAP of AArch64, AT_HWCAP2 of 32-bit ARM. */
#ifdef __aarch64__
#define CAPABILITIES AT_HWCAP
enum { CAN_AES = 1 << 3, CAN_PMULL = 1 << 4, CAN_SHA1 = 1 << 5 };
#else
#define CAPABILITIES AT_HWCAP2
enum { CAN_AES = 1 << 0, CAN_PMULL = 1 << 1, CAN_SHA1 = 1 << 2 };
#endif

static int can(unsigned long what) { return (getauxval(CAPABILITIES) & what) == what; }

typedef struct h_pair { /* two neighbouring powers of H, divided by x, and the sums of their halves */
  uint64x2_t power[2], sums;
} h_pair;

typedef struct armv8ce_key {
  uint8x16_t round_key[UMS_AES_MAX_ROUNDS + 1];
  h_pair h[LANES / 2]; /* powers 1 and 2, 3 and 4, ... */
  ums_hmac_sha1 hmac;
  ums_sha1_blocks *sha1;
  uint32_t rounds;
  uint32_t loaded; /* 0 in a wiped key, which answers UMS_ENGINE */
  ums_transform transform;
} armv8ce_key;

_Static_assert(sizeof(armv8ce_key) <= UMS_KEY_MAX, "a prepared key fits into ums_key");

static const armv8ce_key *prepared(const ums_key *key) { return (const armv8ce_key *)(const void *)key->prepared; }

/* --------------------------------------------------------------------------------------------------------- AES -- */

#define ROUND(r)                                                                                                       \
  do {                                                                                                                 \
    const uint8x16_t key = k->round_key[r];                                                                            \
    UNROLLED for (int i = 0; i < n; i++) block[i] = vaesmcq_u8(vaeseq_u8(block[i], key));                              \
  } while (0)

/* `n` is a constant wherever this is used. AESE adds the round key first, so the last one is added by hand. */
ALWAYS_INLINE void encrypt(const armv8ce_key *k, uint8x16_t block[], const int n) {
  const uint8x16_t *end = &k->round_key[k->rounds];
  ROUND(0);
  ROUND(1);
  ROUND(2);
  ROUND(3);
  ROUND(4);
  ROUND(5);
  ROUND(6);
  ROUND(7);
  ROUND(8);
  if (k->rounds > 10) {
    ROUND(9);
    ROUND(10);
    if (k->rounds > 12) {
      ROUND(11);
      ROUND(12);
    }
  }
  const uint8x16_t last = end[-1], whitening = end[0];
  UNROLLED
  for (int i = 0; i < n; i++)
    block[i] = veorq_u8(vaeseq_u8(block[i], last), whitening);
}

/* Keystream of n blocks whose counters start at `count`. */
ALWAYS_INLINE void keystream(const armv8ce_key *k, uint8x16_t block[], const int n, uint8x16_t counter,
                             uint32_t count) {
  UNROLLED
  for (int i = 0; i < n; i++)
    block[i] =
        vreinterpretq_u8_u32(vsetq_lane_u32(__builtin_bswap32(count + (uint32_t)i), vreinterpretq_u32_u8(counter), 3));
  encrypt(k, block, n);
}

ALWAYS_INLINE void xor_blocks(const armv8ce_key *k, const int n, uint8x16_t counter, uint32_t count, uint8_t *data) {
  uint8x16_t stream[LANES];
  keystream(k, stream, n, counter, count);
  UNROLLED
  for (int i = 0; i < n; i++)
    vst1q_u8(data + 16 * i, veorq_u8(vld1q_u8(data + 16 * i), stream[i]));
}

static void ctr(const armv8ce_key *k, uint8x16_t counter, uint32_t count, uint8_t *data, size_t len) {
  for (; len >= 128; data += 128, len -= 128, count += 8) {
    UMS_OPAQUE(len);
    xor_blocks(k, 8, counter, count, data);
  }
  if (len >= 64) {
    xor_blocks(k, 4, counter, count, data);
    data += 64, len -= 64, count += 4;
  }
  if (len >= 32) {
    xor_blocks(k, 2, counter, count, data);
    data += 32, len -= 32, count += 2;
  }
  if (len >= 16) {
    xor_blocks(k, 1, counter, count, data);
    data += 16, len -= 16, count += 1;
  }
  if (len > 0) {
    uint8_t last[16] = {0};
    memcpy(last, data, len);
    xor_blocks(k, 1, counter, count, last);
    memcpy(data, last, len);
    ums_wipe(last, sizeof last); /* the rest of it is keystream */
  }
}

static void cipher_range(const void *cipher, const ums_job *job) {
  ctr(cipher, vld1q_u8(job->iv), ums_load32(job->iv + 12), job->data + job->cipher_off, job->cipher_len);
}

/* ------------------------------------------------------------------------------------------------------- GHASH -- */

typedef struct product { /* 256 bits of Karatsuba's method: hi, lo, and (sum of halves) * (sum of halves) */
  uint64x2_t hi, lo, sums;
} product;

ALWAYS_INLINE uint64x2_t load_reversed(const uint8_t *p) { return vreinterpretq_u64_u8(vrev64q_u8(vld1q_u8(p))); }
ALWAYS_INLINE uint64x2_t swap_halves(uint64x2_t v) { return vextq_u64(v, v, 1); }

ALWAYS_INLINE uint64x2_t multiply_low(uint64x2_t a, uint64x2_t b) {
  return vreinterpretq_u64_p128(vmull_p64((poly64_t)vgetq_lane_u64(a, 0), (poly64_t)vgetq_lane_u64(b, 0)));
}

ALWAYS_INLINE uint64x2_t multiply_high(uint64x2_t a, uint64x2_t b) {
  return vreinterpretq_u64_p128(vmull_high_p64(vreinterpretq_p64_u64(a), vreinterpretq_p64_u64(b)));
}

/* Element 0 is the upper half, here and in the powers. `odd`: the second power of a pair. */
ALWAYS_INLINE void add_product(product *p, uint64x2_t a, const h_pair *h, const int odd) {
  const uint64x2_t b = h->power[odd], a_sum = veorq_u64(a, swap_halves(a));
  p->hi = veorq_u64(p->hi, multiply_low(a, b));
  p->lo = veorq_u64(p->lo, multiply_high(a, b));
  p->sums = veorq_u64(p->sums, odd ? multiply_high(a_sum, h->sums) : multiply_low(a_sum, h->sums));
}

/*
 * Folds the lowest 64 bits, the highest powers of x, twice: x^128 = 1 + x + x^2 + x^7. Products have their lower half
 * in element 0; the result has its upper half there, as blocks do.
 */
ALWAYS_INLINE uint64x2_t reduce(product p) {
  const uint64x2_t zero = vdupq_n_u64(0), fold = vdupq_n_u64(0xc200000000000000);
  const uint64x2_t mid = veorq_u64(p.sums, veorq_u64(p.hi, p.lo));
  uint64x2_t lo = veorq_u64(p.lo, vextq_u64(zero, mid, 1));
  const uint64x2_t hi = veorq_u64(p.hi, vextq_u64(mid, zero, 1));
  lo = veorq_u64(swap_halves(lo), multiply_low(lo, fold));
  lo = veorq_u64(swap_halves(lo), multiply_low(lo, fold));
  return swap_halves(veorq_u64(hi, lo));
}

/* Shifts up by one bit; what falls off is x^-1 = x^127 + x^6 + x + 1. */
static uint64x2_t divide_by_x(uint64x2_t v) {
  const uint64_t high = vgetq_lane_u64(v, 0), low = vgetq_lane_u64(v, 1), top = 0 - (high >> 63);
  const uint64x2_t shifted = vsetq_lane_u64((high << 1) | (low >> 63), vdupq_n_u64(low << 1), 0);
  return veorq_u64(shifted, vsetq_lane_u64(top & 0xc200000000000000, vdupq_n_u64(top & 1), 0));
}

static void set_power(armv8ce_key *k, int i, uint64x2_t power) { /* i counts from 0, for H^1 */
  h_pair *h = &k->h[i / 2];
  const uint64_t sum = vgetq_lane_u64(power, 0) ^ vgetq_lane_u64(power, 1);
  h->power[i % 2] = power;
  h->sums = i % 2 == 0 ? vdupq_n_u64(sum) : vsetq_lane_u64(sum, h->sums, 1);
}

static void compute_h_powers(armv8ce_key *k) {
  uint8x16_t h = vdupq_n_u8(0);
  const uint64x2_t zero = vdupq_n_u64(0);
  encrypt(k, &h, 1);
  uint64x2_t power = divide_by_x(vreinterpretq_u64_u8(vrev64q_u8(h)));
  set_power(k, 0, power);
  for (int i = 1; i < LANES; i++) {
    product p = {zero, zero, zero};
    add_product(&p, power, &k->h[0], 0);
    power = reduce(p);
    set_power(k, i, power);
  }
}

/* One GHASH computation over `left` more blocks. A group of up to LANES blocks shares a reduction. */
typedef struct ghash {
  const h_pair *h;
  uint64x2_t y; /* to be added to the next block: zero inside a group */
  product sum;
  size_t left, in_group;
} ghash;

ALWAYS_INLINE void ghash_begin(ghash *g, const armv8ce_key *k, size_t blocks) {
  const uint64x2_t zero = vdupq_n_u64(0);
  g->h = k->h;
  g->y = zero;
  g->sum = (product){zero, zero, zero};
  g->left = blocks;
  g->in_group = blocks % LANES != 0 ? blocks % LANES : LANES; /* the short group comes first */
}

ALWAYS_INLINE void ghash_end_group(ghash *g) {
  const uint64x2_t zero = vdupq_n_u64(0);
  g->y = reduce(g->sum);
  g->sum = (product){zero, zero, zero};
  g->in_group = LANES;
}

ALWAYS_INLINE void ghash_block(ghash *g, uint64x2_t block) {
  const size_t i = g->in_group - 1;
  block = veorq_u64(block, g->y);
  g->y = vdupq_n_u64(0);
  if (i % 2 != 0)
    add_product(&g->sum, block, &g->h[i / 2], 1);
  else
    add_product(&g->sum, block, &g->h[i / 2], 0);
  g->left--;
  if (--g->in_group == 0)
    ghash_end_group(g);
}

/* Pairs of blocks while they last, then single ones: fewer steps where most of the work is. */
ALWAYS_INLINE void ghash_blocks(ghash *g, const uint8_t *data, size_t n) {
  if (n > 0 && g->in_group % 2 != 0) {
    ghash_block(g, load_reversed(data));
    data += 16, n--;
  }
  for (; n >= 2; n -= 2, data += 32) {
    const h_pair *h = &g->h[g->in_group / 2 - 1];
    add_product(&g->sum, veorq_u64(load_reversed(data), g->y), h, 1);
    add_product(&g->sum, load_reversed(data + 16), h, 0);
    g->y = vdupq_n_u64(0);
    g->left -= 2;
    g->in_group -= 2;
    if (g->in_group == 0)
      ghash_end_group(g);
  }
  if (n > 0)
    ghash_block(g, load_reversed(data));
}

/* 9 to 15 octets, then zeros, as a block: an RTP header without CSRCs has 12. */
ALWAYS_INLINE uint64x2_t load_part(const uint8_t *p, size_t len) {
  const uint64_t low = ums_load64(p + len - 8) << (8 * (16 - len));
  return vsetq_lane_u64(ums_load64(p), vdupq_n_u64(low), 0);
}

/* SP 800-38D, 6.4 over AAD, tail, ciphertext and lengths of a job. */
static uint8x16_t gcm_hash(const armv8ce_key *k, const ums_job *job) {
  uint8_t rest[32], last[16];
  const int simple = job->tail_len == 0 && job->auth_len % 16 > 8;
  const size_t rest_len = simple ? 16 : ums_gcm_aad_rest(job, rest);
  const size_t aad_blocks = job->auth_len / 16, text_blocks = job->cipher_len / 16, text_rest = job->cipher_len % 16;
  const uint8_t *text = job->data + job->cipher_off;
  ghash g;
  ghash_begin(&g, k, aad_blocks + rest_len / 16 + text_blocks + (text_rest > 0) + 1);
  if (aad_blocks > 0)
    ghash_blocks(&g, job->data, aad_blocks);
  if (simple)
    ghash_block(&g, load_part(job->data + 16 * aad_blocks, job->auth_len % 16));
  else
    for (size_t i = 0; i < rest_len; i += 16)
      ghash_block(&g, load_reversed(rest + i));
  ghash_blocks(&g, text, text_blocks);
  if (text_rest > 0) {
    memset(last, 0, sizeof last);
    memcpy(last, text + 16 * text_blocks, text_rest);
    ghash_block(&g, load_reversed(last));
  }
  const uint64x2_t lengths =
      vsetq_lane_u64(8 * ((uint64_t)job->auth_len + job->tail_len), vdupq_n_u64(8 * (uint64_t)job->cipher_len), 0);
  ghash_block(&g, lengths);
  return vrev64q_u8(vreinterpretq_u8_u64(g.y));
}

/* SP 800-38D, 7.1 and 7.2. Decryption starts only when the tag has verified. */
static ums_status run_gcm(const armv8ce_key *k, ums_job *job) {
  if (job->tag_len != UMS_GCM_TAG || !ums_job_lengths_ok(job, UMS_GCM_TAG))
    return UMS_ENGINE;
  uint8_t *text = job->data + job->cipher_off, *tag = job->data + job->tag_off;
  const uint8x16_t counter = vld1q_u8(job->iv); /* the counter's word is set by keystream() */
  uint8x16_t mask;
  keystream(k, &mask, 1, counter, 1);
  if ((job->flags & UMS_JOB_ENCRYPT) != 0) {
    ctr(k, counter, 2, text, job->cipher_len);
    vst1q_u8(tag, veorq_u8(gcm_hash(k, job), mask));
    return UMS_OK;
  }
  const uint8x16_t found = veorq_u8(veorq_u8(gcm_hash(k, job), mask), vld1q_u8(tag));
  const uint64x2_t difference = vreinterpretq_u64_u8(found);
  if (!ums_verdict((vgetq_lane_u64(difference, 0) | vgetq_lane_u64(difference, 1)) == 0))
    return UMS_AUTH_FAIL;
  ctr(k, counter, 2, text, job->cipher_len);
  return UMS_OK;
}

/* ------------------------------------------------------------------------------------------------------- SHA-1 -- */

/*
 * Rounds 4 i to 4 i + 3 of FIPS 180-4, 6.1.2. `m` is a ring of the last 16 schedule words; from i = 4 on the oldest
 * quarter is renewed. SHA1H makes the next e out of a.
 */
#define FOUR_ROUNDS(i, function, constant)                                                                             \
  do {                                                                                                                 \
    if ((i) >= 4)                                                                                                      \
      m[(i) % 4] = vsha1su1q_u32(vsha1su0q_u32(m[(i) % 4], m[((i) + 1) % 4], m[((i) + 2) % 4]), m[((i) + 3) % 4]);     \
    const uint32_t next_e = vsha1h_u32(vgetq_lane_u32(abcd, 0));                                                       \
    abcd = vsha1##function##q_u32(abcd, e, vaddq_u32(m[(i) % 4], constant));                                           \
    e = next_e;                                                                                                        \
  } while (0)
#define TWENTY_ROUNDS(i, function, constant)                                                                           \
  do {                                                                                                                 \
    FOUR_ROUNDS(i, function, constant);                                                                                \
    FOUR_ROUNDS((i) + 1, function, constant);                                                                          \
    FOUR_ROUNDS((i) + 2, function, constant);                                                                          \
    FOUR_ROUNDS((i) + 3, function, constant);                                                                          \
    FOUR_ROUNDS((i) + 4, function, constant);                                                                          \
  } while (0)

static void sha1_blocks(uint32_t state[5], const uint8_t *data, size_t n_blocks) {
  const uint32x4_t k0 = vdupq_n_u32(0x5a827999), k1 = vdupq_n_u32(0x6ed9eba1);
  const uint32x4_t k2 = vdupq_n_u32(0x8f1bbcdc), k3 = vdupq_n_u32(0xca62c1d6);
  uint32x4_t abcd = vld1q_u32(state);
  uint32_t e = state[4];
  for (; n_blocks > 0; n_blocks--, data += UMS_SHA1_BLOCK) {
    uint32x4_t m[4];
    const uint32x4_t abcd_start = abcd;
    const uint32_t e_start = e;
    UNROLLED
    for (int i = 0; i < 4; i++)
      m[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
    TWENTY_ROUNDS(0, c, k0);
    TWENTY_ROUNDS(5, p, k1);
    TWENTY_ROUNDS(10, m, k2);
    TWENTY_ROUNDS(15, p, k3);
    abcd = vaddq_u32(abcd, abcd_start);
    e += e_start;
  }
  vst1q_u32(state, abcd);
  state[4] = e;
}

/* -------------------------------------------------------------------------------------------------- the engine -- */

/* Round keys stay in registers, and the next function that the linker binds lazily would put them on the stack. */
ALWAYS_INLINE void wipe_registers(void) {
#ifdef __aarch64__
  __asm__ volatile("movi v0.16b, #0\nmovi v1.16b, #0\nmovi v2.16b, #0\nmovi v3.16b, #0\n"
                   "movi v4.16b, #0\nmovi v5.16b, #0\nmovi v6.16b, #0\nmovi v7.16b, #0\n"
                   "movi v8.16b, #0\nmovi v9.16b, #0\nmovi v10.16b, #0\nmovi v11.16b, #0\n"
                   "movi v12.16b, #0\nmovi v13.16b, #0\nmovi v14.16b, #0\nmovi v15.16b, #0\n"
                   "movi v16.16b, #0\nmovi v17.16b, #0\nmovi v18.16b, #0\nmovi v19.16b, #0\n"
                   "movi v20.16b, #0\nmovi v21.16b, #0\nmovi v22.16b, #0\nmovi v23.16b, #0\n"
                   "movi v24.16b, #0\nmovi v25.16b, #0\nmovi v26.16b, #0\nmovi v27.16b, #0\n"
                   "movi v28.16b, #0\nmovi v29.16b, #0\nmovi v30.16b, #0\nmovi v31.16b, #0\n"
                   :
                   :
                   : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14",
                     "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
                     "v29", "v30", "v31");
#else
  __asm__ volatile("vmov.i8 q0, #0\nvmov.i8 q1, #0\nvmov.i8 q2, #0\nvmov.i8 q3, #0\n"
                   "vmov.i8 q4, #0\nvmov.i8 q5, #0\nvmov.i8 q6, #0\nvmov.i8 q7, #0\n"
                   "vmov.i8 q8, #0\nvmov.i8 q9, #0\nvmov.i8 q10, #0\nvmov.i8 q11, #0\n"
                   "vmov.i8 q12, #0\nvmov.i8 q13, #0\nvmov.i8 q14, #0\nvmov.i8 q15, #0\n"
                   :
                   :
                   : "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q9", "q10", "q11", "q12", "q13", "q14",
                     "q15");
#endif
}

static int probe(void) { return can(CAN_AES); }

static int supports(ums_transform t, size_t cipher_key_len) {
  return ums_cpu_supports(t, cipher_key_len) && (t != UMS_AES_GCM || can(CAN_PMULL));
}

/* SubWord of FIPS-197, 5.2. ShiftRows moves nothing when all columns are the same. */
static uint32_t sub_word(uint32_t word) {
  const uint8x16_t columns = vreinterpretq_u8_u32(vdupq_n_u32(word));
  return vgetq_lane_u32(vreinterpretq_u32_u8(vaeseq_u8(columns, vdupq_n_u8(0))), 0);
}

static void expand_cipher_key(armv8ce_key *k, const ums_session_key *key) {
  uint32_t words[4 * (UMS_AES_MAX_ROUNDS + 1)];
  k->rounds = ums_aes_rounds(key->cipher_key_len);
  ums_aes_expand_key(words, key->cipher_key, key->cipher_key_len, sub_word);
  memcpy(k->round_key, words, 16 * ((size_t)k->rounds + 1)); /* both little-endian */
  ums_wipe(words, sizeof words);
}

static ums_status load_key(const ums_engine *e, ums_key *out, const ums_session_key *key) {
  (void)e;
  if (!supports(key->transform, key->cipher_key_len))
    return UMS_UNSUPPORTED;
  armv8ce_key *k = (armv8ce_key *)(void *)out->prepared;
  memset(out, 0, sizeof *out);
  k->loaded = 1;
  k->transform = key->transform;
  k->sha1 = can(CAN_SHA1) ? sha1_blocks : ums_sha1_blocks_portable;
  if (key->transform != UMS_NULL_CIPHER)
    expand_cipher_key(k, key);
  if (key->transform == UMS_AES_GCM)
    compute_h_powers(k);
  else
    ums_hmac_sha1_init(&k->hmac, k->sha1, key->auth_key, key->auth_key_len);
  wipe_registers();
  return UMS_OK;
}

static void drop_key(const ums_engine *e, ums_key *key) {
  (void)e;
  ums_wipe(key, sizeof *key);
}

static size_t submit(const ums_engine *e, ums_job *const job[], size_t n) {
  (void)e;
  for (size_t i = 0; i < n; i++) {
    const armv8ce_key *k = prepared(job[i]->key);
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
  wipe_registers();
  return n;
}

const ums_engine ums_engine_armv8ce = {
    .name = "armv8ce",
    .batch = 1, /* its lanes are filled by one packet */
    .probe = probe,
    .supports = supports,
    .load_key = load_key,
    .drop_key = drop_key,
    .submit = submit,
};

#else
typedef int ums_engine_armv8ce_was_not_built; /* big-endian, or a calling convention without vectors */
#endif
