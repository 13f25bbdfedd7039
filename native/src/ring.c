/* Single-producer single-consumer ring; see ring.h. */
#include "ring.h"

static uint32_t power_of_two(uint32_t capacity) {
  uint32_t n = 1;
  while (n < capacity)
    n <<= 1;
  return n;
}

size_t ums_spsc_memory(uint32_t capacity, uint32_t entry) { return (size_t)power_of_two(capacity) * entry; }

void ums_spsc_init(ums_spsc *ring, void *memory, uint32_t capacity, uint32_t entry) {
  atomic_init(&ring->written, 0);
  atomic_init(&ring->taken, 0);
  ring->mask = power_of_two(capacity) - 1;
  ring->entry = entry;
  ring->slots = memory;
}

static void *slot(ums_spsc *ring, uint32_t count) { return ring->slots + (size_t)(count & ring->mask) * ring->entry; }

void *ums_spsc_reserve(ums_spsc *ring) {
  uint32_t written = atomic_load_explicit(&ring->written, memory_order_relaxed);
  /* Acquire: the consumer has finished reading the slot before we write it again. */
  uint32_t taken = atomic_load_explicit(&ring->taken, memory_order_acquire);
  return written - taken > ring->mask ? NULL : slot(ring, written);
}

void ums_spsc_commit(ums_spsc *ring) {
  uint32_t written = atomic_load_explicit(&ring->written, memory_order_relaxed);
  atomic_store_explicit(&ring->written, written + 1, memory_order_release);
}

void *ums_spsc_peek(ums_spsc *ring) {
  uint32_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
  uint32_t written = atomic_load_explicit(&ring->written, memory_order_acquire);
  return written == taken ? NULL : slot(ring, taken);
}

void ums_spsc_release(ums_spsc *ring) {
  uint32_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
  atomic_store_explicit(&ring->taken, taken + 1, memory_order_release);
}
