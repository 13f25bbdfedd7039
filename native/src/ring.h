/*
 * A ring with one producer and one consumer thread. Neither ever waits: a full ring refuses, an empty one says so.
 * Entries are written and read in place, so a datagram is copied once.
 */
#ifndef UMS_RING_H
#define UMS_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ums_spsc {
  _Alignas(64) _Atomic uint32_t written; /* entries ever committed; wraps */
  _Alignas(64) _Atomic uint32_t taken;   /* entries ever released; wraps */
  _Alignas(64) uint32_t mask;
  uint32_t entry;
  uint8_t *slots;
} ums_spsc;

size_t ums_spsc_memory(uint32_t capacity, uint32_t entry); /* octets for the slots; capacity is rounded up to 2^n */
void ums_spsc_init(ums_spsc *ring, void *memory, uint32_t capacity, uint32_t entry);

void *ums_spsc_reserve(ums_spsc *ring); /* producer: the slot to fill, NULL when full */
void ums_spsc_commit(ums_spsc *ring);   /* producer: the reserved slot is complete */

void *ums_spsc_peek(ums_spsc *ring);   /* consumer: the oldest entry, NULL when empty */
void ums_spsc_release(ums_spsc *ring); /* consumer: done with it */

#endif
