/* HMAC-SHA1 of 1..4 messages with the SHA extensions. */
#include "mac.h"
#include "sha1_ni.h"

static inline __attribute__((always_inline)) void blocks(const int N, sha1_ni_state s[], x86_mac_item *const it[],
                                                         uint32_t from, uint32_t to) {
  for (uint32_t k = from; k < to; k++) {
    __m128i m[4][4];
    for (int i = 0; i < N; i++)
      sha1_ni_load(m[i], x86_mac_block(it[i], k));
    sha1_ni_rounds(N, s, m);
  }
}

static inline __attribute__((always_inline)) void outer(const int N, sha1_ni_state s[], x86_mac_item *const it[]) {
  sha1_ni_state o[4];
  __m128i m[4][4];
  for (int i = 0; i < N; i++) {
    sha1_ni_outer_block(m[i], &s[i]);
    o[i] = sha1_ni_state_load(it[i]->states + 8);
  }
  sha1_ni_rounds(N, o, m);
  for (int i = 0; i < N; i++) {
    _mm_storeu_si128((__m128i *)it[i]->digest, _mm_shuffle_epi8(o[i].abcd, sha1_ni_swap()));
    _mm_storeu_si128((__m128i *)(it[i]->digest + 16), _mm_shuffle_epi8(o[i].e, sha1_ni_swap()));
  }
}

/* Messages come longest first: the ways thin out from the end. */
void ums_mac_ni(x86_mac_item *const it[], size_t n) {
  sha1_ni_state s[4];
  uint32_t done = 0;
  for (size_t i = 0; i < 4; i++)
    s[i] = sha1_ni_state_load(it[i < n ? i : 0]->states);
  if (n == 4) {
    blocks(4, s, it, done, it[3]->blocks);
    done = it[3]->blocks;
  }
  if (n >= 3 && done < it[2]->blocks) {
    blocks(3, s, it, done, it[2]->blocks);
    done = it[2]->blocks;
  }
  if (n >= 2 && done < it[1]->blocks) {
    blocks(2, s, it, done, it[1]->blocks);
    done = it[1]->blocks;
  }
  if (done < it[0]->blocks)
    blocks(1, s, it, done, it[0]->blocks);
  switch (n) {
  case 4:
    outer(4, s, it);
    break;
  case 3:
    outer(3, s, it);
    break;
  case 2:
    outer(2, s, it);
    break;
  default:
    outer(1, s, it);
    break;
  }
}
