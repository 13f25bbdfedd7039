/*
 * libFuzzer target: receiving (layout, MKI, indices, replay list, streams, engines) of octets from anybody.
 *
 *   input = suite | options | packets,   packet = kind and way | length | octets
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

static void check(ums_srtp *rx, ums_packet *p) {
  uint8_t before[UMS_MAX_PACKET * 2];
  const uint32_t len = p->len;
  must(len <= sizeof before);
  memcpy(before, p->data, len);
  ums_srtp_stats old, now;
  ums_srtp_stats_get(rx, &old);
  const size_t ok = ums_srtp_unprotect(&rx, p, 1);
  ums_srtp_stats_get(rx, &now);
  must(ok == (p->status == UMS_OK) && now.n_streams <= CAPACITY);
  must(now.packets + now.rtcp_packets == old.packets + old.rtcp_packets + ok);
  if (ok) {
    must(p->len < len);
    return;
  }
  must(p->len == len && now.n_streams == old.n_streams && p->status != UMS_ENGINE && p->status != UMS_PENDING);
  if (p->status != UMS_SSRC_FULL)
    must(memcmp(before, p->data, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2)
    return 0;
  const ums_suite_info *suite = ums_suite_at(data[0] % ums_suite_count());
  const uint8_t options = data[1];
  const uint8_t key[32] = "key of thirty-two octets, no nul", salt[14] = "fourteen octet", mki[4] = "MKI.";
  const ums_master_key master = {.key = key, .salt = salt, .mki = mki, .mki_len = options & 4};
  ums_srtp_config cfg = {.suite = suite->suite,
                         .direction = UMS_SEND,
                         .n_keys = 1,
                         .max_ssrc = CAPACITY,
                         .rtp_window = 64,
                         .rtcp_window = 64,
                         .keys = &master,
                         .flags = options & 1 ? UMS_LAB_UNENCRYPTED_SRTCP : 0};
  const ums_engine *engine = ums_engine_at((options >> 3) % ums_engine_count());
  if (!engine->probe() || !engine->supports(suite->transform, suite->key_len))
    return 0;
  ums_srtp *tx = context(&send_arena, &cfg, engine);
  cfg.direction = UMS_RECEIVE;
  ums_srtp *rx = context(&receive_arena, &cfg, engine);

  for (data += 2, size -= 2; size >= 4;) {
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
    check(rx, &p);
    free(p.data);
  }
  return 0;
}
