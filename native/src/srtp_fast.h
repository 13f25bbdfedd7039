/*
 * The fast path of begin: what nearly every packet is. RTP without extension, of a stream that is known and in order,
 * under a key that is not near its limits. Its index and header come from a few comparisons; whatever is not so simple
 * goes the long way (srtp_long.c), which this path may always leave to.
 */
#ifndef UMS_SRTP_FAST_H
#define UMS_SRTP_FAST_H

#include "srtp_parts.h"

static __attribute__((noinline)) ums_stream *look_up(ums_srtp *c, uint32_t ssrc) {
  ums_stream *s = ums_streams_find(&c->streams, ssrc);
  if (s != NULL)
    c->recent = s;
  return s;
}

typedef struct simple_rtp {
  ums_stream *stream;
  uint32_t header, ssrc;
  uint64_t index;
} simple_rtp;

#define FAST_AHEAD 0x4000 /* so far ahead, estimates from the last and from any pending packet agree */

static __attribute__((noinline)) int goes_the_long_way(const ums_srtp *c, const uint8_t *data) {
  return c->layout[UMS_RTP].way == UMS_LONG_WAY || ums_srtp_carries_roc(c, ums_load16(data + 2));
}

/* 0: not taken, and nothing has changed. */
ALWAYS_INLINE int simple_rtp_read(ums_srtp *c, const ums_packet *p, uint32_t end, simple_rtp *r) {
  const uint8_t *data = p->data;
  if (UNLIKELY(p->rtcp || end - 12 > UMS_MAX_PACKET - UMS_MAX_TRAILER - 12 ||
               (c->layout[UMS_RTP].way != UMS_FAST && goes_the_long_way(c, data))))
    return 0;
  const uint32_t first = ums_load32(data), ssrc = ums_load32(data + 8);
  r->header = 12 + 4 * ((first >> 24) & 0x0f);
  if (UNLIKELY((first & 0xd0000000) != 0x80000000 || r->header > end))
    return 0;
  ums_stream *s = c->recent;
  if (UNLIKELY(s == NULL || s->ssrc != ssrc)) {
    s = look_up(c, ssrc);
    if (s == NULL)
      return 0;
  }
  const uint64_t next = ums_window_next(&s->window[UMS_RTP]);
  const uint16_t ahead = (uint16_t)(first - (uint32_t)next);
  r->stream = s;
  r->ssrc = ssrc;
  r->index = next + ahead;
  return LIKELY(next != 0 && ahead < FAST_AHEAD && r->index < UMS_INDEX_LIMIT);
}

ALWAYS_INLINE int fast_protect(ums_item *item, ums_srtp *c, ums_packet *p) {
  ums_master *m = c->masters;
  const ums_layout *l = &c->layout[UMS_RTP];
  const uint32_t end = p->len, len_after = end + l->trailer;
  const uint64_t used = ums_counter_get(&m->used[UMS_RTP]) + 1;
  simple_rtp r;
  if (!simple_rtp_read(c, p, end, &r) ||
      UNLIKELY(len_after > p->capacity || used >= m->look[UMS_RTP] ||
               (atomic_load_explicit(&r.stream->held, memory_order_relaxed) | r.stream->refused_in_a_row)))
    return 0;
  atomic_store_explicit(&m->used[UMS_RTP], used, memory_order_relaxed);
  ums_window_push(&r.stream->window[UMS_RTP], r.stream->bits, c->streams.ring[UMS_RTP], r.index);
  ums_layout_job(l, &item->job, r.header, end, m->salt[UMS_RTP], r.ssrc, r.index, 0);
  fill_item(item, c, p, r.stream);
  item->job.key = &m->key[UMS_RTP];
  item->len_after = len_after;
  return 1;
}

ALWAYS_INLINE int fast_unprotect(ums_item *item, ums_srtp *c, ums_packet *p) {
  ums_master *m = c->masters;
  const ums_layout *l = &c->layout[UMS_RTP];
  const uint32_t end = p->len - l->trailer; /* wraps when there is no room for a trailer: then it is too long */
  simple_rtp r;
  if (!simple_rtp_read(c, p, end, &r) ||
      UNLIKELY(p->len > p->capacity || ums_counter_get(&m->used[UMS_RTP]) + 1 >= m->look[UMS_RTP] ||
               r.index < r.stream->window[UMS_RTP].pending))
    return 0;
  r.stream->window[UMS_RTP].pending = r.index + 1;
  ums_layout_job(l, &item->job, r.header, end, m->salt[UMS_RTP], r.ssrc, r.index, 0);
  fill_item(item, c, p, r.stream);
  fill_commit(item, m, r.ssrc, r.index);
  item->job.key = &m->key[UMS_RTP];
  item->len_after = end;
  return 1;
}

#endif
