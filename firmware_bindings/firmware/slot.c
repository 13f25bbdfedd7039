/*
 * Key slots and media jobs (RFC 3711, 3.3, 4.1, 4.2; RFC 7714, 8, 9). The device makes IV and ROC from the index
 * itself, so that no host can make it use a keystream twice: an index that was protected is refused for ever.
 *
 * Memory and single instructions may fail, or be made to. Therefore a slot is checked before it is used, and what must
 * not go wrong is looked at twice: that the index was free and now is not, that there was a keystream, that the tag was
 * right. Whoever finds a contradiction answers UMSA_STATUS_INTERNAL.
 */
#include <string.h>

#include "core.h"
#include "device.h"

#define GUARD 64                                     /* indices behind the highest that are told apart */
#define CHUNK 256                                    /* octets of keystream at a time; whole blocks */
#define NOINLINE __attribute__((noinline))           /* once in the flash */
#define LOOK_AGAIN __asm__ volatile("" ::: "memory") /* or the compiler knows better than the memory */

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

static inline uint32_t sum_word(uint32_t sum, const uint8_t *p) {
  uint32_t word;
  memcpy(&word, p, sizeof word);
  return (sum >> 7 | sum << 25) ^ word;
}

/* Of whole words; another one when any bit falls over, and never that of zeros. */
static NOINLINE uint32_t sum_of(uint32_t sum, const void *words, size_t len) {
  const uint8_t *p = words;
  for (; len >= 16; p += 16, len -= 16)
    sum = sum_word(sum_word(sum_word(sum_word(sum, p), p + 4), p + 8), p + 12);
  for (; len > 0; p += 4, len -= 4)
    sum = sum_word(sum, p);
  return sum;
}

static uint32_t sum_of_guard(const umsa_key_slot *s) { return sum_of(1, &s->guard, sizeof s->guard); }

/* The round keys are at its end, as many as there are. */
static uint32_t sum_of_key(const umsa_key_slot *s) {
  const uint32_t rounds = s->key.aes.rounds;
  const size_t round_keys = rounds < UMS_AES_MAX_ROUNDS ? rounds + 1 : UMS_AES_MAX_ROUNDS + 1;
  _Static_assert(offsetof(struct umsa_slot_key, aes.round_key) % 4 == 0 && sizeof s->guard % 4 == 0, "whole words");
  return sum_of(rounds, &s->key,
                offsetof(struct umsa_slot_key, aes.round_key) + round_keys * sizeof s->key.aes.round_key[0]);
}

static int intact(const umsa_key_slot *s) {
  return ums_verdict(((sum_of_key(s) ^ s->key_sum) | (sum_of_guard(s) ^ s->guard_sum)) == 0);
}

uint8_t umsa_slot_load(umsa_device *d, uint8_t slot, const uint8_t key[UMSA_KEY_LEN]) {
  const umsa_driver *driver = d->platform.driver;
  const profile *p = find_profile(key[UMSA_KEY_SUITE_AT]);
  if (slot >= UMSA_SLOTS)
    return UMSA_STATUS_NO_SLOT;
  if (p == NULL || key[UMSA_KEY_DIRECTION_AT] > 1 || key[UMSA_KEY_KIND_AT] > 1 ||
      (key[UMSA_KEY_FLAGS_AT] & ~UMSA_ANY_SSRC) != 0)
    return UMSA_STATUS_BAD_LEN;
  umsa_key_slot *s = &d->platform.secrets->slot[slot];
  struct umsa_slot_key *k = &s->key;
  ums_wipe(s, sizeof *s);
  k->suite = p->suite;
  k->aead = p->aead;
  k->direction = key[UMSA_KEY_DIRECTION_AT];
  k->kind = key[UMSA_KEY_KIND_AT];
  k->tag_len = p->tag[k->kind];
  k->salt_len = p->aead ? 12 : 14;
  k->bound = (key[UMSA_KEY_FLAGS_AT] & UMSA_ANY_SSRC) == 0;
  k->ssrc = (uint32_t)umsa_get(key + UMSA_KEY_SSRC_AT, 4);
  s->guard.floor = umsa_get(key + UMSA_KEY_INDEX_FLOOR_AT, 6);
  memcpy(k->salt, key + UMSA_KEY_SALT_AT, k->salt_len);
  s->guard.left = umsa_get(key + UMSA_KEY_PACKET_LIMIT_AT, 6);
  if (p->aead) {
    umsa_gcm_init(driver, key + UMSA_KEY_CIPHER_KEY_AT, p->key_len, &k->aes, &k->mac.ghash);
  } else {
    driver->aes_init(&k->aes, key + UMSA_KEY_CIPHER_KEY_AT, p->key_len);
    ums_hmac_sha1_init(&k->mac.hmac, driver->sha1, key + UMSA_KEY_AUTH_KEY_AT, 20);
  }
  k->used = 1;
  s->key_sum = sum_of_key(s);
  s->guard_sum = sum_of_guard(s);
  return UMSA_STATUS_OK;
}

/* ------------------------------------------------------------------------------------------------------ jobs -- */

/* Octets of the header in clear; 0: no RTP or RTCP packet. */
static size_t header_of(const struct umsa_slot_key *k, const uint8_t *p, size_t len) {
  if (len < 8 || p[0] >> 6 != 2)
    return 0;
  if (k->kind == 1)
    return 8;
  size_t header = 12 + 4u * (p[0] & 15u);
  if (p[0] & 0x10) {
    if (len < header + 4)
      return 0;
    header += 4 + 4u * ums_load16(p + header + 2);
  }
  return header <= len ? header : 0;
}

static NOINLINE int spent(const umsa_key_slot *s, uint64_t index) {
  const struct umsa_slot_guard *g = &s->guard;
  if (index < g->floor)
    return 1;
  if (index >= g->next)
    return 0;
  const uint64_t behind = g->next - 1 - index;
  return behind >= GUARD || (g->seen >> behind & 1) != 0;
}

static NOINLINE void spend(struct umsa_slot_guard *g, uint64_t index) {
  if (index < g->next) {
    g->seen |= (uint64_t)1 << (g->next - 1 - index);
    return;
  }
  const uint64_t ahead = index + 1 - g->next;
  g->seen = (ahead < GUARD ? g->seen << ahead : 0) | 1;
  g->next = index + 1;
}

static NOINLINE void make_iv(const struct umsa_slot_key *k, uint32_t ssrc, uint64_t index, uint8_t iv[16]) {
  const size_t ssrc_at = k->aead ? 2 : 4, index_at = k->aead ? 6 : 8;
  memset(iv, 0, 16);
  memcpy(iv, k->salt, k->salt_len);
  ums_store32(iv + ssrc_at, ums_load32(iv + ssrc_at) ^ ssrc);
  ums_store16(iv + index_at, (uint16_t)(ums_load16(iv + index_at) ^ index >> 32));
  ums_store32(iv + index_at + 2, ums_load32(iv + index_at + 2) ^ (uint32_t)index);
}

#define DONE 0x6d3a91c5u

typedef struct packet {
  uint8_t *data;
  size_t header, end; /* end: of the ciphertext */
  uint32_t ssrc;
  volatile uint64_t index; /* whoever needs it reads it, so that they cannot mean different ones */
  volatile uint32_t done;  /* DONE, when the result may be told */
  uint8_t iv[16], word[4];
} packet;

static uint32_t first_count(const struct umsa_slot_key *k, const packet *p) {
  return k->aead ? 2 : ums_load32(p->iv + 12);
}

static void tag_of(const umsa_driver *driver, const struct umsa_slot_key *k, const packet *p, uint8_t tag[20]) {
  if (!k->aead) {
    ums_hmac_sha1_mac(&k->mac.hmac, driver->sha1, p->data, p->end, p->word, sizeof p->word, tag);
    return;
  }
  const uint8_t *aad = p->data;
  uint8_t rtcp_aad[12];
  size_t aad_len = p->header;
  if (k->kind == 1) { /* RFC 7714, 9.2: the word belongs to the AAD */
    memcpy(rtcp_aad, p->data, 8);
    memcpy(rtcp_aad + 8, p->word, 4);
    aad = rtcp_aad;
    aad_len = sizeof rtcp_aad;
  }
  umsa_gcm_tag(driver, &k->aes, &k->mac.ghash, p->iv, aad, aad_len, p->data + p->header, p->end - p->header, tag);
}

/*
 * Adds a keystream; 0 when eight octets of it are zero, as they are where it was not made, or not all was done. Word by
 * word: no single store that is not done leaves eight octets as they were.
 */
static int add(uint8_t *data, const uint8_t *stream, size_t len) {
  const uint8_t *const end = data + len;
  uint32_t good = 0x80000000, before = 1;
  for (; len >= 4; stream += 4, len -= 4) {
    uint32_t a, b;
    memcpy(&a, stream, sizeof a);
    memcpy(&b, data, sizeof b);
    b ^= a;
    memcpy(data, &b, sizeof b);
    data += sizeof b;
    __asm__ volatile("" : "+r"(data)); /* it is counted, not known */
    before |= a;
    good &= before | (0u - before); /* the top bit, unless both are zero */
    before = a;
  }
  for (; len > 0; len--)
    *data++ ^= *stream++;
  return ums_verdict((int)(good >> 31)) && data == end;
}

static NOINLINE int encrypt(const umsa_driver *driver, const struct umsa_slot_key *k, const packet *p) {
  uint8_t stream[CHUNK];
  uint32_t count = first_count(k, p);
  int good = 1;
  size_t at = p->header;
  for (size_t n; at < p->end; at += n, count += CHUNK / 16) {
    n = p->end - at < CHUNK ? p->end - at : CHUNK;
    memset(stream, 0, n);
    driver->aes_ctr(&(ums_ctr_span){&k->aes, p->iv, stream, n, count}, 1);
    good &= add(p->data + at, stream, n);
    ums_wipe(stream, n);
  }
  LOOK_AGAIN;
  return good && at == p->end;
}

static NOINLINE uint8_t protect(const umsa_driver *driver, umsa_key_slot *s, packet *p) {
  uint8_t tag[20] = {0}, no_tag[4] = {0}, iv[16];
  if (spent(s, p->index))
    return UMSA_STATUS_INDEX_REUSE;
  if (spent(s, p->index) || s->key.direction != 0)
    return UMSA_STATUS_INTERNAL;
  struct umsa_slot_guard twin = s->guard;
  spend(&s->guard, p->index);
  LOOK_AGAIN;
  spend(&twin, p->index);
  make_iv(&s->key, p->ssrc, p->index, p->iv);
  if (!spent(s, p->index) || !ums_equal(&twin, &s->guard, sizeof twin) || !encrypt(driver, &s->key, p))
    return UMSA_STATUS_INTERNAL;
  tag_of(driver, &s->key, p, tag);
  memcpy(p->data + p->end, tag, s->key.tag_len);
  make_iv(&s->key, p->ssrc, p->index, iv);
  if (ums_verdict(ums_equal(tag + 4, no_tag, sizeof no_tag)) || !ums_verdict(ums_equal(iv, p->iv, sizeof iv)))
    return UMSA_STATUS_INTERNAL;
  p->done = DONE;
  return UMSA_STATUS_OK;
}

static NOINLINE uint8_t unprotect(const umsa_driver *driver, const umsa_key_slot *s, packet *p) {
  const struct umsa_slot_key *k = &s->key;
  uint8_t tag[20], *const theirs = p->data + p->end;
  if (k->direction != 1)
    return UMSA_STATUS_INTERNAL;
  for (size_t i = 0; i < k->tag_len; i++)
    tag[i] = (uint8_t)~theirs[i]; /* wrong, until there is one */
  make_iv(k, p->ssrc, p->index, p->iv);
  tag_of(driver, k, p, tag);
  if (!ums_verdict(ums_equal(tag, theirs, k->tag_len))) {
    ums_wipe(tag, sizeof tag); /* the right tag for a packet somebody made up */
    return UMSA_STATUS_AUTH_FAIL;
  }
  driver->aes_ctr(&(ums_ctr_span){&k->aes, p->iv, p->data + p->header, p->end - p->header, first_count(k, p)}, 1);
  LOOK_AGAIN;
  const int good = ums_verdict(ums_equal(tag, theirs, k->tag_len));
  ums_wipe(tag, sizeof tag);
  if (!good)
    return UMSA_STATUS_INTERNAL;
  p->done = DONE;
  return UMSA_STATUS_OK;
}

uint8_t umsa_slot_job(umsa_device *d, uint8_t slot, int direction, uint64_t index, uint8_t *data, size_t len,
                      size_t room, const uint8_t **result, size_t *result_len) {
  umsa_key_slot *s = slot < UMSA_SLOTS ? &d->platform.secrets->slot[slot] : NULL;
  if (s == NULL || !s->key.used)
    return UMSA_STATUS_NO_SLOT;
  if (!intact(s))
    return UMSA_STATUS_INTERNAL;
  struct umsa_slot_key *k = &s->key;
  if (k->direction != direction)
    return UMSA_STATUS_SLOT_DIR;
  const size_t trailer = direction == 1 ? k->tag_len : 0;
  if (len < trailer || (direction == 0 && len + k->tag_len > room))
    return UMSA_STATUS_BAD_LEN;
  packet p = {.data = data, .end = len - trailer, .index = index};
  p.header = header_of(k, data, p.end);
  if (p.header == 0 || p.end > UMSA_MAX_PACKET || p.index >> (k->kind == 1 ? 31 : 48) != 0)
    return UMSA_STATUS_BAD_LEN;
  p.ssrc = ums_load32(data + (k->kind == 1 ? 4 : 8));
  if (k->bound && k->ssrc != p.ssrc)
    return UMSA_STATUS_SSRC_MISMATCH;
  /* RTP: the sequence number is in the packet, and the index must be of the same packet. */
  if (k->kind == 0 && ums_load16(data + 2) != (uint16_t)p.index)
    return UMSA_STATUS_BAD_LEN;
  if (s->guard.left == 0)
    return UMSA_STATUS_KEY_EXPIRED;
  ums_store32(p.word, k->kind == 1 ? 0x80000000u | (uint32_t)p.index : (uint32_t)(p.index >> 16));
  const umsa_driver *driver = d->platform.driver;
  const uint8_t status = direction == 0 ? protect(driver, s, &p) : unprotect(driver, s, &p);
  if (status == UMSA_STATUS_OK) {
    if (p.done != DONE)
      return UMSA_STATUS_INTERNAL;
    s->guard.left--;
    *result = data + p.header;
    *result_len = p.end - p.header + (direction == 0 ? k->tag_len : 0u);
    if (!k->bound) {
      k->bound = 1;
      k->ssrc = p.ssrc;
      s->key_sum = sum_of_key(s);
    }
  }
  s->guard_sum = sum_of_guard(s);
  return status;
}
