/*
 * CPU features that __builtin_cpu_supports has no name for in every compiler we build with. The vector state that the
 * operating system saves is what it checks for "avx2" and "avx512f": ask for those as well.
 */
#ifndef X86_CPU_H
#define X86_CPU_H

#include <cpuid.h>
#include <stdatomic.h>
#include <stdint.h>

enum { X86_VAES = 32 + 9, X86_VPCLMULQDQ = 32 + 10 }; /* bits of ECX of leaf 7, which follow those of EBX */

/* CPUID traps under a hypervisor and costs tens of thousands of cycles there: asked once, and remembered. */
static inline int x86_has(int feature) {
  static _Atomic uint64_t known; /* bit 63: asked. ECX bit 31 is nobody's */
  uint64_t bits = atomic_load_explicit(&known, memory_order_relaxed);
  if (bits == 0) {
    unsigned a, b = 0, c = 0, d;
    bits = (uint64_t)1 << 63;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
      bits |= b | (uint64_t)(c & 0x7fffffff) << 32;
    atomic_store_explicit(&known, bits, memory_order_relaxed);
  }
  return (bits >> feature) & 1;
}

#endif
