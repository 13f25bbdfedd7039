/*
 * Who an emulated board is: a test hook. The emulator's loader puts 49 octets at link_hook: 1 when there is a key, the
 * key, boot identity, unit. Products replace this file.
 */
#include "board.h"

#include <string.h>

#include "core.h"

#ifndef UMSA_TEST_HOOKS
#error "identity from outside is a test hook: a product brings its own board_identity"
#endif

typedef struct hook {
  uint8_t has_key, key[32], boot_id[8], unit[8];
} hook;

extern volatile hook link_hook;

void board_identity(umsa_platform *platform) {
  hook found;
  for (size_t i = 0; i < sizeof found; i++) {
    ((uint8_t *)&found)[i] = ((volatile uint8_t *)&link_hook)[i];
    ((volatile uint8_t *)&link_hook)[i] = 0; /* from now on it is a secret */
  }
  platform->has_key = found.has_key == 1;
  memcpy(platform->secrets->identity, found.key, sizeof found.key);
  memcpy(platform->boot_id, found.boot_id, sizeof found.boot_id);
  memcpy(platform->unit, found.unit, sizeof found.unit);
  ums_wipe(&found, sizeof found);
}
