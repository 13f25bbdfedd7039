/*
 * AES encryption, FIPS-197, bitsliced over 128-bit vectors: eight blocks at once, of as many keys as it takes. GCC's
 * vector types; SSE2 and AArch64's NEON are part of their machines' baseline. Other machines take aes_word.c.
 *
 * A state is eight planes; plane k holds bit k of all octets. The octet of row r and column c has octet 4 r + c of the
 * plane, and the block is the bit in it:
 *
 *   octet  0        4        8        12      15
 *         | row 0  | row 1  | row 2  | row 3  |      c0 c1 c2 c3 in each, bit b for block b in each of these
 *
 * ShiftRows is not done at all. The state after round r is kept as F with S = ShiftRows^r(F), and MixColumns finds the
 * octets of a column where they are: row r + 1 stands r mod 4 columns further on. Round keys are shifted to match when
 * they are expanded, and the last shift is part of the way out ("fixslicing", Adomnicai and Peyrin, 2020).
 *
 * A pass takes blocks of several packets and keys: each octet of a key's bit plane is spread over the bits of its
 * blocks.
 */
#include <string.h>

#include "core.h"
#include "prim/prim.h"

#ifdef UMS_AES_VECTOR

typedef uint8_t octets __attribute__((vector_size(16)));
typedef uint16_t halves __attribute__((vector_size(16)));
typedef uint32_t lanes __attribute__((vector_size(16)));
typedef uint64_t ums_plane __attribute__((vector_size(16)));

#include "prim/aes_sbox.h"

#define BLOCKS 8
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 8")
#define SHUFFLE __builtin_shufflevector

ALWAYS_INLINE ums_plane load(const uint8_t *p) {
  ums_plane v;
  memcpy(&v, p, sizeof v);
  return v;
}

ALWAYS_INLINE void store(uint8_t *p, ums_plane v) { memcpy(p, &v, sizeof v); }

/* ------------------------------------------------------------------------------------------- blocks <-> planes -- */

/* Octet 4 c + r of a block <-> octet 4 r + c. */
ALWAYS_INLINE ums_plane transpose_octets(ums_plane v) {
  octets x = (octets)v;
#ifdef __aarch64__
  x = SHUFFLE(x, x, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
#else
  x = SHUFFLE(x, x, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
  x = SHUFFLE(x, x, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
#endif
  return (ums_plane)x;
}

ALWAYS_INLINE void swap_bits(ums_plane *a, ums_plane *b, const unsigned shift, const uint64_t low) {
  ums_plane t = ((*a >> shift) ^ *b) & (ums_plane){low, low};
  *b ^= t;
  *a ^= t << shift;
}

/* In each octet: bit k of vector j <-> bit j of vector k. */
ALWAYS_INLINE void transpose_bits(ums_plane q[8]) {
  UNROLLED
  for (int i = 0; i < 8; i += 2)
    swap_bits(&q[i], &q[i + 1], 1, 0x5555555555555555);
  UNROLLED
  for (int i = 0; i < 8; i += 4) {
    swap_bits(&q[i], &q[i + 2], 2, 0x3333333333333333);
    swap_bits(&q[i + 1], &q[i + 3], 2, 0x3333333333333333);
  }
  UNROLLED
  for (int i = 0; i < 4; i++)
    swap_bits(&q[i], &q[i + 4], 4, 0x0f0f0f0f0f0f0f0f);
}

/* ----------------------------------------------------------------------------------------------------- rounds -- */

/* What stands `rows` rows down and `columns` columns on; both are constants, and columns go round within a row. */
#ifdef __aarch64__
#define AT(o, rows, columns) (4 * (((o) / 4 + (rows)) % 4) + ((o) + (columns)) % 4)
#define MOVED(v, rows, columns)                                                                                        \
  ((ums_plane)SHUFFLE((octets)(v), (octets)(v), AT(0, rows, columns), AT(1, rows, columns), AT(2, rows, columns),      \
                      AT(3, rows, columns), AT(4, rows, columns), AT(5, rows, columns), AT(6, rows, columns),          \
                      AT(7, rows, columns), AT(8, rows, columns), AT(9, rows, columns), AT(10, rows, columns),         \
                      AT(11, rows, columns), AT(12, rows, columns), AT(13, rows, columns), AT(14, rows, columns),      \
                      AT(15, rows, columns)))
#else
ALWAYS_INLINE lanes columns_on(lanes v, const int columns) {
  const halves h = (halves)v;
  switch (columns % 4) {
  case 1:
    return (v >> 8) | (v << 24);
  case 2:
    return (lanes)SHUFFLE(h, h, 1, 0, 3, 2, 5, 4, 7, 6);
  case 3:
    return (v >> 24) | (v << 8);
  default:
    return v;
  }
}
#define MOVED(v, rows, columns)                                                                                        \
  ((ums_plane)columns_on(                                                                                              \
      SHUFFLE((lanes)(v), (lanes)(v), (rows), ((rows) + 1) % 4, ((rows) + 2) % 4, ((rows) + 3) % 4), columns))
#endif

/*
 * MixColumns and the round key of a round whose number is `shift` modulo 4. FIPS-197, 5.1.3:
 * 2 a + 3 b + c + d = 2 (a + b) + b + (c + d), where c + d is a + b two rows on.
 */
#define MIX_COLUMNS(q, key, shift)                                                                                     \
  do {                                                                                                                 \
    ums_plane next[8], sum[8];                                                                                         \
    UNROLLED                                                                                                           \
    for (int k = 0; k < 8; k++) {                                                                                      \
      next[k] = MOVED((q)[k], 1, shift);                                                                               \
      sum[k] = (q)[k] ^ next[k];                                                                                       \
    }                                                                                                                  \
    UNROLLED                                                                                                           \
    for (int k = 0; k < 8; k++) {                                                                                      \
      ums_plane twice = sum[(k + 7) % 8];                                                                              \
      if (k == 1 || k == 3 || k == 4)                                                                                  \
        twice ^= sum[7];                                                                                               \
      (q)[k] = twice ^ next[k] ^ MOVED(sum[k], 2, 2 * (shift)) ^ (key)[k];                                             \
    }                                                                                                                  \
  } while (0)

ALWAYS_INLINE void add_round_key(ums_plane q[8], const ums_plane key[8]) {
  UNROLLED
  for (int k = 0; k < 8; k++)
    q[k] ^= key[k];
}

/* Blocks in, blocks out; rows and columns are exchanged in both. */
static void encrypt(ums_plane q[BLOCKS], const ums_plane key[][8], size_t rounds) {
  transpose_bits(q);
  add_round_key(q, key[0]);
  for (size_t r = 1;; r += 4) {
    ums_sub_bytes(q);
    MIX_COLUMNS(q, key[r], 1);
    if (r + 1 == rounds)
      break;
    ums_sub_bytes(q);
    MIX_COLUMNS(q, key[r + 1], 2);
    ums_sub_bytes(q);
    MIX_COLUMNS(q, key[r + 2], 3);
    if (r + 3 == rounds)
      break;
    ums_sub_bytes(q);
    MIX_COLUMNS(q, key[r + 3], 0);
  }
  ums_sub_bytes(q);
  add_round_key(q, key[rounds]);
  transpose_bits(q);
}

/* Undoes what fixslicing left out, ShiftRows^rounds: nothing for 12, two columns in the odd rows for 10 and 14. */
ALWAYS_INLINE ums_plane way_out(ums_plane v, size_t rounds) {
  if (rounds % 4 == 2) {
    const halves h = (halves)v;
    v = (ums_plane)SHUFFLE(h, h, 0, 1, 3, 2, 4, 5, 7, 6);
  }
  return transpose_octets(v);
}

/* ------------------------------------------------------------------------------------------------- key schedule -- */

static uint32_t sub_word(uint32_t word) {
  ums_plane q[8] = {{word}};
  transpose_bits(q);
  ums_sub_bytes(q);
  transpose_bits(q);
  const uint32_t result = (uint32_t)q[0][0] ^ (0x01010101u * UMS_AFFINE);
  ums_wipe(q, sizeof q);
  return result;
}

void ums_aes_init(ums_aes *aes, const uint8_t *key, size_t key_len) {
  uint32_t words[4 * (UMS_AES_MAX_ROUNDS + 1)];
  aes->rounds = ums_aes_rounds(key_len);
  ums_aes_expand_key(words, key, key_len, sub_word);
  for (size_t i = 0; i <= aes->rounds; i++)
    for (size_t row = 0; row < 4; row++)
      for (size_t column = 0; column < 4; column++)
        aes->round_key[i][4 * row + (column + i * row) % 4] =
            (uint8_t)(words[4 * i + column] >> (8 * row)) ^ (i == 0 ? 0 : UMS_AFFINE);
  ums_wipe(words, sizeof words);
}

/* ------------------------------------------------------------------------------------------------ counter mode -- */

typedef struct pass { /* the blocks that are gathered, and the round keys as planes */
  ums_plane key[UMS_AES_MAX_ROUNDS + 1][8];
  ums_plane block[BLOCKS];
  struct {
    uint8_t *data;
    size_t len;
  } out[BLOCKS];
  struct {
    const ums_aes *aes;
    unsigned first; /* the number of its first block */
  } run[BLOCKS];    /* neighbours with one key */
  size_t n, n_runs, rounds;
  const ums_aes *expanded; /* the one key whose planes `key` holds; NULL: several or none */
} pass;

/* The octets of `v` that have bit k, as 0xff. */
ALWAYS_INLINE ums_plane has_bit(ums_plane v, const int k) {
  const uint8_t bit = (uint8_t)(1u << k);
  const octets bits = {bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit};
#ifdef __aarch64__
  return (ums_plane)(((octets)v & bits) != 0);
#else
  return (ums_plane)(((octets)v & bits) == bits);
#endif
}

static void expand_keys(pass *p) {
  const ums_aes *first = p->run[0].aes;
  if (p->n_runs == 1 && p->expanded == first)
    return;
  ums_plane from_here[BLOCKS]; /* the bits of the blocks from the first of a run on */
  for (size_t i = 1; i < p->n_runs; i++) {
    const uint64_t blocks = UINT64_C(0x0101010101010101) * (uint8_t)(0xff << p->run[i].first);
    from_here[i] = (ums_plane){blocks, blocks};
  }
  for (size_t r = 0; r <= p->rounds; r++) {
    ums_plane plane[8], key = load(first->round_key[r]);
    UNROLLED
    for (int k = 0; k < 8; k++)
      plane[k] = has_bit(key, k);
    for (size_t i = 1; i < p->n_runs; i++) { /* what differs from the key before */
      const ums_plane next = load(p->run[i].aes->round_key[r]), change = key ^ next, blocks = from_here[i];
      UNROLLED
      for (int k = 0; k < 8; k++)
        plane[k] ^= has_bit(change, k) & blocks;
      key = next;
    }
    UNROLLED
    for (int k = 0; k < 8; k++)
      p->key[r][k] = plane[k];
  }
  p->expanded = p->n_runs == 1 ? first : NULL;
}

static void finish_pass(pass *p) {
  expand_keys(p);
  encrypt(p->block, (const ums_plane(*)[8])p->key, p->rounds);
  for (size_t i = 0; i < p->n; i++) {
    uint8_t *data = p->out[i].data;
    const ums_plane stream = way_out(p->block[i], p->rounds);
    if (p->out[i].len == 16) {
      store(data, load(data) ^ stream);
      continue;
    }
    store((uint8_t *)&p->block[i], stream); /* wiped with all the others */
    for (size_t k = 0; k < p->out[i].len; k++)
      data[k] ^= ((const uint8_t *)&p->block[i])[k];
  }
  p->n = p->n_runs = 0;
}

void ums_aes_ctr(const ums_ctr_span span[], size_t n) {
  pass p;
  p.n = p.n_runs = 0;
  p.expanded = NULL;
  for (size_t i = 0; i < n; i++) {
    const ums_aes *aes = span[i].aes;
    uint8_t iv[16], *data = span[i].data;
    uint32_t count = span[i].count;
    size_t len = span[i].len;
    if (p.n > 0 && p.rounds != aes->rounds)
      finish_pass(&p);
    p.rounds = aes->rounds;
    memcpy(iv, span[i].iv, 12);
    memset(iv + 12, 0, 4);
    const ums_plane base = transpose_octets(load(iv));
    while (len > 0) {
      if (p.n_runs == 0 || p.run[p.n_runs - 1].aes != aes) {
        p.run[p.n_runs].first = (unsigned)p.n;
        p.run[p.n_runs++].aes = aes;
      }
      for (; p.n < BLOCKS && len > 0; p.n++, count++) { /* the counter is column 3, its first octet in row 0 */
        const lanes column = {count & 0xff000000, (count << 8) & 0xff000000, (count << 16) & 0xff000000, count << 24};
        const size_t part = len < 16 ? len : 16;
        p.block[p.n] = base | (ums_plane)column;
        p.out[p.n].data = data;
        p.out[p.n].len = part;
        data += part;
        len -= part;
      }
      if (p.n == BLOCKS)
        finish_pass(&p);
    }
  }
  if (p.n > 0)
    finish_pass(&p);
  ums_wipe(p.key, sizeof p.key);
  ums_wipe(p.block, sizeof p.block);
}

#endif
typedef int ums_aes_vector_has_a_translation_unit;
