/* Framing of UMSA-1: see frame.h. CRC-32C as in RFC 3720, B.4, four bits at a time: the table is small. */
#include "frame.h"

#include <string.h>

static const uint32_t CRC_TABLE[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

static uint32_t crc_add(uint32_t crc, const uint8_t *p, size_t len) {
  for (; len > 0; len--) {
    crc ^= *p++;
    crc = crc >> 4 ^ CRC_TABLE[crc & 15];
    crc = crc >> 4 ^ CRC_TABLE[crc & 15];
  }
  return crc;
}

uint32_t umsa_crc32c(const uint8_t *p, size_t len) { return crc_add(0xffffffff, p, len) ^ 0xffffffff; }

typedef struct stuffer {
  uint8_t *out;
  size_t at, code_at; /* code_at: where the count of the running block goes */
} stuffer;

static void stuff(stuffer *s, const uint8_t *p, size_t len) {
  for (; len > 0; len--, p++) {
    if (*p != 0)
      s->out[s->at++] = *p;
    if (*p != 0 && s->at - s->code_at < 255)
      continue;
    s->out[s->code_at] = (uint8_t)(s->at - s->code_at);
    s->code_at = s->at++;
  }
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

static void append(umsa_receiver *r, uint8_t octet) {
  if (r->len == UMSA_MAX_FRAME)
    r->spoilt = 1;
  else
    r->frame[r->len++] = octet;
}

int umsa_receive(umsa_receiver *r, uint8_t octet) {
  if (octet == 0)
    return end_of_frame(r);
  if (!r->started)
    r->len = 0;
  r->started = 1;
  if (r->left > 0) {
    append(r, octet);
    r->left--;
    return UMSA_NOTHING;
  }
  if (r->pending)
    append(r, 0);
  r->left = (uint8_t)(octet - 1);
  r->pending = octet != 255;
  return UMSA_NOTHING;
}
