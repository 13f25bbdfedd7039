/* The table of SSRCs of one context: see stream.h. */
#include "stream.h"

static uint32_t slot_bits(uint32_t capacity) {
  uint32_t bits = 1;
  while ((1u << bits) < 2 * capacity)
    bits++;
  return bits;
}

static size_t round64(size_t n) { return (n + 63) & ~(size_t)63; }

static size_t stride_for(ums_ring rtp, ums_ring rtcp) {
  const size_t words = ums_ring_words(rtp) + (rtcp.window ? ums_ring_words(rtcp) : 0);
  return round64(sizeof(ums_stream) + words * sizeof(uint64_t));
}

size_t ums_streams_sizeof(uint32_t capacity, uint32_t rtp_window, uint32_t rtcp_window) {
  const size_t slots = round64(sizeof(uint16_t) << slot_bits(capacity));
  return slots + capacity * stride_for(ums_ring_for(rtp_window), ums_ring_for(rtcp_window));
}

void ums_streams_init(ums_streams *t, void *memory, uint32_t capacity, uint32_t rtp_window, uint32_t rtcp_window) {
  const uint32_t bits = slot_bits(capacity);
  t->slots = memory;
  t->records = (uint8_t *)memory + round64(sizeof(uint16_t) << bits);
  t->ring[UMS_RTP] = ums_ring_for(rtp_window);
  t->ring[UMS_RTCP] = ums_ring_for(rtcp_window);
  t->stride = (uint32_t)stride_for(t->ring[UMS_RTP], t->ring[UMS_RTCP]);
  t->capacity = capacity;
  t->slot_shift = 32 - bits;
  t->slot_mask = (1u << bits) - 1;
  atomic_store_explicit(&t->count, 0, memory_order_relaxed);
}

ums_stream *ums_streams_bind(ums_streams *t, uint32_t ssrc) {
  const uint32_t n = ums_streams_count(t);
  if (n >= t->capacity)
    return NULL;
  uint32_t i = (ssrc * 0x9e3779b1u) >> t->slot_shift;
  while (t->slots[i & t->slot_mask] != 0)
    i++;
  ums_stream *s = ums_streams_at(t, n);
  s->ssrc = ssrc;
  t->slots[i & t->slot_mask] = (uint16_t)(n + 1);
  atomic_store_explicit(&t->count, n + 1, memory_order_release);
  return s;
}
