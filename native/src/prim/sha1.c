/* SHA-1's compression function over the blocks of one message, FIPS 180-4, 6.1.2. */
#include "core.h"
#include "prim/prim.h"

#define UMS_SHA1_WORD uint32_t
#include "prim/sha1_rounds.h"

void ums_sha1_blocks_portable(uint32_t state[5], const uint8_t *data, size_t n_blocks) {
  uint32_t w[16];
  for (; n_blocks > 0; n_blocks--, data += UMS_SHA1_BLOCK) {
    for (int i = 0; i < 16; i++)
      w[i] = ums_load32(data + 4 * i);
    ums_sha1_compress(state, w);
  }
}
