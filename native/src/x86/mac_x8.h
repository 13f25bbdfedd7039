/* Loading and transposing for 8 lanes of 256 bits; the arithmetic is the includer's (AVX2 or AVX-512VL). */
#include "mac.h"

#include <immintrin.h>

#define V __m256i
#define V_LANES 8
#define v_add _mm256_add_epi32
#define v_xor _mm256_xor_si256
#define v_set1 _mm256_set1_epi32
#define v_store(p, x) _mm256_store_si256((__m256i *)(p), x)
#define v_unpacklo_epi32 _mm256_unpacklo_epi32
#define v_unpackhi_epi32 _mm256_unpackhi_epi32
#define v_unpacklo_epi64 _mm256_unpacklo_epi64
#define v_unpackhi_epi64 _mm256_unpackhi_epi64

static inline __attribute__((always_inline)) V v_first(V old, V new, size_t n) {
  const V lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_blendv_epi8(old, new, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane));
}

static inline __attribute__((always_inline)) void transpose8(V r[8]) {
  V t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int j = 0; j < 4; j++) {
    t[j] = _mm256_permute2x128_si256(r[j], r[4 + j], 0x20);
    t[4 + j] = _mm256_permute2x128_si256(r[j], r[4 + j], 0x31);
  }
  for (int i = 0; i < 8; i++)
    r[i] = t[i];
}

static inline __attribute__((always_inline)) void v_load_state_rows(V w[16], const uint8_t *const p[8]) {
  for (int h = 0; h < 2; h++) {
    for (int i = 0; i < 8; i++)
      w[8 * h + i] = _mm256_load_si256((const __m256i *)(p[i] + 32 * h));
    transpose8(w + 8 * h);
  }
}

static inline __attribute__((always_inline)) V v_swap(V x) {
  return _mm256_shuffle_epi8(
      x, _mm256_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203, 0x0c0d0e0f08090a0b, 0x0405060700010203));
}

static inline __attribute__((always_inline)) void v_load_rows(V w[16], const uint8_t *const p[8]) {
  for (int h = 0; h < 2; h++) {
    for (int i = 0; i < 8; i++)
      w[8 * h + i] = v_swap(_mm256_loadu_si256((const __m256i *)(p[i] + 32 * h)));
    transpose8(w + 8 * h);
  }
}

static inline __attribute__((always_inline)) void v_store_quarters(uint8_t out[][16], V x) {
  _mm_store_si128((__m128i *)out[0], _mm256_castsi256_si128(x));
  _mm_store_si128((__m128i *)out[4], _mm256_extracti128_si256(x, 1));
}
