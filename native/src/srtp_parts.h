/* What the fast path (srtp_fast.h), the long way (srtp_long.c) and the bursts around them (srtp.c) share. */
#ifndef UMS_SRTP_PARTS_H
#define UMS_SRTP_PARTS_H

#include "srtp.h"

#define LIKELY(x) __builtin_expect((x) != 0, 1)
#define UNLIKELY(x) __builtin_expect((x) != 0, 0)
#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE void fill_item(ums_item *item, ums_srtp *c, ums_packet *p, ums_stream *s) {
  item->job.data = p->data;
  item->ctx = c;
  item->packet = p;
  item->stream = s;
}

/* What receiving needs to commit; sending has committed already. */
ALWAYS_INLINE void fill_commit(ums_item *item, ums_master *m, uint32_t ssrc, uint64_t index) {
  item->master = m;
  item->ssrc = ssrc;
  item->index = index;
}

/* Of what builds a job: this packet's fate depends on one under way; finish that first. */
#define WAIT UMS_PENDING

/* One packet, the long way: its job becomes the burst's last. UMS_OK, WAIT, or why it is refused. */
ums_status ums_srtp_build_protect(ums_burst *b, ums_srtp *c, ums_packet *p);
ums_status ums_srtp_build_unprotect(ums_burst *b, ums_srtp *c, ums_packet *p);
/* The packet is authentic: binds its SSRC if need be, checks again, enters its index. */
ums_status ums_srtp_commit_any(ums_item *item);
/* The key has been used so often that its limits may be near. */
void ums_srtp_look_at_limits(ums_srtp *c, const ums_master *m, int rtcp, uint64_t used);

static inline void count_use(ums_srtp *c, ums_master *m, int rtcp) {
  const uint64_t used = ums_counter_add(&m->used[rtcp], 1);
  if (UNLIKELY(used >= m->look[rtcp]))
    ums_srtp_look_at_limits(c, m, rtcp, used);
}

static inline void count_packet(ums_stream *s, int rtcp, uint32_t plain_len) {
  if (rtcp) {
    ums_counter_add(&s->rtcp_packets, 1);
    return;
  }
  ums_counter_add(&s->packets, 1);
  ums_counter_add(&s->octets, plain_len);
}

#endif
