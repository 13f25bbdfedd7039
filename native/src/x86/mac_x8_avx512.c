/* HMAC-SHA1 of up to 8 messages in 256-bit vectors with AVX-512VL's ternary logic and rotates. */
#include "mac_x8.h"

#define v_rol _mm256_rol_epi32
#define v_ch(b, c, d) _mm256_ternarylogic_epi32(b, c, d, 0xca)
#define v_parity(b, c, d) _mm256_ternarylogic_epi32(b, c, d, 0x96)
#define v_maj(b, c, d) _mm256_ternarylogic_epi32(b, c, d, 0xe8)
#define v_xor3 v_parity

#include "sha1_lanes.h"

void ums_mac_x8_avx512(x86_mac_item *const item[], size_t n) { lanes_hmac(item, n); }
