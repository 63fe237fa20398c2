/* Prediction and decoding for x86 processors that have AVX2: the same source once more. */
#if defined(__x86_64__) && !defined(NM_PLAIN)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

#define NM_WIDE
#define NM_NAME(name) name##_wide
#include "affine_encode.c"
#include "affine_decode.c"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int nm_there_is_no_avx2;
#endif
