/*
 * SHA-1's compression function, FIPS 180-4, 6.1.2, for one message on a small 32-bit processor. A rotation of an
 * operand costs nothing there, so ROTL^30 is not done when b becomes c but wherever c, d and e are used: these three
 * are kept as they were as b. Five rounds bring each variable back to its place.
 */
#include "core.h"
#include "device.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE uint32_t rotl(uint32_t x, const int n) { return x << n | x >> (32 - n); }

typedef enum function { CHOOSE, PARITY, MAJORITY } function;

/* e becomes the next a. */
ALWAYS_INLINE void round_of(const function f, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t *e,
                            uint32_t constant, uint32_t word) {
  uint32_t sum = constant + rotl(*e, 30);
  sum += word;
  sum += rotl(a, 5);
  if (f == MAJORITY)
    sum += rotl(c & d, 30) + (b & rotl(c ^ d, 30));
  else if (f == CHOOSE)
    sum += (b & rotl(c ^ d, 30)) ^ rotl(d, 30);
  else
    sum += b ^ rotl(c ^ d, 30);
  *e = sum;
}

ALWAYS_INLINE void twenty(uint32_t s[5], const uint32_t *w, const function f, const uint32_t constant) {
  uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4];
  for (const uint32_t *end = w + 20; w < end; w += 5) {
    round_of(f, a, b, c, d, &e, constant, w[0]);
    round_of(f, e, a, b, c, &d, constant, w[1]);
    round_of(f, d, e, a, b, &c, constant, w[2]);
    round_of(f, c, d, e, a, &b, constant, w[3]);
    round_of(f, b, c, d, e, &a, constant, w[4]);
  }
  s[0] = a;
  s[1] = b;
  s[2] = c;
  s[3] = d;
  s[4] = e;
}

/* The schedule's next words, in the order in which they depend on one another. */
ALWAYS_INLINE void four_words(uint32_t *w) {
  const uint32_t w0 = rotl(w[-3] ^ w[-8] ^ w[-14] ^ w[-16], 1);
  const uint32_t w1 = rotl(w[-2] ^ w[-7] ^ w[-13] ^ w[-15], 1);
  const uint32_t w2 = rotl(w[-1] ^ w[-6] ^ w[-12] ^ w[-14], 1);
  w[0] = w0;
  w[1] = w1;
  w[2] = w2;
  w[3] = rotl(w0 ^ w[-5] ^ w[-11] ^ w[-13], 1);
}

void umsa_sha1_blocks(uint32_t hash[5], const uint8_t *data, size_t n_blocks) {
  uint32_t w[80];
  for (; n_blocks > 0; n_blocks--, data += UMS_SHA1_BLOCK) {
    uint32_t s[5] = {hash[0], hash[1], rotl(hash[2], 2), rotl(hash[3], 2), rotl(hash[4], 2)};
    for (int i = 0; i < 16; i++)
      w[i] = ums_load32(data + 4 * i);
    for (uint32_t *next = w + 16; next < w + 80; next += 4)
      four_words(next);
    twenty(s, w, CHOOSE, 0x5a827999);
    twenty(s, w + 20, PARITY, 0x6ed9eba1);
    twenty(s, w + 40, MAJORITY, 0x8f1bbcdc);
    twenty(s, w + 60, PARITY, 0xca62c1d6);
    hash[0] += s[0];
    hash[1] += s[1];
    hash[2] += rotl(s[2], 30);
    hash[3] += rotl(s[3], 30);
    hash[4] += rotl(s[4], 30);
  }
}
