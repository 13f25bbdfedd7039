/* The software driver, GCM and HKDF on top of a driver, and the known answers of boot. */
#include <string.h>

#include "core.h"
#include "device.h"
#include "x25519.h"

const umsa_driver umsa_driver_soft = {
    .engine = 1,
    .aes_init = ums_aes_init,
    .aes_ctr = ums_aes_ctr,
    .ghash_init = ums_ghash_init,
    .ghash = ums_ghash_update,
    .sha1 = umsa_sha1_blocks,
};

void umsa_gcm_init(const umsa_driver *driver, const uint8_t *key, size_t len, ums_aes *aes, ums_ghash *ghash) {
  const uint8_t zero[12] = {0};
  uint8_t h[16] = {0};
  driver->aes_init(aes, key, len);
  driver->aes_ctr(&(ums_ctr_span){aes, zero, h, sizeof h, 0}, 1);
  driver->ghash_init(ghash, h);
  ums_wipe(h, sizeof h);
}

void umsa_gcm_tag(const umsa_driver *driver, const ums_aes *aes, const ums_ghash *ghash, const uint8_t iv[12],
                  const uint8_t *aad, size_t aad_len, const uint8_t *data, size_t len, uint8_t tag[16]) {
  uint8_t lengths[16];
  memset(tag, 0, 16);
  ums_store64(lengths, 8 * (uint64_t)aad_len);
  ums_store64(lengths + 8, 8 * (uint64_t)len);
  driver->ghash(ghash, tag, aad, aad_len);
  driver->ghash(ghash, tag, data, len);
  driver->ghash(ghash, tag, lengths, sizeof lengths);
  driver->aes_ctr(&(ums_ctr_span){aes, iv, tag, 16, 1}, 1);
}

void umsa_hkdf(const umsa_driver *driver, const uint8_t *salt, size_t salt_len, const uint8_t secret[32],
               const uint8_t *info, size_t info_len, uint8_t *out, size_t out_len) {
  ums_hmac_sha1 hmac;
  uint8_t prk[UMS_SHA1_DIGEST], block[UMS_SHA1_DIGEST + 96 + 1];
  ums_hmac_sha1_init(&hmac, driver->sha1, salt, salt_len);
  ums_hmac_sha1_mac(&hmac, driver->sha1, secret, 32, NULL, 0, prk);
  ums_hmac_sha1_init(&hmac, driver->sha1, prk, sizeof prk);
  size_t before = 0;
  for (uint8_t i = 1; out_len > 0; i++) { /* T(i) = HMAC(T(i-1) | info | i) */
    memcpy(block + before, info, info_len);
    block[before + info_len] = i;
    ums_hmac_sha1_mac(&hmac, driver->sha1, block, before + info_len + 1, NULL, 0, block);
    before = UMS_SHA1_DIGEST;
    const size_t n = out_len < before ? out_len : before;
    memcpy(out, block, n);
    out += n;
    out_len -= n;
  }
  ums_wipe(&hmac, sizeof hmac);
  ums_wipe(prk, sizeof prk);
  ums_wipe(block, sizeof block);
}

/* ------------------------------------------------------------------------------------------------- self-test -- */

static int is(const uint8_t *got, const uint8_t *want, size_t len, int spoilt) {
  return ums_equal(got, want, len) && !spoilt;
}

static int test_aes(const umsa_driver *driver, ums_aes *aes, int spoilt) { /* as a counter block over zeros */
  static const uint8_t want[16] = {0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30,
                                   0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5, 0x5a};
  uint8_t key[16], block[16], got[16] = {0};
  for (uint8_t i = 0; i < 16; i++) {
    key[i] = i;
    block[i] = (uint8_t)(17 * i);
  }
  driver->aes_init(aes, key, sizeof key);
  driver->aes_ctr(&(ums_ctr_span){aes, block, got, sizeof got, ums_load32(block + 12)}, 1);
  return is(got, want, sizeof want, spoilt);
}

static int test_aes_cm(const umsa_driver *driver, ums_aes *aes, int spoilt) {
  static const uint8_t key[16] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
                                  0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c};
  static const uint8_t want[32] = {0xe0, 0x3e, 0xad, 0x09, 0x35, 0xc9, 0x5e, 0x80, 0xe1, 0x66, 0xb1,
                                   0x6d, 0xd9, 0x2b, 0x4e, 0xb4, 0xd2, 0x35, 0x13, 0x16, 0x2b, 0x02,
                                   0xd0, 0xf7, 0x2a, 0x43, 0xa2, 0xfe, 0x4a, 0x5f, 0x97, 0xab};
  uint8_t iv[12], got[32] = {0};
  for (uint8_t i = 0; i < 12; i++)
    iv[i] = (uint8_t)(0xf0 + i);
  driver->aes_init(aes, key, sizeof key);
  driver->aes_ctr(&(ums_ctr_span){aes, iv, got, sizeof got, 0xfcfd0000}, 1);
  return is(got, want, sizeof want, spoilt);
}

static int test_hmac(const umsa_driver *driver, int spoilt) {
  static const uint8_t want[20] = {0xb6, 0x17, 0x31, 0x86, 0x55, 0x05, 0x72, 0x64, 0xe2, 0x8b,
                                   0xc0, 0xb6, 0xfb, 0x37, 0x8c, 0x8e, 0xf1, 0x46, 0xbe, 0x00};
  uint8_t key[20], got[20];
  ums_hmac_sha1 hmac;
  memset(key, 0x0b, sizeof key);
  ums_hmac_sha1_init(&hmac, driver->sha1, key, sizeof key);
  ums_hmac_sha1_mac(&hmac, driver->sha1, (const uint8_t *)"Hi There", 8, NULL, 0, got);
  return is(got, want, sizeof want, spoilt);
}

static int test_gcm(const umsa_driver *driver, ums_aes *aes, int spoilt) {
  static const uint8_t want[32] = {0x03, 0x88, 0xda, 0xce, 0x60, 0xb6, 0xa3, 0x92, 0xf3, 0x28, 0xc2,
                                   0xb9, 0x71, 0xb2, 0xfe, 0x78, 0xab, 0x6e, 0x47, 0xd4, 0x2c, 0xec,
                                   0x13, 0xbd, 0xf5, 0x3a, 0x67, 0xb2, 0x12, 0x57, 0xbd, 0xdf};
  const uint8_t zero[16] = {0};
  uint8_t got[32] = {0};
  ums_ghash ghash;
  umsa_gcm_init(driver, zero, 16, aes, &ghash);
  driver->aes_ctr(&(ums_ctr_span){aes, zero, got, 16, 2}, 1);
  umsa_gcm_tag(driver, aes, &ghash, zero, NULL, 0, got, 16, got + 16);
  return is(got, want, sizeof want, spoilt);
}

static int test_x25519(int spoilt) {
  static const uint8_t scalar[32] = {0xa5, 0x46, 0xe3, 0x6b, 0xf0, 0x52, 0x7c, 0x9d, 0x3b, 0x16, 0x15,
                                     0x4b, 0x82, 0x46, 0x5e, 0xdd, 0x62, 0x14, 0x4c, 0x0a, 0xc1, 0xfc,
                                     0x5a, 0x18, 0x50, 0x6a, 0x22, 0x44, 0xba, 0x44, 0x9a, 0xc4};
  static const uint8_t u[32] = {0xe6, 0xdb, 0x68, 0x67, 0x58, 0x30, 0x30, 0xdb, 0x35, 0x94, 0xc1,
                                0xa4, 0x24, 0xb1, 0x5f, 0x7c, 0x72, 0x66, 0x24, 0xec, 0x26, 0xb3,
                                0x35, 0x3b, 0x10, 0xa9, 0x03, 0xa6, 0xd0, 0xab, 0x1c, 0x4c};
  static const uint8_t want[32] = {0xc3, 0xda, 0x55, 0x37, 0x9d, 0xe9, 0xc6, 0x90, 0x8e, 0x94, 0xea,
                                   0x4d, 0xf2, 0x8d, 0x08, 0x4f, 0x32, 0xec, 0xcf, 0x03, 0x49, 0x1c,
                                   0x71, 0xf7, 0x54, 0xb4, 0x07, 0x55, 0x77, 0xa2, 0x85, 0x52};
  uint8_t got[32];
  umsa_x25519(got, scalar, u);
  return is(got, want, sizeof want, spoilt);
}

uint16_t umsa_self_test(const umsa_driver *driver, uint16_t spoil) {
  ums_aes aes;
  uint16_t failed = 0;
  failed |= test_aes(driver, &aes, spoil & UMSA_TEST_AES) ? 0 : UMSA_TEST_AES;
  failed |= test_aes_cm(driver, &aes, spoil & UMSA_TEST_AES_CM) ? 0 : UMSA_TEST_AES_CM;
  failed |= test_hmac(driver, spoil & UMSA_TEST_HMAC_SHA1) ? 0 : UMSA_TEST_HMAC_SHA1;
  failed |= test_gcm(driver, &aes, spoil & UMSA_TEST_GCM) ? 0 : UMSA_TEST_GCM;
  failed |= test_x25519(spoil & UMSA_TEST_X25519) ? 0 : UMSA_TEST_X25519;
  return failed;
}
