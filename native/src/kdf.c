/*
 * SRTP key derivation, RFC 3711, 4.3.1 with key derivation rate 0; AES-192 and AES-256 as the PRF by RFC 6188, 3.
 *
 *   octet    0      7       14 15
 *   salt     ss..ss ss ss.. 00 00     14 octets; a GCM salt has 12 and is padded on the right (RFC 7714, 11)
 *   label           ll                XORed
 *   block                   nn nn     counts keystream blocks from 0
 */
#include "core.h"

#include <string.h>

#include "prim/prim.h"

#define LABEL_OCTET 7
#define MAX_LABEL 5
#define MAX_SALT 14
#define MAX_OUTPUT ((size_t)16 << 16) /* the block counter has 16 bits */

enum { LABEL_CIPHER = 0, LABEL_AUTH = 1, LABEL_SALT = 2, LABELS_PER_KIND = 3 }; /* RTCP: the same plus 3 */

static void prf(const ums_aes *aes, const uint8_t *salt, size_t salt_len, unsigned label, uint8_t *out,
                size_t out_len) {
  uint8_t block[16] = {0};
  memcpy(block, salt, salt_len);
  block[LABEL_OCTET] ^= (uint8_t)label;
  memset(out, 0, out_len);
  ums_aes_ctr(&(ums_ctr_span){aes, block, out, out_len, ums_load32(block + 12)}, 1);
  ums_wipe(block, sizeof block);
}

ums_status ums_kdf(const uint8_t *key, size_t key_len, const uint8_t *salt, size_t salt_len, uint8_t label,
                   uint8_t *out, size_t out_len) {
  if (key_len != 16 && key_len != 24 && key_len != 32)
    return UMS_BAD_ARGUMENT;
  if ((salt_len != 12 && salt_len != MAX_SALT) || label > MAX_LABEL || out_len > MAX_OUTPUT)
    return UMS_BAD_ARGUMENT;
  ums_aes aes;
  ums_aes_init(&aes, key, key_len);
  prf(&aes, salt, salt_len, label, out, out_len);
  ums_wipe(&aes, sizeof aes);
  return UMS_OK;
}

void ums_derive_session_keys(const ums_suite_info *suite, const uint8_t *key, const uint8_t *salt,
                             ums_session_keys out[2]) {
  ums_aes aes;
  ums_aes_init(&aes, key, suite->key_len);
  for (unsigned kind = UMS_RTP; kind <= UMS_RTCP; kind++) {
    unsigned base = kind * LABELS_PER_KIND;
    ums_session_keys *keys = &out[kind];
    memset(keys, 0, sizeof *keys);
    keys->cipher_key_len = suite->key_len;
    keys->auth_key_len = suite->auth_key_len;
    keys->salt_len = suite->salt_len;
    prf(&aes, salt, suite->salt_len, base + LABEL_CIPHER, keys->cipher_key, keys->cipher_key_len);
    prf(&aes, salt, suite->salt_len, base + LABEL_AUTH, keys->auth_key, keys->auth_key_len);
    prf(&aes, salt, suite->salt_len, base + LABEL_SALT, keys->salt, keys->salt_len);
  }
  ums_wipe(&aes, sizeof aes);
}
