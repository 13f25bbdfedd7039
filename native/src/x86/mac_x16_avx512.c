/* HMAC-SHA1 of up to 16 messages, one in each 32-bit lane of a 512-bit vector. */
#include "mac.h"

#include <immintrin.h>

#define V __m512i
#define V_LANES 16
#define v_add _mm512_add_epi32
#define v_rol _mm512_rol_epi32
#define v_ch(b, c, d) _mm512_ternarylogic_epi32(b, c, d, 0xca)
#define v_parity(b, c, d) _mm512_ternarylogic_epi32(b, c, d, 0x96)
#define v_maj(b, c, d) _mm512_ternarylogic_epi32(b, c, d, 0xe8)
#define v_xor3 v_parity
#define v_xor _mm512_xor_si512
#define v_set1 _mm512_set1_epi32
#define v_store(p, x) _mm512_store_si512((void *)(p), x)
#define v_unpacklo_epi32 _mm512_unpacklo_epi32
#define v_unpackhi_epi32 _mm512_unpackhi_epi32
#define v_unpacklo_epi64 _mm512_unpacklo_epi64
#define v_unpackhi_epi64 _mm512_unpackhi_epi64
#define v_first(old, new, n) _mm512_mask_mov_epi32(old, (__mmask16)((1u << (n)) - 1), new)

static inline __attribute__((always_inline)) void transpose(V r[16]) {
  V t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  /* r[4g + j]: words j, 4 + j, 8 + j, 12 + j of rows 4g..4g+3, one word a 128-bit quarter. */
  for (int j = 0; j < 4; j++) {
    const V x = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88), y = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
    const V z = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88), u = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
    t[j] = _mm512_shuffle_i32x4(x, z, 0x88);
    t[8 + j] = _mm512_shuffle_i32x4(x, z, 0xdd);
    t[4 + j] = _mm512_shuffle_i32x4(y, u, 0x88);
    t[12 + j] = _mm512_shuffle_i32x4(y, u, 0xdd);
  }
  for (int i = 0; i < 16; i++)
    r[i] = t[i];
}

static inline __attribute__((always_inline)) V v_swap(V x) {
  return _mm512_shuffle_epi8(x, _mm512_set4_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203));
}

static inline __attribute__((always_inline)) void v_load_rows(V w[16], const uint8_t *const p[16]) {
  for (int i = 0; i < 16; i++)
    w[i] = v_swap(_mm512_loadu_si512(p[i]));
  transpose(w);
}

static inline __attribute__((always_inline)) void v_load_state_rows(V w[16], const uint8_t *const p[16]) {
  for (int i = 0; i < 16; i++)
    w[i] = _mm512_load_si512(p[i]);
  transpose(w);
}

static inline __attribute__((always_inline)) void v_store_quarters(uint8_t out[][16], V x) {
  _mm_store_si128((__m128i *)out[0], _mm512_castsi512_si128(x));
  _mm_store_si128((__m128i *)out[4], _mm512_extracti32x4_epi32(x, 1));
  _mm_store_si128((__m128i *)out[8], _mm512_extracti32x4_epi32(x, 2));
  _mm_store_si128((__m128i *)out[12], _mm512_extracti32x4_epi32(x, 3));
}

#include "sha1_lanes.h"

void ums_mac_x16_avx512(x86_mac_item *const item[], size_t n) { lanes_hmac(item, n); }
