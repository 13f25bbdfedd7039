/*
 * The accelerator's device core: the input is a list of (op, slot, length, body), sent in good frames behind a HELLO;
 * what does not parse goes in raw. Nothing may crash, and every answer must be a good frame.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"

static umsa_receiver answers;
static umsa_secrets secrets = {.identity = {1}};

static void check(void *self, const uint8_t *octets, size_t len) {
  (void)self;
  int found;
  for (size_t n; len > 0; octets += n, len -= n) {
    n = umsa_receive(&answers, octets, len, &found);
    if (found == UMSA_DAMAGED)
      abort();
  }
}

static void send(umsa_device *d, umsa_head head, const uint8_t *body, size_t len) {
  uint8_t out[UMSA_MAX_ENCODED];
  const size_t n = umsa_encode(&head, body, len, out, sizeof out);
  umsa_device_octets(d, out, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static umsa_device d;
  static int booted;
  const uint8_t hello[UMSA_HELLO_LEN] = {UMSA_VERSION};
  if (!booted) { /* the self-test takes its time */
    umsa_platform p = {.write = check, .driver = &umsa_driver_soft, .secrets = &secrets, .has_key = 1, .plain_load = 1};
    umsa_device_init(&d, &p);
    booted = 1;
  }
  umsa_device_forget(&d);
  d.receiver = (umsa_receiver){0};
  send(&d, (umsa_head){.op = UMSA_OP_HELLO}, hello, sizeof hello);
  while (size >= 4) {
    const size_t wanted = (size_t)(data[2] | (data[3] & 7) << 8), len = wanted < size - 4 ? wanted : size - 4;
    if (data[0] == 0xff)
      umsa_device_octets(&d, data + 4, len);
    else
      send(&d, (umsa_head){.op = data[0], .slot = data[1]}, data + 4, len);
    data += 4 + len;
    size -= 4 + len;
  }
  umsa_device_octets(&d, &(uint8_t){0}, 1);
  return 0;
}
