/*
 * Key slots and media jobs (RFC 3711, 3.3, 4.1, 4.2; RFC 7714, 8, 9). The device makes IV and ROC from the index
 * itself, so that no host can make it use a keystream twice: an index that was protected is refused for ever.
 */
#include <string.h>

#include "core.h"
#include "device.h"

#define GUARD 64 /* indices behind the highest that are told apart */

typedef struct profile {
  uint8_t suite, key_len, aead, tag[2]; /* tag: RTP, RTCP */
} profile;

static const profile PROFILES[] = {
    {UMSA_SUITE_AES_CM_128_HMAC_SHA1_80, 16, 0, {10, 10}}, {UMSA_SUITE_AES_CM_128_HMAC_SHA1_32, 16, 0, {4, 10}},
    {UMSA_SUITE_AES_256_CM_HMAC_SHA1_80, 32, 0, {10, 10}}, {UMSA_SUITE_AES_256_CM_HMAC_SHA1_32, 32, 0, {4, 10}},
    {UMSA_SUITE_AEAD_AES_128_GCM, 16, 1, {16, 16}},        {UMSA_SUITE_AEAD_AES_256_GCM, 32, 1, {16, 16}},
};

static const profile *find_profile(uint8_t suite) {
  for (size_t i = 0; i < sizeof PROFILES / sizeof *PROFILES; i++)
    if (PROFILES[i].suite == suite)
      return &PROFILES[i];
  return NULL;
}

uint8_t umsa_slot_load(umsa_device *d, uint8_t slot, const uint8_t key[UMSA_KEY_LEN]) {
  const umsa_driver *driver = d->platform.driver;
  const profile *p = find_profile(key[UMSA_KEY_SUITE_AT]);
  if (slot >= UMSA_SLOTS)
    return UMSA_STATUS_NO_SLOT;
  if (p == NULL || key[UMSA_KEY_DIRECTION_AT] > 1 || key[UMSA_KEY_KIND_AT] > 1 ||
      (key[UMSA_KEY_FLAGS_AT] & ~UMSA_ANY_SSRC) != 0)
    return UMSA_STATUS_BAD_LEN;
  umsa_key_slot *s = &d->slot[slot];
  ums_wipe(s, sizeof *s);
  s->used = 1;
  s->suite = p->suite;
  s->aead = p->aead;
  s->direction = key[UMSA_KEY_DIRECTION_AT];
  s->kind = key[UMSA_KEY_KIND_AT];
  s->tag_len = p->tag[s->kind];
  s->salt_len = p->aead ? 12 : 14;
  s->bound = (key[UMSA_KEY_FLAGS_AT] & UMSA_ANY_SSRC) == 0;
  s->ssrc = (uint32_t)umsa_get(key + UMSA_KEY_SSRC_AT, 4);
  s->floor = umsa_get(key + UMSA_KEY_INDEX_FLOOR_AT, 6);
  s->left = umsa_get(key + UMSA_KEY_PACKET_LIMIT_AT, 6);
  memcpy(s->salt, key + UMSA_KEY_SALT_AT, s->salt_len);
  if (p->aead) {
    umsa_gcm_init(driver, key + UMSA_KEY_CIPHER_KEY_AT, p->key_len, &s->aes, &s->mac.ghash);
  } else {
    driver->aes_init(&s->aes, key + UMSA_KEY_CIPHER_KEY_AT, p->key_len);
    ums_hmac_sha1_init(&s->mac.hmac, driver->sha1, key + UMSA_KEY_AUTH_KEY_AT, 20);
  }
  return UMSA_STATUS_OK;
}

/* ------------------------------------------------------------------------------------------------------ jobs -- */

/* Octets of the header in clear; 0: no RTP or RTCP packet. */
static size_t header_of(const umsa_key_slot *s, const uint8_t *p, size_t len) {
  if (len < 8 || p[0] >> 6 != 2)
    return 0;
  if (s->kind == 1)
    return 8;
  size_t header = 12 + 4u * (p[0] & 15u);
  if (p[0] & 0x10) {
    if (len < header + 4)
      return 0;
    header += 4 + 4u * ums_load16(p + header + 2);
  }
  return header <= len ? header : 0;
}

static int spent(const umsa_key_slot *s, uint64_t index) {
  if (index < s->floor)
    return 1;
  if (index >= s->next)
    return 0;
  const uint64_t behind = s->next - 1 - index;
  return behind >= GUARD || (s->seen >> behind & 1) != 0;
}

static void spend(umsa_key_slot *s, uint64_t index) {
  if (index < s->next) {
    s->seen |= (uint64_t)1 << (s->next - 1 - index);
    return;
  }
  const uint64_t ahead = index + 1 - s->next;
  s->seen = (ahead < GUARD ? s->seen << ahead : 0) | 1;
  s->next = index + 1;
}

static void make_iv(const umsa_key_slot *s, uint32_t ssrc, uint64_t index, uint8_t iv[16]) {
  const size_t ssrc_at = s->aead ? 2 : 4, index_at = s->aead ? 6 : 8;
  memset(iv, 0, 16);
  memcpy(iv, s->salt, s->salt_len);
  for (size_t i = 0; i < 4; i++)
    iv[ssrc_at + i] ^= (uint8_t)(ssrc >> 8 * (3 - i));
  for (size_t i = 0; i < 6; i++)
    iv[index_at + i] ^= (uint8_t)(index >> 8 * (5 - i));
}

typedef struct packet {
  uint8_t *data;
  size_t header, end; /* end: of the ciphertext */
  uint8_t iv[16], word[4];
} packet;

static void cipher(const umsa_driver *driver, const umsa_key_slot *s, const packet *p) {
  const uint32_t count = s->aead ? 2 : ums_load32(p->iv + 12);
  driver->aes_ctr(&(ums_ctr_span){&s->aes, p->iv, p->data + p->header, p->end - p->header, count}, 1);
}

static void tag_of(const umsa_driver *driver, const umsa_key_slot *s, const packet *p, uint8_t tag[20]) {
  if (!s->aead) {
    ums_hmac_sha1_mac(&s->mac.hmac, driver->sha1, p->data, p->end, p->word, sizeof p->word, tag);
    return;
  }
  const uint8_t *aad = p->data;
  uint8_t rtcp_aad[12];
  size_t aad_len = p->header;
  if (s->kind == 1) { /* RFC 7714, 9.2: the word belongs to the AAD */
    memcpy(rtcp_aad, p->data, 8);
    memcpy(rtcp_aad + 8, p->word, 4);
    aad = rtcp_aad;
    aad_len = sizeof rtcp_aad;
  }
  umsa_gcm_tag(driver, &s->aes, &s->mac.ghash, p->iv, aad, aad_len, p->data + p->header, p->end - p->header, tag);
}

static uint8_t protect(const umsa_driver *driver, umsa_key_slot *s, packet *p, uint64_t index) {
  uint8_t tag[20];
  if (spent(s, index))
    return UMSA_STATUS_INDEX_REUSE;
  spend(s, index);
  cipher(driver, s, p);
  tag_of(driver, s, p, tag);
  memcpy(p->data + p->end, tag, s->tag_len);
  return UMSA_STATUS_OK;
}

static uint8_t unprotect(const umsa_driver *driver, const umsa_key_slot *s, packet *p) {
  uint8_t tag[20];
  tag_of(driver, s, p, tag);
  const int good = ums_equal(tag, p->data + p->end, s->tag_len);
  ums_wipe(tag, sizeof tag); /* the right tag for a packet somebody made up */
  if (!good)
    return UMSA_STATUS_AUTH_FAIL;
  cipher(driver, s, p);
  return UMSA_STATUS_OK;
}

uint8_t umsa_slot_job(umsa_device *d, uint8_t slot, int direction, uint64_t index, uint8_t *data, size_t len,
                      size_t room, const uint8_t **result, size_t *result_len) {
  umsa_key_slot *s = slot < UMSA_SLOTS ? &d->slot[slot] : NULL;
  if (s == NULL || !s->used)
    return UMSA_STATUS_NO_SLOT;
  if (s->direction != direction)
    return UMSA_STATUS_SLOT_DIR;
  const size_t trailer = direction == 1 ? s->tag_len : 0;
  if (len < trailer || (direction == 0 && len + s->tag_len > room))
    return UMSA_STATUS_BAD_LEN;
  packet p = {.data = data, .end = len - trailer};
  p.header = header_of(s, data, p.end);
  if (p.header == 0 || p.end > UMSA_MAX_PACKET || index >> (s->kind == 1 ? 31 : 48) != 0)
    return UMSA_STATUS_BAD_LEN;
  const uint32_t ssrc = ums_load32(data + (s->kind == 1 ? 4 : 8));
  if (s->bound && s->ssrc != ssrc)
    return UMSA_STATUS_SSRC_MISMATCH;
  /* RTP: the sequence number is in the packet, and the index must be of the same packet. */
  if (s->kind == 0 && ums_load16(data + 2) != (uint16_t)index)
    return UMSA_STATUS_BAD_LEN;
  if (s->left == 0)
    return UMSA_STATUS_KEY_EXPIRED;
  make_iv(s, ssrc, index, p.iv);
  ums_store32(p.word, s->kind == 1 ? 0x80000000u | (uint32_t)index : (uint32_t)(index >> 16));
  const umsa_driver *driver = d->platform.driver;
  const uint8_t status = direction == 0 ? protect(driver, s, &p, index) : unprotect(driver, s, &p);
  if (status != UMSA_STATUS_OK)
    return status;
  s->left--;
  s->bound = 1;
  s->ssrc = ssrc;
  *result = data + p.header;
  *result_len = p.end - p.header + (direction == 0 ? s->tag_len : 0u);
  return UMSA_STATUS_OK;
}
