/* HMAC-SHA1 of up to 8 messages in 256-bit vectors with AVX2 alone. */
#include "mac_x8.h"

#define v_rol(x, n) _mm256_or_si256(_mm256_slli_epi32(x, n), _mm256_srli_epi32(x, 32 - (n)))
#define v_ch(b, c, d) _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d)))
#define v_parity(b, c, d) _mm256_xor_si256(_mm256_xor_si256(b, c), d)
#define v_maj(b, c, d) _mm256_or_si256(_mm256_and_si256(b, c), _mm256_and_si256(d, _mm256_or_si256(b, c)))
#define v_xor3 v_parity

#include "sha1_lanes.h"

void ums_mac_x8_avx2(x86_mac_item *const item[], size_t n) { lanes_hmac(item, n); }
