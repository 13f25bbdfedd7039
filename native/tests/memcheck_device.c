/*
 * The accelerator's device core under valgrind's memcheck with its secrets poisoned: the device key, the keys that are
 * loaded, payload. As memcheck.c does for the host's core: an argument `branch` plants a leak, which must be reported.
 */
#include <stdio.h>
#include <string.h>
#include <valgrind/memcheck.h>

#include "device.h"
#include "x25519.h"

#define PACKET 172

static size_t answers;
static umsa_secrets secrets = {.identity = {7}};

static void take(void *self, const uint8_t *octets, size_t len) {
  (void)self;
  (void)octets;
  answers += len > 0;
}

static int key_of(uint8_t *key, uint8_t suite, int direction) {
  memset(key, 0, UMSA_KEY_LEN);
  key[UMSA_KEY_SUITE_AT] = suite;
  key[UMSA_KEY_DIRECTION_AT] = (uint8_t)direction;
  key[UMSA_KEY_FLAGS_AT] = UMSA_ANY_SSRC;
  key[UMSA_KEY_PACKET_LIMIT_AT] = 100;
  VALGRIND_MAKE_MEM_UNDEFINED(key + UMSA_KEY_CIPHER_KEY_AT, UMSA_KEY_LEN - UMSA_KEY_CIPHER_KEY_AT);
  return direction;
}

static int jobs(umsa_device *d, uint8_t suite) {
  uint8_t key[UMSA_KEY_LEN], packet[PACKET + 20] = {0x80, 0, 0, 1};
  const uint8_t *result;
  size_t len;
  int good = 1;
  key_of(key, suite, 0);
  good &= umsa_slot_load(d, 0, key) == UMSA_STATUS_OK;
  key_of(key, suite, 1);
  good &= umsa_slot_load(d, 1, key) == UMSA_STATUS_OK;
  VALGRIND_MAKE_MEM_UNDEFINED(packet + 12, PACKET - 12);
  good &= umsa_slot_job(d, 0, 0, 1, packet, PACKET, sizeof packet, &result, &len) == UMSA_STATUS_OK;
  const size_t secured = 12 + len;
  good &= umsa_slot_job(d, 1, 1, 1, packet, secured, sizeof packet, &result, &len) == UMSA_STATUS_OK;
  good &= umsa_slot_job(d, 1, 1, 1, packet, secured, sizeof packet, &result, &len) == UMSA_STATUS_AUTH_FAIL;
  return good;
}

int main(int argc, char **argv) {
  static umsa_device d;
  static const uint8_t suites[] = {1, 2, 5, 6, 7, 8};
  umsa_platform p = {.write = take, .driver = &umsa_driver_soft, .secrets = &secrets, .has_key = 1};
  int failures = 0;
  umsa_device_init(&d, &p);
  VALGRIND_MAKE_MEM_UNDEFINED(secrets.identity, sizeof secrets.identity);
  if (argc > 1 && strcmp(argv[1], "branch") == 0 && secrets.identity[0] > 3)
    puts("a branch on the device key");
  const uint8_t hello[UMSA_HELLO_LEN] = {UMSA_VERSION}, host[32] = {9};
  const umsa_head heads[2] = {{.op = UMSA_OP_HELLO}, {.op = UMSA_OP_SESSION, .seq = 1}};
  for (int i = 0; i < 2; i++) {
    uint8_t out[256];
    const size_t n = umsa_encode(&heads[i], i ? host : hello, i ? sizeof host : sizeof hello, out, sizeof out);
    umsa_device_octets(&d, out, n);
  }
  failures += answers != 2 || !d.transport;
  for (size_t i = 0; i < sizeof suites; i++)
    failures += !jobs(&d, suites[i]);
  printf("%d failures\n", failures);
  return failures != 0;
}
