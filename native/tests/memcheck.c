/*
 * The core under valgrind's memcheck with every secret poisoned: keys, salts and payload are "undefined", and so is
 * whatever is computed from them. A branch or an address that depends on one is an error that valgrind reports, in
 * whichever engine. Only the verdict on a tag is declassified (ums_verdict, in a core that was built with
 * UMS_MEMCHECK), and what leaves for the network (ciphertext, tag).
 *
 *   memcheck            key derivation, key load, protect, unprotect of good and forged packets: every suite and
 * engine, with ROC carrying, too memcheck branch     a planted branch on a key octet, which must be reported memcheck
 * address    a planted table look-up by a key octet, likewise
 *
 * Engines whose instructions valgrind does not know are hidden from the program: they probe as absent.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/memcheck.h>

#include "ums.h"

#define BURST 5
#define ROOM 1400
#define HEADER 12

static int failures;

static void check(int right, const char *what, const char *engine) {
  if (right)
    return;
  failures++;
  printf("FAILED: %s on %s\n", what, engine);
}

static void poison(void *p, size_t len) { VALGRIND_MAKE_MEM_UNDEFINED(p, len); }
static void publish(void *p, size_t len) { VALGRIND_MAKE_MEM_DEFINED(p, len); }

/* Whether something of `p` depends on a secret: so that a poison that got lost on the way is noticed. */
static int is_poisoned(const uint8_t *p, size_t len) {
  uint8_t bits[ROOM];
  if (VALGRIND_GET_VBITS(p, bits, len) != 1)
    return 0;
  for (size_t i = 0; i < len; i++)
    if (bits[i] != 0)
      return 1;
  return 0;
}

static ums_srtp *make_context(const ums_engine *e, const ums_suite_info *suite, int direction, ums_rcc rcc) {
  uint8_t key[32], salt[14];
  memset(key, 0x5c, sizeof key);
  memset(salt, 0xa3, sizeof salt);
  poison(key, sizeof key);
  poison(salt, sizeof salt);
  const ums_master_key master = {.key = key, .salt = salt};
  const ums_srtp_config cfg = {.suite = suite->suite,
                               .direction = (uint8_t)direction,
                               .n_keys = 1,
                               .max_ssrc = 1,
                               .rtp_window = 64,
                               .rtcp_window = 64,
                               .flags = UMS_LAB_NO_MAC,
                               .rcc = rcc,
                               .keys = &master};
  const size_t len = (ums_srtp_sizeof(&cfg) + 63) / 64 * 64;
  ums_srtp *ctx = aligned_alloc(64, len);
  if (ctx == NULL || ums_srtp_init(ctx, len, &cfg, e) != UMS_OK)
    exit(1);
  return ctx;
}

/* Payload lengths that end in every stage of the kernels: none, part of a block, some blocks, many lanes. */
static void transform(const ums_engine *e, const ums_suite_info *suite, const uint32_t payload[BURST], int rtcp,
                      size_t burst, ums_rcc rcc) {
  static uint8_t packet[BURST][ROOM];
  ums_srtp *out = make_context(e, suite, UMS_SEND, rcc), *in = make_context(e, suite, UMS_RECEIVE, rcc);
  ums_srtp *outs[BURST], *ins[BURST];
  ums_packet p[BURST];
  const uint8_t rtp[HEADER] = {0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7};
  const uint8_t report[HEADER] = {0x80, 200, 0, 2, 0, 0, 0, 7};
  for (unsigned i = 0; i < BURST; i++) {
    outs[i] = out, ins[i] = in;
    memcpy(packet[i], rtcp ? report : rtp, HEADER);
    if (!rtcp)
      packet[i][3] = (uint8_t)i;
    memset(packet[i] + HEADER, (int)i, payload[i]);
    poison(packet[i] + HEADER, payload[i]);
    p[i] = (ums_packet){.data = packet[i], .len = HEADER + payload[i], .capacity = ROOM, .rtcp = (uint8_t)rtcp};
  }
  size_t ok = 0;
  for (size_t i = 0; i < BURST; i += burst)
    ok += ums_srtp_protect(outs + i, p + i, burst);
  check(ok == BURST, suite->name, e->name);
  for (unsigned i = 0; i < BURST; i++) {
    check(is_poisoned(packet[i], p[i].len), "the poison reaches the packet", e->name);
    publish(packet[i], p[i].len);
  }
  packet[1][HEADER] ^= 1; /* forged: in the payload, the trailer, the header's timestamp */
  packet[3][p[3].len - 1] ^= 1;
  for (size_t i = 0; i < BURST; i += burst)
    ums_srtp_unprotect(ins + i, p + i, burst);
  for (unsigned i = 0; i < BURST; i++)
    check(p[i].status == (rcc.mode != 3 && (i == 1 || i == 3) ? UMS_AUTH_FAIL : UMS_OK), suite->name, e->name);
  ums_srtp_wipe(out);
  ums_srtp_wipe(in);
  free(out);
  free(in);
}

static void run_engine(const ums_engine *e) {
  static const uint32_t payloads[][BURST] = {{160, 160, 160, 160, 160}, {20, 33, 64, 1200, 15}, {0, 1, 16, 129, 500}};
  static const ums_rcc none, carrying[] = {{2, 14, 2}, {3, 4, 2}};
  printf("engine %s\n", e->name);
  for (size_t s = 0; s < ums_suite_count(); s++) {
    const ums_suite_info *suite = ums_suite_at(s);
    if (!e->supports(suite->transform, suite->key_len))
      continue;
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
      transform(e, suite, payloads[i], 0, BURST, none);
      transform(e, suite, payloads[i], 0, 1, none);
    }
    transform(e, suite, payloads[0], 1, BURST, none);
    for (size_t i = 0; suite->auth_key_len != 0 && i < sizeof carrying / sizeof *carrying; i++) {
      transform(e, suite, payloads[1], 0, BURST, carrying[i]);
      transform(e, suite, payloads[1], 0, 1, carrying[i]);
    }
  }
}

static void derive(void) {
  uint8_t key[32] = {1}, salt[14] = {2}, out[94];
  for (size_t len = 16; len <= 32; len += 8) {
    poison(key, sizeof key);
    poison(salt, sizeof salt);
    for (uint8_t label = 0; label <= 5; label++)
      check(ums_kdf(key, len, salt, sizeof salt, label, out, sizeof out) == UMS_OK && is_poisoned(out, sizeof out),
            "key derivation", "no engine");
  }
}

int main(int argc, char **argv) {
  if (!RUNNING_ON_VALGRIND)
    return 2;
  if (argc == 2) {
    static const char table[256] = {1};
    uint8_t key[16] = {0};
    volatile int sink = 0;
    poison(key, sizeof key);
    if (strcmp(argv[1], "address") == 0)
      sink = table[key[0]];
    else if ((key[0] & 1) != 0)
      sink = 1;
    (void)sink;
    return 0;
  }
  derive();
  for (size_t i = 0; i < ums_engine_count(); i++)
    if (ums_engine_at(i)->probe())
      run_engine(ums_engine_at(i));
  printf("%d failures\n", failures);
  return failures != 0;
}
