/* The engines, best first; which one runs a suite; what is remembered of their self-tests. */
#include "engine.h"

#include <stdatomic.h>

static const ums_engine *const ENGINES[] = {
    &ums_engine_vaes512, /* NULL where it was not built, as the next ones */
    &ums_engine_vaes256, &ums_engine_aesni, &ums_engine_armv8ce, &ums_engine_portable,
};
#define N_ROWS (sizeof ENGINES / sizeof *ENGINES)

const ums_engine *ums_engine_at(size_t i) {
  for (size_t row = 0; row < N_ROWS; row++)
    if (ENGINES[row] != NULL && i-- == 0)
      return ENGINES[row];
  return NULL;
}

size_t ums_engine_count(void) {
  size_t n = 0;
  while (ums_engine_at(n) != NULL)
    n++;
  return n;
}

const ums_engine *ums_engine_find(const char *name) {
  const ums_engine *e = NULL;
  for (size_t i = 0; name != NULL && (e = ums_engine_at(i)) != NULL; i++)
    if (strcmp(e->name, name) == 0)
      return e;
  return NULL;
}

/*
 * Verdicts of the self-tests, by row. A verdict counts only for the state of the corrupt hook it was made under:
 * upper bits hold that state's number, the lowest two the verdict. Two threads that ask at once both run the test and
 * write the same answer.
 */
enum { NOT_RUN = 0, PASSED = 1, FAILED = 2 };
static atomic_uint verdicts[N_ROWS];

static int passes_self_test(size_t row) {
  unsigned epoch = ums_engine_corrupt_epoch() << 2;
  unsigned known = atomic_load_explicit(&verdicts[row], memory_order_acquire);
  if ((known & ~3u) == epoch && (known & 3u) != NOT_RUN)
    return (known & 3u) == PASSED;
  int passed = ums_engine_self_test(ENGINES[row], NULL) == UMS_OK;
  atomic_store_explicit(&verdicts[row], epoch | (passed ? PASSED : FAILED), memory_order_release);
  return passed;
}

const ums_engine *ums_engine_choose(ums_suite suite) {
  const ums_suite_info *info = ums_suite_find(suite);
  if (info == NULL)
    return NULL;
  for (size_t row = 0; row < N_ROWS; row++) {
    const ums_engine *e = ENGINES[row];
    if (e != NULL && e->probe() && e->supports(info->transform, info->key_len) && passes_self_test(row))
      return e;
  }
  return NULL;
}
