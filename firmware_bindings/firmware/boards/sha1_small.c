/* SHA-1's compression function, FIPS 180-4, 6.1.2, rolled up: the host's unrolled one takes 3.7 KiB of flash. */
#include "core.h"
#include "prim/prim.h"

static inline uint32_t rotl(uint32_t x, int n) { return x << n | x >> (32 - n); }

typedef struct state {
  uint32_t a, b, c, d, e;
} state;

static inline __attribute__((always_inline)) void twenty(state *s, uint32_t w[16], const int phase, uint32_t constant) {
  for (int t = 20 * phase; t < 20 * phase + 20; t++) {
    if (t >= 16)
      w[t & 15] = rotl(w[(t + 13) & 15] ^ w[(t + 8) & 15] ^ w[(t + 2) & 15] ^ w[t & 15], 1);
    const uint32_t f = phase == 0   ? s->d ^ (s->b & (s->c ^ s->d))
                       : phase == 2 ? (s->b & s->c) + (s->d & (s->b ^ s->c))
                                    : s->b ^ s->c ^ s->d;
    const uint32_t next = rotl(s->a, 5) + f + s->e + constant + w[t & 15];
    *s = (state){next, s->a, rotl(s->b, 30), s->c, s->d};
  }
}

void ums_sha1_blocks_portable(uint32_t hash[5], const uint8_t *data, size_t n_blocks) {
  uint32_t w[16];
  for (; n_blocks > 0; n_blocks--, data += UMS_SHA1_BLOCK) {
    state s = {hash[0], hash[1], hash[2], hash[3], hash[4]};
    for (int i = 0; i < 16; i++)
      w[i] = ums_load32(data + 4 * i);
    twenty(&s, w, 0, 0x5a827999);
    twenty(&s, w, 1, 0x6ed9eba1);
    twenty(&s, w, 2, 0x8f1bbcdc);
    twenty(&s, w, 3, 0xca62c1d6);
    hash[0] += s.a;
    hash[1] += s.b;
    hash[2] += s.c;
    hash[3] += s.d;
    hash[4] += s.e;
  }
}
