/*
 * Every SHA-1 kernel of x86/mac.h against HMAC-SHA1 in plain C, whichever of
 * them this processor's engines choose. Prints "KERNEL ok", "KERNEL absent" or
 * "KERNEL wrong: ..." for each.
 */
#include <stdio.h>
#include <stdlib.h>

#include "x86/mac.h"

#include "prim/prim.h"

#define MOST 16
#define LONGEST 300

static const struct {
  const char *name;
  x86_mac_kernel kernel;
  size_t ways;
} KERNELS[] = {
    {"plain", ums_mac_one, 1},
    {"sha-ni", ums_mac_ni, 4},
    {"ni avx512", ums_mac_ni_avx512, 4},
    {"x4 sse", ums_mac_x4_sse, 4},
    {"x8 avx2", ums_mac_x8_avx2, 8},
    {"x8 avx512", ums_mac_x8_avx512, 8},
    {"x16 avx512", ums_mac_x16_avx512, 16},
};

static int present(const char *name) {
  if (strncmp(name, "ni ", 3) == 0 && !ums_sha1_ni_present())
    return 0;
  if (strstr(name, "avx512"))
    return __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi2");
  if (strstr(name, "avx2"))
    return __builtin_cpu_supports("avx2");
  if (strstr(name, "sse"))
    return __builtin_cpu_supports("sse4.1");
  return strcmp(name, "plain") == 0 || ums_sha1_ni_present();
}

static uint8_t data[MOST][LONGEST + 1];
static _Alignas(64) uint32_t states[MOST][16];
static ums_hmac_sha1 key[MOST];

static void message(x86_mac_item *it, const uint8_t *text, size_t len,
                    const uint32_t *state) {
  const size_t rest = len % 64, end = rest + 9 > 64 ? 128 : 64;
  it->data = text;
  it->states = state;
  it->direct = (uint32_t)(len / 64);
  it->blocks = it->direct + (uint32_t)(end / 64);
  memset(it->last, 0, sizeof it->last);
  memcpy(it->last, text + len - rest, rest);
  it->last[rest] = 0x80;
  ums_store32(it->last + end - 4, (uint32_t)(8 * (64 + len)));
}

/* n messages of falling length, their texts at odd addresses. */
static int right(x86_mac_kernel kernel, size_t n, unsigned round) {
  x86_mac_item item[MOST], *sorted[MOST];
  size_t length[MOST], len = round % 2 ? LONGEST : 40 + (size_t)rand() % 100;
  for (size_t i = 0; i < n; i++) {
    length[i] = len;
    message(&item[i], data[i] + 1, len, states[i]);
    sorted[i] = &item[i];
    len -= (size_t)rand() % (len / 4 + 1);
  }
  kernel(sorted, n);
  for (size_t i = 0; i < n; i++) {
    uint8_t expected[20];
    ums_hmac_sha1_mac(&key[i], ums_sha1_blocks_portable, data[i] + 1, length[i],
                      NULL, 0, expected);
    if (memcmp(expected, item[i].digest, 20) != 0)
      return 0;
  }
  return 1;
}

int main(void) {
  for (size_t i = 0; i < MOST; i++) {
    for (size_t j = 0; j <= LONGEST; j++)
      data[i][j] = (uint8_t)rand();
    ums_hmac_sha1_init(&key[i], ums_sha1_blocks_portable, data[i], 20);
    memcpy(states[i], key[i].inner, 20);
    memcpy(states[i] + 8, key[i].outer, 20);
  }
  for (size_t k = 0; k < sizeof KERNELS / sizeof *KERNELS; k++) {
    if (!present(KERNELS[k].name)) {
      printf("%s absent\n", KERNELS[k].name);
      continue;
    }
    size_t wrong = 0;
    for (size_t n = 1; n <= KERNELS[k].ways && wrong == 0; n++)
      for (unsigned round = 0; round < 40; round++)
        if (!right(KERNELS[k].kernel, n, round))
          wrong = n;
    if (wrong)
      printf("%s wrong: %zu messages\n", KERNELS[k].name, wrong);
    else
      printf("%s ok\n", KERNELS[k].name);
  }
  return 0;
}
