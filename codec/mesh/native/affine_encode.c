/* The encoder's first half: what every number is predicted as, and what is left to code. See mesh_kernels.h.
 *
 * Compiled twice on x86, the second time for AVX2 (affine_wide.c); nm_predict takes what the processor has. */
#include "affine_code.h"

#ifndef NM_NAME
#define NM_NAME(name) name##_narrow
#endif

enum { BLOCK = 4 }; /* meshes that are predicted side by side, so that each weight is looked up once for all of them */

typedef struct {
    NmPoint *mesh;
    const NmPoint *before[2];
    const uint8_t *known;
    uint32_t *codes;
    uint16_t *contexts;
} Mesh;

static inline void put_point(const NmModel *model, int kind, uint32_t point, const Mesh *of, NmPoint base, NmPoint sum,
                             unsigned channels) {
    const uint8_t *classes = model->classes[kind] + 2 * (size_t)point;
    for (unsigned c = 0; c < channels; c++) {
        NmPrediction p = nm_round(base[c], sum[c]);
        unsigned is_uncertainty = c == 3;
        if (of->known[point] >> is_uncertainty & 1) {
            of->codes[4 * (size_t)point + c] = nm_zigzag(((of->mesh[point][c] - p.whole) ^ p.flip) - p.flip);
        } else {
            of->mesh[point][c] = p.whole;
            of->codes[4 * (size_t)point + c] = 0;
        }
        of->contexts[4 * (size_t)point + c] = (uint16_t)(classes[is_uncertainty] * NM_FOLDS + p.fold);
    }
}

static void predict_mesh(const NmModel *model, int kind, const Mesh *of, unsigned channels) {
    for (uint32_t i = 0; i < model->points; i++) {
        NmPoint base, sum = nm_sum(model, kind, i, of->mesh, of->before, &base);
        put_point(model, kind, i, of, base, sum, channels);
    }
}

/* The same for BLOCK meshes of one kind, each of which may be predicted from those before it in the block: neighbours
 * lie in earlier levels, which are done in all of them, and the point itself is added last, mesh by mesh. */
static void predict_block(const NmModel *model, int kind, const Mesh *of, unsigned channels) {
    for (unsigned b = 0; b < BLOCK; b++) {
        NmPoint base, sum = nm_sum(model, kind, 0, of[b].mesh, of[b].before, &base);
        put_point(model, kind, 0, &of[b], base, sum, channels);
    }
    for (uint32_t i = 1; i < model->points; i++) {
        const uint16_t *neighbours = model->neighbours + (size_t)i * model->width;
        const int16_t *weights = model->weights[kind] + (size_t)i * nm_taps(model, kind);
        NmPoint base[BLOCK], sum[BLOCK];
        uint32_t own[2] = {0, 0};
        for (unsigned b = 0; b < BLOCK; b++) {
            base[b] = of[b].mesh[neighbours[0]];
            sum[b] = -(base[b] << NM_WEIGHT_BITS);
        }
        for (uint32_t j = 0; j < model->now[kind]; j++)
            for (unsigned b = 0; b < BLOCK; b++)
                sum[b] += of[b].mesh[neighbours[j]] * (uint32_t)(int32_t)weights[j];
        weights += model->now[kind];
        for (int k = 0; k < 2 * kind; k++) {
            own[k] = (uint32_t)(int32_t)*weights++;
            for (uint32_t j = 0; j < model->before[k]; j++)
                for (unsigned b = 0; b < BLOCK; b++)
                    sum[b] += of[b].before[k][neighbours[j]] * (uint32_t)(int32_t)weights[j];
            weights += model->before[k];
        }
        for (unsigned b = 0; b < BLOCK; b++) {
            for (int k = 0; k < 2 * kind; k++) sum[b] += of[b].before[k][i] * own[k];
            put_point(model, kind, i, &of[b], base[b], sum[b], channels);
        }
    }
}

void NM_NAME(nm_predict)(const NmModel *model, const NmSegment *segment, NmPoint *points, const uint8_t *known,
                         uint32_t *codes, uint16_t *contexts) {
    for (uint32_t m = 0; m < segment->meshes;) {
        Mesh block[BLOCK];
        uint32_t count = 0;
        for (; count < BLOCK && m + count < segment->meshes; count++) {
            if (nm_kind(segment, m + count) != nm_kind(segment, m)) break;
            size_t first = (size_t)(m + count) * model->points;
            block[count] = (Mesh){.mesh = points + first,
                                  .known = known + first,
                                  .codes = codes + 4 * first,
                                  .contexts = contexts + 4 * first};
            nm_meshes_before(segment, m + count, points, model->points, block[count].before);
        }
        if (count == BLOCK)
            predict_block(model, nm_kind(segment, m), block, segment->channels);
        else
            for (uint32_t b = 0; b < count; b++)
                predict_mesh(model, nm_kind(segment, m), &block[b], segment->channels);
        m += count;
    }
}

#ifndef NM_WIDE
void nm_predict(const NmModel *model, const NmSegment *segment, NmPoint *points, const uint8_t *known,
                uint32_t *codes, uint16_t *contexts) {
#ifdef NM_HAS_WIDE
    if (__builtin_cpu_supports("avx2")) {
        nm_predict_wide(model, segment, points, known, codes, contexts);
        return;
    }
#endif
    nm_predict_narrow(model, segment, points, known, codes, contexts);
}
#endif
