/* RFC 3711, 3.1, 3.4, 4.1.1, 4.2 and RFC 7714, 8.1, 9.1: see layout.h for the table this file fills. */
#include "layout.h"

#include <string.h>

enum part { NOTHING, WORD, MKI, TAG };

static const uint8_t ORDER[2][2][3] = {
    /* [aead][rtcp] */
    {{MKI, TAG, NOTHING}, {WORD, MKI, TAG}},
    {{TAG, MKI, NOTHING}, {TAG, WORD, MKI}},
};

void ums_layout_init(ums_layout *l, const ums_suite_info *suite, int rtcp, size_t mki_len, int plain_rtcp,
                     int direction) {
  *l = (ums_layout){
      .aead = suite->transform == UMS_AES_GCM,
      .rtcp = rtcp != 0,
      .encrypts = !(rtcp && (plain_rtcp || suite->transform == UMS_NULL_CIPHER)),
      .tag_len = rtcp ? suite->rtcp_tag : suite->rtp_tag,
      .mki_len = (uint8_t)mki_len,
  };
  l->mac_word = !l->aead && rtcp ? 4 : 0;
  l->tail_len = l->aead == (rtcp != 0) ? 4 : 0; /* the ROC of HMAC SRTP, the word of AEAD SRTCP */
  const uint8_t job[8] = {l->tag_len, l->tail_len, direction == UMS_SEND ? UMS_JOB_ENCRYPT : 0,
                          UMS_ENGINE /* until the engine says otherwise */};
  memcpy(&l->job, job, sizeof job);
  uint8_t at = 0;
  for (size_t i = 0; i < 3; i++) {
    switch (ORDER[l->aead][l->rtcp][i]) {
    case WORD:
      l->word_at = at;
      at = (uint8_t)(at + 4);
      break;
    case MKI:
      l->mki_at = at;
      at = (uint8_t)(at + l->mki_len);
      break;
    case TAG:
      l->tag_at = at;
      at = (uint8_t)(at + l->tag_len);
      break;
    default:
      break;
    }
  }
  l->trailer = at;
}

ums_salt ums_layout_salt(const uint8_t *salt, size_t len) {
  uint8_t wide[16] = {0};
  memcpy(wide, salt, len);
  const ums_salt out = {.hi = ums_load64(wide), .lo = ums_load64(wide + 8)};
  ums_wipe(wide, sizeof wide);
  return out;
}
