/* SHA-1's compression function, FIPS 180-4, 6.1.2. */
#include "core.h"
#include "prim/prim.h"

static inline uint32_t rotl(uint32_t x, unsigned n) { return (x << n) | (x >> (32 - n)); }

static inline uint32_t choose(uint32_t x, uint32_t y, uint32_t z) { return z ^ (x & (y ^ z)); }
static inline uint32_t parity(uint32_t x, uint32_t y, uint32_t z) { return x ^ y ^ z; }
static inline uint32_t majority(uint32_t x, uint32_t y, uint32_t z) { return (x & y) | (z & (x | y)); }

#define TWENTY_ROUNDS(first, function, constant)                                                                       \
  for (int t = (first); t < (first) + 20; t++) {                                                                       \
    if (t >= 16)                                                                                                       \
      w[t & 15] = rotl(w[(t + 13) & 15] ^ w[(t + 8) & 15] ^ w[(t + 2) & 15] ^ w[t & 15], 1);                           \
    uint32_t next = rotl(a, 5) + function(b, c, d) + e + (constant) + w[t & 15];                                       \
    e = d;                                                                                                             \
    d = c;                                                                                                             \
    c = rotl(b, 30);                                                                                                   \
    b = a;                                                                                                             \
    a = next;                                                                                                          \
  }

void ums_sha1_blocks_portable(uint32_t state[5], const uint8_t *data, size_t n_blocks) {
  uint32_t w[16];
  for (; n_blocks > 0; n_blocks--, data += UMS_SHA1_BLOCK) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 16; i++)
      w[i] = ums_load32(data + 4 * i);
    TWENTY_ROUNDS(0, choose, 0x5a827999)
    TWENTY_ROUNDS(20, parity, 0x6ed9eba1)
    TWENTY_ROUNDS(40, majority, 0x8f1bbcdc)
    TWENTY_ROUNDS(60, parity, 0xca62c1d6)
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
  }
}
