/* See skin.h. skin_wide.c compiles this once more, for AVX2. */
#include "skin.h"

#include <string.h>

#ifdef NB_WIDE
#include <immintrin.h>
#endif

#ifndef NB_NAME
#define NB_NAME(name) name
#if defined(__x86_64__) && !defined(NB_PLAIN)
void nb_skin_wide(const NbSkin *skin, const NbPose *pose, const float *rest, float *out);
#define NB_HAS_WIDE (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#endif
#endif

#ifdef NB_WIDE
enum { NB_LANES = 8 };
#else
enum { NB_LANES = 4 };
#endif
typedef float NbFloats __attribute__((vector_size(4 * NB_LANES)));
typedef int32_t NbInts __attribute__((vector_size(4 * NB_LANES)));
typedef int16_t NbShorts __attribute__((vector_size(2 * NB_LANES)));
typedef float NbPoint __attribute__((vector_size(16)));

/* Sums of narrow rows: whole numbers where one instruction multiplies and adds them in pairs. */
#ifdef NB_WIDE
typedef NbInts NbNarrowSums;
#else
typedef NbFloats NbNarrowSums;
#endif

enum { NB_VECTORS = NB_ROWS / NB_LANES };
/* Rows are read from end to end, and are more than most caches hold; processors look less far ahead by themselves. */
enum { NB_AHEAD = 1024 };

/* Where the next block's rows and their directions begin. */
typedef struct {
    const uint16_t *order;
    const int16_t *row;
} Place;

static inline void prefetch_rows(const int16_t *row) {
    __builtin_prefetch(row + NB_AHEAD);
    __builtin_prefetch(row + NB_AHEAD + 32);
}

static inline void add_wide_row(NbFloats *sums, const int16_t *row, float share) {
    for (int v = 0; v < NB_VECTORS; v++) {
        NbShorts values;
        memcpy(&values, row + v * NB_LANES, sizeof values);
#ifdef NB_WIDE
        const NbInts steps = (NbInts)_mm256_cvtepi16_epi32((__m128i)values); /* GCC would widen by halves */
#else
        const NbInts steps = __builtin_convertvector(values, NbInts);
#endif
        sums[v] += share * __builtin_convertvector(steps, NbFloats);
    }
}

static inline void add_narrow_pair(NbNarrowSums *sums, const int16_t *row, int16_t first, int16_t second) {
#ifdef NB_WIDE
    const __m256i shares = _mm256_set1_epi32((int32_t)((uint32_t)(uint16_t)first | (uint32_t)(uint16_t)second << 16));
    for (int v = 0; v < NB_VECTORS; v++) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(row + v * NB_LANES));
        sums[v] += (NbInts)_mm256_madd_epi16(_mm256_cvtepi8_epi16(bytes), shares);
    }
#else
    for (int v = 0; v < NB_VECTORS; v++) {
        NbShorts pairs;
        memcpy(&pairs, row + v * NB_LANES, sizeof pairs);
        const NbShorts lower = (NbShorts)(pairs << 8) >> 8;
        const NbShorts upper = pairs >> 8;
        sums[v] += __builtin_convertvector(__builtin_convertvector(lower, NbInts), NbFloats) * (float)first;
        sums[v] += __builtin_convertvector(__builtin_convertvector(upper, NbInts), NbFloats) * (float)second;
    }
#endif
}

static inline Place bend(const NbSkin *skin, const NbPose *pose, Place at, uint32_t block, const float *rest,
                         float *bent) {
    NbFloats sums[NB_VECTORS];
    NbNarrowSums narrow[NB_VECTORS] = {{0}};
    memcpy(sums, rest + (size_t)block * NB_ROWS, sizeof sums);
    const uint32_t wide_rows = skin->counts[2 * (size_t)block], pairs = skin->counts[2 * (size_t)block + 1];
    for (uint32_t k = 0; k < wide_rows; k++, at.order++, at.row += NB_ROWS) {
        prefetch_rows(at.row);
        add_wide_row(sums, at.row, pose->wide[at.order[0]]);
    }
    for (uint32_t k = 0; k < pairs; k++, at.order += 2, at.row += NB_ROWS) {
        prefetch_rows(at.row);
        add_narrow_pair(narrow, at.row, pose->narrow[at.order[0]], pose->narrow[at.order[1]]);
    }
    for (int v = 0; v < NB_VECTORS; v++)
        sums[v] += skin->narrow_step / NB_NARROW_UNIT * __builtin_convertvector(narrow[v], NbFloats);
    memcpy(bent, sums, sizeof sums);
    return at;
}

static inline void carry(const NbSkin *skin, uint32_t vertex, const float *place, const float *transforms,
                         float *out) {
    NbPoint columns[4] = {{0}};
    for (uint32_t w = 0; w < skin->width; w++) {
        const size_t at = (size_t)vertex * skin->width + w;
        NbPoint of_joint[4];
        memcpy(of_joint, transforms + 16 * (size_t)skin->joints[at], sizeof of_joint);
        for (int c = 0; c < 4; c++) columns[c] += skin->weights[at] * of_joint[c];
    }
    const NbPoint moved =
        columns[0] * place[0] + columns[1] * place[NB_BLOCK] + columns[2] * place[2 * NB_BLOCK] + columns[3];
    memcpy(out + 3 * (size_t)vertex, &moved, 3 * sizeof(float));
}

void NB_NAME(nb_skin)(const NbSkin *skin, const NbPose *pose, const float *rest, float *out) {
#ifdef NB_HAS_WIDE
    if (NB_HAS_WIDE) {
        nb_skin_wide(skin, pose, rest, out);
        return;
    }
#endif
    Place at = {skin->order, skin->rows};
    for (uint32_t first = 0; first < skin->vertex_count; first += NB_BLOCK) {
        float bent[NB_ROWS];
        at = bend(skin, pose, at, first / NB_BLOCK, rest, bent);
        const uint32_t left = skin->vertex_count - first;
        for (uint32_t k = 0; k < (left < NB_BLOCK ? left : NB_BLOCK); k++)
            carry(skin, first + k, bent + k, pose->transforms, out);
    }
}
