/*
 * libFuzzer target: receiving (layout, MKI, indices, replay list, streams, engines) of octets from anybody.
 *
 *   input = suite | options | ROC carrying | packets,   packet = kind and way | flip | length | octets
 *
 * A packet is received as it is, or first protected by a sender with the same key and then altered in one place, so
 * that the fuzzer also gets behind authentication. What must hold is in `check`.
 */
#include <stdlib.h>
#include <string.h>

#include "srtp.h"

#define CAPACITY 3

static ums_arena send_arena, receive_arena;

static void must(int condition) {
  if (!condition)
    abort();
}

static ums_srtp *context(ums_arena *arena, const ums_srtp_config *cfg, const ums_engine *engine) {
  if (arena->base == NULL)
    must(ums_arena_open(arena, (size_t)1 << 18) == UMS_OK);
  must(ums_srtp_init(arena->base, arena->len, cfg, engine) == UMS_OK);
  return arena->base;
}

/* One packet in memory of exactly its capacity, so that the sanitizer sees every step beyond it. */
static ums_packet packet_of(const uint8_t *data, uint32_t len, uint32_t spare, int rtcp) {
  uint8_t *copy = malloc(len + spare > 0 ? len + spare : 1);
  must(copy != NULL);
  if (len > 0)
    memcpy(copy, data, len);
  return (ums_packet){.data = copy, .len = len, .capacity = len + spare, .rtcp = (uint8_t)rtcp};
}

/* What vouches for a packet in this context: nothing does for some of RFC 4771, modes 1 and 3. */
static int is_bare(const ums_rcc *rcc, const ums_packet *p) {
  if (p->rtcp || p->len < 4 || rcc->mode == 0 || rcc->mode == 2)
    return 0;
  return rcc->mode == 3 || ums_load16(p->data + 2) % rcc->rate != 0;
}

static void check(ums_srtp *rx, const ums_rcc *rcc, ums_packet *p) {
  uint8_t before[UMS_MAX_PACKET * 2];
  const uint32_t len = p->len;
  must(len <= sizeof before);
  memcpy(before, p->data, len);
  const int bare = is_bare(rcc, p);
  ums_srtp_stats old, now;
  ums_stream_stats streams[2][CAPACITY];
  ums_srtp_stats_get(rx, &old);
  const size_t n = ums_srtp_streams(rx, streams[0], CAPACITY);
  const size_t ok = ums_srtp_unprotect(&rx, p, 1);
  ums_srtp_stats_get(rx, &now);
  must(ok == (p->status == UMS_OK) && now.n_streams <= CAPACITY);
  must(now.packets + now.rtcp_packets == old.packets + old.rtcp_packets + ok);
  must(ums_srtp_streams(rx, streams[1], CAPACITY) >= n);
  for (size_t i = 0; i < n && rcc->mode != 3; i++) { /* forward, and by what is authentic */
    const uint64_t was = (uint64_t)streams[0][i].roc << 16 | streams[0][i].highest_seq;
    const uint64_t is = (uint64_t)streams[1][i].roc << 16 | streams[1][i].highest_seq;
    must(is >= was && (is == was || (ok && !bare)));
  }
  if (ok) {
    must(p->len < len || (bare && p->len == len));
    must(!bare || now.key_packets == old.key_packets);
    must(!bare || rcc->mode == 3 || now.n_streams == old.n_streams);
    return;
  }
  must(p->len == len && now.n_streams == old.n_streams && p->status != UMS_ENGINE && p->status != UMS_PENDING);
  if (p->status != UMS_SSRC_FULL)
    must(memcmp(before, p->data, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 3)
    return 0;
  const ums_suite_info *suite = ums_suite_at(data[0] % ums_suite_count());
  const uint8_t options = data[1], carrying = data[2];
  static const uint16_t rates[4] = {1, 3, 64, 16384};
  const uint8_t mode = suite->transform == UMS_AES_GCM ? 0 : carrying & 3;
  const ums_rcc rcc = {.mode = mode,
                       .tag_len = mode == 0   ? 0
                                  : mode == 3 ? 4
                                              : (uint8_t)(8 + ((carrying >> 4) % 13)),
                       .rate = mode == 0 ? 0 : rates[(carrying >> 2) & 3]};
  const uint8_t key[32] = "key of thirty-two octets, no nul", salt[14] = "fourteen octet", mki[4] = "MKI.";
  const ums_master_key master = {.key = key, .salt = salt, .mki = mki, .mki_len = options & 4};
  ums_srtp_config cfg = {.suite = suite->suite,
                         .direction = UMS_SEND,
                         .n_keys = 1,
                         .max_ssrc = CAPACITY,
                         .rtp_window = 64,
                         .rtcp_window = 64,
                         .keys = &master,
                         .flags = (options & 1 ? UMS_LAB_UNENCRYPTED_SRTCP : 0) | UMS_LAB_NO_MAC,
                         .rcc = rcc};
  const ums_engine *engine = ums_engine_at((options >> 3) % ums_engine_count());
  if (!engine->probe() || !engine->supports(suite->transform, suite->key_len))
    return 0;
  ums_srtp *tx = context(&send_arena, &cfg, engine);
  cfg.direction = UMS_RECEIVE;
  ums_srtp *rx = context(&receive_arena, &cfg, engine);

  for (data += 3, size -= 3; size >= 4;) {
    const uint8_t way = data[0], flip = data[1];
    const uint32_t wanted = ums_load16(data + 2) & 0x7ff;
    data += 4, size -= 4;
    const uint32_t len = wanted < size ? wanted : (uint32_t)size;
    ums_packet p = packet_of(data, len, way & 2 ? UMS_MAX_TRAILER : 0, way & 1);
    data += len, size -= len;
    if (way & 2)
      ums_srtp_protect(&tx, &p, 1);
    if ((way & 4) && p.len > 0)
      p.data[(flip * 8u + (way >> 5)) % p.len] ^= flip | 1;
    check(rx, &rcc, &p);
    free(p.data);
  }
  return 0;
}
