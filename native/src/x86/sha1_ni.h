/*
 * SHA-1 with the SHA extensions, N messages interleaved (FIPS 180-4, 6.1.2). One message waits for its own latency
 * (20 times sha1rnds4, 6 cycles each); with four in flight the instruction's throughput is the limit.
 * Included by files compiled with -msha -msse4.1.
 */
#ifndef SHA1_NI_H
#define SHA1_NI_H

#include <immintrin.h>
#include <stdint.h>

typedef struct sha1_ni_state {
  __m128i abcd, e; /* a in the top lane; e in the top lane */
} sha1_ni_state;

#define NI_EACH(N, stmt)                                                                                               \
  do {                                                                                                                 \
    _Pragma("GCC unroll 4") for (int i = 0; i < (N); i++) { stmt; }                                                    \
  } while (0)

/* Rounds 4g..4g+3; m[i][g % 4] holds the four words of this group. */
#define NI_GROUP(N, g, f)                                                                                              \
  NI_EACH(N, {                                                                                                         \
    const __m128i e_ = (g) == 0 ? _mm_add_epi32(e[i], m[i][0]) : _mm_sha1nexte_epu32(e[i], m[i][(g)&3]);               \
    e[i] = abcd[i];                                                                                                    \
    abcd[i] = _mm_sha1rnds4_epu32(abcd[i], e_, f);                                                                     \
    if ((g) >= 3 && (g) < 19)                                                                                          \
      m[i][((g) + 1) & 3] = _mm_sha1msg2_epu32(m[i][((g) + 1) & 3], m[i][(g)&3]);                                      \
    if ((g) >= 1 && (g) < 17)                                                                                          \
      m[i][((g) + 3) & 3] = _mm_sha1msg1_epu32(m[i][((g) + 3) & 3], m[i][(g)&3]);                                      \
    if ((g) >= 2 && (g) < 18)                                                                                          \
      m[i][((g) + 2) & 3] = _mm_xor_si128(m[i][((g) + 2) & 3], m[i][(g)&3]);                                           \
  })

/* m: four vectors of message words, first word in the top lane; destroyed. */
static inline __attribute__((always_inline)) void sha1_ni_rounds(const int N, sha1_ni_state s[], __m128i m[][4]) {
  __m128i abcd[4], e[4];
  NI_EACH(N, abcd[i] = s[i].abcd; e[i] = s[i].e);
  NI_GROUP(N, 0, 0);
  NI_GROUP(N, 1, 0);
  NI_GROUP(N, 2, 0);
  NI_GROUP(N, 3, 0);
  NI_GROUP(N, 4, 0);
  NI_GROUP(N, 5, 1);
  NI_GROUP(N, 6, 1);
  NI_GROUP(N, 7, 1);
  NI_GROUP(N, 8, 1);
  NI_GROUP(N, 9, 1);
  NI_GROUP(N, 10, 2);
  NI_GROUP(N, 11, 2);
  NI_GROUP(N, 12, 2);
  NI_GROUP(N, 13, 2);
  NI_GROUP(N, 14, 2);
  NI_GROUP(N, 15, 3);
  NI_GROUP(N, 16, 3);
  NI_GROUP(N, 17, 3);
  NI_GROUP(N, 18, 3);
  NI_GROUP(N, 19, 3);
  NI_EACH(N, s[i].e = _mm_sha1nexte_epu32(e[i], s[i].e); s[i].abcd = _mm_add_epi32(abcd[i], s[i].abcd));
}

static inline __m128i sha1_ni_swap(void) { return _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f); }

static inline __attribute__((always_inline)) void sha1_ni_load(__m128i m[4], const uint8_t *p) {
  const __m128i swap = sha1_ni_swap();
  for (int j = 0; j < 4; j++)
    m[j] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16 * j)), swap);
}

/* Words in host order, as a prepared key holds them. */
static inline sha1_ni_state sha1_ni_state_load(const uint32_t h[5]) {
  sha1_ni_state s;
  s.abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0x1b);
  s.e = _mm_slli_si128(_mm_cvtsi32_si128((int)h[4]), 12);
  return s;
}

/* The outer block: the inner digest, 0x80, and the length of 64 + 20 octets in bits. */
static inline __attribute__((always_inline)) void sha1_ni_outer_block(__m128i m[4], const sha1_ni_state *inner) {
  m[0] = inner->abcd;
  m[1] = _mm_insert_epi32(inner->e, (int)0x80000000, 2);
  m[2] = _mm_setzero_si128();
  m[3] = _mm_cvtsi32_si128(8 * (64 + 20));
}

#endif
