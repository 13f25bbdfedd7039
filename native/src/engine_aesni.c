/* The engine for x86-64 with AES-NI and PCLMULQDQ; SHA-1 with the SHA extensions or in lanes (x86/mac.h). */
#include <immintrin.h>

#define V __m128i
#define V_BLOCKS 1
#define v_load load
#define v_store store
#define v_xor _mm_xor_si128
#define v_add32 _mm_add_epi32
#define v_aesenc _mm_aesenc_si128
#define v_aesenclast _mm_aesenclast_si128
#define v_clmul _mm_clmulepi64_si128
#define v_shuffle _mm_shuffle_epi8
#define v_every(x) (x)
#define v_low(x) (x)
#define v_lowest(v) (v)
#define v_both(low, high) (low)
#define v_sum(v) (v)

#include "x86/narrow.h"

static int probe(void) {
  return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

const ums_engine ums_engine_aesni = {
    .name = "aesni",
    .batch = 4, /* SHA-1 four ways; without the SHA extensions up to eight */
    .probe = probe,
    .supports = ums_cpu_supports,
    .load_key = load_key,
    .drop_key = x86_drop_key,
    .submit = submit,
};
