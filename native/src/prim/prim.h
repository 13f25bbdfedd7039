/*
 * Portable primitives in constant time: no branch and no address depends on key or data octets. Engines build on
 * them, and key derivation does.
 */
#ifndef UMS_PRIM_H
#define UMS_PRIM_H

#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------------------------------------------------------------- AES -- */

#define UMS_AES_MAX_ROUNDS 14

/* Rounds of FIPS-197 for a key of 16, 24 or 32 octets. */
static inline unsigned ums_aes_rounds(size_t key_len) { return (unsigned)key_len / 4 + 6; }

/*
 * FIPS-197, 5.2: the round keys as 4 * (rounds + 1) words, each holding its octets little end first. `sub_word`
 * applies the S-box to the four octets of a word.
 */
static inline void ums_aes_expand_key(uint32_t *words, const uint8_t *key, size_t key_len,
                                      uint32_t (*sub_word)(uint32_t)) {
  size_t nk = key_len / 4, total = 4 * ((size_t)ums_aes_rounds(key_len) + 1);
  uint32_t rcon = 1;
  for (size_t i = 0; i < nk; i++)
    words[i] = key[4 * i] | ((uint32_t)key[4 * i + 1] << 8) | ((uint32_t)key[4 * i + 2] << 16) |
               ((uint32_t)key[4 * i + 3] << 24);
  for (size_t i = nk; i < total; i++) {
    uint32_t word = words[i - 1];
    if (i % nk == 0) {
      word = sub_word((word >> 8) | (word << 24)) ^ rcon;
      rcon = (rcon << 1) ^ (0x11b & (0u - (rcon >> 7)));
    } else if (nk > 6 && i % nk == 4) {
      word = sub_word(word);
    }
    words[i] = words[i - nk] ^ word;
  }
}

/*
 * Bitsliced AES in one of two forms, which the machine's baseline decides: aes_vector.c (128-bit vectors, eight blocks
 * at once, of several keys) or aes_word.c (64-bit or 32-bit words, four or two blocks). UMS_AES_WORD_BITS may be given
 * to build the second where the first could be.
 */
#ifndef UMS_AES_WORD_BITS
#if defined(__has_builtin) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && (defined(__SSE2__) || defined(__aarch64__))
#if __has_builtin(__builtin_shufflevector)
#define UMS_AES_VECTOR 1
#endif
#endif
#if UINTPTR_MAX > 0xffffffff
#define UMS_AES_WORD_BITS 64
#else
#define UMS_AES_WORD_BITS 32
#endif
#endif

#ifdef UMS_AES_VECTOR
typedef struct ums_aes { /* round keys with rows and columns exchanged, and shifted: see aes_vector.c */
  _Alignas(16) uint8_t round_key[UMS_AES_MAX_ROUNDS + 1][16];
  uint32_t rounds;
} ums_aes;
#else
#if UMS_AES_WORD_BITS == 64
typedef uint64_t ums_aes_word;
#else
typedef uint32_t ums_aes_word;
#endif
typedef struct ums_aes { /* bitsliced round keys */
  ums_aes_word round_key[UMS_AES_MAX_ROUNDS + 1][8];
  uint32_t rounds;
} ums_aes;
#endif

void ums_aes_init(ums_aes *aes, const uint8_t *key, size_t key_len); /* 16, 24 or 32 octets */

/* Keystream to be XORed to `len` octets of `data`: counter blocks are 12 octets of IV and a number that starts at
 * `count`, modulo 2^32 (GCM's inc32; SRTP never gets past 2^16). */
typedef struct ums_ctr_span {
  const ums_aes *aes;
  const uint8_t *iv;
  uint8_t *data;
  size_t len;
  uint32_t count;
} ums_ctr_span;

/* Counter mode over spans of any keys and lengths, which share passes where the machine can. */
void ums_aes_ctr(const ums_ctr_span span[], size_t n);

/* ----------------------------------------------------------------------------------------------------- GHASH -- */

typedef struct ums_ghash { /* H: coefficients x^0 to x^63, the others */
  uint64_t h[2];
} ums_ghash;

void ums_ghash_init(ums_ghash *g, const uint8_t h[16]);
/* SP 800-38D, 6.4: y = (y + block) * H for each block; a last incomplete block counts as padded with zeros. */
void ums_ghash_update(const ums_ghash *g, uint8_t y[16], const uint8_t *data, size_t len);

/* ----------------------------------------------------------------------------------------------------- SHA-1 -- */

#define UMS_SHA1_BLOCK 64
#define UMS_SHA1_DIGEST 20

/* FIPS 180-4, 6.1.2: the compression function over whole blocks. Engines may bring their own. */
typedef void ums_sha1_blocks(uint32_t state[5], const uint8_t *data, size_t n_blocks);
void ums_sha1_blocks_portable(uint32_t state[5], const uint8_t *data, size_t n_blocks);
/* sha1_ni.c, x86-64 only: with the SHA extensions, when this processor has them. */
void ums_sha1_blocks_ni(uint32_t state[5], const uint8_t *data, size_t n_blocks);
int ums_sha1_ni_present(void);

typedef struct ums_hmac_sha1 { /* RFC 2104: SHA-1 states after the inner and the outer padded key */
  uint32_t inner[5], outer[5];
} ums_hmac_sha1;

void ums_hmac_sha1_init(ums_hmac_sha1 *hmac, ums_sha1_blocks *blocks, const uint8_t *key, size_t key_len);
/* The MAC of `data` followed by `tail` (at most 8 octets). */
void ums_hmac_sha1_mac(const ums_hmac_sha1 *hmac, ums_sha1_blocks *blocks, const uint8_t *data, size_t len,
                       const uint8_t *tail, size_t tail_len, uint8_t mac[UMS_SHA1_DIGEST]);

#define UMS_MAC_LANES 4

typedef struct ums_mac_span { /* one message: `data`, then at most 8 octets of `tail` */
  const ums_hmac_sha1 *hmac;
  const uint8_t *data, *tail;
  uint8_t *mac; /* UMS_SHA1_DIGEST octets */
  uint32_t len, tail_len;
} ums_mac_span;

/* MACs of any number of messages; side by side, UMS_MAC_LANES at a time, where the machine has vectors for it. */
void ums_hmac_sha1_macs(const ums_mac_span span[], size_t n);

#endif
