/*
 * The core's known answers as a program, for machines that are emulated: prints a line for each check and returns 1
 * when one fails. The public API only; no other library.
 *
 *   self-tests   every engine that this machine can run (FIPS-197, SP 800-38A/D, RFC 2202, 3711, 6188, 7714)
 *   kdf          RFC 3711, B.3 and RFC 6188, 7.2
 *   packets      RFC 7714, 16.1, 16.2, 17.1 and 17.2; a voice packet as libsrtp protects it
 *   round trips  every suite on every pair of engines, mixed bursts, odd addresses, forged packets
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ums.h"

#define ROOM 1700
#define BURST 21

static int failures;

static void check(int right, const char *what, const char *detail) {
  if (right)
    return;
  failures++;
  printf("FAILED: %s: %s\n", what, detail);
}

static size_t unhex(const char *text, uint8_t *out) {
  size_t n = 0;
  for (unsigned octet; sscanf(text + 2 * n, "%2x", &octet) == 1; n++)
    out[n] = (uint8_t)octet;
  return n;
}

static int is_hex(const uint8_t *data, size_t len, const char *text) {
  uint8_t expected[ROOM];
  return unhex(text, expected) == len && memcmp(data, expected, len) == 0;
}

/* ----------------------------------------------------------------------------------------------------- engines -- */

static const ums_engine *engines[8];
static size_t n_engines;

static void find_engines(void) {
  for (size_t i = 0; i < ums_engine_count(); i++) {
    const ums_engine *e = ums_engine_at(i);
    const char *failed = "";
    if (!e->probe()) {
      printf("engine %s: absent\n", e->name);
      continue;
    }
    const ums_status status = ums_engine_self_test(e, &failed);
    check(status == UMS_OK, e->name, failed != NULL ? failed : ums_status_name(status));
    printf("engine %s: %s\n", e->name, ums_status_name(status));
    engines[n_engines++] = e;
  }
  check(n_engines > 0 && strcmp(engines[n_engines - 1]->name, "portable") == 0, "engines", "portable is missing");
}

static int runs(const ums_engine *e, const ums_suite_info *s) { return e->supports(s->transform, s->key_len); }

/* ------------------------------------------------------------------------------------------------ key derivation -- */

static void check_kdf(const char *key, const char *salt, int label, const char *expected) {
  uint8_t k[32], s[14], out[128];
  const size_t key_len = unhex(key, k), salt_len = unhex(salt, s), len = strlen(expected) / 2;
  check(ums_kdf(k, key_len, s, salt_len, (uint8_t)label, out, len) == UMS_OK && is_hex(out, len, expected), "kdf", key);
}

static void check_all_kdf(void) {
  const char *key = "e1f97a0d3e018be0d64fa32c06de4139", *salt = "0ec675ad498afeebb6960b3aabe6"; /* RFC 3711, B.3 */
  check_kdf(key, salt, 0, "c61e7a93744f39ee10734afe3ff7a087");
  check_kdf(key, salt, 2, "30cbbc08863d8c85d49db34a9ae1");
  check_kdf(key, salt, 1,
            "cebe321f6ff7716b6fd4ab49af256a156d38baa48f0a0acf3c34e2359e6cdbcee049646c43d9327ad175578ef722709863"
            "71c10c9a369ac2f94a8c5fbcdddc256d6e919a48b610ef17c2041e474035766b68642c59bbfc2f34db60dbdfb2");
  check_kdf("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6", "3b04803de51ee7c96423ab5b78d2", 0,
            "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4"); /* RFC 6188, 7.1's master key: 7.2 */
}

/* ----------------------------------------------------------------------------------------------------- contexts -- */

static const ums_rcc NO_ROC, MODE_2 = {2, 14, 64};

static ums_srtp *make_context(const ums_engine *e, ums_suite suite, int direction, uint32_t flags, ums_rcc rcc,
                              const uint8_t *key, const uint8_t *salt) {
  const ums_master_key master = {.key = key, .salt = salt};
  const ums_srtp_config cfg = {.suite = suite,
                               .direction = (uint8_t)direction,
                               .n_keys = 1,
                               .max_ssrc = 4,
                               .rtp_window = 128,
                               .rtcp_window = 128,
                               .flags = flags,
                               .rcc = rcc,
                               .keys = &master};
  const size_t len = ums_srtp_sizeof(&cfg), rounded = (len + 63) / 64 * 64;
  ums_srtp *ctx = rounded > 0 ? aligned_alloc(64, rounded) : NULL;
  if (ctx == NULL || ums_srtp_init(ctx, rounded, &cfg, e) != UMS_OK) {
    check(0, "init", e->name);
    exit(1);
  }
  return ctx;
}

static void drop_context(ums_srtp *ctx) {
  ums_srtp_wipe(ctx);
  free(ctx);
}

/* One packet at an odd address; returns its length after the transform, 0 when it failed. */
static uint32_t transform(ums_srtp *ctx, int direction, uint8_t *packet, uint32_t len, int rtcp) {
  ums_packet p = {.data = packet, .len = len, .capacity = ROOM - 1, .rtcp = (uint8_t)rtcp};
  const size_t ok = direction == UMS_SEND ? ums_srtp_protect(&ctx, &p, 1) : ums_srtp_unprotect(&ctx, &p, 1);
  return ok == 1 ? p.len : 0;
}

/* ------------------------------------------------------------------------------------------------------ packets -- */

typedef struct fixed_packet {
  const char *name;
  ums_suite suite;
  uint32_t flags;
  int rtcp;
  const char *key, *salt, *plain, *cipher;
} fixed_packet;

#define KEY_128 "000102030405060708090a0b0c0d0e0f"
#define KEY_256 KEY_128 "101112131415161718191a1b1c1d1e1f"
#define GCM_SALT "517569642070726f2071756f"
#define RTP_PLAIN "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573"
#define RTCP_PLAIN                                                                                                     \
  "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef"

/* The rows of RTCP and ROC have an index that only a receiver comes to at once. */
static const fixed_packet PACKETS[] = {
    {"RFC 7714 16.1.1", UMS_AEAD_AES_128_GCM, UMS_LAB_SESSION_KEYS, 0, KEY_128, GCM_SALT, RTP_PLAIN,
     "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833"
     "899d7f27beb16a9152cf765ee4390cce"},
    {"RFC 7714 16.2.1", UMS_AEAD_AES_256_GCM, UMS_LAB_SESSION_KEYS, 0, KEY_256, GCM_SALT, RTP_PLAIN,
     "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b"
     "7aa3db36dfffd6b0f9bb7878d7a76c13"},
    {"RFC 7714 17.1", UMS_AEAD_AES_128_GCM, UMS_LAB_SESSION_KEYS, 1, KEY_128, GCM_SALT, RTCP_PLAIN,
     "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9"
     "275bc84aa45896cf4d2fc5abf87245d9eade800005d4"},
    {"RFC 7714 17.2", UMS_AEAD_AES_256_GCM, UMS_LAB_SESSION_KEYS, 1, KEY_256, GCM_SALT, RTCP_PLAIN,
     "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b"
     "6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4"},
    {"libsrtp 2.7, 160 octets", UMS_AES_CM_128_HMAC_SHA1_80, 0, 0, KEY_128, "202122232425262728292a2b2c2d",
     "800012340000000100c0ffee00070e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9e0e7eef5fc03"
     "0a11181f262d343b424950575e656c737a81888f969da4abb2b9c0c7ced5dce3eaf1f8ff060d141b222930373e454c535a61"
     "686f767d848b9299a0a7aeb5bcc3cad1d8dfe6edf4fb020910171e252c333a41484f565d646b727980878e959ca3aab1b8bf"
     "c6cdd4dbe2e9f0f7fe050c131a21282f363d444b5259",
     "800012340000000100c0ffeed2c326607793c42d7e608b35fd053b717dcbabe29b0a72650e4b9bfead3094a57d3b8d16bcee"
     "b83012a88b16e4dfb199af95f5f684d45e4f8d8793a77a2ee1ead60ab5113dd2c56eddb7561a6be3009d630a06fc0e858bf5"
     "cfadf53ec27b5bfac78d493baba6b2c94980f6708dd7173e58a271d3f3a08a336bed85271b855497fc933bf6d102d21bf7d9"
     "f9f9dfa90251ea43cbfab8a1d53aedb1bafb3459c7d7166986c0d10f729792ca"},
};

/* tests/vectors/rfc4771/packets.json */
static const fixed_packet ROC_5 = {"RFC 4771 mode 2, ROC 5",
                                   UMS_AES_CM_128_HMAC_SHA1_80,
                                   0,
                                   0,
                                   "e1f97a0d3e018be0d64fa32c06de4139",
                                   "0ec675ad498afeebb6960b3aabe6",
                                   "8060008000005000cafebabe80878e959ca3aab1b8bfc6cdd4dbe2e9f0f7fe05",
                                   "8060008000005000cafebabe30a05ba22d200bf91765b34366ca5257b79b77e200000005"
                                   "925172fa61933aba0f25"};

static void check_packet(const ums_engine *e, const fixed_packet *row, ums_rcc rcc) {
  uint8_t key[32], salt[14], buffer[ROOM], *packet = buffer + 1;
  unhex(row->key, key);
  unhex(row->salt, salt);
  uint32_t len = (uint32_t)unhex(row->plain, packet);
  if (!row->rtcp && rcc.mode == 0) {
    ums_srtp *out = make_context(e, row->suite, UMS_SEND, row->flags, rcc, key, salt);
    len = transform(out, UMS_SEND, packet, len, 0);
    check(is_hex(packet, len, row->cipher), row->name, e->name);
    drop_context(out);
  }
  ums_srtp *in = make_context(e, row->suite, UMS_RECEIVE, row->flags, rcc, key, salt);
  len = (uint32_t)unhex(row->cipher, packet);
  len = transform(in, UMS_RECEIVE, packet, len, row->rtcp);
  check(is_hex(packet, len, row->plain), row->name, e->name);
  drop_context(in);
}

/* -------------------------------------------------------------------------------------------------- round trips -- */

static uint32_t chaos = 1;
static uint8_t next_octet(void) { return (uint8_t)((chaos = chaos * 1664525 + 1013904223) >> 24); }

static uint32_t make_packet(uint8_t *p, uint16_t seq, uint32_t payload, int rtcp) {
  const uint8_t rtp[12] = {0x80, 0, (uint8_t)(seq >> 8), (uint8_t)seq, 0, 0, 0, 1, 0xca, 0xfe, 0xba, 0xbe};
  const uint8_t report[8] = {0x80, 200, 0, 1, 0xca, 0xfe, 0xba, 0xbe};
  const uint32_t csrcs = rtcp ? 0 : seq % 16; /* headers, which are GCM's AAD, of all lengths */
  const uint32_t header = (rtcp ? sizeof report : sizeof rtp) + 4 * csrcs;
  memcpy(p, rtcp ? report : rtp, rtcp ? sizeof report : sizeof rtp);
  p[0] |= (uint8_t)csrcs;
  for (uint32_t i = 0; i < csrcs; i++)
    memset(p + sizeof rtp + 4 * i, (int)i + 1, 4);
  for (uint32_t i = 0; i < payload; i++)
    p[header + i] = next_octet();
  return header + payload;
}

/* A burst of unlike packets, every third one RTCP: sent by one engine and by `portable`, opened by the other. */
static void check_round_trip(const ums_engine *sender, const ums_engine *receiver, const ums_suite_info *suite,
                             ums_rcc rcc) {
  static uint8_t plain[BURST][ROOM], packet[BURST][ROOM], again[BURST][ROOM];
  uint8_t key[32], salt[14];
  for (size_t i = 0; i < sizeof key; i++)
    key[i] = next_octet();
  for (size_t i = 0; i < sizeof salt; i++)
    salt[i] = next_octet();
  ums_srtp *out = make_context(sender, suite->suite, UMS_SEND, 0, rcc, key, salt);
  ums_srtp *same = make_context(engines[n_engines - 1], suite->suite, UMS_SEND, 0, rcc, key, salt);
  ums_srtp *in = make_context(receiver, suite->suite, UMS_RECEIVE, 0, rcc, key, salt);
  ums_srtp *outs[BURST], *sames[BURST], *ins[BURST];
  ums_packet sent[BURST], sent_again[BURST];
  uint32_t len[BURST];
  for (uint32_t i = 0; i < BURST; i++) {
    const uint32_t payload = i < 2 ? i : i % 7 == 6 ? 1200 + i : (i * 37) % 333;
    const uint32_t odd = i % 4; /* buffers have every alignment */
    const int rtcp = i % 3 == 2;
    len[i] = make_packet(plain[i], (uint16_t)(65530 + i), rtcp ? payload & ~3u : payload, rtcp);
    memcpy(packet[i] + odd, plain[i], len[i]);
    memcpy(again[i] + odd, plain[i], len[i]);
    sent[i] = (ums_packet){.data = packet[i] + odd, .len = len[i], .capacity = ROOM - 4, .rtcp = (uint8_t)rtcp};
    sent_again[i] = sent[i];
    sent_again[i].data = again[i] + odd;
    outs[i] = out, sames[i] = same, ins[i] = in;
  }
  check(ums_srtp_protect(outs, sent, BURST) == BURST, suite->name, "protect");
  check(ums_srtp_protect(sames, sent_again, BURST) == BURST, suite->name, "protect");
  for (uint32_t i = 0; i < BURST; i++)
    check(sent[i].len == sent_again[i].len && memcmp(sent[i].data, sent_again[i].data, sent[i].len) == 0, suite->name,
          "two engines, two results");
  for (uint32_t i = 0; i < BURST; i += 5)
    sent[i].data[sent[i].len - 1] ^= 0x80; /* forged; its neighbours must not notice */
  ums_srtp_unprotect(ins, sent, BURST);
  for (uint32_t i = 0; i < BURST; i++) {
    if (i % 5 == 0)
      check(sent[i].status == UMS_AUTH_FAIL, suite->name, "a forged packet is refused");
    else
      check(sent[i].status == UMS_OK && sent[i].len == len[i] && memcmp(sent[i].data, plain[i], len[i]) == 0,
            suite->name, "what comes out is what went in");
  }
  drop_context(out);
  drop_context(same);
  drop_context(in);
}

int main(void) {
  find_engines();
  check_all_kdf();
  unsigned packets = 0, trips = 0;
  for (size_t a = 0; a < n_engines; a++) {
    for (size_t i = 0; i < sizeof PACKETS / sizeof *PACKETS; i++)
      if (runs(engines[a], ums_suite_find(PACKETS[i].suite)))
        check_packet(engines[a], &PACKETS[i], NO_ROC), packets++;
    check_packet(engines[a], &ROC_5, MODE_2), packets++;
    for (size_t b = 0; b < n_engines; b++)
      for (size_t i = 0; i < ums_suite_count(); i++) {
        const ums_suite_info *suite = ums_suite_at(i);
        if (!runs(engines[a], suite) || !runs(engines[b], suite))
          continue;
        check_round_trip(engines[a], engines[b], suite, NO_ROC), trips++;
        if (suite->auth_key_len != 0)
          check_round_trip(engines[a], engines[b], suite, MODE_2), trips++;
      }
  }
  printf("%zu engines, %u packets, %u round trips: %d failures\n", n_engines, packets, trips, failures);
  return failures != 0;
}
