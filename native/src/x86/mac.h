/*
 * HMAC-SHA1 over a burst of packets (RFC 2104), for the x86 engines: which SHA-1 kernel runs is a matter of how many
 * packets are ready and of what the CPU has. Inner and outer states are part of the prepared key.
 */
#ifndef X86_MAC_H
#define X86_MAC_H

#include "core.h"

#include <string.h>

#define X86_MAC_BURST 64

/* One message. `states` are 8 words inner state (5 used), 8 words outer state, host order, 64-aligned. */
typedef struct x86_mac_item {
  const uint8_t *data;
  const uint32_t *states;
  uint32_t direct;                /* blocks read straight from data */
  uint32_t blocks;                /* all blocks: direct, then one or two of `last` */
  uint8_t digest[32];             /* out: 20 octets, then not set */
  _Alignas(64) uint8_t last[128]; /* end of the message with tail, padding and length */
} x86_mac_item;

/* Of `data`, then from `last`. */
static inline const uint8_t *x86_mac_block(const x86_mac_item *it, uint32_t k) {
  return k < it->direct ? it->data + 64 * (size_t)k : it->last + 64 * (size_t)(k - it->direct);
}

/* A kernel does up to `ways` messages at once. Rows of a table in mac.c, chosen by CPU and by what is ready. */
typedef void (*x86_mac_kernel)(x86_mac_item *const item[], size_t n);

void ums_mac_one(x86_mac_item *const item[], size_t n);        /* 1, in plain C */
void ums_mac_ni(x86_mac_item *const item[], size_t n);         /* SHA-NI, 1..4 messages */
void ums_mac_ni_avx512(x86_mac_item *const item[], size_t n);  /* the same, 1..4 */
void ums_mac_x8_avx2(x86_mac_item *const item[], size_t n);    /* 1..8 */
void ums_mac_x8_avx512(x86_mac_item *const item[], size_t n);  /* 1..8 */
void ums_mac_x16_avx512(x86_mac_item *const item[], size_t n); /* 1..16 */
void ums_mac_x4_sse(x86_mac_item *const item[], size_t n);     /* 1..4, without SHA-NI */

typedef struct x86_mac_plan { /* which kernels an engine uses; a NULL kernel is not available */
  x86_mac_kernel narrow, mid, wide;
  uint8_t narrow_ways, mid_ways, wide_ways;
  uint8_t mid_from, wide_from; /* that many messages ready make the wider kernel cheaper */
} x86_mac_plan;

/* Any n up to X86_MAC_BURST. Longest messages first, so that lanes end together. */
void ums_mac_burst(const x86_mac_plan *plan, x86_mac_item item[], size_t n);

/* The plan for this CPU. `avx` 5: the engine has seen to it that AVX-512 is there; 2: up to AVX2 where the CPU has it.
 */
const x86_mac_plan *ums_mac_plan(int avx);

#endif
