/*
 * GHASH, SP 800-38D, 6.3 and 6.4, in constant time with integer multiplications.
 *
 * GCM writes the coefficient of x^0 into the most significant bit of the first octet. Loaded big-endian, a block is
 * therefore a bit-reversed polynomial, and its 255-bit carry-less product must be shifted up by one bit.
 *
 * A carry-less product: each factor is cut into four sparse words with three empty bits between used ones, so that
 * the sums of ordinary products stay below 16 and never reach a neighbour's bit. With 64-bit factors only the low half
 * of the product is exact, and the high half is the low half of the product of the reversed factors, reversed. 32-bit
 * factors have at most eight terms a column, so that their 64-bit products are exact; 32-bit processors do nine of
 * those. Multiplication takes constant time on the processors this is built for.
 */
#include "core.h"
#include "prim/prim.h"

#include <string.h>

#if UINTPTR_MAX > 0xffffffff

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

typedef struct factor {
  uint64_t forward, reversed;
} factor;

static inline factor factor_of(uint64_t x) { return (factor){x, reverse_bits(x)}; }
static inline factor add(factor a, factor b) { return (factor){a.forward ^ b.forward, a.reversed ^ b.reversed}; }

static inline void multiply64(factor a, factor b, uint64_t *high, uint64_t *low) {
  *low = multiply_low(a.forward, b.forward);
  *high = reverse_bits(multiply_low(a.reversed, b.reversed)) >> 1;
}

#else

static inline uint64_t multiply32(uint32_t x, uint32_t y) {
  const uint32_t m0 = 0x11111111, m1 = m0 << 1, m2 = m0 << 2, m3 = m0 << 3;
  const uint64_t w0 = 0x1111111111111111, w1 = w0 << 1, w2 = w0 << 2, w3 = w0 << 3;
  uint32_t x0 = x & m0, x1 = x & m1, x2 = x & m2, x3 = x & m3;
  uint64_t y0 = y & m0, y1 = y & m1, y2 = y & m2, y3 = y & m3;
  return (((x0 * y0) ^ (x1 * y3) ^ (x2 * y2) ^ (x3 * y1)) & w0) |
         (((x0 * y1) ^ (x1 * y0) ^ (x2 * y3) ^ (x3 * y2)) & w1) |
         (((x0 * y2) ^ (x1 * y1) ^ (x2 * y0) ^ (x3 * y3)) & w2) |
         (((x0 * y3) ^ (x1 * y2) ^ (x2 * y1) ^ (x3 * y0)) & w3);
}

typedef uint64_t factor;

static inline factor factor_of(uint64_t x) { return x; }
static inline factor add(factor a, factor b) { return a ^ b; }

static inline void multiply64(factor a, factor b, uint64_t *high, uint64_t *low) { /* Karatsuba */
  const uint64_t top = multiply32((uint32_t)(a >> 32), (uint32_t)(b >> 32));
  const uint64_t end = multiply32((uint32_t)a, (uint32_t)b);
  const uint64_t sums = multiply32((uint32_t)(a >> 32) ^ (uint32_t)a, (uint32_t)(b >> 32) ^ (uint32_t)b);
  const uint64_t mid = sums ^ top ^ end;
  *high = top ^ (mid >> 32);
  *low = end ^ (mid << 32);
}

#endif

void ums_ghash_init(ums_ghash *g, const uint8_t h[16]) {
  g->h[0] = ums_load64(h);
  g->h[1] = ums_load64(h + 8);
}

/* (y0 y1) * (h0 h1); y0 and h0 have the coefficients x^0 to x^63. */
static inline void multiply(factor h0, factor h1, uint64_t *y0, uint64_t *y1) {
  const factor f0 = factor_of(*y0), f1 = factor_of(*y1);
  uint64_t low[3], high[3]; /* Karatsuba: high, low and middle products */
  multiply64(f0, h0, &high[0], &low[0]);
  multiply64(f1, h1, &high[1], &low[1]);
  multiply64(add(f0, f1), add(h0, h1), &high[2], &low[2]);
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

void ums_ghash_update(const ums_ghash *g, uint8_t y[16], const uint8_t *data, size_t len) {
  const factor h0 = factor_of(g->h[0]), h1 = factor_of(g->h[1]);
  uint64_t y0 = ums_load64(y), y1 = ums_load64(y + 8);
  for (; len >= 16; data += 16, len -= 16) {
    y0 ^= ums_load64(data);
    y1 ^= ums_load64(data + 8);
    multiply(h0, h1, &y0, &y1);
  }
  if (len > 0) {
    uint8_t last[16] = {0};
    memcpy(last, data, len);
    y0 ^= ums_load64(last);
    y1 ^= ums_load64(last + 8);
    multiply(h0, h1, &y0, &y1);
  }
  ums_store64(y, y0);
  ums_store64(y + 8, y1);
}
