/*
 * Protect and unprotect (RFC 3711, 3.3 and 3.4; RFC 7714, 8 and 9) as begin, submit, finish: see srtp.h.
 *
 * Sending: an index is spent, and its stream bound, when the job is built. Receiving: nothing but `pending` is written
 * before the engine has authenticated the packet.
 */
#include "srtp.h"

#include <string.h>

/* Of build functions: this packet's fate depends on one under way; finish that first. */
#define WAIT UMS_PENDING

static void count_use(ums_srtp *c, ums_master *m, int rtcp) {
  const uint64_t used = ums_counter_add(&m->used[rtcp], 1);
  if (used >= m->soft[rtcp])
    ums_srtp_note(c, UMS_NOTE_SOFT);
  if (used >= m->limit[rtcp])
    ums_srtp_note(c, UMS_NOTE_HARD);
}

static void count_packet(ums_srtp *c, ums_stream *s, int rtcp, uint32_t plain_len) {
  if (rtcp) {
    ums_counter_add(&c->rtcp_packets, 1);
    ums_counter_add(&s->rtcp_packets, 1);
    return;
  }
  ums_counter_add(&c->packets, 1);
  ums_counter_add(&c->octets, plain_len);
  ums_counter_add(&s->packets, 1);
  ums_counter_add(&s->octets, plain_len);
}

static void add_item(ums_burst *b, ums_srtp *c, ums_packet *p, ums_stream *s, ums_master *m, uint64_t index,
                     uint32_t len_after) {
  ums_item *item = &b->item[b->n];
  const int rtcp = p->rtcp != 0;
  item->job.data = p->data;
  item->job.key = &m->key[rtcp];
  item->job.flags = b->direction == UMS_SEND ? UMS_JOB_ENCRYPT : 0;
  item->job.status = UMS_ENGINE; /* until the engine says otherwise */
  item->job.owner = item;
  item->ctx = c;
  item->packet = p;
  item->stream = s;
  item->master = m;
  item->engine = atomic_load_explicit(&c->engine, memory_order_relaxed);
  item->index = index;
  item->ssrc = ums_layout_ssrc(p->data, rtcp);
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
static ums_status sending_index(ums_srtp *c, ums_stream *s, uint16_t seq, uint64_t *index) {
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

static void spend(ums_srtp *c, ums_stream *s, ums_master *m, int rtcp, uint64_t index) {
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

static ums_status build_protect(ums_burst *b, ums_srtp *c, ums_packet *p) {
  const int rtcp = p->rtcp != 0;
  const ums_layout *l = &c->layout[rtcp];
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
  if (ums_counter_get(&m->used[rtcp]) >= m->limit[rtcp])
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
  const uint32_t word = l->encrypts ? UMS_E_FLAG | (uint32_t)index : (uint32_t)index;
  if (rtcp)
    ums_store32(p->data + end + l->word_at, word);
  if (l->mki_len)
    memcpy(p->data + end + l->mki_at, m->mki, l->mki_len);
  ums_layout_job(l, &b->item[b->n].job, l->encrypts ? header : end, end, m->salt[rtcp], ssrc, index, word);
  add_item(b, c, p, s, m, index, end + l->trailer);
  return UMS_OK;
}

/* ------------------------------------------------------------------------------------------------ receiving -- */

static ums_master *master_of(ums_srtp *c, const uint8_t *mki, size_t mki_len) {
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

/*
 * The index of a received packet, checked against the replay list. With packets of the stream under way, the answer
 * stands only if it is the same whichever of them turn out authentic: it lies ahead of all of them, and the estimate
 * agrees from the lowest and from the highest place the stream may then be in (it may not while the stream has RTCP
 * only).
 */
static ums_status receiving_index(const ums_srtp *c, ums_stream *s, int rtcp, uint32_t value, uint64_t *index) {
  const ums_window *w = s ? &s->window[rtcp] : NULL;
  const int64_t i = rtcp ? (int64_t)value : ums_index_estimate(w ? ums_window_next(w) : 0, (uint16_t)value);
  if (w && w->pending) {
    if (i < (int64_t)w->pending)
      return WAIT;
    if (!rtcp && i != ums_index_estimate(w->pending, (uint16_t)value))
      return WAIT;
  }
  if (i < 0)
    return UMS_TOO_OLD;
  if (i >= UMS_INDEX_LIMIT)
    return UMS_KEY_EXPIRED;
  *index = (uint64_t)i;
  return w ? ums_window_check(w, ums_stream_bits(&c->streams, s, rtcp), c->streams.ring[rtcp], *index) : UMS_OK;
}

static ums_status build_unprotect(ums_burst *b, ums_srtp *c, ums_packet *p) {
  const int rtcp = p->rtcp != 0;
  const ums_layout *l = &c->layout[rtcp];
  if (p->len < l->trailer || p->len > UMS_MAX_PACKET || p->len > p->capacity)
    return UMS_BAD_PACKET;
  const uint32_t end = p->len - l->trailer;
  const uint32_t header = ums_layout_header(p->data, end, rtcp);
  if (header == 0)
    return UMS_BAD_PACKET;
  const uint32_t word = rtcp ? ums_load32(p->data + end + l->word_at) : 0;
  const int encrypted = !rtcp || (word & UMS_E_FLAG) != 0;
  if (!encrypted && l->encrypts)
    return UMS_BAD_PACKET; /* plain SRTCP is lab business */

  ums_master *m = master_of(c, p->data + end + l->mki_at, l->mki_len);
  if (!m)
    return UMS_WRONG_MKI;
  const uint64_t used = ums_counter_get(&m->used[rtcp]);
  if (used + UMS_BURST >= m->limit[rtcp]) { /* packets under way may use the key up */
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
  const uint32_t value = rtcp ? word & ~UMS_E_FLAG : ums_load16(p->data + 2);
  const ums_status status = receiving_index(c, s, rtcp, value, &index);
  if (status != UMS_OK)
    return status;

  if (s)
    s->window[rtcp].pending = index + 1;
  else
    b->unbound++;
  ums_layout_job(l, &b->item[b->n].job, encrypted ? header : end, end, m->salt[rtcp], ssrc, index, word);
  add_item(b, c, p, s, m, index, end);
  return UMS_OK;
}

/* The packet is authentic: bind its SSRC if need be, check again, enter its index. */
static ums_status commit(ums_item *item) {
  ums_srtp *c = item->ctx;
  const int rtcp = item->packet->rtcp != 0;
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
  count_packet(c, s, rtcp, item->len_after);
  return UMS_OK;
}

/* --------------------------------------------------------------------------------------------------- bursts -- */

static void refuse(ums_srtp *c, ums_packet *p, ums_status status) {
  p->status = (uint8_t)status;
  ums_counter_add(&c->refused[status], 1);
}

size_t ums_srtp_begin(ums_burst *b, int direction, ums_srtp *const ctx[], ums_packet pkt[], size_t n) {
  const uintptr_t me = (uintptr_t)b;
  size_t i;
  b->n = b->unbound = 0;
  b->direction = (uint8_t)direction;
  for (i = 0; i < n && b->n < UMS_BURST; i++) {
    ums_srtp *c = ctx[i];
    ums_status s = ums_srtp_usable(c);
    if (s == UMS_OK && c->direction != direction)
      s = UMS_BAD_ARGUMENT;
    const int mine = s == UMS_OK && atomic_load_explicit(&c->user, memory_order_relaxed) == me;
    if (s == UMS_OK && !mine)
      s = ums_srtp_take(c, me);
    if (s != UMS_OK) { /* not ours to count in */
      pkt[i].status = (uint8_t)s;
      continue;
    }
    s = direction == UMS_SEND ? build_protect(b, c, &pkt[i]) : build_unprotect(b, c, &pkt[i]);
    if (s == UMS_OK) {
      pkt[i].status = UMS_PENDING;
      continue;
    }
    if (s != WAIT)
      refuse(c, &pkt[i], s);
    if (!mine)
      ums_srtp_release(c);
    if (s == WAIT)
      break;
  }
  return i;
}

void ums_srtp_submit(ums_burst *b) {
  for (size_t i = 0, run; i < b->n; i += run) {
    const ums_engine *e = b->item[i].engine;
    for (run = 1; i + run < b->n && b->item[i + run].engine == e;)
      run++;
    e->submit(e, b->job + i, run);
  }
}

static ums_status finish_item(ums_item *item, int direction) {
  const ums_job *job = &item->job;
  ums_packet *p = item->packet;
  ums_status s = job->status == UMS_OK || job->status == UMS_AUTH_FAIL ? (ums_status)job->status : UMS_ENGINE;
  if (direction == UMS_SEND) {
    if (s == UMS_OK)
      count_packet(item->ctx, item->stream, p->rtcp != 0, p->len);
  } else {
    if (item->stream)
      item->stream->window[p->rtcp != 0].pending = 0;
    if (s == UMS_OK)
      s = commit(item);
    if (s != UMS_OK && s != UMS_AUTH_FAIL)
      ums_wipe(p->data + job->cipher_off, job->cipher_len);
  }
  if (s != UMS_OK) {
    refuse(item->ctx, p, s);
    return s;
  }
  p->len = item->len_after;
  p->status = UMS_OK;
  return UMS_OK;
}

size_t ums_srtp_finish(ums_burst *b) {
  size_t ok = 0;
  for (size_t i = 0; i < b->n; i++)
    ok += finish_item(&b->item[i], b->direction) == UMS_OK;
  for (size_t i = 0; i < b->n; i++) {
    ums_srtp *c = b->item[i].ctx; /* several items may share one; whoever takes it next is not us any more */
    if (atomic_load_explicit(&c->user, memory_order_relaxed) == (uintptr_t)b)
      ums_srtp_release(c);
  }
  b->n = 0;
  return ok;
}

static size_t run(int direction, ums_srtp *const ctx[], ums_packet pkt[], size_t n) {
  ums_burst b;
  size_t ok = 0;
  for (size_t done = 0; done < n;) {
    done += ums_srtp_begin(&b, direction, ctx + done, pkt + done, n - done);
    ums_srtp_submit(&b);
    ok += ums_srtp_finish(&b);
  }
  return ok;
}

size_t ums_srtp_protect(ums_srtp *const ctx[], ums_packet pkt[], size_t n) { return run(UMS_SEND, ctx, pkt, n); }

size_t ums_srtp_unprotect(ums_srtp *const ctx[], ums_packet pkt[], size_t n) { return run(UMS_RECEIVE, ctx, pkt, n); }
