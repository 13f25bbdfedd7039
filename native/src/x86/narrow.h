/*
 * The x86 engine with vectors of one block (AES-NI, PCLMULQDQ) or two (VAES, VPCLMULQDQ on AVX2). A file that includes
 * this defines the vector and what it can do:
 *
 *   V, V_BLOCKS                         its type and how many AES blocks it holds
 *   v_load, v_store, v_xor, v_add32     unaligned; 32-bit lanes
 *   v_aesenc, v_aesenclast, v_clmul     block by block
 *   v_shuffle                           octets within each block
 *   v_every(x), v_low(x)                block x in all blocks; in the lowest, the others zero
 *   v_lowest(v), v_highest(v)           its blocks; v_both(low, high) puts them together
 *
 * A lone packet goes block by block in both: there SHA-1 waits for itself and hides any cipher.
 */
#ifndef X86_NARROW_H
#define X86_NARROW_H

#include "x86/key.h"
#include "x86/sha1_ni.h"

#define V_OCTETS (16 * (size_t)V_BLOCKS)
#define V_FLIGHT 8 /* vectors that AES keeps under way at once */

/* ------------------------------------------------------------------------------- pieces shorter than a block -- */

/* `n` octets, 0..15, then zeros. Reads nothing else. */
static inline __m128i load_part(const uint8_t *p, size_t n) {
  uint64_t lo = 0, hi = 0;
  if (n >= 8) {
    memcpy(&lo, p, 8);
    memcpy(&hi, p + n - 8, 8);
    hi = n > 8 ? hi >> (8 * (16 - n)) : 0;
  } else if (n >= 4) {
    uint32_t first, last;
    memcpy(&first, p, 4);
    memcpy(&last, p + n - 4, 4);
    lo = first | (uint64_t)last << (8 * (n - 4));
  } else if (n > 0) {
    lo = p[0] | (uint64_t)p[n / 2] << (8 * (n / 2)) | (uint64_t)p[n - 1] << (8 * (n - 1));
  }
  return _mm_set_epi64x((long long)hi, (long long)lo);
}

/* The first `n` octets, 0..15, of v, then zeros. */
ALWAYS_INLINE __m128i first_octets(__m128i v, size_t n) {
  static const uint8_t mask[32] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
  return _mm_and_si128(v, load(mask + 16 - n));
}

/* The first `n` octets, 0..15, of v. Writes nothing else. */
static inline void store_part(uint8_t *p, size_t n, __m128i v) {
  uint64_t lo = (uint64_t)_mm_cvtsi128_si64(v);
  if (n >= 8) {
    memcpy(p, &lo, 8);
    lo = (uint64_t)_mm_extract_epi64(v, 1);
    p += 8;
    n -= 8;
  }
  if (n >= 4) {
    memcpy(p, &lo, 4);
    lo >>= 32;
    p += 4;
    n -= 4;
  }
  for (; n > 0; n--, lo >>= 8)
    *p++ = (uint8_t)lo;
}

/* ------------------------------------------------------------------------------------------------ counter mode -- */

/* n vectors of counter blocks, already xored with the first round key. */
ALWAYS_INLINE void encrypt(const x86_key *k, const int rounds, V b[], const int n) {
#pragma GCC unroll 13
  for (int r = 1; r < rounds; r++) {
    const V key = v_every(k->round_key[r]);
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
      b[i] = v_aesenc(b[i], key);
  }
  const V key = v_every(k->round_key[rounds]);
#pragma GCC unroll 8
  for (int i = 0; i < n; i++)
    b[i] = v_aesenclast(b[i], key);
}

/* Counter blocks: the IV xored with the first round key, and the numbers of the next blocks in their last octets. */
typedef struct stream {
  V iv, count;
} stream;

ALWAYS_INLINE __m128i number(uint32_t n) { return _mm_slli_si128(_mm_cvtsi32_si128((int)(n << 24)), 12); }

ALWAYS_INLINE stream stream_begin(const x86_key *k, __m128i iv, uint32_t first) {
  return (stream){v_every(_mm_xor_si128(iv, k->round_key[0])), v_both(number(first), number(first + 1))};
}

/* The next vectors of keystream, as many as `len` octets want, at most V_FLIGHT; b has room for so many. */
ALWAYS_INLINE void stream_take(stream *s, const x86_key *k, const int rounds, V b[V_FLIGHT], size_t len) {
  const V step = v_every(number(V_BLOCKS));
#pragma GCC unroll 8
  for (int i = 0; i < V_FLIGHT; i++) {
    b[i] = v_xor(s->iv, s->count);
    s->count = v_add32(s->count, step);
  }
  if (len > 4 * V_OCTETS)
    encrypt(k, rounds, b, 8);
  else if (len > 2 * V_OCTETS)
    encrypt(k, rounds, b, 4);
  else if (len > V_OCTETS)
    encrypt(k, rounds, b, 2);
  else
    encrypt(k, rounds, b, 1);
}

/* ------------------------------------------------------------------------------------------------------- GHASH -- */

typedef struct product { /* 256 bits: hi, mid shifted by 64, lo; a sum for each block of a vector */
  V hi, mid, lo;
} product;

ALWAYS_INLINE void add_product(product *p, V a, V b) {
  p->hi = v_xor(p->hi, v_clmul(a, b, 0x11));
  p->lo = v_xor(p->lo, v_clmul(a, b, 0x00));
  p->mid = v_xor(p->mid, v_xor(v_clmul(a, b, 0x10), v_clmul(a, b, 0x01)));
}

ALWAYS_INLINE __m128i reduce(const product *p) { return x86_reduce(v_sum(p->hi), v_sum(p->mid), v_sum(p->lo)); }

/*
 * One GHASH. A group of at most X86_POWERS blocks shares a reduction and must be filled exactly, because each block's
 * power counts the blocks that follow it in its group. AAD goes in block by block, so it has groups of its own where
 * not all fits into one; text goes in full vectors but for its last.
 */
typedef struct ghash {
  const uint8_t (*h_power)[16];
  product sum;
  size_t group, aad, left; /* blocks still to come: before the next reduction, of AAD, of all */
} ghash;

ALWAYS_INLINE size_t group_of(size_t aad, size_t left) {
  const size_t blocks = aad > 0 && left > X86_POWERS ? aad : left;
  return blocks < X86_POWERS ? blocks : X86_POWERS;
}

ALWAYS_INLINE ghash ghash_begin(const x86_key *k, size_t aad, size_t total) {
  const V zero = v_low(_mm_setzero_si128());
  return (ghash){k->h_power, {zero, zero, zero}, group_of(aad, total), aad, total};
}

/* `n` blocks, 1..V_BLOCKS, at the low end of v, the rest zero. */
ALWAYS_INLINE void ghash_add(ghash *g, V v, size_t n) {
  v = v_shuffle(v, v_every(_mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f)));
  if (g->group == 0) { /* reduce, and let the sum go in with the first block of the next group */
    const V zero = v_low(_mm_setzero_si128());
    v = v_xor(v, v_low(reduce(&g->sum)));
    g->sum = (product){zero, zero, zero};
    g->group = group_of(g->aad, g->left);
  }
  add_product(&g->sum, v, v_load(g->h_power[X86_POWERS - g->group]));
  g->group -= n;
  g->left -= n;
}

static __attribute__((noinline)) void ghash_long_aad(ghash *g, const ums_job *job) {
  uint8_t rest[32];
  const size_t whole = job->auth_len / 16, rest_blocks = ums_gcm_aad_rest(job, rest) / 16;
  for (size_t i = 0; i < whole + rest_blocks; i++) {
    g->aad--;
    ghash_add(g, v_low(load(i < whole ? job->data + 16 * i : rest + 16 * (i - whole))), 1);
  }
}

/* ----------------------------------------------------------------------------------------------- whole ranges -- */

/* XORs keystream to the next `len` octets, at most a vector, and returns them, followed by zeros. */
ALWAYS_INLINE V xor_octets(uint8_t *p, size_t len, V keystream) {
  if (len >= V_OCTETS) {
    const V c = v_xor(v_load(p), keystream);
    v_store(p, c);
    return c;
  }
  __m128i low = v_lowest(keystream);
#if V_BLOCKS == 2
  if (len >= 16) {
    low = _mm_xor_si128(load(p), low);
    store(p, low);
    const __m128i high = first_octets(_mm_xor_si128(load_part(p + 16, len - 16), v_highest(keystream)), len - 16);
    store_part(p + 16, len - 16, high);
    return v_both(low, high);
  }
#endif
  low = first_octets(_mm_xor_si128(load_part(p, len), low), len);
  store_part(p, len, low);
  return v_low(low);
}

/* The next `len` octets, at most a vector, followed by zeros. */
ALWAYS_INLINE V load_octets(const uint8_t *p, size_t len) {
  if (len >= V_OCTETS)
    return v_load(p);
#if V_BLOCKS == 2
  if (len >= 16)
    return v_both(load(p), load_part(p + 16, len - 16));
#endif
  return v_low(load_part(p, len));
}

/* XORs keystream to `len` octets, and hashes the result where there is a `g`. */
ALWAYS_INLINE void ctr(const x86_key *k, const int rounds, stream s, uint8_t *p, size_t len, ghash *g) {
  while (len > 0) {
    V b[V_FLIGHT];
    UMS_OPAQUE(len);
    stream_take(&s, k, rounds, b, len);
#pragma GCC unroll 8
    for (int i = 0; i < V_FLIGHT; i++) {
      if (len == 0)
        break;
      const size_t n = len < V_OCTETS ? len : V_OCTETS;
      const V c = xor_octets(p, n, b[i]);
      if (g != NULL)
        ghash_add(g, c, (n + 15) / 16);
      p += n;
      len -= n;
    }
  }
}

/* --------------------------------------------------------------------------------------------------------- GCM -- */

/* SP 800-38D, 7.1 and 7.2. Nothing is decrypted before the tag has verified. */
ALWAYS_INLINE ums_status gcm_rounds(const x86_key *k, const int rounds, ums_job *job) {
  const __m128i iv = first_octets(load(job->iv), UMS_GCM_IV);
  const size_t aad = (job->auth_len + job->tail_len + 15) / 16, text = (job->cipher_len + 15) / 16;
  uint8_t *p = job->data + job->cipher_off, *tag = job->data + job->tag_off, lengths[16];
  V first = v_low(_mm_xor_si128(_mm_xor_si128(iv, number(1)), k->round_key[0]));
  ghash g = ghash_begin(k, aad, aad + text + 1);
  encrypt(k, rounds, &first, 1);
  const __m128i mask = v_lowest(first);
  ums_gcm_lengths(job, lengths);
  if (job->auth_len == 12 && job->tail_len == 0) { /* an RTP header without CSRC */
    g.aad = 0;
    ghash_add(&g, v_low(load_part(job->data, 12)), 1);
  } else {
    ghash slow = g; /* a copy, so that the sums of the fast case may stay in registers */
    ghash_long_aad(&slow, job);
    g = slow;
  }
  if ((job->flags & UMS_JOB_ENCRYPT) != 0) {
    ctr(k, rounds, stream_begin(k, iv, 2), p, job->cipher_len, &g);
    ghash_add(&g, v_low(load(lengths)), 1);
    store(tag, _mm_xor_si128(reversed(reduce(&g.sum)), mask));
    return UMS_OK;
  }
  for (size_t at = 0, n; at < job->cipher_len; at += n) {
    n = job->cipher_len - at < V_OCTETS ? job->cipher_len - at : V_OCTETS;
    ghash_add(&g, load_octets(p + at, n), (n + 15) / 16);
  }
  ghash_add(&g, v_low(load(lengths)), 1);
  const __m128i d = _mm_xor_si128(_mm_xor_si128(reversed(reduce(&g.sum)), mask), load(tag));
  if (!ums_verdict(_mm_testz_si128(d, d)))
    return UMS_AUTH_FAIL;
  ctr(k, rounds, stream_begin(k, iv, 2), p, job->cipher_len, NULL);
  return UMS_OK;
}

static __attribute__((noinline)) ums_status gcm_128(const x86_key *k, ums_job *job) { return gcm_rounds(k, 10, job); }
static __attribute__((noinline)) ums_status gcm_256(const x86_key *k, ums_job *job) { return gcm_rounds(k, 14, job); }

static ums_status gcm(const x86_key *k, ums_job *job) {
  if (job->tag_len != UMS_GCM_TAG || job->cipher_len > UMS_MAX_PACKET)
    return UMS_ENGINE;
  return k->rounds == 10 ? gcm_128(k, job) : gcm_256(k, job);
}

/* --------------------------------------------------------------------------------------------- AES-CM with HMAC -- */

static void ctr_job(const x86_key *k, const ums_job *job) {
  uint8_t *p = job->data + job->cipher_off;
  const stream s = stream_begin(k, load(job->iv), 0);
  switch (k->rounds) {
  case 10:
    ctr(k, 10, s, p, job->cipher_len, NULL);
    break;
  case 12:
    ctr(k, 12, s, p, job->cipher_len, NULL);
    break;
  default:
    ctr(k, 14, s, p, job->cipher_len, NULL);
    break;
  }
}

static void cipher(const x86_key *k, const ums_job *job) {
  if (k->transform != UMS_AES_CM)
    return;
  if (x86_from_block_0(job))
    ctr_job(k, job);
  else
    x86_ctr_block_by_block(k, job, ctr_job);
}

/* What whole blocks of the message leave over, with the end of the MAC's input: one or two blocks. */
static void item_last(x86_mac_item *item, const ums_job *job) {
  static const uint8_t up[48] = {128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
                                 0,   1,   2,   3,   4,   5,   6,   7,   8,   9,   10,  11,  12,  13,  14,  15,
                                 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128};
  const mac_end end = mac_end_of(job);
  const uint8_t *p = job->data + 64 * (size_t)item->direct;
  const size_t left = job->auth_len % 64, part = left % 16, whole = left / 16;
  const uint32_t last = 4 * (item->blocks - item->direct) - 1;
  const __m128i octets = _mm_cvtsi64_si128((long long)end.octets);
  __m128i piece[8];
  for (size_t i = 0; i < 8; i++)
    piece[i] = i < whole ? load(p + 16 * i) : _mm_setzero_si128();
  piece[whole] = _mm_or_si128(load_part(p + 16 * whole, part), _mm_shuffle_epi8(octets, load(up + 16 - part)));
  piece[whole + 1] = _mm_shuffle_epi8(octets, load(up + 32 - part));
  piece[last] = _mm_insert_epi32(piece[last], (int)__builtin_bswap32(end.bits), 3);
  for (size_t i = 0; i < 8; i++)
    _mm_store_si128((__m128i *)(void *)(item->last + 16 * i), piece[i]);
}

static void tag_store(ums_job *job, const uint8_t digest[32]) {
  uint8_t *tag = job->data + job->tag_off;
  if (job->tag_len == 10)
    memcpy(tag, digest, 10);
  else
    memcpy(tag, digest, job->tag_len);
}

static int tag_equal(const ums_job *job, const uint8_t digest[32]) {
  const uint8_t *tag = job->data + job->tag_off;
  if (job->tag_len != 10)
    return ums_equal(tag, digest, job->tag_len);
  return ums_verdict(
      ((ums_load64(tag) ^ ums_load64(digest)) | (uint64_t)(ums_load16(tag + 8) ^ ums_load16(digest + 8))) == 0);
}

static void hmac_burst(ums_job *const job[], size_t n) {
  x86_hmac_burst(job, n, cipher, item_last, tag_store, tag_equal);
}

/* Four blocks of keystream onto the next octets, at most 64. */
ALWAYS_INLINE void lone_step(const x86_key *k, const int rounds, __m128i iv, uint32_t first, uint8_t *p, size_t len) {
  __m128i b[4];
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++)
    b[i] = _mm_xor_si128(iv, number(first + i));
#pragma GCC unroll 13
  for (int r = 1; r < rounds; r++)
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
      b[i] = _mm_aesenc_si128(b[i], k->round_key[r]);
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    b[i] = _mm_aesenclast_si128(b[i], k->round_key[rounds]);
    if (len >= 16) {
      store(p, _mm_xor_si128(load(p), b[i]));
      p += 16;
      len -= 16;
    } else {
      store_part(p, len, _mm_xor_si128(load_part(p, len), b[i]));
      len = 0;
    }
  }
}

/*
 * The MAC of a lone packet by SHA-NI. With rounds > 0 the packet is encrypted on the way: the cipher is 64 octets ahead
 * of the MAC, in whose waiting time it is done.
 */
ALWAYS_INLINE void lone_mac(const x86_key *k, const int rounds, const ums_job *job, uint8_t digest[32]) {
  const __m128i iv = _mm_xor_si128(load(job->iv), k->round_key[0]);
  uint8_t *p = job->data + job->cipher_off;
  size_t left = rounds > 0 ? job->cipher_len : 0;
  uint32_t count = 0;
  x86_mac_item item = {.data = job->data, .direct = job->auth_len / 64, .blocks = mac_blocks(job)};
  sha1_ni_state s = sha1_ni_state_load(k->states), o = sha1_ni_state_load(k->states + 8);
  __m128i m[1][4];
  for (uint32_t i = 0; i < item.blocks; i++) {
    for (const uint32_t ahead = i == 0 ? 8 : 4 * i + 8; left > 0 && count < ahead; count += 4) {
      const size_t n = left < 64 ? left : 64;
      lone_step(k, rounds, iv, count, p, n);
      p += n;
      left -= n;
    }
    if (i == item.direct)
      item_last(&item, job);
    sha1_ni_load(m[0], x86_mac_block(&item, i));
    sha1_ni_rounds(1, &s, m);
  }
  sha1_ni_outer_block(m[0], &s);
  sha1_ni_rounds(1, &o, m);
  store(digest, reversed(o.abcd));
  store(digest + 16, reversed(o.e));
}

static ums_status hmac_one(const x86_key *k, ums_job *job) {
  uint8_t digest[32];
  if ((job->flags & UMS_JOB_ENCRYPT) == 0) {
    lone_mac(k, 0, job, digest);
    if (!tag_equal(job, digest))
      return UMS_AUTH_FAIL;
    cipher(k, job);
    return UMS_OK;
  }
  if (k->transform == UMS_AES_CM && x86_from_block_0(job)) {
    if (k->rounds == 10)
      lone_mac(k, 10, job, digest);
    else if (k->rounds == 12)
      lone_mac(k, 12, job, digest);
    else
      lone_mac(k, 14, job, digest);
  } else {
    cipher(k, job);
    lone_mac(k, 0, job, digest);
  }
  tag_store(job, digest);
  return UMS_OK;
}

/* -------------------------------------------------------------------------------------------------- the engine -- */

static ums_status load_key(const ums_engine *e, ums_key *out, const ums_session_key *key) {
  (void)e;
  return x86_load_key(out, key, 2);
}

static size_t submit(const ums_engine *e, ums_job *const job[], size_t n) {
  (void)e;
  return x86_submit(job, n, gcm, hmac_one, hmac_burst);
}

#endif
