/*
 * What instructions are counted of: `count ENGINE SUITE BURST` protects 64 voice packets (172 octets: 12 of header and
 * 160 of payload, 20 ms of G.711) of 64 streams with keys of their own, BURST packets a call, between two marks that
 * the emulator's plug-in sees. The first round warms up (lazy binding, first use of every stream) and is not marked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ums.h"

#define PACKETS 64
#define HEADER 12
#define LEN 172
#define MARK 0x55e50001 /* close() of a descriptor that never is: the system call does nothing on any machine */

static void mark(void) { (void)!close(MARK); }

static void fill(uint8_t *p, unsigned stream, unsigned round) {
  const uint8_t header[HEADER] = {0x80, 0, 0, (uint8_t)round, 0, 0, 0, 1, 0xca, 0xfe, 0, (uint8_t)stream};
  memcpy(p, header, HEADER);
  for (unsigned i = HEADER; i < LEN; i++)
    p[i] = (uint8_t)(i * 7 + stream);
}

static int protect_all(ums_srtp *const ctx[], uint8_t (*buffer)[256], size_t burst, unsigned round, int marked) {
  ums_packet packet[PACKETS];
  size_t ok = 0;
  for (unsigned i = 0; i < PACKETS; i++) {
    fill(buffer[i], i, round);
    packet[i] = (ums_packet){.data = buffer[i], .len = LEN, .capacity = sizeof buffer[i]};
  }
  if (marked)
    mark();
  for (size_t i = 0; i < PACKETS; i += burst)
    ok += ums_srtp_protect(ctx + i, packet + i, burst);
  if (marked)
    mark();
  return ok == PACKETS;
}

int main(int argc, char **argv) {
  static uint8_t buffer[PACKETS][256];
  ums_srtp *ctx[PACKETS];
  if (argc != 4)
    return 2;
  const ums_engine *engine = ums_engine_find(argv[1]);
  const ums_suite suite = (ums_suite)atoi(argv[2]);
  const size_t burst = (size_t)atoi(argv[3]);
  if (engine == NULL || !engine->probe() || burst == 0 || PACKETS % burst != 0)
    return 2;
  for (unsigned i = 0; i < PACKETS; i++) {
    uint8_t key[32], salt[14];
    memset(key, (int)i + 1, sizeof key);
    memset(salt, (int)i + 2, sizeof salt);
    const ums_master_key master = {.key = key, .salt = salt};
    const ums_srtp_config cfg = {
        .suite = suite, .n_keys = 1, .max_ssrc = 1, .rtp_window = 128, .rtcp_window = 128, .keys = &master};
    const size_t len = (ums_srtp_sizeof(&cfg) + 63) / 64 * 64;
    ctx[i] = aligned_alloc(64, len);
    if (ctx[i] == NULL || ums_srtp_init(ctx[i], len, &cfg, engine) != UMS_OK)
      return 1;
  }
  mark(); /* two marks with nothing between them: what a mark costs */
  mark();
  for (unsigned round = 1; round <= 2; round++)
    if (!protect_all(ctx, buffer, burst, round, round == 2))
      return 1;
  return 0;
}
