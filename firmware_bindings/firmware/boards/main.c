/* The firmware's main loop: octets from the interrupt's ring into the device core. */
#include "board.h"

#define RING 2048 /* octets: several voice jobs, while one is being done */

#define BARRIER __asm__ volatile("" ::: "memory")

volatile uint32_t main_ms;

static umsa_device device;
static __attribute__((section(".secrets"))) umsa_secrets secrets;
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

static void open_secrets(void *self, int open) {
  (void)self;
  board_open_secrets(open);
}

int main(void) {
  umsa_platform platform = {
      .write = write_octets, .driver = &umsa_driver_soft, .secrets = &secrets, .open_secrets = open_secrets};
  board_init();
  board_identity(&platform);
  umsa_device_init(&device, &platform);
  for (;;) {
    umsa_device_time(&device, main_ms);
    for (uint32_t n; (n = written - taken) > 0;) {
      const uint32_t at = taken % RING, run = n < RING - at ? n : RING - at;
      BARRIER; /* the octets are read after their number */
      taken = taken + (uint32_t)umsa_device_receive(&device, ring + at, run);
      umsa_device_answer(&device);
    }
    board_wait();
  }
}
