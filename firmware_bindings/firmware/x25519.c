/*
 * X25519 (RFC 7748, 5): Montgomery ladder over numbers of eight 32-bit words, modulo 2^256 - 38 = 2p and only at the
 * end modulo p. A carry out of the top word comes back times 38. No branch or address depends on a number.
 */
#include "x25519.h"

#include <string.h>

#include "core.h"

#define WORDS 8

typedef uint32_t fe[WORDS];

const uint8_t umsa_x25519_base[32] = {9};

/* Adds carry * 38; twice, because the first time may carry again. */
static void fold(fe r, uint64_t carry) {
  for (int pass = 0; pass < 2; pass++) {
    carry *= 38;
    for (int i = 0; i < WORDS; i++) {
      carry += r[i];
      r[i] = (uint32_t)carry;
      carry >>= 32;
    }
  }
}

static void add(fe r, const fe a, const fe b) {
  uint64_t carry = 0;
  for (int i = 0; i < WORDS; i++) {
    carry += (uint64_t)a[i] + b[i];
    r[i] = (uint32_t)carry;
    carry >>= 32;
  }
  fold(r, carry);
}

static void subtract(fe r, const fe a, const fe b) {
  int64_t borrow = 0;
  for (int i = 0; i < WORDS; i++) {
    borrow += (int64_t)a[i] - b[i];
    r[i] = (uint32_t)borrow;
    borrow >>= 32;
  }
  for (int pass = 0; pass < 2; pass++) { /* a borrow of 2^256 is one of 38 */
    borrow *= 38;
    for (int i = 0; i < WORDS; i++) {
      borrow += r[i];
      r[i] = (uint32_t)borrow;
      borrow >>= 32;
    }
  }
}

static void multiply(fe r, const fe a, const fe b) {
  uint32_t product[2 * WORDS] = {0};
  for (int i = 0; i < WORDS; i++) {
    uint64_t carry = 0;
    for (int j = 0; j < WORDS; j++) {
      carry += (uint64_t)a[i] * b[j] + product[i + j];
      product[i + j] = (uint32_t)carry;
      carry >>= 32;
    }
    product[i + WORDS] = (uint32_t)carry;
  }
  uint64_t carry = 0;
  for (int i = 0; i < WORDS; i++) {
    carry += (uint64_t)product[i + WORDS] * 38 + product[i];
    r[i] = (uint32_t)carry;
    carry >>= 32;
  }
  fold(r, carry);
}

static void multiply_small(fe r, const fe a, uint32_t by) {
  uint64_t carry = 0;
  for (int i = 0; i < WORDS; i++) {
    carry += (uint64_t)a[i] * by;
    r[i] = (uint32_t)carry;
    carry >>= 32;
  }
  fold(r, carry);
}

/* a^(p - 2); of the exponent's bits only 2 and 4 are zero. */
static void invert(fe r, const fe a) {
  fe x;
  memcpy(x, a, sizeof x);
  for (int bit = 253; bit >= 0; bit--) {
    multiply(x, x, x);
    if (bit != 2 && bit != 4)
      multiply(x, x, a);
  }
  memcpy(r, x, sizeof x);
  ums_wipe(x, sizeof x);
}

static void swap_if(uint32_t bit, fe a, fe b) {
  const uint32_t mask = 0u - bit;
  for (int i = 0; i < WORDS; i++) {
    const uint32_t t = (a[i] ^ b[i]) & mask;
    a[i] ^= t;
    b[i] ^= t;
  }
}

/* From below 2^256 to below p: the top bit counts 19, then at most one p is too much. */
static void store(uint8_t out[32], fe a) {
  for (int pass = 0; pass < 2; pass++) {
    uint64_t carry = 19 * (uint64_t)(a[7] >> 31);
    a[7] &= 0x7fffffff;
    for (int i = 0; i < WORDS; i++) {
      carry += a[i];
      a[i] = (uint32_t)carry;
      carry >>= 32;
    }
  }
  fe less; /* a + 19 - 2^255 = a - p, where that is not negative */
  uint64_t carry = 19;
  for (int i = 0; i < WORDS; i++) {
    carry += a[i];
    less[i] = (uint32_t)carry;
    carry >>= 32;
  }
  const uint32_t take = less[7] >> 31;
  less[7] &= 0x7fffffff;
  swap_if(take, a, less);
  for (int i = 0; i < WORDS; i++)
    for (int k = 0; k < 4; k++)
      out[4 * i + k] = (uint8_t)(a[i] >> 8 * k);
  ums_wipe(less, sizeof less);
}

typedef struct ladder { /* the RFC's names */
  fe x1, x2, z2, x3, z3, a, b, c, d, e;
} ladder;

static void step(ladder *l) {
  add(l->a, l->x2, l->z2);
  subtract(l->b, l->x2, l->z2);
  add(l->c, l->x3, l->z3);
  subtract(l->d, l->x3, l->z3);
  multiply(l->d, l->d, l->a);
  multiply(l->c, l->c, l->b);
  add(l->x3, l->d, l->c);
  multiply(l->x3, l->x3, l->x3);
  subtract(l->z3, l->d, l->c);
  multiply(l->z3, l->z3, l->z3);
  multiply(l->z3, l->z3, l->x1);
  multiply(l->a, l->a, l->a);
  multiply(l->b, l->b, l->b);
  subtract(l->e, l->a, l->b);
  multiply(l->x2, l->a, l->b);
  multiply_small(l->z2, l->e, 121665);
  add(l->z2, l->z2, l->a);
  multiply(l->z2, l->z2, l->e);
}

void umsa_x25519(uint8_t out[32], const uint8_t scalar[32], const uint8_t u[32]) {
  uint8_t k[32];
  ladder l;
  memset(&l, 0, sizeof l);
  memcpy(k, scalar, sizeof k);
  k[0] &= 248;
  k[31] = (uint8_t)((k[31] & 127) | 64);
  for (int i = 0; i < WORDS; i++)
    for (int j = 0; j < 4; j++)
      l.x1[i] |= (uint32_t)u[4 * i + j] << 8 * j;
  l.x1[7] &= 0x7fffffff;
  memcpy(l.x3, l.x1, sizeof l.x3);
  l.x2[0] = l.z3[0] = 1;
  uint32_t swapped = 0;
  for (int t = 254; t >= 0; t--) {
    const uint32_t bit = (k[t / 8] >> (t % 8)) & 1;
    swap_if(swapped ^ bit, l.x2, l.x3);
    swap_if(swapped ^ bit, l.z2, l.z3);
    swapped = bit;
    step(&l);
  }
  swap_if(swapped, l.x2, l.x3);
  swap_if(swapped, l.z2, l.z3);
  invert(l.z2, l.z2);
  multiply(l.x2, l.x2, l.z2);
  store(out, l.x2);
  ums_wipe(&l, sizeof l);
  ums_wipe(k, sizeof k);
}
