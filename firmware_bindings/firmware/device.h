/*
 * The device side of UMSA-1 (PROTOCOL.md): octets in, octets out. No clock, no port, no heap; the board brings a
 * platform, hands over what the line brings (umsa_device_receive, umsa_device_answer) and tells the time.
 */
#ifndef UMSA_DEVICE_H
#define UMSA_DEVICE_H

#include "frame.h"
#include "prim/prim.h"

/* The crypto of a board: software (driver_soft.c), or a peripheral with the same results. */
typedef struct umsa_driver {
  uint8_t engine; /* 1: software, 2: crypto peripheral */
  void (*aes_init)(ums_aes *aes, const uint8_t *key, size_t len);
  void (*aes_ctr)(const ums_ctr_span span[], size_t n);
  void (*ghash_init)(ums_ghash *g, const uint8_t h[16]);
  void (*ghash)(const ums_ghash *g, uint8_t y[16], const uint8_t *data, size_t len);
  ums_sha1_blocks *sha1;
  int (*rng)(uint8_t *out, size_t len); /* NULL: the board has no random source. 0: it failed */
} umsa_driver;

extern const umsa_driver umsa_driver_soft;

/*
 * A slot says of both its parts what they add up to, so that a bit that falls over in memory is noticed before the key
 * is used again: a wrong key makes results that tell about the right one, a wrong guard uses a keystream twice.
 */
typedef struct umsa_key_slot {
  struct umsa_slot_key {
    uint8_t suite, direction, kind, bound, aead, tag_len, salt_len, unused;
    uint32_t ssrc, used;
    uint8_t salt[16];
    union {
      ums_hmac_sha1 hmac;
      ums_ghash ghash;
    } mac;
    ums_aes aes;
  } key;
  struct umsa_slot_guard {
    uint64_t floor;      /* lowest index that may be protected */
    uint64_t next, seen; /* protect: one more than the highest index; bit i: next - 1 - i was spent */
    uint64_t left;       /* packets */
  } guard;
  uint32_t key_sum, guard_sum;
} umsa_key_slot;

/* All that must not get out, in one place: a board with a memory protection unit closes it while nobody needs it. */
typedef struct umsa_secrets {
  uint8_t identity[32]; /* X25519, when the platform says that there is one; PAIR overwrites it */
  ums_aes wrap_aes;
  ums_ghash wrap_ghash;
  umsa_key_slot slot[UMSA_SLOTS];
} umsa_secrets;

typedef struct umsa_platform {
  void *self;
  void (*write)(void *self, const uint8_t *octets, size_t len); /* may wait for the line */
  const umsa_driver *driver;
  umsa_secrets *secrets;                      /* zeros but for the identity; open until umsa_device_init has returned */
  void (*open_secrets)(void *self, int open); /* NULL: they always are */
  uint8_t boot_id[8];                         /* another one after each boot */
  uint8_t unit[8];
  uint8_t has_key; /* there is an identity */
  uint8_t plain_load;
  uint8_t spoil_test; /* UMSA_TEST_* bits that get a wrong answer: a test hook that production builds leave zero */
  int (*store_key)(void *self, const uint8_t key[32]); /* keeps what PAIR made; NULL: not kept */
} umsa_platform;

typedef struct umsa_device {
  umsa_platform platform;
  umsa_receiver receiver;
  int found;    /* what ended in the receiver and was not answered */
  uint8_t open; /* HELLO was heard */
  uint16_t failed_tests;
  uint32_t now_ms, heard_ms;
  uint32_t session;
  uint8_t nonce[16]; /* the host's */
  uint8_t transport; /* there is a transport key */
  uint32_t last_counter;
  uint32_t cached_crc; /* of the control request whose reply is kept */
  uint16_t cached_len;
  uint8_t cached[96];
  uint32_t frames, jobs, refused, auth_fail;
} umsa_device;

/* Runs the self-test. The platform is copied. */
void umsa_device_init(umsa_device *d, const umsa_platform *platform);
/* Takes octets up to the next end of a frame; how many. When they may be overwritten, the frame is answered. */
size_t umsa_device_receive(umsa_device *d, const uint8_t *octets, size_t len);
void umsa_device_answer(umsa_device *d); /* nothing, unless a frame has ended */
static inline void umsa_device_octets(umsa_device *d, const uint8_t *octets, size_t len) {
  for (size_t n; len > 0; octets += n, len -= n) {
    n = umsa_device_receive(d, octets, len);
    umsa_device_answer(d);
  }
}
void umsa_device_time(umsa_device *d, uint32_t now_ms); /* heartbeat */
void umsa_device_forget(umsa_device *d);                /* wipes slots and transport key: line drop, reset */

/* crypt.c */
uint16_t umsa_self_test(const umsa_driver *driver, uint16_t spoil);
/* HKDF-SHA1 (RFC 5869) of one secret of 32 octets. */
void umsa_hkdf(const umsa_driver *driver, const uint8_t *salt, size_t salt_len, const uint8_t secret[32],
               const uint8_t *info, size_t info_len, uint8_t *out, size_t out_len);
void umsa_gcm_init(const umsa_driver *driver, const uint8_t *key, size_t len, ums_aes *aes, ums_ghash *ghash);
/* The 16-octet tag of `aad` and ciphertext. */
void umsa_gcm_tag(const umsa_driver *driver, const ums_aes *aes, const ums_ghash *ghash, const uint8_t iv[12],
                  const uint8_t *aad, size_t aad_len, const uint8_t *data, size_t len, uint8_t tag[16]);

/* sha1_small.c */
void umsa_sha1_blocks(uint32_t hash[5], const uint8_t *data, size_t n_blocks);

/* slot.c: UMSA_STATUS_* */
uint8_t umsa_slot_load(umsa_device *d, uint8_t slot, const uint8_t key[UMSA_KEY_LEN]);
/*
 * One packet in place; `room` octets may be written. The result is *result_len octets at *result: what stood behind the
 * header, with the tag when it was protected and without when it was unprotected. UMSA_STATUS_INTERNAL: the slot or the
 * work on it was disturbed, and nothing the device holds is to be trusted.
 */
uint8_t umsa_slot_job(umsa_device *d, uint8_t slot, int direction, uint64_t index, uint8_t *packet, size_t len,
                      size_t room, const uint8_t **result, size_t *result_len);

#endif
