/*
 * Packet indices (RFC 3711, 3.3.1, 3.3.2, 3.4 and Appendix A): the estimate of the rollover counter and the replay
 * list.
 *
 * The replay list is a ring of bits: index i lives in bit i mod (ring size), so moving the list ahead clears the words
 * it enters and shifts nothing. The ring is larger than the list by at least one word; the list itself is exact.
 *
 *      highest - window                highest
 *   ---------|=============================|----------->  index
 *    TOO_OLD   seen: REPLAY, else OK         OK
 */
#ifndef UMS_INDEX_H
#define UMS_INDEX_H

#include "core.h"

#define UMS_INDEX_LIMIT ((int64_t)1 << 48) /* 2^16 sequence numbers under each of 2^32 rollover counters */
#define UMS_RTCP_INDEX_LIMIT 0x80000000u   /* 31 bits travel in the packet */

typedef struct ums_window {
  _Atomic uint64_t next; /* highest index + 1; 0: none yet. Written by the user of the context, read by anybody */
  uint64_t pending;      /* highest index + 1 among jobs that are not finished; 0: none */
} ums_window;

typedef struct ums_ring { /* the same for every stream of a context */
  uint32_t window;        /* packets that the list tells apart */
  uint32_t mask;          /* words - 1, a power of two less one */
} ums_ring;

/* `window` is rounded up to a multiple of 64 (RFC 3711, 3.3.2: at least 64). */
ums_ring ums_ring_for(uint32_t window);
static inline size_t ums_ring_words(ums_ring ring) { return (size_t)ring.mask + 1; }

static inline uint64_t ums_window_next(const ums_window *w) {
  return atomic_load_explicit(&w->next, memory_order_relaxed);
}

/*
 * The index of sequence number `seq` after the highest index `next - 1`; `seq` itself while there is none (ROC = 0).
 * Negative: before the start of the stream. UMS_INDEX_LIMIT or more: the rollover counter is used up.
 */
static inline int64_t ums_index_estimate(uint64_t next, uint16_t seq) {
  if (next == 0)
    return seq;
  const int64_t highest = (int64_t)next - 1;
  const int64_t ahead = (int16_t)(uint16_t)(seq - (uint16_t)highest);
  /* Appendix A is not symmetric: half the circle away counts as ahead while s_l < 2^15. */
  if (ahead == -32768 && (highest & 0x8000) == 0)
    return highest + 32768;
  return highest + ahead;
}

/* UMS_OK, UMS_REPLAY or UMS_TOO_OLD; changes nothing. */
static inline ums_status ums_window_check(const ums_window *w, const uint64_t *bits, ums_ring ring, uint64_t index) {
  const uint64_t next = ums_window_next(w);
  if (index >= next)
    return UMS_OK;
  if (next - index > ring.window)
    return UMS_TOO_OLD;
  return (bits[(index >> 6) & ring.mask] >> (index & 63)) & 1 ? UMS_REPLAY : UMS_OK;
}

/* Clears the words between the highest index and a new one that stands in another word. */
void ums_window_advance(const ums_window *w, uint64_t *bits, ums_ring ring, uint64_t index);

/* Enters an index ahead of all others, of a list that has begun. */
static inline void ums_window_push(ums_window *w, uint64_t *bits, ums_ring ring, uint64_t index) {
  if ((ums_window_next(w) - 1) >> 6 != index >> 6)
    ums_window_advance(w, bits, ring, index);
  atomic_store_explicit(&w->next, index + 1, memory_order_relaxed);
  bits[(index >> 6) & ring.mask] |= (uint64_t)1 << (index & 63);
}

/* Enters an index that ums_window_check let pass. */
static inline void ums_window_set(ums_window *w, uint64_t *bits, ums_ring ring, uint64_t index) {
  const uint64_t next = ums_window_next(w);
  if (next != 0 && index >= next) {
    ums_window_push(w, bits, ring, index);
    return;
  }
  if (next == 0)
    atomic_store_explicit(&w->next, index + 1, memory_order_relaxed);
  bits[(index >> 6) & ring.mask] |= (uint64_t)1 << (index & 63);
}

#endif
