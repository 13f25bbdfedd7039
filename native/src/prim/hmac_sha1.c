/*
 * HMAC-SHA1, RFC 2104 and FIPS 198-1. The states after the padded keys are computed once per key; a MAC then costs
 * the message's blocks and one more. `data` is compressed where it lies, only its last octets are copied.
 */
#include <string.h>

#include "core.h"
#include "prim/prim.h"

#define LENGTH_FIELD 8
#define MAX_TAIL 8

static const uint32_t INITIAL[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

static void store_digest(uint8_t out[UMS_SHA1_DIGEST], const uint32_t state[5]) {
  for (int i = 0; i < 5; i++)
    ums_store32(out + 4 * i, state[i]);
}

/* Hashes data and tail after `before` octets that `state` has already seen (a multiple of 64), FIPS 180-4, 5.1.1. */
static void finish(uint32_t state[5], ums_sha1_blocks *blocks, size_t before, const uint8_t *data, size_t len,
                   const uint8_t *tail, size_t tail_len) {
  uint8_t last[2 * UMS_SHA1_BLOCK];
  size_t whole = len / UMS_SHA1_BLOCK, rest = len % UMS_SHA1_BLOCK;
  if (whole > 0)
    blocks(state, data, whole);
  if (rest > 0)
    memcpy(last, data + whole * UMS_SHA1_BLOCK, rest);
  if (tail_len > 0)
    memcpy(last + rest, tail, tail_len);
  rest += tail_len;
  last[rest++] = 0x80;
  size_t n = rest + LENGTH_FIELD <= UMS_SHA1_BLOCK ? 1 : 2;
  memset(last + rest, 0, n * UMS_SHA1_BLOCK - LENGTH_FIELD - rest);
  ums_store64(last + n * UMS_SHA1_BLOCK - LENGTH_FIELD, 8 * (uint64_t)(before + len + tail_len));
  blocks(state, last, n);
}

void ums_hmac_sha1_init(ums_hmac_sha1 *hmac, ums_sha1_blocks *blocks, const uint8_t *key, size_t key_len) {
  uint8_t pad[UMS_SHA1_BLOCK] = {0};
  if (key_len > UMS_SHA1_BLOCK) { /* RFC 2104, 2: a longer key is hashed first */
    uint32_t state[5];
    memcpy(state, INITIAL, sizeof state);
    finish(state, blocks, 0, key, key_len, NULL, 0);
    store_digest(pad, state);
    ums_wipe(state, sizeof state);
  } else if (key_len > 0) {
    memcpy(pad, key, key_len);
  }
  for (size_t i = 0; i < sizeof pad; i++)
    pad[i] ^= 0x36;
  memcpy(hmac->inner, INITIAL, sizeof INITIAL);
  blocks(hmac->inner, pad, 1);
  for (size_t i = 0; i < sizeof pad; i++)
    pad[i] ^= 0x36 ^ 0x5c;
  memcpy(hmac->outer, INITIAL, sizeof INITIAL);
  blocks(hmac->outer, pad, 1);
  ums_wipe(pad, sizeof pad);
}

void ums_hmac_sha1_mac(const ums_hmac_sha1 *hmac, ums_sha1_blocks *blocks, const uint8_t *data, size_t len,
                       const uint8_t *tail, size_t tail_len, uint8_t mac[UMS_SHA1_DIGEST]) {
  uint32_t state[5];
  _Static_assert(UMS_SHA1_BLOCK - 1 + MAX_TAIL + 1 + LENGTH_FIELD <= 2 * UMS_SHA1_BLOCK, "two blocks are enough");
  memcpy(state, hmac->inner, sizeof state);
  finish(state, blocks, UMS_SHA1_BLOCK, data, len, tail, tail_len);
  store_digest(mac, state);
  memcpy(state, hmac->outer, sizeof state);
  finish(state, blocks, UMS_SHA1_BLOCK, mac, UMS_SHA1_DIGEST, NULL, 0);
  store_digest(mac, state);
}
