/* Skinning for x86 processors that have AVX2: the same source once more. */
#if defined(__x86_64__) && !defined(NB_PLAIN)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define NB_WIDE
#define NB_NAME(name) name##_wide
#include "skin.c"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int nb_there_is_no_avx2;
#endif
