/*
 * GHASH, SP 800-38D, 6.3 and 6.4, in constant time with integer multiplications.
 *
 * GCM writes the coefficient of x^0 into the most significant bit of the first octet. Loaded big-endian, a block is
 * therefore a bit-reversed polynomial, and its 255-bit carry-less product must be shifted up by one bit.
 *
 * A carry-less 64x64 product: each factor is cut into four sparse words with three empty bits between used ones, so
 * that the sums of ordinary products stay below 16 and never reach a neighbour's bit; only the low half is exact.
 * The high half is the low half of the product of the reversed factors, reversed. Multiplication of 64-bit integers
 * takes constant time on the processors this is built for (x86-64, AArch64).
 */
#include "core.h"
#include "prim/prim.h"

#include <string.h>

static inline uint64_t multiply_low(uint64_t x, uint64_t y) {
  const uint64_t m0 = 0x1111111111111111, m1 = m0 << 1, m2 = m0 << 2, m3 = m0 << 3;
  uint64_t x0 = x & m0, x1 = x & m1, x2 = x & m2, x3 = x & m3;
  uint64_t y0 = y & m0, y1 = y & m1, y2 = y & m2, y3 = y & m3;
  return (((x0 * y0) ^ (x1 * y3) ^ (x2 * y2) ^ (x3 * y1)) & m0) |
         (((x0 * y1) ^ (x1 * y0) ^ (x2 * y3) ^ (x3 * y2)) & m1) |
         (((x0 * y2) ^ (x1 * y1) ^ (x2 * y0) ^ (x3 * y3)) & m2) |
         (((x0 * y3) ^ (x1 * y2) ^ (x2 * y1) ^ (x3 * y0)) & m3);
}

static inline uint64_t reverse_bits(uint64_t x) {
  x = ((x & 0x5555555555555555) << 1) | ((x >> 1) & 0x5555555555555555);
  x = ((x & 0x3333333333333333) << 2) | ((x >> 2) & 0x3333333333333333);
  x = ((x & 0x0f0f0f0f0f0f0f0f) << 4) | ((x >> 4) & 0x0f0f0f0f0f0f0f0f);
  x = ((x & 0x00ff00ff00ff00ff) << 8) | ((x >> 8) & 0x00ff00ff00ff00ff);
  x = ((x & 0x0000ffff0000ffff) << 16) | ((x >> 16) & 0x0000ffff0000ffff);
  return (x << 32) | (x >> 32);
}

void ums_ghash_ct64_init(ums_ghash_ct64 *g, const uint8_t h[16]) {
  g->h[0] = ums_load64(h);
  g->h[1] = ums_load64(h + 8);
  g->h[2] = g->h[0] ^ g->h[1];
  for (int i = 0; i < 3; i++)
    g->reversed[i] = reverse_bits(g->h[i]);
}

/* (y0 y1) * H; y0 has the coefficients x^0 to x^63. */
static inline void multiply(const ums_ghash_ct64 *g, uint64_t *y0, uint64_t *y1) {
  uint64_t factor[3] = {*y0, *y1, *y0 ^ *y1}, low[3], high[3];
  for (int i = 0; i < 3; i++) { /* Karatsuba: high, low and middle products */
    low[i] = multiply_low(factor[i], g->h[i]);
    high[i] = reverse_bits(multiply_low(reverse_bits(factor[i]), g->reversed[i])) >> 1;
  }
  low[2] ^= low[0] ^ low[1];
  high[2] ^= high[0] ^ high[1];
  uint64_t v3 = high[0], v2 = low[0] ^ high[2], v1 = high[1] ^ low[2], v0 = low[1];

  v3 = (v3 << 1) | (v2 >> 63); /* now v3 has x^0 to x^63, v0 has x^192 to x^255 */
  v2 = (v2 << 1) | (v1 >> 63);
  v1 = (v1 << 1) | (v0 >> 63);
  v0 = v0 << 1;
  /* x^128 = 1 + x + x^2 + x^7 */
  v2 ^= v0 ^ (v0 >> 1) ^ (v0 >> 2) ^ (v0 >> 7);
  v1 ^= (v0 << 63) ^ (v0 << 62) ^ (v0 << 57);
  v3 ^= v1 ^ (v1 >> 1) ^ (v1 >> 2) ^ (v1 >> 7);
  v2 ^= (v1 << 63) ^ (v1 << 62) ^ (v1 << 57);
  *y0 = v3;
  *y1 = v2;
}

void ums_ghash_ct64_update(const ums_ghash_ct64 *g, uint8_t y[16], const uint8_t *data, size_t len) {
  uint64_t y0 = ums_load64(y), y1 = ums_load64(y + 8);
  for (; len >= 16; data += 16, len -= 16) {
    y0 ^= ums_load64(data);
    y1 ^= ums_load64(data + 8);
    multiply(g, &y0, &y1);
  }
  if (len > 0) {
    uint8_t last[16] = {0};
    memcpy(last, data, len);
    y0 ^= ums_load64(last);
    y1 ^= ums_load64(last + 8);
    multiply(g, &y0, &y1);
  }
  ums_store64(y, y0);
  ums_store64(y + 8, y1);
}
