/* Framing of UMSA-1: see frame.h. CRC-32C as in RFC 3720, B.4, four bits at a time: the table is small. */
#include "frame.h"

#include <string.h>

#define BLOCK 255 /* longest, with its count */

static const _Alignas(64) uint32_t CRC_TABLE[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

#define CRC_NIBBLE(crc) ((crc) >> 4 ^ CRC_TABLE[(crc)&15])

static uint32_t crc_add(uint32_t crc, const uint8_t *p, size_t len) {
  for (; len >= 4; len -= 4, p += 4) {
    crc ^= p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
#pragma GCC unroll 8
    for (int nibble = 0; nibble < 8; nibble++)
      crc = CRC_NIBBLE(crc);
  }
  for (; len > 0; len--) {
    crc ^= *p++;
    crc = CRC_NIBBLE(crc);
    crc = CRC_NIBBLE(crc);
  }
  return crc;
}

uint32_t umsa_crc32c(const uint8_t *p, size_t len) { return crc_add(0xffffffff, p, len) ^ 0xffffffff; }

/* Copies octets before the first zero, at most `len`; how many. */
static size_t copy_run(uint8_t *to, const uint8_t *from, size_t len) {
  size_t n = 0;
  for (uint32_t four; len - n >= sizeof four; n += sizeof four) {
    memcpy(&four, from + n, sizeof four);
    if (((four - 0x01010101u) & ~four & 0x80808080u) != 0) /* one of them is zero */
      break;
    memcpy(to + n, &four, sizeof four);
  }
  for (; n < len && from[n] != 0; n++)
    to[n] = from[n];
  return n;
}

typedef struct stuffer {
  uint8_t *out;
  size_t at, code_at; /* code_at: where the count of the running block goes */
} stuffer;

static void stuff(stuffer *s, const uint8_t *p, size_t len) {
  uint8_t *const out = s->out;
  size_t at = s->at, code_at = s->code_at;
  for (;;) {
    for (; len > 0 && *p == 0; p++, len--) { /* a zero: the block's end stands for it */
      out[code_at] = (uint8_t)(at - code_at);
      code_at = at++;
      for (uint32_t four; len > sizeof four; p += sizeof four, len -= sizeof four) {
        memcpy(&four, p + 1, sizeof four);
        if (four != 0)
          break;
        memset(out + code_at, 1, sizeof four);
        code_at += sizeof four;
        at += sizeof four;
      }
    }
    if (len == 0)
      break;
    const size_t room = BLOCK - (at - code_at);
    const size_t n = copy_run(out + at, p, len < room ? len : room);
    at += n;
    p += n;
    len -= n;
    if (n == room) { /* a full block ends without a zero */
      out[code_at] = BLOCK;
      code_at = at++;
    }
  }
  s->at = at;
  s->code_at = code_at;
}

size_t umsa_encode(const umsa_head *head, const uint8_t *body, size_t len, uint8_t *out, size_t room) {
  const size_t plain = UMSA_HEAD + len + UMSA_CRC;
  if (len > UMSA_MAX_BODY || plain + plain / 254 + 2 > room)
    return 0;
  const uint8_t first[UMSA_HEAD] = {head->op, head->seq, head->slot, head->status};
  uint8_t last[UMSA_CRC];
  umsa_put(last, crc_add(crc_add(0xffffffff, first, UMSA_HEAD), body, len) ^ 0xffffffff, UMSA_CRC);
  stuffer s = {.out = out, .at = 1};
  stuff(&s, first, UMSA_HEAD);
  stuff(&s, body, len);
  stuff(&s, last, UMSA_CRC);
  out[s.code_at] = (uint8_t)(s.at - s.code_at);
  out[s.at++] = 0;
  return s.at;
}

static int end_of_frame(umsa_receiver *r) {
  const int was_frame = r->started && !r->spoilt && r->left == 0 && r->len >= UMSA_HEAD + UMSA_CRC;
  const int something = r->started;
  r->started = r->spoilt = r->left = r->pending = 0;
  if (!something)
    return UMSA_NOTHING;
  if (was_frame) {
    const size_t body_end = (size_t)r->len - UMSA_CRC;
    if (umsa_crc32c(r->frame, body_end) == (uint32_t)umsa_get(r->frame + body_end, UMSA_CRC))
      return UMSA_FRAME;
  }
  r->damaged++;
  return UMSA_DAMAGED;
}

/* Octets of the running block, before a delimiter; how many. */
static size_t in_block(umsa_receiver *r, const uint8_t *octets, size_t len) {
  const size_t room = (size_t)UMSA_MAX_FRAME - r->len;
  if (len > r->left)
    len = r->left;
  if (len > room) {
    r->spoilt = 1;
    r->len = 0; /* of no use any more */
  }
  const size_t n = copy_run(r->frame + r->len, octets, len);
  r->len = (uint16_t)(r->len + n);
  r->left = (uint8_t)(r->left - n);
  return n;
}

static void begin_block(umsa_receiver *r, uint8_t code) {
  if (!r->started) {
    r->started = 1;
    r->len = 0;
  } else if (r->pending) {
    if (r->len == UMSA_MAX_FRAME) {
      r->spoilt = 1;
      r->len = 0;
    }
    r->frame[r->len++] = 0;
  }
  r->left = (uint8_t)(code - 1);
  r->pending = code != BLOCK;
}

/* Empty blocks behind others, of which each is a zero; how many. Silence has many of them. */
static size_t zeros(umsa_receiver *r, const uint8_t *codes, size_t len) {
  const size_t room = (size_t)UMSA_MAX_FRAME - r->len;
  uint8_t *to = r->frame + r->len;
  size_t n = 0;
  if (!r->pending)
    return 0;
  len = len < room ? len : room;
  for (uint32_t four; len - n >= sizeof four; n += sizeof four) {
    memcpy(&four, codes + n, sizeof four);
    if (four != 0x01010101)
      break;
    memset(to + n, 0, sizeof four);
  }
  for (; n < len && codes[n] == 1; n++)
    to[n] = 0;
  r->len = (uint16_t)(r->len + n);
  return n;
}

size_t umsa_receive(umsa_receiver *r, const uint8_t *octets, size_t len, int *found) {
  size_t at = 0;
  *found = UMSA_NOTHING;
  while (at < len && *found == UMSA_NOTHING) {
    if (octets[at] == 0) {
      *found = end_of_frame(r);
      at++;
    } else if (r->left > 0) {
      at += in_block(r, octets + at, len - at);
    } else {
      begin_block(r, octets[at++]);
      if (r->left == 0)
        at += zeros(r, octets + at, len - at);
    }
  }
  return at;
}
