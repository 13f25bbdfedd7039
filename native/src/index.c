/* Replay lists (RFC 3711, 3.3.2): see index.h for the picture. */
#include "index.h"

ums_ring ums_ring_for(uint32_t window) {
  const uint32_t used = (window + 63) / 64;
  uint32_t words = 2;
  while (words < used + 1)
    words *= 2; /* the word that the highest index has just entered is only partly used */
  return (ums_ring){.window = used * 64, .mask = words - 1};
}

void ums_window_set(ums_window *w, uint64_t *bits, ums_ring ring, uint64_t index) {
  const uint64_t next = ums_window_next(w);
  if (index >= next) {
    if (next != 0) {
      const uint64_t from = (next - 1) >> 6, to = index >> 6;
      const uint64_t enter = to - from > ring.mask ? (uint64_t)ring.mask + 1 : to - from;
      for (uint64_t i = 1; i <= enter; i++)
        bits[(from + i) & ring.mask] = 0;
    }
    atomic_store_explicit(&w->next, index + 1, memory_order_relaxed);
  }
  bits[(index >> 6) & ring.mask] |= (uint64_t)1 << (index & 63);
}
