/* Which SHA-1 kernel runs for how many packets; see x86_mac.h. */
#include "mac.h"

#include "cpu.h"

/* Longest first, stable; at most 64 short entries, so insertion is right. */
static void sort_by_blocks(x86_mac_item *sorted[], x86_mac_item item[], size_t n) {
  for (size_t i = 0; i < n; i++) {
    size_t j = i;
    for (; j > 0 && sorted[j - 1]->blocks < item[i].blocks; j--)
      sorted[j] = sorted[j - 1];
    sorted[j] = &item[i];
  }
}

void ums_mac_burst(const x86_mac_plan *plan, x86_mac_item item[], size_t n) {
  x86_mac_item *sorted[X86_MAC_BURST];
  sort_by_blocks(sorted, item, n);
  for (size_t at = 0; at < n;) {
    const size_t left = n - at;
    x86_mac_kernel kernel = plan->narrow;
    size_t ways = plan->narrow_ways;
    if (plan->wide && left >= plan->wide_from) {
      kernel = plan->wide;
      ways = plan->wide_ways;
    } else if (plan->mid && left >= plan->mid_from) {
      kernel = plan->mid;
      ways = plan->mid_ways;
    }
    if (ways > left)
      ways = left;
    kernel(sorted + at, ways);
    at += ways;
  }
}

/*
 * Break-even points from the measured cost of a step (bench/RESULTS.md): 16 lanes 450 cycles, 8 lanes 280,
 * SHA-NI four ways 47 cycles a message, AVX2 lanes 480 a step of 8, one SHA-NI message 125.
 */
static const x86_mac_plan AVX512_NI = {ums_mac_ni, ums_mac_x8_avx512, ums_mac_x16_avx512, 4, 8, 16, 6, 13};
static const x86_mac_plan AVX512 = {ums_mac_x8_avx512, NULL, ums_mac_x16_avx512, 8, 0, 16, 0, 9};
static const x86_mac_plan AVX2 = {ums_mac_x8_avx2, NULL, NULL, 8, 0, 0, 0, 0};
static const x86_mac_plan NI = {ums_mac_ni, NULL, NULL, 4, 0, 0, 0, 0};
static const x86_mac_plan SSE = {ums_mac_x4_sse, NULL, NULL, 4, 0, 0, 0, 0};

const x86_mac_plan *ums_mac_plan(int avx) {
  const int ni = x86_has(X86_SHA);
  if (avx == 5)
    return ni ? &AVX512_NI : &AVX512;
  if (ni)
    return &NI;
  return avx == 2 ? &AVX2 : &SSE;
}
