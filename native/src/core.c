/* Status names, wiping, comparison in constant time, and the fork generation. */
#include "core.h"

#include <pthread.h>
#include <string.h>

#define STACK_OF_A_BURST (48 * 1024) /* octets; the deepest engine takes half of it */

static const char *const STATUS_NAMES[] = {
    [UMS_OK] = "OK",
    [UMS_PENDING] = "PENDING",
    [UMS_BUSY] = "BUSY",
    [UMS_FORKED] = "FORKED",
    [UMS_BAD_ARGUMENT] = "BAD_ARGUMENT",
    [UMS_UNSUPPORTED] = "UNSUPPORTED",
    [UMS_NO_ROOM] = "NO_ROOM",
    [UMS_BAD_PACKET] = "BAD_PACKET",
    [UMS_AUTH_FAIL] = "AUTH_FAIL",
    [UMS_REPLAY] = "REPLAY",
    [UMS_TOO_OLD] = "TOO_OLD",
    [UMS_WRONG_MKI] = "WRONG_MKI",
    [UMS_SSRC_FULL] = "SSRC_FULL",
    [UMS_KEY_EXPIRED] = "KEY_EXPIRED",
    [UMS_HELD] = "HELD",
    [UMS_ENGINE] = "ENGINE",
    [UMS_SELF_TEST] = "SELF_TEST",
    [UMS_SYSTEM] = "SYSTEM",
};

const char *ums_status_name(ums_status status) {
  size_t i = (size_t)status;
  return i < sizeof STATUS_NAMES / sizeof *STATUS_NAMES ? STATUS_NAMES[i] : "UNKNOWN";
}

void ums_wipe(void *p, size_t len) {
  if (len == 0)
    return;
  memset(p, 0, len);
  __asm__ volatile("" : : "r"(p) : "memory"); /* the zeros count as read, so memset stays */
}

__attribute__((noinline)) void ums_scrub_stack(void) {
  uint8_t below[STACK_OF_A_BURST];
  ums_wipe(below, sizeof below);
}

int ums_equal(const void *a, const void *b, size_t len) {
  const uint8_t *x = a, *y = b;
  uint32_t difference = 0;
  for (size_t i = 0; i < len; i++)
    difference |= (uint32_t)(x[i] ^ y[i]);
  __asm__ volatile("" : "+r"(difference)); /* no early exit can be deduced */
  return ums_verdict((int)((difference - 1) >> 31));
}

atomic_uint ums_fork_count;

static void in_forked_child(void) { atomic_fetch_add_explicit(&ums_fork_count, 1, memory_order_relaxed); }

/* At load, so that reading the generation costs one load. It can only fail for lack of memory, and then contexts that
 * a child inherits are still zeros, because arenas are MADV_WIPEONFORK. */
__attribute__((constructor)) static void watch_forks(void) { (void)pthread_atfork(NULL, NULL, in_forked_child); }
