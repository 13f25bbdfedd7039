/*
 * Known answers for engines. Each row is one job through load_key and submit, with its own keys: protect and compare,
 * open and compare, then open it with one bit of the tag wrong, which must fail and leave the octets as they were.
 */
#include "engine.h"

#include <stdatomic.h>
#include <stdlib.h>

#define MAX_DATA 640
#define MAX_AUTH_KEY 80

typedef struct known_answer {
  const char *name; /* where it comes from */
  ums_transform transform;
  const char *cipher_key, *auth_key, *iv; /* hexadecimal, as all octets here */
  const char *aad, *plain;                /* in the packet one after the other */
  const char *cipher;                     /* NULL: not compared */
  const char *tail;
  const char *tag; /* NULL: 10 octets, not compared. "": there is none, so what opens the packet is what made it */
  uint16_t zeros;  /* this many zero octets follow `plain` */
  const char *gap; /* octets between `plain` and tag that no MAC covers; NULL: none */
} known_answer;

/* Six times 16 octets of the RFC 3711 form: key, IV block, keystream over zeros. */
#define KEYSTREAM(name, key, iv, stream)                                                                               \
  { name, UMS_AES_CM, key, "", iv, "", "", stream, "", NULL, sizeof(stream) / 2, NULL }
#define CIPHER(name, key, iv, plain, cipher)                                                                           \
  { name, UMS_AES_CM, key, "", iv, "", plain, cipher, "", NULL, 0, NULL }
#define HMAC(name, key, data, tag)                                                                                     \
  { name, UMS_NULL_CIPHER, "", key, "", data, "", "", "", tag, 0, NULL }
#define GCM(name, key, iv, aad, tail, plain, cipher, tag)                                                              \
  { name, UMS_AES_GCM, key, "", iv, aad, plain, cipher, tail, tag, 0, NULL }

#define ROC_CARRYING(name, key, auth_key, iv, header, plain, cipher, roc, gap, tag)                                    \
  { name, UMS_AES_CM, key, auth_key, iv, header, plain, cipher, roc, tag, 0, gap }

#define KEY_128 "000102030405060708090a0b0c0d0e0f"
#define KEY_192 KEY_128 "1011121314151617"
#define KEY_256 KEY_192 "18191a1b1c1d1e1f"
#define FIPS_BLOCK "00112233445566778899aabbccddeeff"

#define SP_COUNTER "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
#define SP_PLAIN                                                                                                       \
  "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"                                                   \
  "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"

#define GCM_KEY "feffe9928665731c6d6a8f9467308308"
#define GCM_IV "cafebabefacedbaddecaf888"
#define GCM_AAD "feedfacedeadbeeffeedfacedeadbeefabaddad2"
#define GCM_PLAIN                                                                                                      \
  "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"                                                   \
  "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"

#define SRTP_OFFSET "f0f1f2f3f4f5f6f7f8f9fafbfcfd0000"
#define SRTP_GCM_IV "51753c6580c2726f20718414"
#define SRTP_GCM_HEADER "8040f17b8041f8d35501a0b2"
#define SRTP_GCM_PLAIN "47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573"

#define TEN(x) x x x x x x x x x x

static const known_answer KNOWN_ANSWERS[] = {
    CIPHER("FIPS-197 C.1 AES-128", KEY_128, FIPS_BLOCK, "00000000000000000000000000000000",
           "69c4e0d86a7b0430d8cdb78070b4c55a"),
    CIPHER("FIPS-197 C.2 AES-192", KEY_192, FIPS_BLOCK, "00000000000000000000000000000000",
           "dda97ca4864cdfe06eaf70a0ec0d7191"),
    CIPHER("FIPS-197 C.3 AES-256", KEY_256, FIPS_BLOCK, "00000000000000000000000000000000",
           "8ea2b7ca516745bfeafc49904b496089"),
    CIPHER("SP 800-38A F.5.1 CTR-AES128", "2b7e151628aed2a6abf7158809cf4f3c", SP_COUNTER, SP_PLAIN,
           "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
           "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee"),
    CIPHER("SP 800-38A F.5.3 CTR-AES192", "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", SP_COUNTER, SP_PLAIN,
           "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94"
           "1e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050"),
    CIPHER("SP 800-38A F.5.5 CTR-AES256", "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
           SP_COUNTER, SP_PLAIN,
           "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
           "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"),
    GCM("SP 800-38D GCM-AES128 case 4", GCM_KEY, GCM_IV, GCM_AAD, "", GCM_PLAIN,
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
        "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
        "5bc94fbc3221a5db94fae95ae7121a47"),
    GCM("SP 800-38D GCM-AES256 case 16", GCM_KEY GCM_KEY, GCM_IV, GCM_AAD, "", GCM_PLAIN,
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        "76fc6ece0f4e1768cddf8853bb2d551b"),
    HMAC("RFC 2202 HMAC-SHA1 case 1", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
         "b617318655057264e28bc0b6fb378c8ef146be00"),
    HMAC("RFC 2202 HMAC-SHA1 case 2", "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
         "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
    HMAC("RFC 2202 HMAC-SHA1 case 3", TEN("aa") TEN("aa"), TEN("dd") TEN("dd") TEN("dd") TEN("dd") TEN("dd"),
         "125d7342b9ac11cd91a39af48aa17b4f63f175d3"),
    HMAC("RFC 2202 HMAC-SHA1 case 7", TEN("aa") TEN("aa") TEN("aa") TEN("aa") TEN("aa") TEN("aa") TEN("aa") TEN("aa"),
         "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b657920"
         "616e64204c6172676572205468616e204f6e6520426c6f636b2d53697a652044617461",
         "e8e99d0f45237d786d6bbaa7965c7808bbff1a91"),
    KEYSTREAM("RFC 3711 B.2 AES-CM", "2b7e151628aed2a6abf7158809cf4f3c", SRTP_OFFSET,
              "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab41e95b3bb0a2e8dd477901e4fca894c0"),
    KEYSTREAM("RFC 6188 7.3 AES-192-CM", "eab234764e517b2d3d160d587d8c86219740f65f99b6bcf7", SRTP_OFFSET,
              "35096cba4610028dc1b57503804ce37c5de986291dcce161d5165ec4568f5c9a474a40c77894bc17180202272a4c264d"),
    KEYSTREAM("RFC 6188 7.1 AES-256-CM", "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98",
              SRTP_OFFSET,
              "92bdd28a93c3f52511c677d08b5515a49da71b2378a854f67050756ded165bac63c4868b7096d88421b563b8c94c9a31"),
    GCM("RFC 7714 16.1.1 AEAD_AES_128_GCM", KEY_128, SRTP_GCM_IV, SRTP_GCM_HEADER, "", SRTP_GCM_PLAIN,
        "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833",
        "899d7f27beb16a9152cf765ee4390cce"),
    GCM("RFC 7714 16.1.3 AEAD_AES_128_GCM tag only", KEY_128, SRTP_GCM_IV, SRTP_GCM_HEADER SRTP_GCM_PLAIN, "", "", "",
        "22493f82d2bce397e9d79e3b19aa4216"),
    GCM("RFC 7714 16.2.1 AEAD_AES_256_GCM", KEY_256, SRTP_GCM_IV, SRTP_GCM_HEADER, "", SRTP_GCM_PLAIN,
        "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b",
        "7aa3db36dfffd6b0f9bb7878d7a76c13"),
    GCM("RFC 7714 17.1 AEAD_AES_128_GCM SRTCP", KEY_128, "517524055203726f207170bb", "81c8000d4d617273", "800005d4",
        "4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
        "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b",
        "c84aa45896cf4d2fc5abf87245d9eade"),
    /* RFC 4771 publishes no packets: tests/vectors/rfc4771/packets.json, from a model that shares nothing with this. */
    ROC_CARRYING("RFC 4771 mode 1 and 2, ROC and MAC, AES-CM 128", "c61e7a93744f39ee10734afe3ff7a087",
                 "cebe321f6ff7716b6fd4ab49af256a156d38baa4", "30cbbc084cc3363bd49db34f9a610000",
                 "8060008000005000cafebabe", "80878e959ca3aab1b8bfc6cdd4dbe2e9f0f7fe05",
                 "30a05ba22d200bf91765b34366ca5257b79b77e2", "00000005", "00000005", "925172fa61933aba0f25"),
    ROC_CARRYING("RFC 4771 mode 2, MAC without ROC, AES-CM 128", "c61e7a93744f39ee10734afe3ff7a087",
                 "cebe321f6ff7716b6fd4ab49af256a156d38baa4", "30cbbc084cc3363bd49db34f9a600000",
                 "80600081000050a0cafebabe", "81888f969da4abb2b9c0c7ced5dce3eaf1f8ff06",
                 "f8a31be78a580d850d56474e8fbebdf620d4ddae", "00000005", NULL, "ce94be7f7f4a84b70f9dcddb1fd6"),
    ROC_CARRYING("RFC 4771 mode 1 and 3, no MAC, AES-CM 128", "c61e7a93744f39ee10734afe3ff7a087",
                 "cebe321f6ff7716b6fd4ab49af256a156d38baa4", "30cbbc084cc3363bd49db34f9a630000",
                 "8060008200005140cafebabe", "828990979ea5acb3bac1c8cfd6dde4ebf2f90007",
                 "a3d9ae33d05592808895023b71c1c616ea6f8b41", "00000005", NULL, ""),
    ROC_CARRYING(
        "RFC 4771 mode 1 and 2, ROC and MAC, AES-CM 256",
        "dcca7ab05df55156ce7489f8925d0b9140fc9c2f2c9fd0ba03c770fb762ea925", "9ad80f1cf5586a9c991d1dea61b543478bacc764",
        "4add6b4091b9f793edf5393408c90000", "8060ffc0009fd800cafebabe",
        "c0c7ced5dce3eaf1f8ff060d141b222930373e454c535a61686f767d848b9299a0a7aeb5bcc3cad1d8dfe6edf4fb020910171e25"
        "2c333a41484f565d646b727980878e959ca3aab1b8bfc6cdd4dbe2e9f0f7fe050c131a21282f363d444b525960676e757c838a91"
        "989fa6adb4bbc2c9d0d7dee5ecf3fa01080f161d242b323940474e555c636a71787f868d949ba2a9b0b7bec5ccd3dae1e8eff6fd"
        "040b1219",
        "5990e5ff7ba71bc9f48929f29627cb11e0a68cbd0187c6f0b505ef1acd7a250030c3996a16ce41d5d6cbfaaf50f55db651cef0e0"
        "34b448928ddcccd062789def4a173759703d1692ed29c94942c637df91eac40363072ab6bee2be8bbe2e2baaa9a256fcf1c6cd81"
        "15cc19462c6439ec110f4143a91e42dd04aa217e3190babeb3265c03e50d6bfa9aeafdb45c2dd11964dfa6f160fb0c2d65bfdeb1"
        "8e977fdf",
        "ffffffff", "ffffffff", "c5e03ea2325447841a5c"),
    ROC_CARRYING(
        "RFC 4771 mode 2, MAC without ROC, AES-CM 256",
        "dcca7ab05df55156ce7489f8925d0b9140fc9c2f2c9fd0ba03c770fb762ea925", "9ad80f1cf5586a9c991d1dea61b543478bacc764",
        "4add6b4091b9f793edf5393408c80000", "8060ffc1009fd8a0cafebabe",
        "c1c8cfd6dde4ebf2f900070e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9e0e7eef5fc030a11181f26"
        "2d343b424950575e656c737a81888f969da4abb2b9c0c7ced5dce3eaf1f8ff060d141b222930373e454c535a61686f767d848b92"
        "99a0a7aeb5bcc3cad1d8dfe6edf4fb020910171e252c333a41484f565d646b727980878e959ca3aab1b8bfc6cdd4dbe2e9f0f7fe"
        "050c131a",
        "e59af7453a88ac3c05c7ca204ff562ef86899d37433132c85e898ba2cc3b7069de2dff8ed7a7e3d0c140a2adfbfb8cc1e541188c"
        "99e0c4b0768d40b3bab6530e2838b994b2fe5dd0d0fb679992283389f070d9f3547802e292753c8bcfb3784d0ea9a9b07fb9592a"
        "9aaf2b6494bcb84950ca4f141764a36e095f351754d706aa223e8cb662e5337884aad8329a277abbc2c80cbc0854efe8fb1a96f8"
        "b2c1ca8c",
        "ffffffff", NULL, "68fdfcbbe75df64a8db19e81f6eb"),
    ROC_CARRYING("RFC 4771 mode 2, tag of 8 octets, AES-CM 128", "c61e7a93744f39ee10734afe3ff7a087",
                 "cebe321f6ff7716b6fd4ab49af256a156d38baa4", "30cbbc084cc3363bd49db34f9ae20000",
                 "80600003000001e0cafebabe", "030a11181f262d343b424950575e656c737a8188",
                 "2f83600bb5b3b3f504a65a618640c0b6371a3443", "00000005", "00000005", "753b125e"),
    /* Long enough for every lane and power of H; answers from OpenSSL. */
    {"AES-CM 128 and HMAC-SHA1, 500 octets", UMS_AES_CM, KEY_128, "404142434445464748494a4b4c4d4e4f50515253",
     SRTP_OFFSET, "808182838485868788898a8b", "", NULL, "00000001", "4e9814157ec79051be99", 500, NULL},
    {"AES-CM 256 and HMAC-SHA1, 500 octets", UMS_AES_CM, KEY_256, "404142434445464748494a4b4c4d4e4f50515253",
     SRTP_OFFSET, "808182838485868788898a8b", "", NULL, "00000001", "13f1d2e8b437316bb5ac", 500, NULL},
    {"AES-GCM 128, 500 octets", UMS_AES_GCM, KEY_128, "", SRTP_GCM_IV, "808182838485868788898a8b", "", NULL, "00000001",
     "3b95ad4d45f01795d3210d7e8a55c7d0", 500, NULL},
    {"AES-GCM 256, 500 octets", UMS_AES_GCM, KEY_256, "", SRTP_GCM_IV, "808182838485868788898a8b", "", NULL, "00000001",
     "d0f73f558d6836d7a1998f3debb95150", 500, NULL},
};
#define N_KNOWN_ANSWERS (sizeof KNOWN_ANSWERS / sizeof *KNOWN_ANSWERS)

const char *ums_engine_test_name(size_t i) { return i < N_KNOWN_ANSWERS ? KNOWN_ANSWERS[i].name : NULL; }

/* ----------------------------------------------------------------------------------------------- the test hook -- */

/* Low half: 1 + row that sees a wrong answer, 0 for none. High half: how often that was changed. */
static atomic_uint corrupt_state;

void ums_engine_corrupt_test(const char *test_name) {
  unsigned row = 0;
  for (size_t i = 0; test_name != NULL && i < N_KNOWN_ANSWERS; i++)
    if (strcmp(KNOWN_ANSWERS[i].name, test_name) == 0)
      row = (unsigned)i + 1;
  unsigned old = atomic_load(&corrupt_state);
  while (!atomic_compare_exchange_weak(&corrupt_state, &old, ((old & 0xffff0000u) + 0x10000u) | row))
    ;
}

unsigned ums_engine_corrupt_epoch(void) { return atomic_load(&corrupt_state) >> 16; }

/* ----------------------------------------------------------------------------------------------------- running -- */

static unsigned digit(char c) { return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10); }

static size_t unhex(const char *text, uint8_t *out, size_t max) {
  size_t n = 0;
  for (; text[0] != 0 && n < max; text += 2)
    out[n++] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
  return n;
}

static int same_as_hex(const char *text, const uint8_t *data, int corrupt) {
  uint8_t expected[MAX_DATA];
  size_t n = unhex(text, expected, sizeof expected);
  if (n > 0)
    expected[0] ^= (uint8_t)corrupt;
  return memcmp(expected, data, n) == 0;
}

static ums_status run(const ums_engine *e, ums_job *job) {
  ums_job *const burst[1] = {job};
  job->status = UMS_ENGINE;
  return e->submit(e, burst, 1) == 1 ? (ums_status)job->status : UMS_ENGINE;
}

/* Protects, opens and opens a forgery; `job` and its `packet` are complete but for flags. */
static int answers_right(const ums_engine *e, const known_answer *row, ums_job *job, size_t len, int corrupt) {
  uint8_t plain[MAX_DATA], forged[MAX_DATA];
  uint8_t *packet = job->data, *tag = packet + job->tag_off;
  memcpy(plain, packet, len);
  job->flags = UMS_JOB_ENCRYPT;
  if (run(e, job) != UMS_OK)
    return 0;
  if (row->cipher != NULL && !same_as_hex(row->cipher, packet + job->cipher_off, corrupt))
    return 0;
  if (row->tag != NULL && !same_as_hex(row->tag, tag, corrupt))
    return 0;
  if (job->tag_len == 0)
    return run(e, job) == UMS_OK && memcmp(packet, plain, len) == 0;
  job->flags = 0;
  tag[job->tag_len - 1] ^= 0x01;
  memcpy(forged, packet, len);
  if (run(e, job) != UMS_AUTH_FAIL || memcmp(packet, forged, len) != 0)
    return 0;
  tag[job->tag_len - 1] ^= 0x01;
  return run(e, job) == UMS_OK && memcmp(packet, plain, job->tag_off) == 0;
}

static int passes(const ums_engine *e, const known_answer *row, int corrupt) {
  uint8_t cipher_key[32], auth_key[MAX_AUTH_KEY], packet[MAX_DATA] = {0}, tag[UMS_SHA1_DIGEST];
  ums_session_key key = {.transform = row->transform, .cipher_key = cipher_key, .auth_key = auth_key};
  key.cipher_key_len = (uint8_t)unhex(row->cipher_key, cipher_key, sizeof cipher_key);
  key.auth_key_len = (uint8_t)unhex(row->auth_key, auth_key, sizeof auth_key);

  ums_key prepared;
  ums_job job = {.data = packet, .key = &prepared};
  (void)unhex(row->iv, job.iv, sizeof job.iv);
  job.cipher_off = (uint32_t)unhex(row->aad, packet, sizeof packet);
  job.cipher_len = (uint32_t)unhex(row->plain, packet + job.cipher_off, sizeof packet - job.cipher_off) + row->zeros;
  const uint32_t end = job.cipher_off + job.cipher_len;
  job.tag_off = end + (row->gap != NULL ? (uint32_t)unhex(row->gap, packet + end, sizeof packet - end) : 0);
  job.auth_len = row->transform == UMS_AES_GCM ? job.cipher_off : end;
  job.tail_len = (uint8_t)unhex(row->tail, job.tail, sizeof job.tail);
  job.tag_len = row->tag != NULL ? (uint8_t)unhex(row->tag, tag, sizeof tag) : 10;

  if (e->load_key(e, &prepared, &key) != UMS_OK)
    return 0;
  int right = answers_right(e, row, &job, job.tag_off + job.tag_len, corrupt);
  e->drop_key(e, &prepared);
  return right;
}

ums_status ums_engine_self_test(const ums_engine *e, const char **failed) {
  if (failed != NULL)
    *failed = NULL;
  if (e == NULL)
    return UMS_BAD_ARGUMENT;
  if (!e->probe())
    return UMS_UNSUPPORTED;
  unsigned corrupt_row = atomic_load(&corrupt_state) & 0xffffu;
  for (size_t i = 0; i < N_KNOWN_ANSWERS; i++) {
    const known_answer *row = &KNOWN_ANSWERS[i];
    if (!e->supports(row->transform, strlen(row->cipher_key) / 2))
      continue;
    if (!passes(e, row, corrupt_row == i + 1)) {
      if (failed != NULL)
        *failed = row->name;
      return UMS_SELF_TEST;
    }
  }
  return UMS_OK;
}
