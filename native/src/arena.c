/* Arenas: pages of their own for keys and contexts, kept out of core dumps, swap and forked children. */
#include "core.h"

#include <errno.h>
#include <sys/mman.h>

#define ARENA_ALIGN 4096u

ums_status ums_arena_open(ums_arena *arena, size_t len) {
  if (arena == NULL)
    return UMS_BAD_ARGUMENT;
  *arena = (ums_arena){0};
  if (len == 0 || len > SIZE_MAX - ARENA_ALIGN)
    return UMS_BAD_ARGUMENT;
  size_t rounded = (len + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);

  void *base = mmap(NULL, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED)
    return errno == ENOMEM ? UMS_NO_ROOM : UMS_SYSTEM;
  /* Best effort, each on its own: what worked is in `flags`, and the daemon reports it. */
  uint32_t flags = 0;
  if (madvise(base, rounded, MADV_DONTDUMP) == 0)
    flags |= UMS_ARENA_DONTDUMP;
  if (madvise(base, rounded, MADV_WIPEONFORK) == 0)
    flags |= UMS_ARENA_WIPEONFORK;
  if (mlock(base, rounded) == 0)
    flags |= UMS_ARENA_LOCKED;
  *arena = (ums_arena){.base = base, .len = rounded, .flags = flags};
  return UMS_OK;
}

void ums_arena_close(ums_arena *arena) {
  if (arena == NULL || arena->base == NULL)
    return;
  ums_wipe(arena->base, arena->len);
  (void)munmap(arena->base, arena->len);
  *arena = (ums_arena){0};
}
