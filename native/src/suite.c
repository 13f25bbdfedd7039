/* Crypto suites, one row each. `ueagent/model/suites.py` has the same rows; tests/test_tables_agree.py compares. */
#include "core.h"

/* clang-format off */
static const ums_suite_info SUITES[] = {
    /* suite                       registered name            transform        key salt auth rtp rtcp */
    {UMS_AES_CM_128_HMAC_SHA1_80, "AES_CM_128_HMAC_SHA1_80", UMS_AES_CM,       16, 14, 20, 10, 10}, /* RFC 4568, 6.2.1 */
    {UMS_AES_CM_128_HMAC_SHA1_32, "AES_CM_128_HMAC_SHA1_32", UMS_AES_CM,       16, 14, 20,  4, 10}, /* RFC 4568, 6.2.2 */
    {UMS_AES_192_CM_HMAC_SHA1_80, "AES_192_CM_HMAC_SHA1_80", UMS_AES_CM,       24, 14, 20, 10, 10}, /* RFC 6188, 3.1 */
    {UMS_AES_192_CM_HMAC_SHA1_32, "AES_192_CM_HMAC_SHA1_32", UMS_AES_CM,       24, 14, 20,  4, 10},
    {UMS_AES_256_CM_HMAC_SHA1_80, "AES_256_CM_HMAC_SHA1_80", UMS_AES_CM,       32, 14, 20, 10, 10},
    {UMS_AES_256_CM_HMAC_SHA1_32, "AES_256_CM_HMAC_SHA1_32", UMS_AES_CM,       32, 14, 20,  4, 10},
    {UMS_AEAD_AES_128_GCM,        "AEAD_AES_128_GCM",        UMS_AES_GCM,      16, 12,  0, 16, 16}, /* RFC 7714, 14.2 */
    {UMS_AEAD_AES_256_GCM,        "AEAD_AES_256_GCM",        UMS_AES_GCM,      32, 12,  0, 16, 16},
    {UMS_NULL_HMAC_SHA1_80,       "NULL_HMAC_SHA1_80",       UMS_NULL_CIPHER,  16, 14, 20, 10, 10}, /* RFC 5764, 4.1.2 */
    {UMS_NULL_HMAC_SHA1_32,       "NULL_HMAC_SHA1_32",       UMS_NULL_CIPHER,  16, 14, 20,  4, 10},
};
/* clang-format on */

size_t ums_suite_count(void) { return sizeof SUITES / sizeof *SUITES; }

const ums_suite_info *ums_suite_at(size_t i) { return i < ums_suite_count() ? &SUITES[i] : NULL; }

const ums_suite_info *ums_suite_find(ums_suite suite) {
  for (size_t i = 0; i < ums_suite_count(); i++)
    if (SUITES[i].suite == suite)
      return &SUITES[i];
  return NULL;
}
