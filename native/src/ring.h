/*
 * A ring with one producer and one consumer thread. Neither ever waits: a full ring refuses, an empty one says so.
 * Entries are written and read in place, so a datagram is copied once.
 */
#ifndef UMS_RING_H
#define UMS_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ums_ring {
  _Alignas(64) _Atomic uint32_t written; /* entries ever committed; wraps */
  _Alignas(64) _Atomic uint32_t taken;   /* entries ever released; wraps */
  _Alignas(64) uint32_t mask;
  uint32_t entry;
  uint8_t *slots;
} ums_ring;

size_t ums_ring_memory(uint32_t capacity, uint32_t entry); /* octets for the slots; capacity is rounded up to 2^n */
void ums_ring_init(ums_ring *ring, void *memory, uint32_t capacity, uint32_t entry);

void *ums_ring_reserve(ums_ring *ring); /* producer: the slot to fill, NULL when full */
void ums_ring_commit(ums_ring *ring);   /* producer: the reserved slot is complete */

void *ums_ring_peek(ums_ring *ring);   /* consumer: the oldest entry, NULL when empty */
void ums_ring_release(ums_ring *ring); /* consumer: done with it */

#endif
