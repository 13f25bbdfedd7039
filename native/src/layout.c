/* RFC 3711, 3.1, 3.4, 4.1.1, 4.2, RFC 4771 and RFC 7714, 8.1, 9.1: see layout.h for the table this file fills. */
#include "layout.h"

#include <string.h>

enum part { NOTHING, WORD, MKI, TAG };

static const uint8_t ORDER[2][UMS_LAYOUTS][3] = {
    /* [aead][kind]; an AEAD carries no ROC */
    {{MKI, TAG, NOTHING}, {WORD, MKI, TAG}, {MKI, WORD, TAG}},
    {{TAG, MKI, NOTHING}, {TAG, WORD, MKI}, {NOTHING, NOTHING, NOTHING}},
};

/* RFC 4771, 5: the tag's length counts the ROC where there is one. */
static uint8_t mac_len(const ums_suite_info *suite, const ums_rcc *rcc, int kind) {
  if (kind == UMS_RTCP)
    return suite->rtcp_tag;
  const uint8_t beside_roc = (uint8_t)(rcc->tag_len - 4);
  switch (rcc->mode) {
  case 0:
    return suite->rtp_tag;
  case 1:
    return kind == UMS_RTP_ROC ? beside_roc : 0;
  case 2:
    return kind == UMS_RTP_ROC ? beside_roc : rcc->tag_len;
  default:
    return 0;
  }
}

void ums_layout_init(ums_layout *l, const ums_suite_info *suite, const ums_rcc *rcc, int kind, size_t mki_len,
                     int plain_rtcp, int direction) {
  const int rtcp = kind == UMS_RTCP;
  *l = (ums_layout){
      .aead = suite->transform == UMS_AES_GCM,
      .rtcp = (uint8_t)rtcp,
      .encrypts = !(rtcp && (plain_rtcp || suite->transform == UMS_NULL_CIPHER)),
      .tag_len = mac_len(suite, rcc, kind),
      .mki_len = (uint8_t)mki_len,
  };
  l->bare = l->tag_len == 0;
  l->way = mki_len != 0 || l->bare ? UMS_LONG_WAY : rcc->mode != 0 ? UMS_FAST_BUT_ROC : UMS_FAST;
  l->mac_word = !l->aead && rtcp ? 4 : 0;
  l->tail_len = l->aead == rtcp ? 4 : 0; /* the ROC of HMAC SRTP, the word of AEAD SRTCP */
  /* No engine opens a packet without a tag. Counter mode is its own inverse, so what has none is encrypted both ways.
   */
  const uint8_t job[8] = {l->tag_len, l->tail_len, direction == UMS_SEND || l->bare ? UMS_JOB_ENCRYPT : 0,
                          UMS_ENGINE /* until the engine says otherwise */};
  memcpy(&l->job, job, sizeof job);
  uint8_t at = 0;
  for (size_t i = 0; i < 3; i++) {
    switch (ORDER[l->aead][kind][i]) {
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
