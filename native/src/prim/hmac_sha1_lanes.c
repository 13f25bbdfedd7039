/*
 * HMAC-SHA1 of four messages side by side, one in each 32-bit lane of a vector: SHA-1's rounds wait for each other, but
 * not for another message's. GCC's vector types, on machines whose baseline has such vectors; others take one message
 * after the other.
 *
 * Lanes run in step, block by block. A lane that has no block left repeats one of lane 0, whose result is dropped.
 */
#include <string.h>

#include "core.h"
#include "prim/prim.h"

#ifdef UMS_AES_VECTOR

typedef uint32_t V __attribute__((vector_size(16)));
typedef uint16_t halves __attribute__((vector_size(16)));
typedef uint8_t octets __attribute__((vector_size(16)));

#define UMS_SHA1_WORD V
#include "prim/sha1_rounds.h"

#define LANES UMS_MAC_LANES
#define WORDS UMS_SHA1_WORDS
#define LENGTH_FIELD 8
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 16")
#define SHUFFLE __builtin_shufflevector

typedef struct message { /* of one lane: whole blocks where they lie, then one or two with the padding */
  const ums_mac_span *span;
  uint32_t direct, blocks;
  uint8_t last[2 * UMS_SHA1_BLOCK];
} message;

/* FIPS 180-4, 5.1.1; the key's block counts into the length. */
static void set_message(message *m, const ums_mac_span *span) {
  const uint32_t direct = span->len / UMS_SHA1_BLOCK, rest = span->len % UMS_SHA1_BLOCK;
  const uint32_t end = rest + span->tail_len + 1 + LENGTH_FIELD <= UMS_SHA1_BLOCK ? UMS_SHA1_BLOCK : 2 * UMS_SHA1_BLOCK;
  m->span = span;
  m->direct = direct;
  m->blocks = direct + end / UMS_SHA1_BLOCK;
  memset(m->last, 0, sizeof m->last);
  memcpy(m->last, span->data + UMS_SHA1_BLOCK * (size_t)direct, rest);
  memcpy(m->last + rest, span->tail, span->tail_len);
  m->last[rest + span->tail_len] = 0x80;
  ums_store64(m->last + end - LENGTH_FIELD, 8 * (UMS_SHA1_BLOCK + (uint64_t)span->len + span->tail_len));
}

static const uint8_t *block_of(const message *m, uint32_t i) {
  return i < m->direct ? m->span->data + UMS_SHA1_BLOCK * (size_t)i
                       : m->last + UMS_SHA1_BLOCK * (size_t)(i - m->direct);
}

/* -------------------------------------------------------------------------------------------------- messages -- */

ALWAYS_INLINE V swap_octets(V v) {
#ifdef __aarch64__
  const octets o = (octets)v;
  return (V)SHUFFLE(o, o, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
#else
  halves h = (halves)v;
  h = SHUFFLE(h, h, 1, 0, 3, 2, 5, 4, 7, 6);
  return (V)((h << 8) | (h >> 8));
#endif
}

ALWAYS_INLINE V load(const uint8_t *p) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}

/* A block of each lane -> 16 words, each of all lanes. */
ALWAYS_INLINE void load_words(V w[16], const uint8_t *const block[LANES]) {
  UNROLLED
  for (int i = 0; i < 16; i += 4) {
    const V a = load(block[0] + 4 * i), b = load(block[1] + 4 * i), c = load(block[2] + 4 * i),
            d = load(block[3] + 4 * i);
    const V ab_low = SHUFFLE(a, b, 0, 4, 1, 5), ab_high = SHUFFLE(a, b, 2, 6, 3, 7);
    const V cd_low = SHUFFLE(c, d, 0, 4, 1, 5), cd_high = SHUFFLE(c, d, 2, 6, 3, 7);
    w[i] = swap_octets(SHUFFLE(ab_low, cd_low, 0, 1, 4, 5));
    w[i + 1] = swap_octets(SHUFFLE(ab_low, cd_low, 2, 3, 6, 7));
    w[i + 2] = swap_octets(SHUFFLE(ab_high, cd_high, 0, 1, 4, 5));
    w[i + 3] = swap_octets(SHUFFLE(ab_high, cd_high, 2, 3, 6, 7));
  }
}

/* ------------------------------------------------------------------------------------------------------ lanes -- */

/* Longest first. Lanes beyond n repeat lane 0. */
static void run_lanes(const ums_mac_span *const span[], size_t n) {
  message m[LANES];
  const uint8_t *block[LANES];
  V inner[WORDS], outer[WORDS], w[16];
  for (size_t i = 0; i < n; i++)
    set_message(&m[i], span[i]);
  for (size_t i = 0; i < LANES; i++)
    for (int j = 0; j < WORDS; j++) {
      inner[j][i] = span[i < n ? i : 0]->hmac->inner[j];
      outer[j][i] = span[i < n ? i : 0]->hmac->outer[j];
    }
  size_t live = n;
  for (uint32_t k = 0; k < m[0].blocks; k++) {
    V s[WORDS], alive;
    while (m[live - 1].blocks <= k)
      live--;
    for (size_t i = 0; i < LANES; i++) {
      block[i] = block_of(&m[i < live ? i : 0], k);
      alive[i] = i < live ? 0xffffffff : 0;
    }
    load_words(w, block);
    memcpy(s, inner, sizeof s);
    ums_sha1_compress(s, w);
    for (int j = 0; j < WORDS; j++)
      inner[j] ^= (inner[j] ^ s[j]) & alive;
  }
  memcpy(w, inner, sizeof inner);
  memset(&w[WORDS], 0, sizeof w - sizeof inner);
  w[WORDS] = (V){0x80000000, 0x80000000, 0x80000000, 0x80000000};
  w[15] = (V){} + 8 * (UMS_SHA1_BLOCK + UMS_SHA1_DIGEST);
  ums_sha1_compress(outer, w);
  for (size_t i = 0; i < n; i++)
    for (int j = 0; j < WORDS; j++)
      ums_store32(span[i]->mac + 4 * j, outer[j][i]);
  ums_wipe(inner, sizeof inner);
  ums_wipe(outer, sizeof outer);
}

void ums_hmac_sha1_macs(const ums_mac_span span[], size_t n) {
  for (size_t at = 0; at < n; at += LANES) {
    const ums_mac_span *sorted[LANES];
    const size_t ways = n - at < LANES ? n - at : LANES;
    if (ways == 1) {
      const ums_mac_span *s = &span[at];
      ums_hmac_sha1_mac(s->hmac, ums_sha1_blocks_portable, s->data, s->len, s->tail, s->tail_len, s->mac);
      break;
    }
    for (size_t i = 0; i < ways; i++) {
      size_t j = i;
      for (; j > 0 && sorted[j - 1]->len + sorted[j - 1]->tail_len < span[at + i].len + span[at + i].tail_len; j--)
        sorted[j] = sorted[j - 1];
      sorted[j] = &span[at + i];
    }
    run_lanes(sorted, ways);
  }
}

#else

void ums_hmac_sha1_macs(const ums_mac_span span[], size_t n) {
  for (const ums_mac_span *s = span; s < span + n; s++)
    ums_hmac_sha1_mac(s->hmac, ums_sha1_blocks_portable, s->data, s->len, s->tail, s->tail_len, s->mac);
}

#endif
