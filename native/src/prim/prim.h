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

typedef struct ums_aes_ct64 { /* bitsliced round keys */
  uint64_t round_key[UMS_AES_MAX_ROUNDS + 1][8];
  uint64_t rounds;
} ums_aes_ct64;

void ums_aes_ct64_init(ums_aes_ct64 *aes, const uint8_t *key, size_t key_len); /* 16, 24 or 32 octets */
/* Encrypts four blocks in place. */
void ums_aes_ct64_encrypt4(const ums_aes_ct64 *aes, uint8_t blocks[64]);
/*
 * Counter mode: XORs keystream to `data`. The last 32 bits of the counter block count blocks modulo 2^32 (GCM's inc32;
 * SRTP never gets past 2^16). When `first` is not NULL the first keystream block goes there and `data` begins with the
 * second: GCM's tag mask.
 */
void ums_aes_ct64_ctr(const ums_aes_ct64 *aes, const uint8_t counter[16], uint8_t *first, uint8_t *data, size_t len);

/* ----------------------------------------------------------------------------------------------------- GHASH -- */

typedef struct ums_ghash_ct64 { /* H and what multiplication wants of it: high, low, their sum; then bit-reversed */
  uint64_t h[3], reversed[3];
} ums_ghash_ct64;

void ums_ghash_ct64_init(ums_ghash_ct64 *g, const uint8_t h[16]);
/* SP 800-38D, 6.4: y = (y + block) * H for each block; a last incomplete block counts as padded with zeros. */
void ums_ghash_ct64_update(const ums_ghash_ct64 *g, uint8_t y[16], const uint8_t *data, size_t len);

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

#endif
