/* The device side of UMSA-1: sessions, key loading, the reply cache and the heartbeat. PROTOCOL.md is the reference. */
#include "device.h"

#include <string.h>

#include "core.h"
#include "x25519.h"

#define FIRMWARE_VERSION 0x00010000u
#define WRAPPED_LEN (UMSA_KEY_LOAD_LEN + UMSA_KEY_LEN + 16)
#define PLAIN_LEN (UMSA_KEY_LOAD_LEN + UMSA_KEY_LEN)

static const uint8_t INFO[] = "UMSA-1 transport";
_Static_assert(sizeof INFO - 1 + 64 <= 96, "umsa_hkdf has room for this much info");

typedef struct reply {
  umsa_head head;
  uint8_t body[64];
  size_t len;
} reply;

static void open_secrets(umsa_device *d, int open) {
  if (d->platform.open_secrets != NULL)
    d->platform.open_secrets(d->platform.self, open);
}

static void forget(umsa_device *d) { /* the secrets are open */
  umsa_secrets *secrets = d->platform.secrets;
  ums_wipe(secrets->slot, sizeof secrets->slot);
  ums_wipe(&secrets->wrap_aes, sizeof secrets->wrap_aes);
  ums_wipe(&secrets->wrap_ghash, sizeof secrets->wrap_ghash);
  d->open = d->transport = 0;
  d->cached_len = 0;
}

void umsa_device_forget(umsa_device *d) {
  open_secrets(d, 1);
  forget(d);
  open_secrets(d, 0);
}

void umsa_device_init(umsa_device *d, const umsa_platform *platform) {
  memset(d, 0, sizeof *d);
  d->platform = *platform;
  d->failed_tests = umsa_self_test(platform->driver, platform->spoil_test);
  open_secrets(d, 0);
}

void umsa_device_time(umsa_device *d, uint32_t now_ms) {
  d->now_ms = now_ms;
  if (d->open && now_ms - d->heard_ms > UMSA_HEARTBEAT_MS)
    umsa_device_forget(d);
}

/* -------------------------------------------------------------------------------------------- control requests -- */

static uint16_t capabilities(const umsa_device *d) {
  return (uint16_t)((d->platform.driver->rng != NULL ? UMSA_CAP_RANDOM : 0) |
                    (d->platform.has_key ? UMSA_CAP_IDENTITY : 0) | (d->platform.plain_load ? UMSA_CAP_PLAIN_LOAD : 0));
}

static void hello(umsa_device *d, const uint8_t *body, size_t len, reply *r) {
  if (len != UMSA_HELLO_LEN) {
    r->head.status = UMSA_STATUS_BAD_LEN;
    return;
  }
  const int ours = body[UMSA_HELLO_VERSION_AT] == UMSA_VERSION;
  forget(d);
  d->session++;
  memcpy(d->nonce, body + UMSA_HELLO_NONCE_AT, sizeof d->nonce);
  d->open = ours && d->failed_tests == 0;
  uint8_t *out = r->body;
  r->len = UMSA_HELLO_REPLY_LEN;
  r->head.status = !ours ? UMSA_STATUS_BAD_VERSION : d->failed_tests ? UMSA_STATUS_SELFTEST_FAIL : UMSA_STATUS_OK;
  out[UMSA_HELLO_REPLY_VERSION_AT] = UMSA_VERSION;
  memcpy(out + UMSA_HELLO_REPLY_NONCE_AT, d->nonce, sizeof d->nonce);
  memcpy(out + UMSA_HELLO_REPLY_BOOT_ID_AT, d->platform.boot_id, 8);
  umsa_put(out + UMSA_HELLO_REPLY_SESSION_AT, d->session, 4);
  memcpy(out + UMSA_HELLO_REPLY_UNIT_AT, d->platform.unit, 8);
  umsa_put(out + UMSA_HELLO_REPLY_FIRMWARE_AT, FIRMWARE_VERSION, 4);
  out[UMSA_HELLO_REPLY_ENGINE_AT] = d->platform.driver->engine;
  out[UMSA_HELLO_REPLY_SLOTS_AT] = UMSA_SLOTS;
  out[UMSA_HELLO_REPLY_CREDITS_AT] = d->open ? UMSA_CREDITS : 0;
  umsa_put(out + UMSA_HELLO_REPLY_MAX_PACKET_AT, UMSA_MAX_PACKET, 2);
  umsa_put(out + UMSA_HELLO_REPLY_CAPABILITIES_AT, capabilities(d), 2);
  umsa_put(out + UMSA_HELLO_REPLY_FAILED_TESTS_AT, d->failed_tests, 2);
}

static void public_key(umsa_device *d, reply *r) {
  umsa_x25519(r->body, d->platform.secrets->identity, umsa_x25519_base);
  ums_publish(r->body, UMSA_IDENTITY_REPLY_LEN);
  r->len = UMSA_IDENTITY_REPLY_LEN;
}

static void identity(umsa_device *d, reply *r) {
  if (d->platform.has_key)
    public_key(d, r);
  else
    r->head.status = UMSA_STATUS_NO_KEY;
}

static void pair(umsa_device *d, reply *r) {
  const umsa_platform *p = &d->platform;
  uint8_t key[32];
  if (p->driver->rng == NULL || !p->driver->rng(key, sizeof key)) {
    r->head.status = UMSA_STATUS_NO_RANDOM;
    return;
  }
  const int kept = p->store_key == NULL || p->store_key(p->self, key);
  if (kept) {
    memcpy(d->platform.secrets->identity, key, sizeof key);
    d->platform.has_key = 1;
    public_key(d, r);
  } else {
    r->head.status = UMSA_STATUS_INTERNAL;
  }
  ums_wipe(key, sizeof key);
}

/* PROTOCOL.md, Transport key. */
static void session(umsa_device *d, const uint8_t *body, size_t len, reply *r) {
  uint8_t secret[32], salt[16 + 8 + 4], info[sizeof INFO - 1 + 64], out[32];
  if (len != UMSA_SESSION_LEN) {
    r->head.status = UMSA_STATUS_BAD_LEN;
    return;
  }
  if (!d->platform.has_key || d->transport) { /* one transport key a session: its counters would begin again */
    r->head.status = d->transport ? UMSA_STATUS_REFUSED : UMSA_STATUS_NO_KEY;
    return;
  }
  memcpy(salt, d->nonce, 16);
  memcpy(salt + 16, d->platform.boot_id, 8);
  umsa_put(salt + 24, d->session, 4);
  memcpy(info, INFO, sizeof INFO - 1);
  umsa_x25519(info + sizeof INFO - 1, d->platform.secrets->identity, umsa_x25519_base);
  memcpy(info + sizeof INFO - 1 + 32, body, 32);
  umsa_x25519(secret, d->platform.secrets->identity, body);
  uint8_t any = 0;
  for (size_t i = 0; i < sizeof secret; i++)
    any |= secret[i];
  if (ums_verdict(any == 0)) { /* RFC 7748, 6.1: a point of small order; the one bit that is told */
    r->head.status = UMSA_STATUS_REFUSED;
    return;
  }
  umsa_hkdf(d->platform.driver, salt, sizeof salt, secret, info, sizeof info, out, sizeof out);
  umsa_gcm_init(d->platform.driver, out, 16, &d->platform.secrets->wrap_aes, &d->platform.secrets->wrap_ghash);
  d->transport = 1;
  d->last_counter = 0;
  memcpy(r->body, out + 16, 16);
  ums_publish(r->body, 16);
  r->len = UMSA_SESSION_REPLY_LEN;
  ums_wipe(secret, sizeof secret);
  ums_wipe(out, sizeof out);
}

static void status(const umsa_device *d, reply *r) {
  uint8_t used = 0;
  for (size_t i = 0; i < UMSA_SLOTS; i++)
    used = (uint8_t)(used + d->platform.secrets->slot[i].key.used);
  umsa_put(r->body + UMSA_STATUS_REPLY_FRAMES_AT, d->frames, 4);
  umsa_put(r->body + UMSA_STATUS_REPLY_DAMAGED_AT, d->receiver.damaged, 4);
  umsa_put(r->body + UMSA_STATUS_REPLY_JOBS_AT, d->jobs, 4);
  umsa_put(r->body + UMSA_STATUS_REPLY_REFUSED_AT, d->refused, 4);
  umsa_put(r->body + UMSA_STATUS_REPLY_AUTH_FAIL_AT, d->auth_fail, 4);
  r->body[UMSA_STATUS_REPLY_USED_SLOTS_AT] = used;
  r->len = UMSA_STATUS_REPLY_LEN;
}

/* Decrypts in the receiver; only a key that verified and whose counter is new comes back. */
static uint8_t unwrap(umsa_device *d, uint8_t slot, uint8_t *body) {
  const umsa_driver *driver = d->platform.driver;
  const umsa_secrets *secrets = d->platform.secrets;
  const uint32_t counter = (uint32_t)umsa_get(body + UMSA_KEY_LOAD_COUNTER_AT, 4);
  uint8_t iv[12] = {0}, aad[UMSA_KEY_LOAD_LEN + 2] = {UMSA_OP_KEY_LOAD, slot}, tag[16];
  uint8_t *key = body + UMSA_KEY_LOAD_LEN;
  if (!d->transport || counter <= d->last_counter)
    return UMSA_STATUS_UNWRAP_FAIL;
  ums_store32(iv + 8, counter);
  memcpy(aad + 2, body, UMSA_KEY_LOAD_LEN);
  umsa_gcm_tag(driver, &secrets->wrap_aes, &secrets->wrap_ghash, iv, aad, sizeof aad, key, UMSA_KEY_LEN, tag);
  const int good = ums_equal(tag, key + UMSA_KEY_LEN, sizeof tag);
  ums_wipe(tag, sizeof tag);
  if (!good)
    return UMSA_STATUS_UNWRAP_FAIL;
  d->last_counter = counter;
  driver->aes_ctr(&(ums_ctr_span){&secrets->wrap_aes, iv, key, UMSA_KEY_LEN, 2}, 1);
  return UMSA_STATUS_OK;
}

static void key_load(umsa_device *d, uint8_t slot, uint8_t *body, size_t len, reply *r) {
  const int wrapped = len == WRAPPED_LEN && body[UMSA_KEY_LOAD_WRAPPED_AT] == 1;
  if (!wrapped && (len != PLAIN_LEN || body[UMSA_KEY_LOAD_WRAPPED_AT] != 0)) {
    r->head.status = UMSA_STATUS_BAD_LEN;
    return;
  }
  r->head.status = wrapped ? unwrap(d, slot, body) : d->platform.plain_load ? UMSA_STATUS_OK : UMSA_STATUS_REFUSED;
  if (r->head.status == UMSA_STATUS_OK)
    r->head.status = umsa_slot_load(d, slot, body + UMSA_KEY_LOAD_LEN);
  ums_wipe(body, len);
}

static void key_clear(umsa_device *d, uint8_t slot, reply *r) {
  umsa_key_slot *slots = d->platform.secrets->slot;
  if (slot == UMSA_ALL_SLOTS)
    ums_wipe(slots, UMSA_SLOTS * sizeof *slots);
  else if (slot < UMSA_SLOTS)
    ums_wipe(&slots[slot], sizeof *slots);
  else
    r->head.status = UMSA_STATUS_NO_SLOT;
}

static int is_empty_op(uint8_t op) {
  return op == UMSA_OP_IDENTITY || op == UMSA_OP_PAIR || op == UMSA_OP_STATUS || op == UMSA_OP_KEY_CLEAR;
}

static void control(umsa_device *d, uint8_t *body, size_t len, reply *r) {
  if (is_empty_op(r->head.op) && len != 0) {
    r->head.status = UMSA_STATUS_BAD_LEN;
    return;
  }
  switch (r->head.op) {
  case UMSA_OP_HELLO:
    hello(d, body, len, r);
    return;
  case UMSA_OP_IDENTITY:
    identity(d, r);
    return;
  case UMSA_OP_PAIR:
    pair(d, r);
    return;
  case UMSA_OP_SESSION:
    session(d, body, len, r);
    return;
  case UMSA_OP_STATUS:
    status(d, r);
    return;
  case UMSA_OP_KEY_LOAD:
    key_load(d, r->head.slot, body, len, r);
    return;
  case UMSA_OP_KEY_CLEAR:
    key_clear(d, r->head.slot, r);
    return;
  default:
    r->head.status = UMSA_STATUS_BAD_OP;
  }
}

/* ------------------------------------------------------------------------------------------------------ frames -- */

/* A head alone; the kept reply stays, for its request may come again. */
static void send_head(umsa_device *d, const umsa_head *head) {
  uint8_t out[UMSA_HEAD + UMSA_CRC + 2];
  d->platform.write(d->platform.self, out, umsa_encode(head, NULL, 0, out, sizeof out));
}

/* The reply is encoded on the stack in one piece: UMSA_MAX_ENCODED octets. */
static void job(umsa_device *d, umsa_head head, uint8_t *body, size_t len) {
  const uint8_t *result = NULL;
  size_t result_len = 0;
  uint8_t out[UMSA_MAX_ENCODED];
  const size_t room = UMSA_MAX_FRAME - UMSA_HEAD - UMSA_JOB_LEN;
  head.status = UMSA_STATUS_BAD_LEN;
  if (len > UMSA_JOB_LEN) {
    open_secrets(d, 1);
    volatile uint8_t status = umsa_slot_job(d, head.slot, head.op == UMSA_OP_UNPROTECT, umsa_get(body, 6),
                                            body + UMSA_JOB_LEN, len - UMSA_JOB_LEN, room, &result, &result_len);
    if (status == UMSA_STATUS_INTERNAL || (status == UMSA_STATUS_OK && result == NULL)) {
      status = UMSA_STATUS_INTERNAL; /* what else is wrong, nobody knows: new keys, after HELLO */
      result_len = 0;
      forget(d);
    }
    head.status = status;
    open_secrets(d, 0);
    ums_scrub_stack();
  }
  if (head.status == UMSA_STATUS_OK)
    d->jobs++;
  else if (head.status == UMSA_STATUS_AUTH_FAIL)
    d->auth_fail++;
  else
    d->refused++;
  const size_t n = umsa_encode(&head, result, result_len, out, sizeof out);
  if (n > 0)
    d->platform.write(d->platform.self, out, n);
}

static void answer(umsa_device *d) {
  umsa_receiver *rx = &d->receiver;
  uint8_t *body = rx->frame + UMSA_HEAD;
  const size_t len = umsa_body_len(rx);
  const uint32_t crc = (uint32_t)umsa_get(body + len, UMSA_CRC);
  reply r = {.head = {rx->frame[0], rx->frame[1], rx->frame[2], UMSA_STATUS_OK}};
  d->frames++;
  d->heard_ms = d->now_ms;
  if (d->cached_len > 0 && crc == d->cached_crc && r.head.op < UMSA_OP_PROTECT) { /* retransmitted */
    d->platform.write(d->platform.self, d->cached, d->cached_len);
    return;
  }
  if (!d->open && r.head.op != UMSA_OP_HELLO) {
    r.head.status = d->failed_tests ? UMSA_STATUS_SELFTEST_FAIL : UMSA_STATUS_LOCKED;
    send_head(d, &r.head);
    return;
  }
  if (r.head.op == UMSA_OP_PROTECT || r.head.op == UMSA_OP_UNPROTECT) {
    job(d, r.head, body, len);
    ums_wipe(body, len);
    return;
  }
  open_secrets(d, 1);
  control(d, body, len, &r);
  open_secrets(d, 0);
  ums_scrub_stack();
  d->cached_crc = crc;
  d->cached_len = (uint16_t)umsa_encode(&r.head, r.body, r.len, d->cached, sizeof d->cached);
  d->platform.write(d->platform.self, d->cached, d->cached_len);
}

size_t umsa_device_receive(umsa_device *d, const uint8_t *octets, size_t len) {
  return umsa_receive(&d->receiver, octets, len, &d->found);
}

void umsa_device_answer(umsa_device *d) {
  if (d->found == UMSA_FRAME) {
    answer(d);
  } else if (d->found == UMSA_DAMAGED) {
    const umsa_head nak = {UMSA_OP_NAK, 0, 0, UMSA_STATUS_BAD_CRC};
    send_head(d, &nak);
  }
  d->found = UMSA_NOTHING;
}
