/*
 * The serial accelerator (firmware_bindings/PROTOCOL.md): the firmware's own protocol core as an emulated device.
 */
#ifndef UMS_ACCEL_H
#define UMS_ACCEL_H

#include "ums.h"

/* --------------------------------------------------------------------------------------------- emulated device -- */

typedef struct ums_device ums_device;

typedef struct ums_device_config {
  uint8_t has_key, has_random, plain_load;
  uint16_t spoil_test; /* self-tests that come out wrong */
  uint8_t key[32], boot_id[8], unit[8];
} ums_device_config;

typedef enum ums_device_fault { /* what goes wrong while a device serves */
                                UMS_FAULT_NONE = 0,
                                UMS_FAULT_HANG = 1,    /* takes everything, answers nothing */
                                UMS_FAULT_REBOOT = 2,  /* once: boots again, with another boot identity */
                                UMS_FAULT_BABBLE = 3,  /* noise instead of answers */
                                UMS_FAULT_CORRUPT = 4, /* answers with a bit flipped */
                                UMS_FAULT_LATE = 5,    /* answers 50 ms late */
                                UMS_FAULT_WRONG = 6    /* answers in good frames with wrong octets */
} ums_device_fault;

size_t ums_device_sizeof(void);
ums_status ums_device_init(ums_device *d, size_t len, const ums_device_config *cfg); /* boots */
/* Octets in, octets out, at the time `now_ms`. Returns how many; what does not fit into `room` is lost. */
size_t ums_device_feed(ums_device *d, uint32_t now_ms, const uint8_t *in, size_t len, uint8_t *out, size_t room);
/* Serves a descriptor, which it makes non-blocking, until ums_device_stop or the other side hangs up. `baud` 0: as fast
 * as it can; else octets take ten bit times each way. */
ums_status ums_device_serve(ums_device *d, int fd, uint32_t baud);
void ums_device_set_fault(ums_device *d, ums_device_fault fault); /* from any thread, as the next one */
void ums_device_stop(ums_device *d);

#endif
