/* In which order the numbers of a mesh are coded, and the contexts they are coded in. */
#ifndef NIGHTRIG_AFFINE_CODE_H
#define NIGHTRIG_AFFINE_CODE_H

#include "mesh_kernels.h"

static inline int nm_kind(const NmSegment *segment, uint32_t mesh) {
    return segment->refs[2 * (size_t)mesh] >= 0;
}

static inline void nm_meshes_before(const NmSegment *segment, uint32_t mesh, const NmPoint *points, uint32_t count,
                                    const NmPoint *before[2]) {
    const int32_t *refs = segment->refs + 2 * (size_t)mesh;
    for (int k = 0; k < 2; k++) before[k] = refs[k] < 0 ? NULL : points + (size_t)refs[k] * count;
}

/* A context with its mesh's shift: the class moves, the fold stays. */
static inline unsigned nm_shifted(unsigned context, int shift) {
    int class_ = (int)(context / NM_FOLDS) + shift;
    class_ = class_ < 0 ? 0 : class_ < NM_CLASSES ? class_ : NM_CLASSES - 1;
    return (unsigned)class_ * NM_FOLDS + context % NM_FOLDS;
}

/* The same functions for processors with AVX2, whose vectors have the multiplication that SSE2 lacks. */
#if defined(__x86_64__) && !defined(NM_PLAIN)
#define NM_HAS_WIDE
#endif

void nm_predict_narrow(const NmModel *model, const NmSegment *segment, NmPoint *points, const uint8_t *known,
                       uint32_t *codes, uint16_t *contexts);
void nm_predict_wide(const NmModel *model, const NmSegment *segment, NmPoint *points, const uint8_t *known,
                     uint32_t *codes, uint16_t *contexts);
int nm_decode_narrow(const NmModel *model, const NmSegment *segment, const uint8_t *data, size_t data_bytes,
                     NmPoint *points);
int nm_decode_wide(const NmModel *model, const NmSegment *segment, const uint8_t *data, size_t data_bytes,
                   NmPoint *points);

static inline unsigned nm_bits_of(uint32_t value) { return value ? 32u - (unsigned)__builtin_clz(value) : 0; }

#endif
