/*
 * Streams of one context: one per SSRC, a fixed number of them, never removed (RFC 7714, 8.4: an SSRC does not come
 * back under a key, so its state may not be forgotten).
 *
 * Records stand in order of arrival; an open-addressing table of 16-bit numbers, at most half full, finds them. The
 * number of records is published last, so another thread may read the counters of finished records at any time.
 */
#ifndef UMS_STREAM_H
#define UMS_STREAM_H

#include "index.h"

typedef _Atomic uint64_t ums_counter; /* one writer at a time, the user of the context; anybody reads */

static inline uint64_t ums_counter_get(const ums_counter *c) { return atomic_load_explicit(c, memory_order_relaxed); }
static inline uint64_t ums_counter_add(ums_counter *c, uint64_t n) {
  const uint64_t sum = ums_counter_get(c) + n;
  atomic_store_explicit(c, sum, memory_order_relaxed);
  return sum;
}

typedef struct ums_stream {
  uint32_t ssrc;
  uint32_t refused_in_a_row; /* sending: towards `restart_after` */
  ums_window window[2];      /* UMS_RTP, UMS_RTCP; when sending, RTCP uses `next` alone as its index counter */
  ums_counter packets, octets;
  atomic_uint held; /* up to here: what most packets touch, besides one word of bits */
  atomic_uint late_start;
  ums_counter rtcp_packets;
  ums_counter auth_fail, replay, too_old;
  uint64_t bits[]; /* RTP's replay list, then RTCP's */
} ums_stream;

typedef struct ums_streams {
  uint8_t *records;
  uint16_t *slots; /* record number + 1; 0: free */
  uint32_t stride; /* octets of a record */
  uint32_t slot_shift, slot_mask, capacity;
  ums_ring ring[2];
  atomic_uint count;
} ums_streams;

/* Octets of the table and its records for such a configuration, a multiple of 64. rtcp_window 0: no list for RTCP. */
size_t ums_streams_sizeof(uint32_t capacity, uint32_t rtp_window, uint32_t rtcp_window);
/* `memory`: zeroed, 64-aligned, ums_streams_sizeof octets. */
void ums_streams_init(ums_streams *t, void *memory, uint32_t capacity, uint32_t rtp_window, uint32_t rtcp_window);

static inline ums_stream *ums_streams_at(const ums_streams *t, uint32_t i) {
  return (ums_stream *)(void *)(t->records + (size_t)i * t->stride);
}

static inline uint32_t ums_streams_count(const ums_streams *t) {
  return atomic_load_explicit(&t->count, memory_order_acquire);
}

static inline int ums_streams_full(const ums_streams *t) { return ums_streams_count(t) >= t->capacity; }

/* NULL when the SSRC has no record. */
static inline ums_stream *ums_streams_find(const ums_streams *t, uint32_t ssrc) {
  for (uint32_t i = (ssrc * 0x9e3779b1u) >> t->slot_shift;; i++) {
    const uint16_t slot = t->slots[i & t->slot_mask];
    if (slot == 0)
      return NULL;
    ums_stream *s = ums_streams_at(t, slot - 1u);
    if (s->ssrc == ssrc)
      return s;
  }
}

/* A record for an SSRC that has none; NULL when all are taken. */
ums_stream *ums_streams_bind(ums_streams *t, uint32_t ssrc);

static inline uint64_t *ums_stream_bits(const ums_streams *t, ums_stream *s, int rtcp) {
  return rtcp ? s->bits + ums_ring_words(t->ring[UMS_RTP]) : s->bits;
}

#endif
