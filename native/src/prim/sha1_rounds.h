/*
 * SHA-1's compression function, FIPS 180-4, 6.1.2, once for whatever UMS_SHA1_WORD is where this is included: a 32-bit
 * word, or a vector with a word of a different message in each lane.
 */
#ifndef UMS_SHA1_ROUNDS_H
#define UMS_SHA1_ROUNDS_H

#define UMS_SHA1_WORDS 5
#define UMS_SHA1_INLINE static inline __attribute__((always_inline))

UMS_SHA1_INLINE UMS_SHA1_WORD rotl(UMS_SHA1_WORD x, const int n) { return (x << n) | (x >> (32 - n)); }
UMS_SHA1_INLINE UMS_SHA1_WORD choose(UMS_SHA1_WORD x, UMS_SHA1_WORD y, UMS_SHA1_WORD z) { return z ^ (x & (y ^ z)); }
UMS_SHA1_INLINE UMS_SHA1_WORD parity(UMS_SHA1_WORD x, UMS_SHA1_WORD y, UMS_SHA1_WORD z) { return x ^ y ^ z; }
UMS_SHA1_INLINE UMS_SHA1_WORD majority(UMS_SHA1_WORD x, UMS_SHA1_WORD y, UMS_SHA1_WORD z) {
  return (x & y) + (z & (x ^ y));
}

/* The schedule is a ring of 16 words. The newest word of the state comes last into the sum, so it is waited for least.
 */
#define SHA1_ROUND(a, b, c, d, e, f, constant, t)                                                                      \
  do {                                                                                                                 \
    if ((t) >= 16)                                                                                                     \
      w[(t)&15] = rotl(w[((t) + 13) & 15] ^ w[((t) + 8) & 15] ^ w[((t) + 2) & 15] ^ w[(t)&15], 1);                     \
    e += w[(t)&15] + (constant);                                                                                       \
    e += f(b, c, d);                                                                                                   \
    e += rotl(a, 5);                                                                                                   \
    b = rotl(b, 30);                                                                                                   \
  } while (0)
#define SHA1_FIVE(f, constant, t)                                                                                      \
  SHA1_ROUND(a, b, c, d, e, f, constant, t);                                                                           \
  SHA1_ROUND(e, a, b, c, d, f, constant, (t) + 1);                                                                     \
  SHA1_ROUND(d, e, a, b, c, f, constant, (t) + 2);                                                                     \
  SHA1_ROUND(c, d, e, a, b, f, constant, (t) + 3);                                                                     \
  SHA1_ROUND(b, c, d, e, a, f, constant, (t) + 4)
#define SHA1_TWENTY(f, constant, t)                                                                                    \
  SHA1_FIVE(f, constant, t);                                                                                           \
  SHA1_FIVE(f, constant, (t) + 5);                                                                                     \
  SHA1_FIVE(f, constant, (t) + 10);                                                                                    \
  SHA1_FIVE(f, constant, (t) + 15)

/* `w`: the message's 16 words, which are destroyed. `s`: the state before and after. */
UMS_SHA1_INLINE void ums_sha1_compress(UMS_SHA1_WORD s[UMS_SHA1_WORDS], UMS_SHA1_WORD w[16]) {
  UMS_SHA1_WORD a = s[0], b = s[1], c = s[2], d = s[3], e = s[4];
  SHA1_TWENTY(choose, 0x5a827999, 0);
  SHA1_TWENTY(parity, 0x6ed9eba1, 20);
  SHA1_TWENTY(majority, 0x8f1bbcdc, 40);
  SHA1_TWENTY(parity, 0xca62c1d6, 60);
  s[0] += a;
  s[1] += b;
  s[2] += c;
  s[3] += d;
  s[4] += e;
}

#endif
