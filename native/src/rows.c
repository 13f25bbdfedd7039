/* Other shapes of protect and unprotect: packets as rows of one array, and one packet that goes from here to there. */
#include "ums.h"

#include <string.h>

#define CHUNK 64

typedef size_t burst(ums_srtp *const ctx[], ums_packet pkt[], size_t n);

/* Row i as a packet. NULL as its context makes it a UMS_BAD_ARGUMENT that nobody looks into. */
static ums_srtp *fill(ums_packet *p, ums_srtp *const ctx[], size_t n_ctx, const ums_rows *r, size_t i) {
  const uint32_t len = r->len[i], which = r->context ? r->context[i] : 0;
  p->data = r->data + i * r->stride;
  p->len = len;
  p->capacity = r->stride < UINT32_MAX ? (uint32_t)r->stride : UINT32_MAX;
  p->rtcp = r->rtcp ? r->rtcp[i] != 0 : 0;
  return len <= p->capacity && which < n_ctx ? ctx[which] : NULL;
}

static inline size_t run_rows(burst *run, ums_srtp *const ctx[], size_t n_ctx, const ums_rows *r) {
  ums_srtp *user[CHUNK];
  ums_packet packet[CHUNK];
  size_t ok = 0;
  for (size_t at = 0, n; at < r->n; at += n) {
    n = r->n - at < CHUNK ? r->n - at : CHUNK;
    for (size_t i = 0; i < n; i++)
      user[i] = fill(&packet[i], ctx, n_ctx, r, at + i);
    ok += run(user, packet, n);
    for (size_t i = 0; i < n; i++) {
      r->len[at + i] = packet[i].len;
      r->status[at + i] = packet[i].status;
    }
  }
  return ok;
}

size_t ums_srtp_protect_rows(ums_srtp *const ctx[], size_t n_ctx, const ums_rows *rows) {
  return run_rows(ums_srtp_protect, ctx, n_ctx, rows);
}

size_t ums_srtp_unprotect_rows(ums_srtp *const ctx[], size_t n_ctx, const ums_rows *rows) {
  return run_rows(ums_srtp_unprotect, ctx, n_ctx, rows);
}

static inline int32_t run_one(burst *run, ums_srtp *ctx, const uint8_t *packet, size_t len, int rtcp, void *out) {
  if (len > UMS_MAX_PACKET)
    return -UMS_BAD_PACKET;
  ums_packet p = {.data = out, .len = (uint32_t)len, .capacity = UMS_MAX_PACKET, .rtcp = rtcp != 0};
  memcpy(out, packet, len);
  return run(&ctx, &p, 1) == 1 ? (int32_t)p.len : -(int32_t)p.status;
}

int32_t ums_srtp_protect_one(ums_srtp *ctx, const uint8_t *packet, size_t len, int rtcp, void *out) {
  return run_one(ums_srtp_protect, ctx, packet, len, rtcp, out);
}

int32_t ums_srtp_unprotect_one(ums_srtp *ctx, const uint8_t *packet, size_t len, int rtcp, void *out) {
  return run_one(ums_srtp_unprotect, ctx, packet, len, rtcp, out);
}
