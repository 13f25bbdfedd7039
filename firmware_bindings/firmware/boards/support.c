/* What the primitives need of the host's core: wiping and comparison in constant time. */
#include "core.h"

#include <string.h>

void ums_wipe(void *p, size_t len) {
  if (len > 0)
    memset(p, 0, len);
  __asm__ volatile("" : : "r"(p) : "memory"); /* the zeros count as read, so memset stays */
}

int ums_equal(const void *a, const void *b, size_t len) {
  const uint8_t *x = a, *y = b;
  uint32_t difference = 0;
  for (size_t i = 0; i < len; i++)
    difference |= (uint32_t)(x[i] ^ y[i]);
  __asm__ volatile("" : "+r"(difference)); /* no early exit can be deduced */
  return (int)((difference - 1) >> 31);
}
