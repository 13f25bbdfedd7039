/* mac_ni.c once more, built for CPUs with AVX-512: their encodings need fewer moves, and sixteen more registers hold
 * what SHA-NI's own instructions, which reach only the first sixteen, leave waiting. A tenth faster. */
#define ums_mac_ni ums_mac_ni_avx512
#include "mac_ni.c"
