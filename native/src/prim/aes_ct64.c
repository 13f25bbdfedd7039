/*
 * AES encryption, FIPS-197, bitsliced over 64-bit words: four blocks at once, only AND, XOR, shifts.
 *
 * A state is eight words; word k holds bit k of all 64 octets. The octet of row r, column c and block b has position
 * 16 r + 4 c + b, so ShiftRows moves within 16-bit groups and the next row is a rotation by 16:
 *
 *   63      48 47      32 31      16 15       0
 *   | row 3   |  row 2   |  row 1   |  row 0   |      c3 c2 c1 c0 in each, b3 b2 b1 b0 in each
 *
 * The S-box inverts in a tower of fields, which is shorter to say with gates than with GF(2)[x]/(x^8+x^4+x^3+x+1):
 * GF(4) = GF(2)[w]/(w^2+w+1), GF(16) = GF(4)[z]/(z^2+z+w), GF(256) = GF(16)[y]/(y^2+y+v), v = w z + 1. The two
 * changes of basis, the second merged with the affine map, are the XOR lists in sub_bytes.
 */
#include <string.h>

#include "core.h"
#include "prim/prim.h"

/* ------------------------------------------------------------------------------------------------------ S-box -- */

typedef struct gf4 {
  uint64_t b0, b1; /* b1 w + b0 */
} gf4;
typedef struct gf16 {
  gf4 lo, hi; /* hi z + lo */
} gf16;

static inline gf4 gf4_add(gf4 a, gf4 b) { return (gf4){a.b0 ^ b.b0, a.b1 ^ b.b1}; }

static inline gf4 gf4_mul(gf4 a, gf4 b) {
  uint64_t low = a.b0 & b.b0, high = a.b1 & b.b1, cross = (a.b0 ^ a.b1) & (b.b0 ^ b.b1);
  return (gf4){low ^ high, cross ^ low};
}

static inline gf4 gf4_mul_w(gf4 a) { return (gf4){a.b1, a.b0 ^ a.b1}; }

static inline gf4 gf4_square(gf4 a) { return (gf4){a.b0 ^ a.b1, a.b1}; } /* which is the inverse, too */

static inline gf16 gf16_add(gf16 a, gf16 b) { return (gf16){gf4_add(a.lo, b.lo), gf4_add(a.hi, b.hi)}; }

static inline gf16 gf16_mul(gf16 a, gf16 b) {
  gf4 low = gf4_mul(a.lo, b.lo), high = gf4_mul(a.hi, b.hi);
  gf4 cross = gf4_mul(gf4_add(a.lo, a.hi), gf4_add(b.lo, b.hi));
  return (gf16){gf4_add(low, gf4_mul_w(high)), gf4_add(cross, low)};
}

/* In both towers (h y + l)^-1 = (h y + h + l) / (v h^2 + h l + l^2). */
static inline gf16 gf16_inverse(gf16 a) {
  gf4 norm = gf4_add(gf4_mul(a.hi, a.lo), gf4_add(gf4_mul_w(gf4_square(a.hi)), gf4_square(a.lo)));
  gf4 inverse = gf4_square(norm);
  return (gf16){gf4_mul(gf4_add(a.hi, a.lo), inverse), gf4_mul(a.hi, inverse)};
}

static inline gf16 gf16_square(gf16 a) {
  gf4 high = gf4_square(a.hi);
  return (gf16){gf4_add(gf4_square(a.lo), gf4_mul_w(high)), high};
}

/* v a^2, multiplied out. */
static inline gf16 gf16_square_mul_v(gf16 a) {
  uint64_t t = a.lo.b1 ^ a.hi.b1;
  return (gf16){{a.lo.b0 ^ a.hi.b0 ^ t, t}, {a.lo.b1, a.lo.b0}};
}

static inline void sub_bytes(uint64_t q[8]) {
  uint64_t t8 = q[4] ^ q[6], t9 = q[1] ^ q[2], t10 = q[3] ^ t8, t11 = q[5] ^ t9, t12 = q[1] ^ t8, t13 = q[7] ^ t10;
  uint64_t t14 = q[0] ^ t12, t15 = q[2] ^ t13, t16 = q[5] ^ q[7], t17 = q[6] ^ t11, t18 = q[7] ^ t12, t19 = t10 ^ t11;

  gf16 lo = {{t14, t13}, {t11, t17}}, hi = {{t15, t18}, {t19, t16}};
  gf16 norm = gf16_add(gf16_mul(hi, lo), gf16_add(gf16_square_mul_v(hi), gf16_square(lo)));
  gf16 inverse = gf16_inverse(norm);
  lo = gf16_mul(gf16_add(hi, lo), inverse);
  hi = gf16_mul(hi, inverse);

  uint64_t r0 = lo.lo.b0, r1 = lo.lo.b1, r2 = lo.hi.b0, r3 = lo.hi.b1;
  uint64_t r4 = hi.lo.b0, r5 = hi.lo.b1, r6 = hi.hi.b0, r7 = hi.hi.b1;
  uint64_t u8 = r2 ^ r6, u9 = r0 ^ r3, u10 = r5 ^ u9, u11 = r7 ^ u8, u12 = r0 ^ r4, u13 = r1 ^ u10;
  q[0] = ~(r6 ^ u12); /* the inversions are the constant 0x63 of FIPS-197, 5.1.1 */
  q[1] = ~(r4 ^ u13);
  q[2] = u11 ^ u13;
  q[3] = u12;
  q[4] = u10 ^ u11;
  q[5] = ~(r3 ^ u8);
  q[6] = ~(r4 ^ r7);
  q[7] = u11;
}

/* ------------------------------------------------------------------------------------------- octets <-> planes -- */

static inline void swap_bits(uint64_t *a, uint64_t *b, unsigned shift, uint64_t low) {
  uint64_t t = ((*a >> shift) ^ *b) & low;
  *b ^= t;
  *a ^= t << shift;
}

/* In each octet lane: bit k of word j <-> bit j of word k. */
static inline void transpose(uint64_t q[8]) {
  for (int i = 0; i < 8; i += 2)
    swap_bits(&q[i], &q[i + 1], 1, 0x5555555555555555);
  for (int i = 0; i < 8; i += 4) {
    swap_bits(&q[i], &q[i + 2], 2, 0x3333333333333333);
    swap_bits(&q[i + 1], &q[i + 3], 2, 0x3333333333333333);
  }
  for (int i = 0; i < 4; i++)
    swap_bits(&q[i], &q[i + 4], 4, 0x0f0f0f0f0f0f0f0f);
}

static inline uint64_t spread(uint32_t w) { /* octet r to octet 2 r */
  uint64_t x = w;
  x = (x | (x << 16)) & 0x0000ffff0000ffff;
  return (x | (x << 8)) & 0x00ff00ff00ff00ff;
}

static inline uint32_t gather(uint64_t x) {
  x &= 0x00ff00ff00ff00ff;
  x = (x | (x >> 8)) & 0x0000ffff0000ffff;
  return (uint32_t)(x | (x >> 16));
}

static inline uint32_t load_column(const uint8_t *p) {
  return p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
}

static inline void store_column(uint8_t *p, uint32_t w) {
  p[0] = (uint8_t)w;
  p[1] = (uint8_t)(w >> 8);
  p[2] = (uint8_t)(w >> 16);
  p[3] = (uint8_t)(w >> 24);
}

static inline void slice(uint64_t q[8], const uint8_t blocks[64]) {
  for (int b = 0; b < 4; b++) {
    const uint8_t *p = blocks + 16 * b;
    q[b] = spread(load_column(p)) | (spread(load_column(p + 8)) << 8);
    q[b + 4] = spread(load_column(p + 4)) | (spread(load_column(p + 12)) << 8);
  }
  transpose(q);
}

static inline void unslice(uint8_t blocks[64], uint64_t q[8]) {
  transpose(q);
  for (int b = 0; b < 4; b++) {
    uint8_t *p = blocks + 16 * b;
    store_column(p, gather(q[b]));
    store_column(p + 8, gather(q[b] >> 8));
    store_column(p + 4, gather(q[b + 4]));
    store_column(p + 12, gather(q[b + 4] >> 8));
  }
}

/* ----------------------------------------------------------------------------------------------------- rounds -- */

static inline void add_round_key(uint64_t q[8], const uint64_t key[8]) {
  for (int k = 0; k < 8; k++)
    q[k] ^= key[k];
}

static inline void shift_rows(uint64_t q[8]) {
  for (int k = 0; k < 8; k++) {
    uint64_t x = q[k];
    q[k] = (x & 0x000000000000ffff) | ((x >> 4) & 0x000000000fff0000) | ((x << 12) & 0x00000000f0000000) |
           ((x >> 8) & 0x000000ff00000000) | ((x << 8) & 0x0000ff0000000000) | ((x >> 12) & 0x000f000000000000) |
           ((x << 4) & 0xfff0000000000000);
  }
}

static inline uint64_t next_row(uint64_t x) { return (x >> 16) | (x << 48); }

/* FIPS-197, 5.1.3: 2 a + 3 b + c + d = 2 (a + b) + b + (c + d), where c + d is a + b two rows on. */
static inline void mix_columns(uint64_t q[8]) {
  uint64_t next[8], sum[8];
  for (int k = 0; k < 8; k++) {
    next[k] = next_row(q[k]);
    sum[k] = q[k] ^ next[k];
  }
  for (int k = 0; k < 8; k++) {
    uint64_t twice = k == 0 ? sum[7] : sum[k - 1];
    if (k == 1 || k == 3 || k == 4)
      twice ^= sum[7];
    q[k] = twice ^ next[k] ^ next_row(next_row(sum[k]));
  }
}

static inline void encrypt_sliced(const ums_aes_ct64 *aes, uint64_t q[8]) {
  size_t rounds = aes->rounds;
  add_round_key(q, aes->round_key[0]);
  for (size_t i = 1; i < rounds; i++) {
    sub_bytes(q);
    shift_rows(q);
    mix_columns(q);
    add_round_key(q, aes->round_key[i]);
  }
  sub_bytes(q);
  shift_rows(q);
  add_round_key(q, aes->round_key[rounds]);
}

static uint32_t sub_word(uint32_t word) {
  uint64_t q[8] = {word};
  transpose(q);
  sub_bytes(q);
  transpose(q);
  uint32_t result = (uint32_t)q[0];
  ums_wipe(q, sizeof q);
  return result;
}

void ums_aes_ct64_init(ums_aes_ct64 *aes, const uint8_t *key, size_t key_len) {
  uint32_t words[4 * (UMS_AES_MAX_ROUNDS + 1)];
  uint8_t blocks[64];
  aes->rounds = ums_aes_rounds(key_len);
  ums_aes_expand_key(words, key, key_len, sub_word);
  for (size_t i = 0; i <= aes->rounds; i++) {
    for (size_t c = 0; c < 16; c++) /* four blocks with the same round key */
      store_column(blocks + 4 * c, words[4 * i + c % 4]);
    slice(aes->round_key[i], blocks);
  }
  ums_wipe(words, sizeof words);
  ums_wipe(blocks, sizeof blocks);
}

void ums_aes_ct64_encrypt4(const ums_aes_ct64 *aes, uint8_t blocks[64]) {
  uint64_t q[8];
  slice(q, blocks);
  encrypt_sliced(aes, q);
  unslice(blocks, q);
}

void ums_aes_ct64_ctr(const ums_aes_ct64 *aes, const uint8_t counter[16], uint8_t *first, uint8_t *data, size_t len) {
  uint8_t stream[64];
  uint32_t count = ums_load32(counter + 12);
  while (len > 0 || first != NULL) {
    for (uint32_t b = 0; b < 4; b++) {
      memcpy(stream + 16 * b, counter, 12);
      ums_store32(stream + 16 * b + 12, count + b);
    }
    count += 4;
    ums_aes_ct64_encrypt4(aes, stream);
    size_t used = 0;
    if (first != NULL) {
      memcpy(first, stream, 16);
      first = NULL;
      used = 16;
    }
    size_t n = len < sizeof stream - used ? len : sizeof stream - used;
    for (size_t i = 0; i < n; i++)
      data[i] ^= stream[used + i];
    data += n;
    len -= n;
  }
  ums_wipe(stream, sizeof stream);
}
