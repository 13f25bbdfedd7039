/*
 * What the primitives need of the host's core, wiping and comparison in constant time; and memcpy and memset by words,
 * because those of a small C library go octet by octet. The processor allows any address for a word.
 */
#include "core.h"

#include <string.h>

#define DEEP 960 /* octets of stack below a job or a control request that may have held keys */

__attribute__((noinline)) void ums_scrub_stack(void) {
  uint8_t below[DEEP];
  ums_wipe(below, sizeof below);
}

void ums_wipe(void *p, size_t len) {
  if (len > 0)
    memset(p, 0, len);
  __asm__ volatile("" : : "r"(p) : "memory"); /* the zeros count as read, so memset stays */
}

int ums_equal(const void *a, const void *b, size_t len) {
  const uint8_t *x = a, *y = b;
  uint32_t difference = 0;
  while (len > 0) {
    len--;
    difference |= (uint32_t)(x[len] ^ y[len]);
  }
  __asm__ volatile("" : "+r"(difference)); /* no early exit can be deduced */
  return (int)((difference - 1) >> 31);
}

typedef struct __attribute__((packed, may_alias)) any_word {
  uint32_t value;
} any_word;

#define C_LIBRARY __attribute__((used, optimize("no-tree-loop-distribute-patterns"))) /* no call of itself */

C_LIBRARY void *memcpy(void *restrict to, const void *restrict from, size_t len) {
  uint8_t *out = to;
  const uint8_t *in = from;
  for (; len >= sizeof(any_word); out += sizeof(any_word), in += sizeof(any_word), len -= sizeof(any_word))
    ((any_word *)out)->value = ((const any_word *)in)->value;
  for (; len > 0; len--)
    *out++ = *in++;
  return to;
}

C_LIBRARY void *memset(void *to, int octet, size_t len) {
  uint8_t *out = to;
  const uint32_t four = 0x01010101u * (uint8_t)octet;
  for (; len >= 8 * sizeof(any_word); out += 8 * sizeof(any_word), len -= 8 * sizeof(any_word)) {
    any_word *words = (any_word *)out;
    words[0].value = words[1].value = words[2].value = words[3].value = four;
    words[4].value = words[5].value = words[6].value = words[7].value = four;
  }
  for (; len >= sizeof(any_word); out += sizeof(any_word), len -= sizeof(any_word))
    ((any_word *)out)->value = four;
  for (; len > 0; len--)
    *out++ = (uint8_t)octet;
  return to;
}
