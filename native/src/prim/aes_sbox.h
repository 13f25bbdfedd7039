/*
 * The S-box of FIPS-197, 5.1.1, on bit planes: q[k] holds bit k of every octet. Only AND and XOR, on whatever
 * `ums_plane` is where this is included: an integer or a vector.
 *
 * The inversion is done in a tower of fields, which is shorter to say with gates than GF(2)[x]/(x^8+x^4+x^3+x+1):
 * GF(4) = GF(2)[w]/(w^2+w+1), GF(16) = GF(4)[z]/(z^2+z+w), GF(256) = GF(16)[y]/(y^2+y+v), v = w z + 1. The two
 * changes of basis, the second merged with the affine map, are the XOR lists in ums_sub_bytes.
 *
 * The affine map's constant 0x63 is left out. It passes MixColumns and ShiftRows unchanged, so round keys from the
 * second on have it added instead (UMS_AFFINE).
 */
#ifndef UMS_AES_SBOX_H
#define UMS_AES_SBOX_H

#define UMS_AFFINE 0x63
#define UMS_GATES static inline __attribute__((always_inline))

typedef struct gf4 {
  ums_plane b0, b1; /* b1 w + b0 */
} gf4;
typedef struct gf16 {
  gf4 lo, hi; /* hi z + lo */
} gf16;

UMS_GATES gf4 gf4_add(gf4 a, gf4 b) { return (gf4){a.b0 ^ b.b0, a.b1 ^ b.b1}; }

UMS_GATES gf4 gf4_mul(gf4 a, gf4 b) {
  ums_plane low = a.b0 & b.b0, high = a.b1 & b.b1, cross = (a.b0 ^ a.b1) & (b.b0 ^ b.b1);
  return (gf4){low ^ high, cross ^ low};
}

UMS_GATES gf4 gf4_mul_w(gf4 a) { return (gf4){a.b1, a.b0 ^ a.b1}; }

UMS_GATES gf4 gf4_square(gf4 a) { return (gf4){a.b0 ^ a.b1, a.b1}; } /* which is the inverse, too */

UMS_GATES gf16 gf16_add(gf16 a, gf16 b) { return (gf16){gf4_add(a.lo, b.lo), gf4_add(a.hi, b.hi)}; }

UMS_GATES gf16 gf16_mul(gf16 a, gf16 b) {
  gf4 low = gf4_mul(a.lo, b.lo), high = gf4_mul(a.hi, b.hi);
  gf4 cross = gf4_mul(gf4_add(a.lo, a.hi), gf4_add(b.lo, b.hi));
  return (gf16){gf4_add(low, gf4_mul_w(high)), gf4_add(cross, low)};
}

/* In both towers (h y + l)^-1 = (h y + h + l) / (v h^2 + h l + l^2). */
UMS_GATES gf16 gf16_inverse(gf16 a) {
  gf4 norm = gf4_add(gf4_mul(a.hi, a.lo), gf4_add(gf4_mul_w(gf4_square(a.hi)), gf4_square(a.lo)));
  gf4 inverse = gf4_square(norm);
  return (gf16){gf4_mul(gf4_add(a.hi, a.lo), inverse), gf4_mul(a.hi, inverse)};
}

UMS_GATES gf16 gf16_square(gf16 a) {
  gf4 high = gf4_square(a.hi);
  return (gf16){gf4_add(gf4_square(a.lo), gf4_mul_w(high)), high};
}

/* v a^2, multiplied out. */
UMS_GATES gf16 gf16_square_mul_v(gf16 a) {
  ums_plane t = a.lo.b1 ^ a.hi.b1;
  return (gf16){{a.lo.b0 ^ a.hi.b0 ^ t, t}, {a.lo.b1, a.lo.b0}};
}

UMS_GATES void ums_sub_bytes(ums_plane q[8]) {
  ums_plane t8 = q[4] ^ q[6], t9 = q[1] ^ q[2], t10 = q[3] ^ t8, t11 = q[5] ^ t9, t12 = q[1] ^ t8, t13 = q[7] ^ t10;
  ums_plane t14 = q[0] ^ t12, t15 = q[2] ^ t13, t16 = q[5] ^ q[7], t17 = q[6] ^ t11, t18 = q[7] ^ t12, t19 = t10 ^ t11;

  gf16 lo = {{t14, t13}, {t11, t17}}, hi = {{t15, t18}, {t19, t16}};
  gf16 norm = gf16_add(gf16_mul(hi, lo), gf16_add(gf16_square_mul_v(hi), gf16_square(lo)));
  gf16 inverse = gf16_inverse(norm);
  lo = gf16_mul(gf16_add(hi, lo), inverse);
  hi = gf16_mul(hi, inverse);

  ums_plane r0 = lo.lo.b0, r1 = lo.lo.b1, r2 = lo.hi.b0, r3 = lo.hi.b1;
  ums_plane r4 = hi.lo.b0, r5 = hi.lo.b1, r6 = hi.hi.b0, r7 = hi.hi.b1;
  ums_plane u8 = r2 ^ r6, u9 = r0 ^ r3, u10 = r5 ^ u9, u11 = r7 ^ u8, u12 = r0 ^ r4, u13 = r1 ^ u10;
  q[0] = r6 ^ u12;
  q[1] = r4 ^ u13;
  q[2] = u11 ^ u13;
  q[3] = u12;
  q[4] = u10 ^ u11;
  q[5] = r3 ^ u8;
  q[6] = r4 ^ r7;
  q[7] = u11;
}

#endif
