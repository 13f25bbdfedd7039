/*
 * Any packet, the long way: its layout, its index, its job (RFC 3711, 3.3 and 3.4; RFC 7714, 8 and 9; RFC 4771), and
 * what is committed when it is authentic. The order of steps is the one of srtp.c.
 */
#include <string.h>

#include "srtp_parts.h"

void ums_srtp_look_at_limits(ums_srtp *c, const ums_master *m, int rtcp, uint64_t used) {
  if (used >= m->soft[rtcp])
    ums_srtp_note(c, UMS_NOTE_SOFT);
  if (used >= m->limit[rtcp])
    ums_srtp_note(c, UMS_NOTE_HARD);
}

static const ums_layout *layout_of(const ums_srtp *c, const ums_packet *p) {
  if (p->rtcp)
    return &c->layout[UMS_RTCP];
  return &c->layout[p->len >= 4 && ums_srtp_carries_roc(c, ums_load16(p->data + 2)) ? UMS_RTP_ROC : UMS_RTP];
}

static void add_item(ums_burst *b, ums_srtp *c, ums_packet *p, ums_stream *s, ums_master *m, uint32_t ssrc,
                     uint64_t index, uint32_t len_after) {
  ums_item *item = &b->item[b->n];
  fill_item(item, c, p, s);
  fill_commit(item, m, ssrc, index);
  item->job.key = &m->key[p->rtcp != 0];
  item->len_after = len_after;
  b->job[b->n++] = &item->job;
}

/* -------------------------------------------------------------------------------------------------- sending -- */

/* A stream that keeps naming spent or forgotten indices has restarted under its SSRC: hold it (RFC 7714, 8.4). */
static ums_status refuse_sending(ums_srtp *c, ums_stream *s, ums_status status) {
  if (++s->refused_in_a_row < c->restart_after)
    return status;
  atomic_store_explicit(&s->held, 1, memory_order_relaxed);
  ums_srtp_note(c, UMS_NOTE_HELD);
  return UMS_HELD;
}

/* The index of an RTP packet to be sent, estimated as a receiver does and not yet spent. */
ALWAYS_INLINE ums_status sending_index(ums_srtp *c, ums_stream *s, uint16_t seq, uint64_t *index) {
  const int64_t i = ums_index_estimate(s ? ums_window_next(&s->window[UMS_RTP]) : 0, seq);
  if (i >= UMS_INDEX_LIMIT)
    return UMS_KEY_EXPIRED;
  ums_status status = UMS_OK;
  if (i < 0)
    status = UMS_TOO_OLD;
  else if (s)
    status = ums_window_check(&s->window[UMS_RTP], ums_stream_bits(&c->streams, s, UMS_RTP), c->streams.ring[UMS_RTP],
                              (uint64_t)i);
  if (status != UMS_OK)
    return refuse_sending(c, s, status);
  *index = (uint64_t)i;
  return UMS_OK;
}

/* SRTCP's counter is zero before the first packet (RFC 3711, 3.4), which then carries 1, as libsrtp has it. */
static ums_status sending_rtcp_index(const ums_stream *s, uint64_t *index) {
  const uint64_t next = s ? ums_window_next(&s->window[UMS_RTCP]) : 0;
  *index = next ? next : 1;
  return *index < UMS_RTCP_INDEX_LIMIT ? UMS_OK : UMS_KEY_EXPIRED;
}

ALWAYS_INLINE void spend(ums_srtp *c, ums_stream *s, ums_master *m, int rtcp, uint64_t index) {
  count_use(c, m, rtcp);
  if (rtcp) {
    atomic_store_explicit(&s->window[UMS_RTCP].next, index + 1, memory_order_relaxed);
    return;
  }
  if (ums_window_next(&s->window[UMS_RTP]) == 0 && index >= 0x8000) { /* RFC 4568, 6.4 */
    atomic_store_explicit(&s->late_start, 1, memory_order_relaxed);
    ums_srtp_note(c, UMS_NOTE_LATE_START);
  }
  s->refused_in_a_row = 0;
  ums_window_set(&s->window[UMS_RTP], ums_stream_bits(&c->streams, s, UMS_RTP), c->streams.ring[UMS_RTP], index);
}

ums_status ums_srtp_build_protect(ums_burst *b, ums_srtp *c, ums_packet *p) {
  const int rtcp = p->rtcp != 0;
  const ums_layout *l = layout_of(c, p);
  const uint32_t end = p->len;
  const uint32_t header = end <= UMS_MAX_PACKET ? ums_layout_header(p->data, end, rtcp) : 0;
  if (header == 0)
    return UMS_BAD_PACKET;
  if (end + l->trailer > UMS_MAX_PACKET || end + l->trailer > p->capacity)
    return UMS_NO_ROOM;

  ums_master *m = &c->masters[0];
  const uint32_t ssrc = ums_layout_ssrc(p->data, rtcp);
  ums_stream *s = ums_streams_find(&c->streams, ssrc);
  if (s && atomic_load_explicit(&s->held, memory_order_relaxed))
    return UMS_HELD;
  const uint64_t used = ums_counter_get(&m->used[rtcp]);
  if (used >= m->look[rtcp] && used >= m->limit[rtcp])
    return UMS_KEY_EXPIRED;
  if (!s && ums_streams_full(&c->streams))
    return UMS_SSRC_FULL;
  uint64_t index;
  const ums_status status = rtcp ? sending_rtcp_index(s, &index) : sending_index(c, s, ums_load16(p->data + 2), &index);
  if (status != UMS_OK)
    return status;

  if (!s)
    s = ums_streams_bind(&c->streams, ssrc);
  spend(c, s, m, rtcp, index);
  const uint32_t word = rtcp ? (uint32_t)index | (l->encrypts ? UMS_E_FLAG : 0) : (uint32_t)(index >> 16);
  if (l != &c->layout[UMS_RTP])
    ums_store32(p->data + end + l->word_at, word);
  if (l->mki_len)
    memcpy(p->data + end + l->mki_at, m->mki, l->mki_len);
  ums_layout_job(l, &b->item[b->n].job, l->encrypts ? header : end, end, m->salt[rtcp], ssrc, index, word);
  add_item(b, c, p, s, m, ssrc, index, end + l->trailer);
  return UMS_OK;
}

/* ------------------------------------------------------------------------------------------------ receiving -- */

ALWAYS_INLINE ums_master *master_of(ums_srtp *c, const uint8_t *mki, size_t mki_len) {
  for (size_t i = 0; i < c->n_keys; i++)
    if (mki_len == 0 || memcmp(c->masters[i].mki, mki, mki_len) == 0)
      return &c->masters[i];
  return NULL;
}

static int pending_unbound(const ums_burst *b, const ums_srtp *c, uint32_t ssrc) {
  for (size_t i = 0, left = b->unbound; left > 0; i++) {
    if (b->item[i].stream)
      continue;
    if (b->item[i].ctx == c && b->item[i].ssrc == ssrc)
      return 1;
    left--;
  }
  return 0;
}

/* What the packet says of its index: all of it, or the sequence number alone. */
typedef struct index_said {
  uint8_t whole;
  uint64_t value;
} index_said;

static inline index_said said_by(const ums_srtp *c, const ums_packet *p, const ums_layout *l, uint32_t word) {
  if (l->rtcp)
    return (index_said){1, word & ~UMS_E_FLAG};
  const uint16_t seq = ums_load16(p->data + 2);
  return l == &c->layout[UMS_RTP] ? (index_said){0, seq} : (index_said){1, (uint64_t)word << 16 | seq};
}

static inline int64_t index_from(uint64_t next, index_said said) {
  return said.whole ? (int64_t)said.value : ums_index_estimate(next, (uint16_t)said.value);
}

/*
 * The index of a received packet, checked against the replay list. With packets of the stream under way, the answer
 * stands only if it is the same whichever of them turn out authentic: it lies ahead of all of them, and the estimate
 * agrees from the lowest and from the highest place the stream may then be in, hence from all between. A stream that
 * has RTCP only is in no place yet, and says nothing of those between. Nothing vouches for a bare packet, so it enters
 * no list and asks none.
 */
ALWAYS_INLINE ums_status receiving_index(const ums_srtp *c, ums_stream *s, const ums_layout *l, index_said said,
                                         uint64_t *index) {
  const ums_window *w = s ? &s->window[l->rtcp] : NULL;
  const uint64_t next = w ? ums_window_next(w) : 0;
  const int64_t i = index_from(next, said);
  if (w && w->pending) {
    if (l->bare || i < (int64_t)w->pending)
      return WAIT;
    if (!said.whole && (next == 0 || i != index_from(w->pending, said)))
      return WAIT;
  }
  if (i < 0)
    return UMS_TOO_OLD;
  if (i >= UMS_INDEX_LIMIT)
    return UMS_KEY_EXPIRED;
  *index = (uint64_t)i;
  return w && !l->bare ? ums_window_check(w, ums_stream_bits(&c->streams, s, l->rtcp), c->streams.ring[l->rtcp], *index)
                       : UMS_OK;
}

ums_status ums_srtp_build_unprotect(ums_burst *b, ums_srtp *c, ums_packet *p) {
  const int rtcp = p->rtcp != 0;
  const ums_layout *l = layout_of(c, p);
  if (p->len < l->trailer || p->len > UMS_MAX_PACKET || p->len > p->capacity)
    return UMS_BAD_PACKET;
  const uint32_t end = p->len - l->trailer;
  const uint32_t header = ums_layout_header(p->data, end, rtcp);
  if (header == 0)
    return UMS_BAD_PACKET;
  const uint32_t word = l == &c->layout[UMS_RTP] ? 0 : ums_load32(p->data + end + l->word_at);
  const int encrypted = !rtcp || (word & UMS_E_FLAG) != 0;
  if (!encrypted && l->encrypts)
    return UMS_BAD_PACKET; /* plain SRTCP is lab business */

  ums_master *m = master_of(c, p->data + end + l->mki_at, l->mki_len);
  if (!m)
    return UMS_WRONG_MKI;
  const uint64_t used = ums_counter_get(&m->used[rtcp]);
  if (used >= m->look[rtcp] && used + UMS_BURST >= m->limit[rtcp]) { /* packets under way may use the key up */
    if (b->n > 0)
      return WAIT;
    if (used >= m->limit[rtcp])
      return UMS_KEY_EXPIRED;
  }
  const uint32_t ssrc = ums_layout_ssrc(p->data, rtcp);
  ums_stream *s = ums_streams_find(&c->streams, ssrc);
  if (!s && b->unbound > 0 && pending_unbound(b, c, ssrc))
    return WAIT;
  uint64_t index;
  const ums_status status = receiving_index(c, s, l, said_by(c, p, l, word), &index);
  if (status != UMS_OK)
    return status;

  if (l->bare && l == &c->layout[UMS_RTP])
    s = NULL; /* nothing is pending for it */
  if (s)
    s->window[rtcp].pending = index + 1;
  else
    b->unbound++;
  ums_layout_job(l, &b->item[b->n].job, encrypted ? header : end, end, m->salt[rtcp], ssrc, index, word);
  add_item(b, c, p, s, m, ssrc, index, end);
  return UMS_OK;
}

/* Decrypted, with nobody to vouch for it: it is counted. In mode 3 (RFC 4771, 3) a carried ROC is believed all the
 * same. */
static ums_status commit_bare(ums_item *item) {
  ums_srtp *c = item->ctx;
  ums_stream *s = ums_streams_find(&c->streams, item->ssrc);
  if (ums_srtp_carries_roc(c, ums_load16(item->packet->data + 2))) {
    if (!s)
      s = ums_streams_bind(&c->streams, item->ssrc);
    if (!s)
      return UMS_SSRC_FULL;
    atomic_store_explicit(&s->window[UMS_RTP].next, item->index + 1, memory_order_relaxed);
  }
  if (s) {
    count_packet(s, UMS_RTP, item->len_after);
    return UMS_OK;
  }
  ums_counter_add(&c->bare_packets, 1);
  ums_counter_add(&c->bare_octets, item->len_after);
  return UMS_OK;
}

ums_status ums_srtp_commit_any(ums_item *item) {
  ums_srtp *c = item->ctx;
  const int rtcp = item->packet->rtcp != 0;
  if (item->job.tag_len == 0)
    return commit_bare(item);
  ums_stream *s = item->stream ? item->stream : ums_streams_find(&c->streams, item->ssrc);
  if (!s)
    s = ums_streams_bind(&c->streams, item->ssrc);
  if (!s)
    return UMS_SSRC_FULL;
  uint64_t *bits = ums_stream_bits(&c->streams, s, rtcp);
  const ums_status status = ums_window_check(&s->window[rtcp], bits, c->streams.ring[rtcp], item->index);
  if (status != UMS_OK)
    return status;
  ums_window_set(&s->window[rtcp], bits, c->streams.ring[rtcp], item->index);
  count_use(c, item->master, rtcp);
  count_packet(s, rtcp, item->len_after);
  return UMS_OK;
}
