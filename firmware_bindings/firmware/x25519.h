/* X25519, RFC 7748, 5, in constant time and little code. */
#ifndef UMSA_X25519_H
#define UMSA_X25519_H

#include <stdint.h>

void umsa_x25519(uint8_t out[32], const uint8_t scalar[32], const uint8_t u[32]);
extern const uint8_t umsa_x25519_base[32];

#endif
