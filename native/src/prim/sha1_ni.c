/*
 * SHA-1's compression function with the SHA extensions of x86-64. Built with flags of its own and called only after
 * ums_sha1_ni_present() said yes.
 *
 * SHA1RNDS4 does four rounds on (a b c d) in one register, SHA1NEXTE makes the next e out of the a of four rounds ago
 * and adds the schedule words to it; MSG1, XOR, MSG2 continue the schedule of FIPS 180-4, 6.1.2, four words at a time.
 */
#include <cpuid.h>
#include <immintrin.h>

#include "core.h"
#include "prim/prim.h"

/* CPUID costs thousands of cycles in a virtual machine, so the answer is kept: 0 unknown, 1 no, 2 yes. */
static atomic_int presence;

int ums_sha1_ni_present(void) {
  int known = atomic_load_explicit(&presence, memory_order_relaxed);
  if (known == 0) {
    unsigned a, b, c, d;
    known = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29)) != 0 ? 2 : 1;
    atomic_store_explicit(&presence, known, memory_order_relaxed);
  }
  return known == 2;
}

/* Rounds 4 i to 4 i + 3. `m` is a ring of the last 16 schedule words; from i = 4 on the oldest quarter is renewed. */
#define FOUR_ROUNDS(i)                                                                                                 \
  do {                                                                                                                 \
    if ((i) >= 4)                                                                                                      \
      m[(i) % 4] = _mm_sha1msg2_epu32(                                                                                 \
          _mm_xor_si128(_mm_sha1msg1_epu32(m[(i) % 4], m[((i) + 1) % 4]), m[((i) + 2) % 4]), m[((i) + 3) % 4]);        \
    __m128i e = (i) == 0 ? _mm_add_epi32(e0, m[0]) : _mm_sha1nexte_epu32(before, m[(i) % 4]);                          \
    before = abcd;                                                                                                     \
    abcd = _mm_sha1rnds4_epu32(abcd, e, (i) / 5);                                                                      \
  } while (0)

void ums_sha1_blocks_ni(uint32_t state[5], const uint8_t *data, size_t n_blocks) {
  const __m128i big_endian = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
  __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0x1b);
  __m128i e0 = _mm_set_epi32((int)state[4], 0, 0, 0);
  for (; n_blocks > 0; n_blocks--, data += UMS_SHA1_BLOCK) {
    __m128i m[4], before = abcd;
    const __m128i abcd_start = abcd, e_start = e0;
    for (int i = 0; i < 4; i++)
      m[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(data + 16 * i)), big_endian);
    FOUR_ROUNDS(0);
    FOUR_ROUNDS(1);
    FOUR_ROUNDS(2);
    FOUR_ROUNDS(3);
    FOUR_ROUNDS(4);
    FOUR_ROUNDS(5);
    FOUR_ROUNDS(6);
    FOUR_ROUNDS(7);
    FOUR_ROUNDS(8);
    FOUR_ROUNDS(9);
    FOUR_ROUNDS(10);
    FOUR_ROUNDS(11);
    FOUR_ROUNDS(12);
    FOUR_ROUNDS(13);
    FOUR_ROUNDS(14);
    FOUR_ROUNDS(15);
    FOUR_ROUNDS(16);
    FOUR_ROUNDS(17);
    FOUR_ROUNDS(18);
    FOUR_ROUNDS(19);
    e0 = _mm_sha1nexte_epu32(before, e_start);
    abcd = _mm_add_epi32(abcd, abcd_start);
  }
  _mm_storeu_si128((__m128i *)(void *)state, _mm_shuffle_epi32(abcd, 0x1b));
  state[4] = (uint32_t)_mm_extract_epi32(e0, 3);
}
