/* Replay lists (RFC 3711, 3.3.2): see index.h for the picture. */
#include "index.h"

ums_ring ums_ring_for(uint32_t window) {
  const uint32_t used = (window + 63) / 64;
  uint32_t words = 2;
  while (words < used + 1)
    words *= 2; /* the word that the highest index has just entered is only partly used */
  return (ums_ring){.window = used * 64, .mask = words - 1};
}

void ums_window_advance(const ums_window *w, uint64_t *bits, ums_ring ring, uint64_t index) {
  const uint64_t from = (ums_window_next(w) - 1) >> 6, to = index >> 6;
  const uint64_t enter = to - from > ring.mask ? (uint64_t)ring.mask + 1 : to - from;
  for (uint64_t i = 1; i <= enter; i++)
    bits[(from + i) & ring.mask] = 0;
}
