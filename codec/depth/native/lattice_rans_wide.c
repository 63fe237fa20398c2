/* lattice-rans with vectors of sixteen, for x86 processors that have AVX2: the same source once more. */
#if defined(__x86_64__) && !defined(NR_PLAIN)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

#define NR_WIDE
#define NR_NAME(name) name##_wide
#include "lattice_rans_encode.c"
#include "lattice_rans_decode.c"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int nr_there_is_no_avx2;
#endif
