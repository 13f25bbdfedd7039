/* HMAC-SHA1 of up to 4 messages in 128-bit vectors, for CPUs with AES-NI but without the SHA extensions or AVX2. */
#include "mac.h"

#include <immintrin.h>

#define V __m128i
#define V_LANES 4
#define v_add _mm_add_epi32
#define v_xor _mm_xor_si128
#define v_set1 _mm_set1_epi32
#define v_store(p, x) _mm_store_si128((__m128i *)(p), x)
#define v_store_quarters(out, x) _mm_store_si128((__m128i *)(out)[0], x)
#define v_unpacklo_epi32 _mm_unpacklo_epi32
#define v_unpackhi_epi32 _mm_unpackhi_epi32
#define v_unpacklo_epi64 _mm_unpacklo_epi64
#define v_unpackhi_epi64 _mm_unpackhi_epi64
#define v_rol(x, n) _mm_or_si128(_mm_slli_epi32(x, n), _mm_srli_epi32(x, 32 - (n)))
#define v_ch(b, c, d) _mm_xor_si128(d, _mm_and_si128(b, _mm_xor_si128(c, d)))
#define v_parity(b, c, d) _mm_xor_si128(_mm_xor_si128(b, c), d)
#define v_maj(b, c, d) _mm_or_si128(_mm_and_si128(b, c), _mm_and_si128(d, _mm_or_si128(b, c)))
#define v_xor3 v_parity

static inline __attribute__((always_inline)) V v_first(V old, V new, size_t n) {
  return _mm_blendv_epi8(old, new, _mm_cmplt_epi32(_mm_setr_epi32(0, 1, 2, 3), _mm_set1_epi32((int)n)));
}

static inline __attribute__((always_inline)) void transpose4(V r[4]) {
  const V a = _mm_unpacklo_epi32(r[0], r[1]), b = _mm_unpackhi_epi32(r[0], r[1]);
  const V c = _mm_unpacklo_epi32(r[2], r[3]), d = _mm_unpackhi_epi32(r[2], r[3]);
  r[0] = _mm_unpacklo_epi64(a, c);
  r[1] = _mm_unpackhi_epi64(a, c);
  r[2] = _mm_unpacklo_epi64(b, d);
  r[3] = _mm_unpackhi_epi64(b, d);
}

static inline __attribute__((always_inline)) void v_load_state_rows(V w[16], const uint8_t *const p[4]) {
  for (int q = 0; q < 4; q++) {
    for (int i = 0; i < 4; i++)
      w[4 * q + i] = _mm_load_si128((const __m128i *)(p[i] + 16 * q));
    transpose4(w + 4 * q);
  }
}

static inline __attribute__((always_inline)) V v_swap(V x) {
  return _mm_shuffle_epi8(x, _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
}

static inline __attribute__((always_inline)) void v_load_rows(V w[16], const uint8_t *const p[4]) {
  for (int q = 0; q < 4; q++) {
    for (int i = 0; i < 4; i++)
      w[4 * q + i] = v_swap(_mm_loadu_si128((const __m128i *)(p[i] + 16 * q)));
    transpose4(w + 4 * q);
  }
}

#include "sha1_lanes.h"

void ums_mac_x4_sse(x86_mac_item *const item[], size_t n) { lanes_hmac(item, n); }
