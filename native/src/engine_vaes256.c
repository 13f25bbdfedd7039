/* The engine for x86-64 with VAES and VPCLMULQDQ on AVX2: processors without AVX-512, or with it switched off. */
#include <immintrin.h>

#define V __m256i
#define V_BLOCKS 2
#define v_load(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define v_store(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define v_xor _mm256_xor_si256
#define v_add32 _mm256_add_epi32
#define v_aesenc _mm256_aesenc_epi128
#define v_aesenclast _mm256_aesenclast_epi128
#define v_clmul _mm256_clmulepi64_epi128
#define v_shuffle _mm256_shuffle_epi8
#define v_every _mm256_broadcastsi128_si256
#define v_low _mm256_zextsi128_si256
#define v_lowest _mm256_castsi256_si128
#define v_highest(v) _mm256_extracti128_si256(v, 1)
#define v_both(low, high) _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1)
#define v_sum(v) _mm_xor_si128(v_lowest(v), v_highest(v))

#include "x86/cpu.h"
#include "x86/narrow.h"

static int probe(void) {
  return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("avx2") &&
         x86_has(X86_VAES) && x86_has(X86_VPCLMULQDQ);
}

const ums_engine ums_engine_vaes256 = {
    .name = "vaes256",
    .batch = 4, /* SHA-1 four ways; without the SHA extensions eight */
    .probe = probe,
    .supports = ums_cpu_supports,
    .load_key = load_key,
    .drop_key = x86_drop_key,
    .submit = submit,
};
