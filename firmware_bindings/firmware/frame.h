/*
 * Frames of UMSA-1 (PROTOCOL.md, Frames): COBS around head, body and CRC-32C, ended by a zero octet. The same code runs
 * in the firmware and in the host's data thread.
 */
#ifndef UMSA_FRAME_H
#define UMSA_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "messages.h"

#define UMSA_MAX_FRAME (UMSA_HEAD + UMSA_MAX_BODY + UMSA_CRC)
#define UMSA_MAX_ENCODED (UMSA_MAX_FRAME + UMSA_MAX_FRAME / 254 + 2)

uint32_t umsa_crc32c(const uint8_t *p, size_t len);

typedef struct umsa_head {
  uint8_t op, seq, slot, status;
} umsa_head;

/* Octets written to `out` (UMSA_MAX_ENCODED are always enough); 0: the body is too long or `room` too small. */
size_t umsa_encode(const umsa_head *head, const uint8_t *body, size_t len, uint8_t *out, size_t room);

typedef struct umsa_receiver {
  uint8_t frame[UMSA_MAX_FRAME]; /* head, body, CRC as decoded so far */
  uint16_t len;
  uint8_t left;     /* octets until the next code */
  uint8_t pending;  /* a zero stands before the next octet */
  uint8_t started;  /* something came since the delimiter */
  uint8_t spoilt;   /* no frame any more: skip to the delimiter */
  uint32_t damaged; /* frames that were none */
} umsa_receiver;

enum { UMSA_NOTHING = 0, UMSA_FRAME = 1, UMSA_DAMAGED = 2 };

/*
 * Takes octets up to the next end of a frame; how many. `found` tells what ended. After UMSA_FRAME, `frame` holds head
 * and body of umsa_body_len octets until the next call.
 */
size_t umsa_receive(umsa_receiver *r, const uint8_t *octets, size_t len, int *found);

static inline size_t umsa_body_len(const umsa_receiver *r) { return (size_t)r->len - UMSA_HEAD - UMSA_CRC; }

static inline uint64_t umsa_get(const uint8_t *p, size_t octets) { /* little-endian */
  uint64_t v = 0;
  while (octets-- > 0)
    v = v << 8 | p[octets];
  return v;
}
static inline void umsa_put(uint8_t *p, uint64_t v, size_t octets) {
  for (; octets > 0; octets--, v >>= 8)
    *p++ = (uint8_t)v;
}

#endif
