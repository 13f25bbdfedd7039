/*
 * Inside of SRTP contexts, and the three steps of a burst for those who run engines themselves (the relay):
 *
 *   ums_srtp_begin    layout, replay check, keys: builds jobs, spends sending indices, takes the contexts it touches
 *   ums_srtp_submit   hands runs of jobs with one engine to that engine
 *   ums_srtp_finish   commits what authenticated, gives every packet its status, releases the contexts
 *
 * A burst holds at most UMS_BURST jobs. `begin` stops early, too, when the next packet's fate depends on one that is
 * still under way; so the outcome never depends on how packets are grouped.
 */
#ifndef UMS_SRTP_H
#define UMS_SRTP_H

#include "core.h"
#include "layout.h"
#include "stream.h"

#define UMS_BURST 64

typedef struct ums_master { /* one master key: what was derived from it and how much it was used */
  _Alignas(64) ums_salt salt[2];
  uint64_t look[2];            /* packets: from this many on, limits and soft limits are looked at */
  ums_counter used[2];         /* packets, all SSRCs together. Up to here: one cache line that every packet touches */
  ums_key key[2];              /* UMS_RTP, UMS_RTCP, as the engine prepared them */
  ums_session_keys session[2]; /* raw, so that another engine can load them */
  uint64_t limit[2], soft[2];  /* packets: lifetime, and where re-keying is asked for */
  uint8_t mki[UMS_MAX_MKI];
} ums_master;

struct ums_guard {
  atomic_uintptr_t user; /* the burst that is working behind it; 0: nobody */
};

enum { UMS_SRTP_LIVE = 1, UMS_SRTP_WIPED = 2 };

/* ums_srtp_notes: what has happened in a context so far. Bits are only ever added. */
#define UMS_NOTE_SOFT 0x01
#define UMS_NOTE_HARD 0x02
#define UMS_NOTE_HELD 0x04
#define UMS_NOTE_LATE_START 0x08

/* A live context's `pass`: what a burst of this process and direction compares with, all at once. Fork generation + 1
 * above, so that memory the kernel zeroed for a child is told apart. */
static inline uint64_t ums_srtp_pass(uint32_t forks, int direction) {
  return ((uint64_t)(forks + 1) << 32) | UMS_SRTP_LIVE << 8 | (uint32_t)direction;
}

struct ums_srtp {
  ums_guard *guard;      /* its own, or one shared with other contexts */
  _Atomic uint64_t pass; /* fork generation + 1, state, direction */
  _Atomic(const ums_engine *) engine;
  ums_master *masters;
  ums_stream *recent; /* the stream of the last packet */
  ums_streams streams;
  ums_layout layout[UMS_LAYOUTS];
  ums_rcc rcc;
  uint8_t n_keys;
  uint32_t flags, restart_after;
  atomic_uint notes;
  size_t size; /* octets, all parts */
  const ums_suite_info *suite;
  ums_guard own;
  ums_counter refused[UMS_SYSTEM + 1];   /* by status */
  ums_counter bare_packets, bare_octets; /* without a MAC, of SSRCs that are not bound */
};

typedef struct ums_item { /* a packet under way */
  _Alignas(64) ums_job job;
  ums_srtp *ctx;
  ums_packet *packet;
  ums_stream *stream; /* NULL: not bound yet */
  ums_master *master;
  uint64_t index;
  uint32_t ssrc, len_after;
} ums_item;

typedef struct ums_burst {
  size_t n, n_taken;
  size_t unbound; /* items without a stream */
  uint8_t direction;
  ums_guard *taken[UMS_BURST]; /* to release */
  ums_job *job[UMS_BURST];
  ums_item item[UMS_BURST];
} ums_burst;

/* Whether an RTP packet of this sequence number carries its ROC (RFC 4771, 2). */
static inline int ums_srtp_carries_roc(const ums_srtp *c, uint16_t seq) {
  return c->rcc.mode != 0 && seq % c->rcc.rate == 0;
}

/* Takes packets from the front and returns how many, at least 1 when n > 0. Those that it refuses have their status. */
size_t ums_srtp_begin(ums_burst *b, int direction, ums_srtp *const ctx[], ums_packet pkt[], size_t n);
void ums_srtp_submit(ums_burst *b);
size_t ums_srtp_finish(ums_burst *b); /* returns how many succeeded */

/*
 * For jobs that somebody else finishes later. `detach` instead of submit and finish: releases the contexts; items that
 * were copied out before may be finished one by one, in any order, while their contexts live. The replay list is looked
 * at again then. `finish_one` needs job.status and answers the packet's.
 */
void ums_srtp_detach(ums_burst *b);
ums_status ums_srtp_finish_one(ums_item *item, int direction);
/* Forgets the session keys for good, because somebody else has them: what is left to this context fails with
 * UMS_ENGINE. The context's user asks. */
void ums_srtp_surrender(ums_srtp *c);
extern const ums_engine ums_engine_surrendered;

static inline uint32_t ums_srtp_notes(const ums_srtp *c) {
  return atomic_load_explicit(&c->notes, memory_order_relaxed);
}
/* Whether the SSRC has a stream here. The context's user asks. */
static inline int ums_srtp_knows(const ums_srtp *c, uint32_t ssrc) {
  return ums_streams_find(&c->streams, ssrc) != NULL;
}
/* Counts a refusal with the stream of its SSRC, where there is one and the status is one that streams count. */
void ums_srtp_blame(ums_srtp *c, uint32_t ssrc, ums_status status);
/* Takes a counted refusal back: the packet turned out to belong to another context. The context's user asks. */
void ums_srtp_forgive(ums_srtp *c, uint32_t ssrc, ums_status status);

/* UMS_OK when the context may work in this process, whoever uses it. */
static inline ums_status ums_srtp_usable(const ums_srtp *c) {
  const uint32_t forks = ums_fork_generation();
  if (c == NULL)
    return UMS_BAD_ARGUMENT;
  const uint64_t pass = atomic_load_explicit(&c->pass, memory_order_relaxed);
  if (pass >> 32 != forks + 1)
    return pass >> 32 != 0 || forks != 0 ? UMS_FORKED : UMS_BAD_ARGUMENT;
  return ((pass >> 8) & 0xff) == UMS_SRTP_LIVE ? UMS_OK : UMS_BAD_ARGUMENT;
}

/* One user at a time: UMS_BUSY when it is somebody else. `me`: an address of the caller's own. */
static inline ums_status ums_srtp_take(ums_srtp *c, uintptr_t me) {
  uintptr_t nobody = 0;
  if (!atomic_compare_exchange_strong_explicit(&c->guard->user, &nobody, me, memory_order_acquire,
                                               memory_order_relaxed))
    return UMS_BUSY;
  if (((atomic_load_explicit(&c->pass, memory_order_relaxed) >> 8) & 0xff) == UMS_SRTP_LIVE)
    return UMS_OK;
  atomic_store_explicit(&c->guard->user, 0, memory_order_release);
  return UMS_BAD_ARGUMENT;
}

static inline void ums_guard_release(ums_guard *g) { atomic_store_explicit(&g->user, 0, memory_order_release); }
static inline void ums_srtp_release(ums_srtp *c) { ums_guard_release(c->guard); }

static inline void ums_srtp_note(ums_srtp *c, uint32_t bit) {
  atomic_store_explicit(&c->notes, ums_srtp_notes(c) | bit, memory_order_relaxed);
}

#endif
