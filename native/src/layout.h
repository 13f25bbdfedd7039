/*
 * The geometry of SRTP and SRTCP packets (RFC 3711, 3.1, 3.4, 4.1, 4.2; RFC 7714, 8, 9): everything that differs
 * between the five kinds of packet. Above this file there is one protect and one unprotect.
 *
 *   SRTP,  CM+HMAC   header | payload~        | [MKI] | tag            MAC: header, payload~, then the ROC
 *    with its ROC    header | payload~        | [MKI] | ROC | tag      MAC: the same (RFC 4771)
 *   SRTCP, CM+HMAC   8      | rest~           | word | [MKI] | tag     MAC: 8, rest~, word (contiguous: no tail)
 *   SRTP,  AEAD      header | payload~        | tag  | [MKI]           AAD: header
 *   SRTCP, AEAD      8      | rest~           | tag  | word | [MKI]    AAD: 8, then the word
 *
 *   ~ encrypted    word: E flag and 31-bit SRTCP index    8: the first eight octets
 *
 * With E = 0 nothing is encrypted and `8` grows to the whole packet.
 */
#ifndef UMS_LAYOUT_H
#define UMS_LAYOUT_H

#include "core.h"

#define UMS_E_FLAG 0x80000000u
#define UMS_RTP_ROC 2 /* after UMS_RTP and UMS_RTCP: RTP that carries its ROC */
#define UMS_LAYOUTS 3

enum { UMS_FAST = 0, UMS_FAST_BUT_ROC = 1, UMS_LONG_WAY = 2 }; /* RTP: which packets may take the path of srtp_fast.h */

typedef struct ums_salt { /* session salt as the IV wants it: 16 octets, zeros behind, as two numbers */
  uint64_t hi, lo;
} ums_salt;

typedef struct ums_layout { /* one kind of packet of one context; offsets count from the end of the plain packet */
  uint8_t aead, rtcp;
  uint8_t encrypts; /* 0: E = 0, or the NULL cipher under SRTCP */
  uint8_t bare;     /* no MAC: see UMS_LAB_NO_MAC */
  uint8_t word_at;  /* RTCP: E flag and index. UMS_RTP_ROC: the ROC */
  uint8_t mki_at, tag_at;
  uint8_t trailer; /* octets that protect adds */
  uint8_t tag_len, mki_len;
  uint8_t mac_word; /* octets of the word that the MAC takes from the packet itself */
  uint8_t tail_len;
  uint8_t way;
  uint64_t
      job; /* tag_len, tail_len, flags and first status of its jobs, as they lie in memory; then room for the tail */
} ums_layout;

/* `kind`: UMS_RTP, UMS_RTCP, UMS_RTP_ROC. */
void ums_layout_init(ums_layout *l, const ums_suite_info *suite, const ums_rcc *rcc, int kind, size_t mki_len,
                     int plain_rtcp, int direction);

ums_salt ums_layout_salt(const uint8_t *salt, size_t len); /* 12 or 14 octets */

/* Octets of an RTP header with CSRC list and extension (padding is payload), or 8 for RTCP; 0 when the first `len`
 * octets do not hold such a header of version 2. */
static inline uint32_t ums_layout_header(const uint8_t *data, uint32_t len, int rtcp) {
  if (rtcp)
    return len >= 8 && data[0] >> 6 == 2 ? 8 : 0;
  if (len < 12 || data[0] >> 6 != 2)
    return 0;
  uint32_t header = 12 + 4 * (uint32_t)(data[0] & 0x0f);
  if (data[0] & 0x10) {
    if (len < header + 4)
      return 0;
    header += 4 + 4 * (uint32_t)ums_load16(data + header + 2);
  }
  return header <= len ? header : 0;
}

static inline uint32_t ums_layout_ssrc(const uint8_t *data, int rtcp) { return ums_load32(data + (rtcp ? 4 : 8)); }

typedef uint64_t ums_iv __attribute__((vector_size(16)));

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define UMS_TAIL_SHIFT 32
#define UMS_PAIR(first, second)                                                                                        \
  ((uint64_t)(first) | (uint64_t)(second) << 32) /* two neighbours, as they lie in memory */
#else
#define UMS_TAIL_SHIFT 0
#define UMS_PAIR(first, second) ((uint64_t)(first) << 32 | (uint64_t)(second))
#endif
_Static_assert(offsetof(ums_job, tail) == offsetof(ums_job, tag_len) + 4, "ums_layout_job writes both at once");
_Static_assert(offsetof(ums_job, tag_off) == offsetof(ums_job, cipher_off) + 12, "ums_layout_job writes them in pairs");

/*
 * Ranges, IV and tail of one packet. `end`: length of the plain packet; `index`: 48 bits, or the 31-bit SRTCP index;
 * `word`: E flag and index (RTCP only). data, key and owner are the caller's.
 *
 *   AES-CM (RFC 3711, 4.1.1):      k_s * 2^16 ^ SSRC * 2^64 ^ i * 2^16
 *   AEAD (RFC 7714, 8.1 and 9.1):  00 00, SSRC, index of 48 bits, then nothing
 */
static inline void ums_layout_job(const ums_layout *l, ums_job *job, uint32_t header, uint32_t end, ums_salt salt,
                                  uint32_t ssrc, uint64_t index, uint32_t word) {
  /* Few and wide stores: they are what building a job costs. */
  const uint32_t auth_len = l->aead ? header : end + l->mac_word;
  const uint64_t cipher = UMS_PAIR(header, end - header), mac = UMS_PAIR(auth_len, end + l->tag_at);
  const uint64_t small = l->job | (uint64_t)UMS_BE32(l->rtcp ? word : (uint32_t)(index >> 16)) << UMS_TAIL_SHIFT;
  memcpy(&job->cipher_off, &cipher, sizeof cipher);
  memcpy(&job->auth_len, &mac, sizeof mac);
  memcpy(&job->tag_len, &small, sizeof small);
  if (l->aead) {
    salt.hi ^= ((uint64_t)ssrc << 16) ^ (index >> 32);
    salt.lo ^= index << 32;
  } else {
    salt.hi ^= ssrc;
    salt.lo ^= index << 16;
  }
  const ums_iv iv = {UMS_BE64(salt.hi), UMS_BE64(salt.lo)};
  memcpy(job->iv, &iv, sizeof iv); /* in one store: the engine loads it as one */
}

#endif
