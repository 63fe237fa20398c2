/* Several 16-bit numbers at once, from one source: eight with SSE2, with NEON and with what the compiler makes of
 * vectors elsewhere; sixteen where NR_WIDE asks for AVX2.
 *
 * Only what GCC's and clang's vector types cannot say is spelt out for each machine. Sums and products wrap
 * around, shifts to the right keep the sign, and all paths give the same bits.
 */
#ifndef NIGHTRIG_SIMD16_H
#define NIGHTRIG_SIMD16_H

#include <stdint.h>
#include <string.h>

#if defined(NR_WIDE)
#include <immintrin.h>
#define NR_VECTOR_BYTES 32
#else
#define NR_VECTOR_BYTES 16
#if defined(NR_PLAIN)
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#define NR_NEON
#elif defined(__SSE2__)
#include <emmintrin.h>
#define NR_SSE2
#endif
#endif

#define NR_VEC (NR_VECTOR_BYTES / 2)

typedef int16_t NrVec __attribute__((vector_size(NR_VECTOR_BYTES)));
typedef uint16_t NrUVec __attribute__((vector_size(NR_VECTOR_BYTES)));
typedef uint64_t NrWords __attribute__((vector_size(NR_VECTOR_BYTES)));

static inline NrVec nr_load(const uint16_t *at) {
    NrVec v;
    memcpy(&v, at, sizeof v);
    return v;
}

static inline void nr_store(uint16_t *at, NrVec v) { memcpy(at, &v, sizeof v); }

static inline NrVec nr_all(int16_t value) { return (NrVec){0} + value; }

/* a where the mask is all ones, b where it is 0. */
static inline NrVec nr_select(NrVec mask, NrVec a, NrVec b) { return (mask & a) | (~mask & b); }

static inline NrVec nr_min(NrVec a, NrVec b) {
#if defined(NR_WIDE)
    return (NrVec)_mm256_min_epi16((__m256i)a, (__m256i)b);
#elif defined(NR_NEON)
    return (NrVec)vminq_s16((int16x8_t)a, (int16x8_t)b);
#elif defined(NR_SSE2)
    return (NrVec)_mm_min_epi16((__m128i)a, (__m128i)b);
#else
    return nr_select((NrVec)(a < b), a, b);
#endif
}

static inline NrVec nr_max(NrVec a, NrVec b) {
#if defined(NR_WIDE)
    return (NrVec)_mm256_max_epi16((__m256i)a, (__m256i)b);
#elif defined(NR_NEON)
    return (NrVec)vmaxq_s16((int16x8_t)a, (int16x8_t)b);
#elif defined(NR_SSE2)
    return (NrVec)_mm_max_epi16((__m128i)a, (__m128i)b);
#else
    return nr_select((NrVec)(a > b), a, b);
#endif
}

static inline NrVec nr_clip(NrVec v, int16_t bound) { return nr_max(nr_min(v, nr_all(bound)), nr_all((int16_t)-bound)); }

/* Sums, differences and products modulo 65,536: in unsigned numbers, where C allows them to wrap. */
static inline NrVec nr_add(NrVec a, NrVec b) { return (NrVec)((NrUVec)a + (NrUVec)b); }
static inline NrVec nr_sub(NrVec a, NrVec b) { return (NrVec)((NrUVec)a - (NrUVec)b); }
static inline NrVec nr_mul(NrVec a, NrVec b) { return (NrVec)((NrUVec)a * (NrUVec)b); }

/* Zigzag codes of signed numbers, and back. */
static inline NrVec nr_zigzag_all(NrVec d) { return nr_add(d, d) ^ (d >> 15); }
static inline NrVec nr_unzigzag_all(NrVec z) {
    return (NrVec)((NrUVec)z >> 1) ^ nr_sub(nr_all(0), z & nr_all(1));
}

/* A vector of NR_VEC numbers below 65,536, put together without a way through memory. */
static inline NrVec nr_join(const uint64_t *each) {
    NrWords words;
    for (int i = 0; i < NR_VECTOR_BYTES / 8; i++, each += 4) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        words[i] = each[0] << 48 | each[1] << 32 | each[2] << 16 | each[3];
#else
        words[i] = each[0] | each[1] << 16 | each[2] << 32 | each[3] << 48;
#endif
    }
    return (NrVec)words;
}

static inline int nr_any(NrVec mask) {
    NrWords words = (NrWords)mask;
    uint64_t any = 0;
    for (int i = 0; i < NR_VECTOR_BYTES / 8; i++) any |= words[i];
    return any != 0;
}

static inline int nr_is_all_ones(NrVec mask) { return !nr_any(~mask); }

#endif
