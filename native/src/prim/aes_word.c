/*
 * AES encryption, FIPS-197, bitsliced over the machine's words: four blocks at once in 64 bits, two in 32. For machines
 * without vectors in their baseline; the others take aes_vector.c.
 *
 * A state is eight words; word k holds bit k of all octets. A row is a quarter of the word, a column a quarter of the
 * row, and in it stands a bit for each block, so that the next row is a rotation:
 *
 *   top                                    0
 *   | row 3  | row 2  | row 1  | row 0  |         c3 c2 c1 c0 in each, blocks in each of these
 *
 * ShiftRows is not done at all; see aes_vector.c.
 */
#include <string.h>

#include "core.h"
#include "prim/prim.h"

#ifndef UMS_AES_VECTOR

typedef ums_aes_word ums_plane;

#include "prim/aes_sbox.h"

#define BITS (8 * (unsigned)sizeof(ums_plane))
#define BLOCKS (BITS / 16)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 8")
#define EACH_OCTET ((ums_plane)0x0101010101010101)

/* ------------------------------------------------------------------------------------------- blocks <-> planes -- */

ALWAYS_INLINE void swap_bits(ums_plane *a, ums_plane *b, const unsigned shift, const ums_plane low) {
  ums_plane t = ((*a >> shift) ^ *b) & low;
  *b ^= t;
  *a ^= t << shift;
}

/* In each octet: bit k of word j <-> bit j of word k. */
ALWAYS_INLINE void transpose_bits(ums_plane q[8]) {
  UNROLLED
  for (int i = 0; i < 8; i += 2)
    swap_bits(&q[i], &q[i + 1], 1, EACH_OCTET * 0x55);
  UNROLLED
  for (int i = 0; i < 8; i += 4) {
    swap_bits(&q[i], &q[i + 2], 2, EACH_OCTET * 0x33);
    swap_bits(&q[i + 1], &q[i + 3], 2, EACH_OCTET * 0x33);
  }
  UNROLLED
  for (int i = 0; i < 4; i++)
    swap_bits(&q[i], &q[i + 4], 4, EACH_OCTET * 0x0f);
}

ALWAYS_INLINE uint32_t load_column(const uint8_t *p) {
  return p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
}

ALWAYS_INLINE void store_column(uint8_t *p, uint32_t w) {
  p[0] = (uint8_t)w;
  p[1] = (uint8_t)(w >> 8);
  p[2] = (uint8_t)(w >> 16);
  p[3] = (uint8_t)(w >> 24);
}

/*
 * Octet o of word w becomes bit w of octet o in all planes. 32 bits: octet o is row o, word w is column w / 2 of block
 * w % 2. 64 bits: octet o is in row o / 2, columns 2 (o % 2) and one more; word w is block w % 4.
 */
#if UMS_AES_WORD_BITS == 32

ALWAYS_INLINE void slice(ums_plane q[8], const uint8_t blocks[32]) {
  UNROLLED
  for (int w = 0; w < 8; w++)
    q[w] = load_column(blocks + 16 * (w % 2) + 4 * (w / 2));
  transpose_bits(q);
}

ALWAYS_INLINE void unslice(uint8_t blocks[32], ums_plane q[8]) {
  transpose_bits(q);
  UNROLLED
  for (int w = 0; w < 8; w++)
    store_column(blocks + 16 * (w % 2) + 4 * (w / 2), q[w]);
}

#else

ALWAYS_INLINE uint64_t spread(uint32_t w) { /* octet r to octet 2 r */
  uint64_t x = w;
  x = (x | (x << 16)) & 0x0000ffff0000ffff;
  return (x | (x << 8)) & 0x00ff00ff00ff00ff;
}

ALWAYS_INLINE uint32_t gather(uint64_t x) {
  x &= 0x00ff00ff00ff00ff;
  x = (x | (x >> 8)) & 0x0000ffff0000ffff;
  return (uint32_t)(x | (x >> 16));
}

ALWAYS_INLINE void slice(ums_plane q[8], const uint8_t blocks[64]) {
  UNROLLED
  for (int b = 0; b < 4; b++) {
    const uint8_t *p = blocks + 16 * b;
    q[b] = spread(load_column(p)) | (spread(load_column(p + 8)) << 8);
    q[b + 4] = spread(load_column(p + 4)) | (spread(load_column(p + 12)) << 8);
  }
  transpose_bits(q);
}

ALWAYS_INLINE void unslice(uint8_t blocks[64], ums_plane q[8]) {
  transpose_bits(q);
  UNROLLED
  for (int b = 0; b < 4; b++) {
    uint8_t *p = blocks + 16 * b;
    store_column(p, gather(q[b]));
    store_column(p + 8, gather(q[b] >> 8));
    store_column(p + 4, gather(q[b + 4]));
    store_column(p + 12, gather(q[b + 4] >> 8));
  }
}

#endif

/* ----------------------------------------------------------------------------------------------------- rounds -- */

ALWAYS_INLINE ums_plane rows_down(ums_plane x, const unsigned rows) {
  const unsigned n = rows * (BITS / 4);
  return (x >> n) | (x << (BITS - n));
}

/* What stands so many columns on; they go round within a row. */
ALWAYS_INLINE ums_plane columns_on(ums_plane x, const unsigned columns) {
  const unsigned n = columns % 4 * (BITS / 16);
  if (n == 0)
    return x;
  /* the octets of a row are alike: (row >> n) leaves the mask's ones in the row's low BITS / 4 - n bits */
  const ums_plane row = (((ums_plane)1 << (BITS / 4)) - 1), each_row = ~(ums_plane)0 / row;
  const ums_plane stay = (row >> n) * each_row;
  return ((x >> n) & stay) | ((x << (BITS / 4 - n)) & ~stay);
}

/* MixColumns and the round key of a round whose number is `shift` modulo 4; see aes_vector.c. */
ALWAYS_INLINE void mix_columns(ums_plane q[8], const ums_plane key[8], const unsigned shift) {
  ums_plane next[8], sum[8];
  UNROLLED
  for (int k = 0; k < 8; k++) {
    next[k] = rows_down(columns_on(q[k], shift), 1);
    sum[k] = q[k] ^ next[k];
  }
  UNROLLED
  for (int k = 0; k < 8; k++) {
    ums_plane twice = sum[(k + 7) % 8];
    if (k == 1 || k == 3 || k == 4)
      twice ^= sum[7];
    q[k] = twice ^ next[k] ^ key[k] ^ rows_down(columns_on(sum[k], 2 * shift), 2);
  }
}

ALWAYS_INLINE void add_round_key(ums_plane q[8], const ums_plane key[8]) {
  UNROLLED
  for (int k = 0; k < 8; k++)
    q[k] ^= key[k];
}

/* Undoes what fixslicing left out, ShiftRows^rounds: nothing for 12, two columns in the odd rows for 10 and 14. */
ALWAYS_INLINE void way_out(ums_plane q[8]) {
  const ums_plane row = (((ums_plane)1 << (BITS / 4)) - 1), odd = (row << (BITS / 4)) | (row << (3 * (BITS / 4)));
  UNROLLED
  for (int k = 0; k < 8; k++)
    q[k] ^= (q[k] ^ columns_on(q[k], 2)) & odd;
}

static void encrypt(const ums_aes *aes, uint8_t blocks[16 * BLOCKS]) {
  const ums_plane(*key)[8] = aes->round_key;
  const size_t rounds = aes->rounds;
  ums_plane q[8];
  slice(q, blocks);
  add_round_key(q, key[0]);
  for (size_t r = 1; r < rounds; r++) { /* the S-box stands here once: it is most of the code */
    ums_sub_bytes(q);
    switch (r % 4) {
    case 1:
      mix_columns(q, key[r], 1);
      break;
    case 2:
      mix_columns(q, key[r], 2);
      break;
    case 3:
      mix_columns(q, key[r], 3);
      break;
    default:
      mix_columns(q, key[r], 0);
    }
  }
  ums_sub_bytes(q);
  add_round_key(q, key[rounds]);
  if (rounds % 4 == 2)
    way_out(q);
  unslice(blocks, q);
}

/* ------------------------------------------------------------------------------------------------- key schedule -- */

static uint32_t sub_word(uint32_t word) {
  ums_plane q[8] = {word};
  transpose_bits(q);
  ums_sub_bytes(q);
  transpose_bits(q);
  const uint32_t result = (uint32_t)q[0] ^ (0x01010101u * UMS_AFFINE);
  ums_wipe(q, sizeof q);
  return result;
}

void ums_aes_init(ums_aes *aes, const uint8_t *key, size_t key_len) {
  uint32_t words[4 * (UMS_AES_MAX_ROUNDS + 1)];
  uint8_t blocks[16 * BLOCKS];
  aes->rounds = (uint32_t)ums_aes_rounds(key_len);
  ums_aes_expand_key(words, key, key_len, sub_word);
  for (size_t i = 0; i <= aes->rounds; i++) {
    for (size_t row = 0; row < 4; row++)
      for (size_t column = 0; column < 4; column++)
        blocks[4 * ((column + i * row) % 4) + row] =
            (uint8_t)(words[4 * i + column] >> (8 * row)) ^ (i == 0 ? 0 : UMS_AFFINE);
    for (size_t b = 1; b < BLOCKS; b++)
      memcpy(blocks + 16 * b, blocks, 16);
    slice(aes->round_key[i], blocks);
  }
  ums_wipe(words, sizeof words);
  ums_wipe(blocks, sizeof blocks);
}

/* ------------------------------------------------------------------------------------------------ counter mode -- */

static void add_stream(uint8_t *data, const uint8_t *stream, size_t len) {
  for (ums_plane a, b; len >= sizeof a; data += sizeof a, stream += sizeof a, len -= sizeof a) {
    memcpy(&a, data, sizeof a);
    memcpy(&b, stream, sizeof b);
    a ^= b;
    memcpy(data, &a, sizeof a);
  }
  for (; len > 0; len--)
    *data++ ^= *stream++;
}

void ums_aes_ctr(const ums_ctr_span span[], size_t n) {
  uint8_t stream[16 * BLOCKS];
  for (size_t i = 0; i < n; i++) {
    uint8_t *data = span[i].data;
    uint32_t count = span[i].count;
    for (size_t len = span[i].len, part; len > 0; data += part, len -= part) {
      for (size_t b = 0; b < BLOCKS; b++) {
        memcpy(stream + 16 * b, span[i].iv, 12);
        ums_store32(stream + 16 * b + 12, count++);
      }
      encrypt(span[i].aes, stream);
      part = len < sizeof stream ? len : sizeof stream;
      add_stream(data, stream, part);
    }
  }
  ums_wipe(stream, sizeof stream);
}

#endif
typedef int ums_aes_word_has_a_translation_unit;
