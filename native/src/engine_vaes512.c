/*
 * The engine for x86-64 with VAES, VPCLMULQDQ and AVX-512: four AES blocks and four GHASH products an instruction,
 * HMAC-SHA1 across the packets of a burst (x86/mac.h), and a way of its own for a lone packet. What it shares with the
 * other x86 engines, GHASH's numbers among it, is in x86/key.h.
 *
 * Counter blocks are the IV with a block number in its last octet: a job has at most UMS_MAX_PACKET octets, 128 blocks.
 */
#include "x86/cpu.h"
#include "x86/key.h"
#include "x86/sha1_ni.h"

ALWAYS_INLINE __m512i reverse_octets(__m512i v) {
  return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(_mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f)));
}
ALWAYS_INLINE __mmask64 first_octets(size_t n) { return n >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1; }

/* --------------------------------------------------------------------------------------------------------- AES -- */

/* A round key four times. Loaded where it is used: eleven registers full of them would crowd out everything else. */
ALWAYS_INLINE __m512i round_key(const x86_key *k, int r) { return _mm512_broadcast_i32x4(k->round_key[r]); }

/* n vectors of counter blocks, already xored with the first round key. */
ALWAYS_INLINE void encrypt(const x86_key *k, const int rounds, __m512i b[], const int n) {
#pragma GCC unroll 13
  for (int r = 1; r < rounds; r++) {
    const __m512i key = round_key(k, r);
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
      b[i] = _mm512_aesenc_epi128(b[i], key);
  }
  const __m512i key = round_key(k, rounds);
#pragma GCC unroll 8
  for (int i = 0; i < n; i++)
    b[i] = _mm512_aesenclast_epi128(b[i], key);
}

/* Block numbers first .. first + 3 where the IV's last octet is. */
ALWAYS_INLINE __m512i numbers(uint32_t first) {
  const __m512i base = _mm512_set_epi32(3 << 24, 0, 0, 0, 2 << 24, 0, 0, 0, 1 << 24, 0, 0, 0, 0, 0, 0, 0);
  return _mm512_add_epi32(base, _mm512_maskz_set1_epi32(0x8888, (int)(first << 24)));
}

/* XORs keystream from block number `first` on; `iv` holds the IV xored with the first round key. */
ALWAYS_INLINE void ctr(const x86_key *k, const int rounds, __m512i iv, uint32_t first, uint8_t *data, size_t len) {
  const __m512i four = _mm512_maskz_set1_epi32(0x8888, 4 << 24);
  __m512i count = numbers(first), b[4];
  for (; len >= 256; data += 256, len -= 256) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      b[i] = _mm512_xor_si512(iv, count);
      count = _mm512_add_epi32(count, four);
    }
    encrypt(k, rounds, b, 4);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
      _mm512_storeu_si512(data + 64 * i, _mm512_xor_si512(_mm512_loadu_si512(data + 64 * i), b[i]));
  }
  if (len == 0)
    return;
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    b[i] = _mm512_xor_si512(iv, count);
    count = _mm512_add_epi32(count, four);
  }
  if (len > 192)
    encrypt(k, rounds, b, 4);
  else if (len > 128)
    encrypt(k, rounds, b, 3);
  else if (len > 64)
    encrypt(k, rounds, b, 2);
  else
    encrypt(k, rounds, b, 1);
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    if (len <= 64 * (size_t)i)
      return;
    const __mmask64 m = first_octets(len - 64 * (size_t)i);
    _mm512_mask_storeu_epi8(data + 64 * i, m, _mm512_xor_si512(_mm512_maskz_loadu_epi8(m, data + 64 * i), b[i]));
  }
}

ALWAYS_INLINE void ctr_job_rounds(const x86_key *k, const int rounds, const ums_job *job, uint32_t first) {
  __m512i iv = _mm512_broadcast_i32x4(load(job->iv));
  if (first != 0) /* GCM: twelve octets of IV */
    iv = _mm512_maskz_mov_epi32(0x7777, iv);
  ctr(k, rounds, _mm512_xor_si512(iv, round_key(k, 0)), first, job->data + job->cipher_off, job->cipher_len);
}

static void ctr_job(const x86_key *k, const ums_job *job, uint32_t first) {
  switch (k->rounds) {
  case 10:
    ctr_job_rounds(k, 10, job, first);
    break;
  case 12:
    ctr_job_rounds(k, 12, job, first);
    break;
  default:
    ctr_job_rounds(k, 14, job, first);
    break;
  }
}

static void ctr_job_0(const x86_key *k, const ums_job *job) { ctr_job(k, job, 0); }

/* ------------------------------------------------------------------------------------------------------- GHASH -- */

typedef struct product { /* 256 bits: hi, mid shifted by 64, lo; four sums side by side */
  __m512i hi, mid, lo;
} product;

ALWAYS_INLINE void add_product(product *p, __m512i a, __m512i b) {
  p->hi = _mm512_xor_si512(p->hi, _mm512_clmulepi64_epi128(a, b, 0x11));
  p->lo = _mm512_xor_si512(p->lo, _mm512_clmulepi64_epi128(a, b, 0x00));
  p->mid = _mm512_ternarylogic_epi64(p->mid, _mm512_clmulepi64_epi128(a, b, 0x10), _mm512_clmulepi64_epi128(a, b, 0x01),
                                     0x96);
}

ALWAYS_INLINE __m128i across(__m512i v) { /* the sum of the four quarters */
  const __m256i h = _mm256_xor_si256(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  return _mm_xor_si128(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}

ALWAYS_INLINE __m128i reduce(const product *p) { return x86_reduce(across(p->hi), across(p->mid), across(p->lo)); }

/*
 * One GHASH. Blocks come up to four at a time; a group of at most X86_POWERS blocks shares a reduction and must be
 * filled exactly, because each block's power counts the blocks that follow it in its group. All vectors but the last
 * are full, so groups of X86_POWERS end between vectors; AAD that needs vectors of its own has groups of its own, too.
 */
typedef struct ghash {
  const uint8_t (*h_power)[16];
  product sum;
  size_t group, aad, left; /* blocks still to come: before the next reduction, of such AAD, of all */
} ghash;

ALWAYS_INLINE size_t group_of(size_t aad, size_t left) {
  const size_t blocks = aad > 0 && left > X86_POWERS ? aad : left;
  return blocks < X86_POWERS ? blocks : X86_POWERS;
}

ALWAYS_INLINE ghash ghash_begin(const x86_key *k, size_t aad, size_t total) {
  const __m512i zero = _mm512_setzero_si512();
  return (ghash){k->h_power, {zero, zero, zero}, group_of(aad, total), aad, total};
}

/* `n` blocks (1..4) in the low quarters of v, the rest zero. */
ALWAYS_INLINE void ghash_add(ghash *g, __m512i v, size_t n) {
  v = reverse_octets(v);
  if (g->group == 0) { /* reduce, and let the sum go in with the first block of the next group */
    const __m512i zero = _mm512_setzero_si512();
    v = _mm512_xor_si512(v, _mm512_zextsi128_si512(reduce(&g->sum)));
    g->sum = (product){zero, zero, zero};
    g->group = group_of(g->aad, g->left);
  }
  add_product(&g->sum, v, _mm512_loadu_si512(g->h_power[X86_POWERS - g->group]));
  g->group -= n;
  g->left -= n;
}

/* Four full vectors in a row. A group has room for all of them or begins with them. */
ALWAYS_INLINE void ghash_add4(ghash *g, const __m512i v[4]) {
  __m512i first = reverse_octets(v[0]);
  if (g->group == 0) {
    const __m512i zero = _mm512_setzero_si512();
    first = _mm512_xor_si512(first, _mm512_zextsi128_si512(reduce(&g->sum)));
    g->sum = (product){zero, zero, zero};
    g->group = group_of(g->aad, g->left);
  }
  const uint8_t(*power)[16] = g->h_power + (X86_POWERS - g->group);
  add_product(&g->sum, first, _mm512_loadu_si512(power));
#pragma GCC unroll 3
  for (int i = 1; i < 4; i++)
    add_product(&g->sum, reverse_octets(v[i]), _mm512_loadu_si512(power + 4 * i));
  g->group -= 16;
  g->left -= 16;
}

/* All blocks of AAD and tail but the last, which is returned: it shares a vector with the text. */
static __attribute__((noinline)) __m128i ghash_long_aad(ghash *g, const ums_job *job) {
  uint8_t rest[32];
  const size_t whole = job->auth_len / 16, rest_blocks = ums_gcm_aad_rest(job, rest) / 16;
  for (size_t i = 0; i < whole + rest_blocks; i++) {
    const __m128i block = load(i < whole ? job->data + 16 * i : rest + 16 * (i - whole));
    if (g->aad == 0)
      return block;
    g->aad--;
    ghash_add(g, _mm512_zextsi128_si512(block), 1);
  }
  return _mm_setzero_si128(); /* no AAD at all: a block that does not count */
}

/* --------------------------------------------------------------------------------------------------------- GCM -- */

ALWAYS_INLINE __m128i lengths_block(const ums_job *job) {
  return _mm_set_epi64x((long long)__builtin_bswap64(8 * (uint64_t)job->cipher_len),
                        (long long)__builtin_bswap64(8 * ((uint64_t)job->auth_len + job->tail_len)));
}

ALWAYS_INLINE __m128i tag_of(const ghash *g, __m128i mask) { return _mm_xor_si128(reversed(reduce(&g->sum)), mask); }

/*
 * The packet as GCM sees it, in vectors of four blocks: the last block of AAD, then the text, then the lengths. The
 * keystream has the same shape: block 1 (the tag mask) stands where the AAD does, so neither has to be shifted.
 *
 *      vector 0                       vector 1 ...
 *      AAD  text text text            text text lengths
 *      mask  2    3    4               5    6
 */
typedef struct frame {
  uint8_t *at; /* where vector 0 would begin: 16 octets before the text */
  size_t end;  /* octets from there to the end of the text */
  __m128i aad, lengths;
} frame;

ALWAYS_INLINE __mmask64 frame_mask(const frame *f, size_t i) { /* octets of text in vector i */
  const __mmask64 m = f->end - 64 * i >= 64 ? ~(__mmask64)0 : first_octets(f->end - 64 * i);
  return i == 0 ? m & ~(__mmask64)0xffff : m;
}

/* Ciphertext of vector i into GHASH, with what surrounds it. */
ALWAYS_INLINE void frame_hash(const frame *f, ghash *g, size_t i, __m512i text) {
  const size_t left = f->end - 64 * i, n = left >= 64 ? 4 : (left + 15) / 16;
  if (i == 0)
    text = _mm512_inserti32x4(text, f->aad, 0);
  if (left < 64 && n < 4) {
    ghash_add(g, _mm512_mask_broadcast_i32x4(text, (__mmask16)(0xf << (4 * n)), f->lengths), n + 1);
    return;
  }
  ghash_add(g, text, 4);
  if (left <= 64)
    ghash_add(g, _mm512_zextsi128_si512(f->lengths), 1);
}

/* XORs keystream to vector i and returns the result, zeros where there is no text. */
ALWAYS_INLINE __m512i frame_xor(const frame *f, size_t i, __m512i stream) {
  uint8_t *p = f->at + 64 * i;
  if (i > 0 && f->end - 64 * i >= 64) {
    const __m512i c = _mm512_xor_si512(_mm512_loadu_si512(p), stream);
    _mm512_storeu_si512(p, c);
    return c;
  }
  const __mmask64 m = frame_mask(f, i);
  const __m512i c = _mm512_maskz_mov_epi8(m, _mm512_xor_si512(_mm512_maskz_loadu_epi8(m, p), stream));
  _mm512_mask_storeu_epi8(p, m, c);
  return c;
}

ALWAYS_INLINE __m512i frame_load(const frame *f, size_t i) {
  const uint8_t *p = f->at + 64 * i;
  return i > 0 && f->end - 64 * i >= 64 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8(frame_mask(f, i), p);
}

/* The next n vectors of keystream (at most four). */
ALWAYS_INLINE void stream_take(const x86_key *k, const int rounds, __m512i iv, __m512i *count, __m512i b[4], size_t n) {
  const __m512i four = _mm512_maskz_set1_epi32(0x8888, 4 << 24);
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    b[i] = _mm512_xor_si512(iv, *count);
    *count = _mm512_add_epi32(*count, four);
  }
  if (n >= 4)
    encrypt(k, rounds, b, 4);
  else if (n == 3)
    encrypt(k, rounds, b, 3);
  else if (n == 2)
    encrypt(k, rounds, b, 2);
  else
    encrypt(k, rounds, b, 1);
}

/* The same, at most eight: so many hide the latency of a round, where registers are free. */
ALWAYS_INLINE void stream_take8(const x86_key *k, const int rounds, __m512i iv, __m512i *count, __m512i b[8],
                                size_t n) {
  if (n <= 4) {
    stream_take(k, rounds, iv, count, b, n);
    return;
  }
  const __m512i four = _mm512_maskz_set1_epi32(0x8888, 4 << 24);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    b[i] = _mm512_xor_si512(iv, *count);
    *count = _mm512_add_epi32(*count, four);
  }
  encrypt(k, rounds, b, 8);
}

/*
 * SP 800-38D, 7.2. Keystream and hash are made side by side, for they use different units; nothing is decrypted before
 * the tag has verified. Keystream that was made and not used is wiped.
 */
ALWAYS_INLINE ums_status gcm_open(const x86_key *k, const int rounds, const ums_job *job, const frame *f, ghash g,
                                  __m512i iv) {
  const size_t vectors = (job->cipher_len + 15) / 16 / 4 + 1;
  __m512i count = numbers(1), stream[UMS_MAX_PACKET / 64 + 8], v[4];
  for (size_t i = 0; i < vectors; i += 4) {
    const size_t n = vectors - i;
    if (i % 8 == 0)
      stream_take8(k, rounds, iv, &count, stream + i, n);
    if (n > 4 && i > 0) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++)
        v[j] = _mm512_loadu_si512(f->at + 64 * (i + (size_t)j));
      ghash_add4(&g, v);
    } else {
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) {
        if ((size_t)j >= n)
          break;
        frame_hash(f, &g, i + (size_t)j, frame_load(f, i + (size_t)j));
      }
    }
  }
  const __m128i d = _mm_xor_si128(tag_of(&g, _mm512_castsi512_si128(stream[0])), load(job->data + job->tag_off));
  if (!_mm_testz_si128(d, d)) {
    ums_wipe(stream, vectors * sizeof *stream);
    return UMS_AUTH_FAIL;
  }
  for (size_t i = 0; i < vectors; i++)
    frame_xor(f, i, stream[i]);
  return UMS_OK;
}

/* SP 800-38D, 7.1, and for what was received, 7.2. */
ALWAYS_INLINE ums_status gcm_rounds(const x86_key *k, const int rounds, ums_job *job) {
  const int sending = (job->flags & UMS_JOB_ENCRYPT) != 0;
  const __m512i iv =
      _mm512_xor_si512(_mm512_maskz_mov_epi32(0x7777, _mm512_broadcast_i32x4(load(job->iv))), round_key(k, 0));
  const size_t aad = (job->auth_len + job->tail_len + 15) / 16, text = (job->cipher_len + 15) / 16;
  const size_t vectors = text / 4 + 1;
  frame f = {job->data + job->cipher_off - 16, 16 + job->cipher_len, _mm_setzero_si128(), lengths_block(job)};
  ghash g = ghash_begin(k, aad > 0 ? aad - 1 : 0, (aad > 0 ? aad : 1) + text + 1);
  __m512i count = numbers(1), b[4];

  if (job->auth_len == 12 && job->tail_len == 0) { /* an RTP header without CSRC */
    f.aad = _mm_maskz_loadu_epi8(0xfff, job->data);
  } else {
    ghash slow = g; /* a copy, so that the sums of the fast case may stay in registers */
    f.aad = ghash_long_aad(&slow, job);
    g = slow;
  }
  if (!sending)
    return gcm_open(k, rounds, job, &f, g, iv);
  stream_take(k, rounds, iv, &count, b, vectors);
  const __m128i mask = _mm512_castsi512_si128(b[0]);
  for (size_t i = 0;; i += 4) { /* the next keystream is under way while this one is used */
    const size_t n = vectors - i;
    __m512i next[4] = {b[0], b[1], b[2], b[3]};
    if (n > 4)
      stream_take(k, rounds, iv, &count, next, n - 4);
    if (n > 4 && i > 0) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) {
        uint8_t *p = f.at + 64 * (i + (size_t)j);
        b[j] = _mm512_xor_si512(_mm512_loadu_si512(p), b[j]);
        _mm512_storeu_si512(p, b[j]);
      }
      ghash_add4(&g, b);
    } else {
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) {
        if ((size_t)j >= n)
          break;
        frame_hash(&f, &g, i + (size_t)j, frame_xor(&f, i + (size_t)j, b[j]));
      }
    }
    if (n <= 4)
      break;
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
      b[j] = next[j];
  }
  _mm_storeu_si128((__m128i *)(void *)(job->data + job->tag_off), tag_of(&g, mask));
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

/* v holds a block's octets of the message and zeros; `at`: where the end begins in it (before it: at < 0). */
ALWAYS_INLINE __m512i mac_end_put(const mac_end *end, __m512i v, int64_t at, int last) {
  uint64_t octets = end->octets;
  __mmask64 where = ((__mmask64)1 << end->n) - 1;
  if (at < 0) { /* part of them stood in the block before */
    octets = at > -8 ? octets >> (-8 * at) : 0;
    where = at > -8 ? where >> -at : 0;
    at = 0;
  }
  v = _mm512_mask_expand_epi8(v, where << at, _mm512_zextsi128_si512(_mm_cvtsi64_si128((long long)octets)));
  if (last)
    v = _mm512_mask_set1_epi32(v, 0x8000, (int)__builtin_bswap32(end->bits));
  return v;
}

ALWAYS_INLINE void sha1_block(sha1_ni_state *s, __m512i v) {
  __m128i m[1][4];
  v = reverse_octets(v);
  m[0][0] = _mm512_castsi512_si128(v);
  m[0][1] = _mm512_extracti32x4_epi32(v, 1);
  m[0][2] = _mm512_extracti32x4_epi32(v, 2);
  m[0][3] = _mm512_extracti32x4_epi32(v, 3);
  sha1_ni_rounds(1, s, m);
}

ALWAYS_INLINE __m256i sha1_outer(const x86_key *k, const sha1_ni_state *inner) { /* 20 octets of digest, then zeros */
  sha1_ni_state o = sha1_ni_state_load(k->states + 8);
  __m128i m[1][4];
  sha1_ni_outer_block(m[0], inner);
  sha1_ni_rounds(1, &o, m);
  const __m128i swap = sha1_ni_swap();
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_shuffle_epi8(o.abcd, swap)),
                                 _mm_maskz_shuffle_epi8(0xf, o.e, swap), 1);
}

/* MAC of what lies in memory. */
ALWAYS_INLINE __m256i mac_one(const x86_key *k, const ums_job *job) {
  const mac_end end = mac_end_of(job);
  const uint32_t blocks = mac_blocks(job);
  const uint8_t *p = job->data;
  int64_t left = job->auth_len;
  sha1_ni_state s = sha1_ni_state_load(k->states);
  for (uint32_t i = 0; i < blocks; i++, p += 64, left -= 64) {
    if (left >= 64) {
      __m128i m[1][4];
      sha1_ni_load(m[0], p);
      sha1_ni_rounds(1, &s, m);
    } else {
      const __m512i v = left > 0 ? _mm512_maskz_loadu_epi8(first_octets((size_t)left), p) : _mm512_setzero_si512();
      sha1_block(&s, mac_end_put(&end, v, left, i + 1 == blocks));
    }
  }
  return sha1_outer(k, &s);
}

ALWAYS_INLINE void tag_store(ums_job *job, __m256i mac) {
  _mm256_mask_storeu_epi8(job->data + job->tag_off, (__mmask32)((1u << job->tag_len) - 1), mac);
}

ALWAYS_INLINE int tag_equal(const ums_job *job, __m256i mac) {
  const __mmask32 m = (__mmask32)((1u << job->tag_len) - 1);
  const __m256i d =
      _mm256_maskz_mov_epi8(m, _mm256_xor_si256(_mm256_maskz_loadu_epi8(m, job->data + job->tag_off), mac));
  return _mm256_testz_si256(d, d);
}

/*
 * A lone packet to send: the ciphertext goes from its register into the MAC, one vector ahead of it, so that SHA-1,
 * which waits for itself, hides the cipher. The header is 12 octets, three words that every vector moves up by.
 */
ALWAYS_INLINE __m256i protect_one_rounds(const x86_key *k, const int rounds, const ums_job *job) {
  const mac_end end = mac_end_of(job);
  const uint32_t blocks = mac_blocks(job);
  const __m512i four = _mm512_maskz_set1_epi32(0x8888, 4 << 24);
  const __m512i iv = _mm512_xor_si512(_mm512_broadcast_i32x4(load(job->iv)), round_key(k, 0));
  __m512i count = numbers(0), ahead = _mm512_setzero_si512();
  uint8_t *p = job->data + 12;
  size_t len = job->cipher_len;
  int64_t left = job->auth_len;
  sha1_ni_state h = sha1_ni_state_load(k->states);
  __m512i before = _mm512_broadcast_i32x4(_mm_shuffle_epi32(_mm_maskz_loadu_epi8(0xfff, job->data), 0x90));

#define NEXT_VECTOR()                                                                                                  \
  do {                                                                                                                 \
    const __mmask64 m_ = first_octets(len);                                                                            \
    ahead = _mm512_xor_si512(iv, count);                                                                               \
    count = _mm512_add_epi32(count, four);                                                                             \
    encrypt(k, rounds, &ahead, 1);                                                                                     \
    if (len >= 64) {                                                                                                   \
      ahead = _mm512_xor_si512(_mm512_loadu_si512(p), ahead);                                                          \
      _mm512_storeu_si512(p, ahead);                                                                                   \
      len -= 64;                                                                                                       \
    } else {                                                                                                           \
      ahead = _mm512_maskz_mov_epi8(m_, _mm512_xor_si512(_mm512_maskz_loadu_epi8(m_, p), ahead));                      \
      _mm512_mask_storeu_epi8(p, m_, ahead);                                                                           \
      len = 0;                                                                                                         \
    }                                                                                                                  \
    p += 64;                                                                                                           \
  } while (0)

  if (len > 0)
    NEXT_VECTOR();
  for (uint32_t i = 0; i < blocks; i++, left -= 64) {
    const __m512i text = ahead;
    __m512i v = _mm512_alignr_epi32(text, before, 13);
    before = text;
    if (len > 0)
      NEXT_VECTOR();
    else
      ahead = _mm512_setzero_si512();
    if (left < 64)
      v = mac_end_put(&end, v, left, i + 1 == blocks);
    sha1_block(&h, v);
  }
#undef NEXT_VECTOR
  return sha1_outer(k, &h);
}

static void cipher(const x86_key *k, const ums_job *job) {
  if (k->transform != UMS_AES_CM)
    return;
  if (x86_from_block_0(job))
    ctr_job(k, job, 0);
  else
    x86_ctr_block_by_block(k, job, ctr_job_0);
}

static ums_status hmac_one(const x86_key *k, ums_job *job) {
  if ((job->flags & UMS_JOB_ENCRYPT) != 0) {
    if (k->transform == UMS_AES_CM && job->cipher_off == 12 && job->auth_len == 12 + job->cipher_len &&
        x86_from_block_0(job)) {
      tag_store(job, k->rounds == 10   ? protect_one_rounds(k, 10, job)
                     : k->rounds == 12 ? protect_one_rounds(k, 12, job)
                                       : protect_one_rounds(k, 14, job));
      return UMS_OK;
    }
    cipher(k, job);
    tag_store(job, mac_one(k, job));
    return UMS_OK;
  }
  if (!tag_equal(job, mac_one(k, job)))
    return UMS_AUTH_FAIL;
  cipher(k, job);
  return UMS_OK;
}

static void item_last(x86_mac_item *item, const ums_job *job) {
  const mac_end end = mac_end_of(job);
  const int64_t left = job->auth_len % 64;
  const __m512i v = _mm512_maskz_loadu_epi8(first_octets((size_t)left), job->data + 64 * (size_t)item->direct);
  _mm512_store_si512(item->last, mac_end_put(&end, v, left, item->direct + 1 == item->blocks));
  if (item->direct + 1 < item->blocks)
    _mm512_store_si512(item->last + 64, mac_end_put(&end, _mm512_setzero_si512(), left - 64, 1));
}

ALWAYS_INLINE __m256i digest_load(const uint8_t digest[32]) {
  return _mm256_loadu_si256((const __m256i *)(const void *)digest);
}
static void item_tag_store(ums_job *job, const uint8_t digest[32]) { tag_store(job, digest_load(digest)); }
static int item_tag_equal(const ums_job *job, const uint8_t digest[32]) { return tag_equal(job, digest_load(digest)); }

static void hmac_burst(ums_job *const job[], size_t n) {
  x86_hmac_burst(job, n, cipher, item_last, item_tag_store, item_tag_equal);
}

/* -------------------------------------------------------------------------------------------------- the engine -- */

static int probe(void) {
  return __builtin_cpu_supports("aes") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi2") && x86_has(X86_VAES) && x86_has(X86_VPCLMULQDQ);
}

static ums_status load_key(const ums_engine *e, ums_key *out, const ums_session_key *key) {
  (void)e;
  return x86_load_key(out, key, 5);
}

static size_t submit(const ums_engine *e, ums_job *const job[], size_t n) {
  (void)e;
  return x86_submit(job, n, gcm, hmac_one, hmac_burst);
}

const ums_engine ums_engine_vaes512 = {
    .name = "vaes512",
    .batch = 16,
    .probe = probe,
    .supports = ums_cpu_supports,
    .load_key = load_key,
    .drop_key = x86_drop_key,
    .submit = submit,
};
