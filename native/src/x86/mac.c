/* Which SHA-1 kernel runs for how many packets; see mac.h. */
#include "mac.h"

#include <cpuid.h>
#include <stdatomic.h>

#include "prim/prim.h"

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

void ums_mac_one(x86_mac_item *const it[], size_t n) {
  (void)n;
  uint32_t inner[5], outer[5];
  uint8_t block[64] = {0};
  memcpy(inner, it[0]->states, sizeof inner);
  memcpy(outer, it[0]->states + 8, sizeof outer);
  ums_sha1_blocks_portable(inner, it[0]->data, it[0]->direct);
  ums_sha1_blocks_portable(inner, it[0]->last, it[0]->blocks - it[0]->direct);
  for (size_t i = 0; i < 5; i++)
    ums_store32(block + 4 * i, inner[i]);
  block[20] = 0x80;
  ums_store32(block + 60, 8 * (64 + 20));
  ums_sha1_blocks_portable(outer, block, 1);
  for (size_t i = 0; i < 5; i++)
    ums_store32(it[0]->digest + 4 * i, outer[i]);
}

/*
 * Break-even points from the measured cost of a step. Zen 4: 16 lanes 497 cycles, 8 lanes 281, SHA-NI four ways 47 a
 * message. Zen 5, where a vector operation takes two cycles and two or more 512-bit ones start in each: 16 lanes 360,
 * 8 lanes 340, SHA-NI 46 a message. Without SHA-NI: AVX2 8 lanes 550, SSE 4 lanes 550, one message in plain C 350.
 */
enum { ZEN5_NI, AVX512_NI, AVX512, NI, AVX2, SSE, N_PLANS };
static const x86_mac_plan PLANS[N_PLANS] = {
    [ZEN5_NI] = {ums_mac_ni_avx512, NULL, ums_mac_x16_avx512, 4, 0, 16, 0, 8},
    [AVX512_NI] = {ums_mac_ni_avx512, ums_mac_x8_avx512, ums_mac_x16_avx512, 4, 8, 16, 6, 13},
    [AVX512] = {ums_mac_one, ums_mac_x8_avx512, ums_mac_x16_avx512, 1, 8, 16, 2, 9},
    [NI] = {ums_mac_ni, NULL, NULL, 4, 0, 0, 0, 0},
    [AVX2] = {ums_mac_one, ums_mac_x8_avx2, NULL, 1, 8, 0, 2, 0},
    [SSE] = {ums_mac_one, ums_mac_x4_sse, NULL, 1, 4, 0, 2, 0},
};

static int is_zen5(void) { /* or later: AMD, family 26 on */
  unsigned a, b, c, d;
  if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx || !__get_cpuid(1, &a, &b, &c, &d))
    return 0;
  return ((a >> 8) & 0xf) + ((a >> 20) & 0xff) >= 26;
}

const x86_mac_plan *ums_mac_plan(int avx) {
  static _Atomic(const x86_mac_plan *) known[2]; /* CPUID costs thousands of cycles in a virtual machine */
  const x86_mac_plan *plan = atomic_load_explicit(&known[avx == 5], memory_order_relaxed);
  if (plan != NULL)
    return plan;
  const int ni = ums_sha1_ni_present();
  if (avx == 5)
    plan = &PLANS[!ni ? AVX512 : is_zen5() ? ZEN5_NI : AVX512_NI];
  else
    plan = &PLANS[ni ? NI : __builtin_cpu_supports("avx2") ? AVX2 : SSE];
  atomic_store_explicit(&known[avx == 5], plan, memory_order_relaxed);
  return plan;
}
