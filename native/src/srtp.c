/*
 * Protect and unprotect (RFC 3711, 3.3 and 3.4; RFC 7714, 8 and 9) as begin, submit, finish: see srtp.h.
 *
 * Sending: an index is spent, and its stream bound, when the job is built. Receiving: nothing but `pending` is written
 * before the engine has authenticated the packet.
 */
#include <string.h>

#include "srtp_fast.h"

/* The usual case of ums_srtp_commit_any: RTP that is ahead of what came before. */
ALWAYS_INLINE ums_status commit(ums_item *item, const int rtcp) {
  ums_stream *s = item->stream;
  if (UNLIKELY(rtcp || s == NULL || item->job.tag_len == 0))
    return ums_srtp_commit_any(item);
  const uint64_t next = ums_window_next(&s->window[UMS_RTP]);
  if (UNLIKELY(next == 0 || item->index < next))
    return ums_srtp_commit_any(item);
  ums_window_push(&s->window[UMS_RTP], s->bits, item->ctx->streams.ring[UMS_RTP], item->index);
  count_use(item->ctx, item->master, UMS_RTP);
  count_packet(s, UMS_RTP, item->len_after);
  return UMS_OK;
}

/* --------------------------------------------------------------------------------------------------- bursts -- */

static void refuse(ums_srtp *c, ums_packet *p, ums_status status) {
  p->status = (uint8_t)status;
  ums_counter_add(&c->refused[status], 1);
  if (status == UMS_AUTH_FAIL || status == UMS_REPLAY || status == UMS_TOO_OLD) /* its header has been read */
    ums_srtp_blame(c, ums_layout_ssrc(p->data, p->rtcp != 0), status);
}

/* Whether this burst may work in a context: because it holds its guard already, or takes it now. */
static ums_status take(ums_burst *b, ums_srtp *c) {
  ums_status s = ums_srtp_usable(c);
  if (s == UMS_OK && (uint8_t)atomic_load_explicit(&c->pass, memory_order_relaxed) != b->direction)
    s = UMS_BAD_ARGUMENT;
  if (s != UMS_OK || atomic_load_explicit(&c->guard->user, memory_order_relaxed) == (uintptr_t)b)
    return s;
  s = ums_srtp_take(c, (uintptr_t)b);
  if (s == UMS_OK)
    b->taken[b->n_taken++] = c->guard;
  return s;
}

/* One packet, the long way: UMS_OK, WAIT, or why it was refused. */
static __attribute__((noinline)) ums_status admit(ums_burst *b, ums_srtp *c, ums_packet *p) {
  ums_status s = take(b, c);
  if (s != UMS_OK) { /* not ours to count in */
    p->status = (uint8_t)s;
    return s;
  }
  s = b->direction == UMS_SEND ? ums_srtp_build_protect(b, c, p) : ums_srtp_build_unprotect(b, c, p);
  if (s != UMS_OK && s != WAIT)
    refuse(c, p, s);
  return s;
}

ALWAYS_INLINE int holds(ums_burst *b, ums_srtp *c, uint64_t pass) {
  if (UNLIKELY(c == NULL || atomic_load_explicit(&c->pass, memory_order_relaxed) != pass))
    return 0;
  if (LIKELY(atomic_load_explicit(&c->guard->user, memory_order_relaxed) == (uintptr_t)b))
    return 1;
  return take(b, c) == UMS_OK;
}

ALWAYS_INLINE size_t begin(ums_burst *b, const int direction, ums_srtp *const ctx[], ums_packet pkt[], size_t n) {
  const uint64_t pass = ums_srtp_pass(ums_fork_generation(), direction);
  size_t i, jobs = 0;
  b->n_taken = b->unbound = 0;
  b->direction = (uint8_t)direction;
  n = n < UMS_BURST ? n : UMS_BURST;
  for (i = 0; i < n; i++) {
    ums_item *item = &b->item[jobs];
    if (LIKELY(holds(b, ctx[i], pass) &&
               (direction == UMS_SEND ? fast_protect(item, ctx[i], &pkt[i]) : fast_unprotect(item, ctx[i], &pkt[i])))) {
      b->job[jobs++] = &item->job;
      continue;
    }
    b->n = jobs;
    const ums_status s = admit(b, ctx[i], &pkt[i]);
    jobs = b->n;
    if (s == WAIT)
      break;
  }
  b->n = jobs;
  return i;
}

size_t ums_srtp_begin(ums_burst *b, int direction, ums_srtp *const ctx[], ums_packet pkt[], size_t n) {
  return direction == UMS_SEND ? begin(b, UMS_SEND, ctx, pkt, n) : begin(b, UMS_RECEIVE, ctx, pkt, n);
}

void ums_srtp_submit(ums_burst *b) {
  for (size_t i = 0, run; i < b->n; i += run) {
    const ums_engine *e = atomic_load_explicit(&b->item[i].ctx->engine, memory_order_relaxed);
    for (run = 1; i + run < b->n; run++)
      if (atomic_load_explicit(&b->item[i + run].ctx->engine, memory_order_relaxed) != e)
        break;
    e->submit(e, b->job + i, run);
  }
}

static void fail_item(const ums_item *item, int direction, ums_status s) {
  if (direction == UMS_RECEIVE && s != UMS_AUTH_FAIL)
    ums_wipe(item->packet->data + item->job.cipher_off, item->job.cipher_len);
  refuse(item->ctx, item->packet, s);
}

ALWAYS_INLINE int finish_item(ums_item *item, const int direction) {
  ums_packet *p = item->packet;
  const int rtcp = p->rtcp != 0;
  ums_status s = (ums_status)item->job.status;
  if (direction == UMS_RECEIVE && item->stream)
    item->stream->window[rtcp].pending = 0;
  if (s == UMS_OK) {
    if (direction == UMS_SEND)
      count_packet(item->stream, rtcp, p->len);
    else
      s = commit(item, rtcp);
  } else if (s != UMS_AUTH_FAIL) {
    s = UMS_ENGINE;
  }
  if (s != UMS_OK) {
    fail_item(item, direction, s);
    return 0;
  }
  p->len = item->len_after;
  p->status = UMS_OK;
  return 1;
}

ALWAYS_INLINE size_t finish(ums_burst *b, const int direction) {
  size_t ok = 0;
  for (size_t i = 0; i < b->n; i++)
    ok += (size_t)finish_item(&b->item[i], direction);
  for (size_t i = 0; i < b->n_taken; i++)
    ums_guard_release(b->taken[i]);
  b->n = b->n_taken = 0;
  return ok;
}

void ums_srtp_detach(ums_burst *b) {
  for (size_t i = 0; i < b->n; i++)
    if (b->direction == UMS_RECEIVE && b->item[i].stream)
      b->item[i].stream->window[b->item[i].packet->rtcp != 0].pending = 0;
  for (size_t i = 0; i < b->n_taken; i++)
    ums_guard_release(b->taken[i]);
  b->n = b->n_taken = 0;
}

ums_status ums_srtp_finish_one(ums_item *item, int direction) {
  ums_srtp *c = item->ctx;
  const uintptr_t me = (uintptr_t)&me;
  const ums_status s = ums_srtp_usable(c) == UMS_OK ? ums_srtp_take(c, me) : UMS_BAD_ARGUMENT;
  if (s != UMS_OK) {
    item->packet->status = (uint8_t)s;
    return s;
  }
  finish_item(item, direction);
  ums_srtp_release(c);
  return (ums_status)item->packet->status;
}

size_t ums_srtp_finish(ums_burst *b) { return b->direction == UMS_SEND ? finish(b, UMS_SEND) : finish(b, UMS_RECEIVE); }

ALWAYS_INLINE size_t run(const int direction, ums_srtp *const ctx[], ums_packet pkt[], size_t n) {
  ums_burst b;
  size_t ok = 0;
  for (size_t done = 0; done < n;) {
    done += begin(&b, direction, ctx + done, pkt + done, n - done);
    ums_srtp_submit(&b);
    ok += finish(&b, direction);
  }
  return ok;
}

size_t ums_srtp_protect(ums_srtp *const ctx[], ums_packet pkt[], size_t n) { return run(UMS_SEND, ctx, pkt, n); }

size_t ums_srtp_unprotect(ums_srtp *const ctx[], ums_packet pkt[], size_t n) { return run(UMS_RECEIVE, ctx, pkt, n); }
