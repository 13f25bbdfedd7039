/* Prints each engine of the core and what its self-test says; status 1 when one fails. For emulated machines. */
#include "ums.h"
#include <stdio.h>
int main(void) {
  int failures = 0;
  for (size_t i = 0; i < ums_engine_count(); i++) {
    const ums_engine *engine = ums_engine_at(i);
    const char *failed = "";
    ums_status status = engine->probe() ? ums_engine_self_test(engine, &failed) : UMS_OK;
    failures += status != UMS_OK;
    printf("%s %s\n", engine->name, status == UMS_OK ? (engine->probe() ? "passed" : "absent") : failed);
  }
  return failures != 0;
}
