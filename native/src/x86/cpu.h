/*
 * CPU features that __builtin_cpu_supports has no name for in every compiler we build with. The vector state that the
 * operating system saves is what it checks for "avx2" and "avx512f": ask for those as well.
 */
#ifndef X86_CPU_H
#define X86_CPU_H

#include <cpuid.h>

enum { X86_SHA, X86_VAES, X86_VPCLMULQDQ };

static inline int x86_has(int feature) {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) /* traps under some hypervisors: not for every packet */
    return 0;
  switch (feature) {
  case X86_SHA:
    return (b >> 29) & 1;
  case X86_VAES:
    return (c >> 9) & 1;
  default:
    return (c >> 10) & 1;
  }
}

#endif
