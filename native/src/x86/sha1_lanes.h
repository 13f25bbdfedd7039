/*
 * SHA-1 compression of V_LANES messages side by side, one message per 32-bit lane (FIPS 180-4, 6.1.2).
 *
 * A file that includes this defines the vector: V, V_LANES, v_add, v_rol, v_ch, v_parity, v_maj, v_xor3, v_xor, v_set1,
 * v_store, v_swap, v_first, v_load_rows, v_load_state_rows, v_unpack{lo,hi}_epi{32,64} and v_store_quarters: quarter q
 * of a vector, which belongs to one of the lanes 4 q .. 4 q + 3, to out[4 q].
 * Only the last addition of a round may wait for the newest word: keep ((e + K) + W) + f + rotl(a, 5); the file is
 * compiled with -fno-tree-reassoc so that nobody undoes that.
 */
#define SHA1_SCHEDULE(w, t)                                                                                            \
  (w[(t)&15] = v_rol(v_xor3(v_xor(w[((t)-8) & 15], w[(t)&15]), w[((t)-14) & 15], w[((t)-3) & 15]), 1))

#define SHA1_ROUND(a, b, c, d, e, f, k, wt)                                                                            \
  do {                                                                                                                 \
    V t_ = v_add(v_add(v_add(e, k), wt), f(b, c, d));                                                                  \
    b = v_rol(b, 30);                                                                                                  \
    e = v_add(t_, v_rol(a, 5));                                                                                        \
  } while (0)

#define SHA1_5(t, f, k, W_)                                                                                            \
  SHA1_ROUND(a, b, c, d, e, f, k, W_(w, (t) + 0));                                                                     \
  SHA1_ROUND(e, a, b, c, d, f, k, W_(w, (t) + 1));                                                                     \
  SHA1_ROUND(d, e, a, b, c, f, k, W_(w, (t) + 2));                                                                     \
  SHA1_ROUND(c, d, e, a, b, f, k, W_(w, (t) + 3));                                                                     \
  SHA1_ROUND(b, c, d, e, a, f, k, W_(w, (t) + 4))

#define SHA1_GIVEN(w, t) (w[(t)&15])
#define SHA1_MAYBE(w, t) ((t) < 16 ? w[(t)&15] : SHA1_SCHEDULE(w, t))

/* w: 16 vertical message words, host order; destroyed. s: 5 vertical state words, updated. */
static inline __attribute__((always_inline)) void sha1_lanes_compress(V s[5], V w[16]) {
  V a = s[0], b = s[1], c = s[2], d = s[3], e = s[4];
  V k = v_set1(0x5a827999);
  SHA1_5(0, v_ch, k, SHA1_GIVEN);
  SHA1_5(5, v_ch, k, SHA1_GIVEN);
  SHA1_5(10, v_ch, k, SHA1_GIVEN);
  SHA1_5(15, v_ch, k, SHA1_MAYBE);
  k = v_set1(0x6ed9eba1);
  SHA1_5(20, v_parity, k, SHA1_SCHEDULE);
  SHA1_5(25, v_parity, k, SHA1_SCHEDULE);
  SHA1_5(30, v_parity, k, SHA1_SCHEDULE);
  SHA1_5(35, v_parity, k, SHA1_SCHEDULE);
  k = v_set1((int)0x8f1bbcdc);
  SHA1_5(40, v_maj, k, SHA1_SCHEDULE);
  SHA1_5(45, v_maj, k, SHA1_SCHEDULE);
  SHA1_5(50, v_maj, k, SHA1_SCHEDULE);
  SHA1_5(55, v_maj, k, SHA1_SCHEDULE);
  k = v_set1((int)0xca62c1d6);
  SHA1_5(60, v_parity, k, SHA1_SCHEDULE);
  SHA1_5(65, v_parity, k, SHA1_SCHEDULE);
  SHA1_5(70, v_parity, k, SHA1_SCHEDULE);
  SHA1_5(75, v_parity, k, SHA1_SCHEDULE);
  s[0] = v_add(s[0], a);
  s[1] = v_add(s[1], b);
  s[2] = v_add(s[2], c);
  s[3] = v_add(s[3], d);
  s[4] = v_add(s[4], e);
}

/* Vertical words of digests to `n` messages' octets. */
static inline __attribute__((always_inline)) void lanes_digests(x86_mac_item *const it[], size_t n, const V s[5]) {
  _Alignas(64) uint32_t last[V_LANES];
  _Alignas(64) uint8_t first[V_LANES][16];
  const V ab = v_unpacklo_epi32(s[0], s[1]), ab_hi = v_unpackhi_epi32(s[0], s[1]);
  const V cd = v_unpacklo_epi32(s[2], s[3]), cd_hi = v_unpackhi_epi32(s[2], s[3]);
  v_store_quarters(first + 0, v_swap(v_unpacklo_epi64(ab, cd)));
  v_store_quarters(first + 1, v_swap(v_unpackhi_epi64(ab, cd)));
  v_store_quarters(first + 2, v_swap(v_unpacklo_epi64(ab_hi, cd_hi)));
  v_store_quarters(first + 3, v_swap(v_unpackhi_epi64(ab_hi, cd_hi)));
  v_store(last, v_swap(s[4]));
  for (size_t i = 0; i < n; i++) {
    memcpy(it[i]->digest, first[i], 16);
    memcpy(it[i]->digest + 16, &last[i], 4);
  }
}

/* HMAC of up to V_LANES messages, longest first. Lanes without a message repeat the first one's pointers. */
static inline __attribute__((always_inline)) void lanes_hmac(x86_mac_item *const it[], size_t n) {
  const uint8_t *row[V_LANES];
  V w[16], s[5], inner[5], outer[5];

  for (size_t i = 0; i < V_LANES; i++)
    row[i] = (const uint8_t *)it[i < n ? i : 0]->states;
  v_load_state_rows(w, row);
  for (int j = 0; j < 5; j++) {
    inner[j] = w[j];
    outer[j] = w[8 + j];
  }
  size_t live = n;
  const uint32_t blocks = it[0]->blocks;
  for (uint32_t k = 0;; k++) { /* the outer block comes last: one copy of the long code for all of them */
    if (k < blocks) {
      while (it[live - 1]->blocks <= k)
        live--;
      for (size_t i = 0; i < V_LANES; i++)
        row[i] = x86_mac_block(it[i < live ? i : 0], k);
      v_load_rows(w, row);
      for (int j = 0; j < 5; j++)
        s[j] = inner[j];
    } else {
      for (int j = 0; j < 5; j++) {
        w[j] = inner[j];
        s[j] = outer[j];
      }
      w[5] = v_set1((int)0x80000000);
      for (int j = 6; j < 15; j++)
        w[j] = v_set1(0);
      w[15] = v_set1(8 * (64 + 20));
    }
    sha1_lanes_compress(s, w);
    if (k == blocks)
      break;
    for (int j = 0; j < 5; j++)
      inner[j] = live == n ? s[j] : v_first(inner[j], s[j], live);
  }
  lanes_digests(it, n, s);
}
