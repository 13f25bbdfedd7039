/*
 * Inside of the link: what its thread (serial_link.c) and the relay (relay_offload.c) share.
 *
 * Entries belong to the relay's thread, which fills one, puts its number into a ring and gets it back through `done`.
 * In between the link's thread has it. Nobody locks.
 */
#ifndef UMS_LINK_H
#define UMS_LINK_H

#include <pthread.h>

#include "core.h"
#include "frame.h"
#include "prim/prim.h"
#include "ring.h"
#include "ums_accel.h"

#define LINK_ENTRIES 64
#define LINK_OWNER 512 /* octets for whoever submits */
#define LINK_PLAIN 2240

/* Of an entry that comes back: the device's status, or one of these. */
#define LINK_MISSED 0xfe
#define LINK_LOST 0xff

enum { LINK_CONTROL, LINK_UNPROTECT, LINK_PROTECT, LINK_PRIORITIES };

typedef struct link_entry {
  _Alignas(64) uint8_t owner[LINK_OWNER];
  uint8_t plain[LINK_PLAIN]; /* the packet, for a CPU engine to go on with */
  uint8_t busy;              /* the relay's */
  umsa_head head;
  uint8_t status;
  uint8_t tries;
  uint16_t body_len; /* request, then reply */
  uint64_t submitted, deadline;
  uint8_t body[UMSA_MAX_BODY];
} link_entry;

struct ums_link {
  ums_link_config cfg;
  pthread_t thread;
  uint8_t running;
  uint8_t deaf;                            /* the link's thread: nothing more can come from the line */
  atomic_uint stopping, state, generation; /* generation: of starts */
  int fd, wake_fd, done_fd;
  uint32_t slots, credits;

  /* the link's thread */
  umsa_receiver receiver;
  uint8_t seq;
  uint16_t by_seq[256]; /* entry + 1 */
  uint32_t outstanding, in_window, misses;
  uint64_t sent_at;
  size_t out_at, out_len;
  uint8_t out[4 * UMSA_MAX_ENCODED];

  /* the relay's thread */
  uint8_t wrapped;
  uint32_t seen_generation, seen_state, counter;
  ums_aes wrap_aes;
  ums_ghash wrap_ghash;
  uint8_t slot_used[UMSA_SLOTS];
  uint8_t slot_wanted, slot_freed; /* keys wait for one; one has come free since */
  uint32_t since_verified;
  uint32_t flying, flying_octets; /* jobs under way, and what they have on the line towards the device */

  ums_spsc ring[LINK_PRIORITIES], done;
  uint32_t ring_memory[LINK_PRIORITIES][LINK_ENTRIES], done_memory[LINK_ENTRIES];
  _Atomic uint64_t jobs, answered, missed, refused, auth_fail, damaged, late, wrong, verified, fallback, loads, no_slot,
      round_trip_ns, used_slots;
  link_entry entry[LINK_ENTRIES];
};

static inline void link_count(_Atomic uint64_t *counter, uint64_t n) {
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline int link_up(const ums_link *l) {
  return atomic_load_explicit(&l->state, memory_order_acquire) == UMS_LINK_UP;
}

uint64_t link_now(void); /* ns */
/* Relay: hands the entry over. 0: the link is down, nothing happened. */
int link_submit(ums_link *l, uint32_t entry, int priority);
void link_go_down(ums_link *l, ums_link_state why); /* either thread; the first reason stays */

#endif
