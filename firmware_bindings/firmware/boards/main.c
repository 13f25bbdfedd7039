/* The firmware's main loop: octets from the interrupt's ring into the device core. */
#include "board.h"

#define RING 2048 /* octets: several voice jobs, while one is being done */

volatile uint32_t main_ms;

static umsa_device device;
static uint8_t ring[RING];
static volatile uint32_t written, taken; /* each has one writer; a full ring loses octets, and CRC notices */

void main_received(uint8_t octet) {
  if (written - taken < RING) {
    ring[written % RING] = octet;
    written = written + 1;
  }
}

static void write_octets(void *self, const uint8_t *octets, size_t len) {
  (void)self;
  board_write(octets, len);
}

int main(void) {
  umsa_platform platform = {.write = write_octets, .driver = &umsa_driver_soft};
  board_init();
  board_identity(&platform);
  umsa_device_init(&device, &platform);
  for (;;) {
    umsa_device_time(&device, main_ms);
    while (written != taken) {
      const uint8_t octet = ring[taken % RING];
      taken = taken + 1;
      umsa_device_octet(&device, octet);
    }
    board_wait();
  }
}
