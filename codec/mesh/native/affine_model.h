/* The model of the affine codec as the kernels see it, how points are predicted, and how a residual is coded.
 *
 * Points stand in the model's order, coarse to fine, in levels: every neighbour of a point lies in an earlier level.
 * A point is four numbers (x, y, z and an uncertainty), predicted by the same weights. All of it is arithmetic modulo
 * 2^32, so that every processor, and the twin in NumPy, comes to the same predictions whatever the numbers are.
 */
#ifndef NIGHTRIG_AFFINE_MODEL_H
#define NIGHTRIG_AFFINE_MODEL_H

#include <stddef.h>
#include <stdint.h>

enum {
    NM_CHANNELS = 4,
    NM_GROUP = 32,                       /* points that are coded together, of one mesh and one level */
    NM_LANES = NM_GROUP * NM_CHANNELS,   /* rANS states: one for each number of a group */
    NM_WEIGHT_BITS = 12,
    NM_FOLDS = 8,                        /* contexts by how far the prediction lies from a whole number */
    NM_CLASSES = 32,                     /* contexts by how large residuals are, in steps of a cube root of 2 */
    NM_CONTEXTS = NM_CLASSES * NM_FOLDS,
    NM_SYMBOLS = 64,
    NM_ESCAPE = NM_SYMBOLS - 1,
    NM_PROBABILITY_BITS = 15,
    NM_RAW_BITS = 12, /* of numbers without a table, at most so many at a time */
    NM_KINDS = 2,     /* of prediction: from this mesh alone, or with two meshes before it, which may be the same */
    NM_DAMAGED = -1,
    NM_TOO_LARGE = -2
};

typedef uint32_t NmPoint __attribute__((vector_size(16)));

/* `neighbours`: points x `width`, of which a prediction takes the first `now[kind]` from this mesh and the first
 * `before[k]` from the k-th mesh before it. `weights[kind]`: points x taps, of this mesh first, then of each mesh
 * before it the point itself and its neighbours. `classes[kind]`: points x 2, for the position and the uncertainty.
 * `sums`: for each context the frequencies below each symbol, and at the end 2^15. */
typedef struct {
    uint32_t points, levels, width, now[NM_KINDS], before[2];
    const uint32_t *level_ends;
    const uint16_t *neighbours;
    const int16_t *weights[NM_KINDS];
    const uint8_t *classes[NM_KINDS];
    const uint16_t *sums;
} NmModel;

static inline uint32_t nm_taps(const NmModel *model, int kind) {
    return model->now[kind] + (kind ? 2 + model->before[0] + model->before[1] : 0);
}

/* How many low bits of a class's residuals have no table. */
static inline unsigned nm_low_bits(unsigned class_) { return class_ < 16 ? 0 : (class_ - 13) / 3; }

static inline uint32_t nm_zigzag(uint32_t residual) { return residual << 1 ^ (0u - (residual >> 31)); }
static inline uint32_t nm_unzigzag(uint32_t code) { return code >> 1 ^ (0u - (code & 1)); }

/* A prediction: the nearest whole number, on which side of it the exact value lies, and how far. */
typedef struct {
    uint32_t whole, flip; /* flip: all ones where the exact value is below, so that residuals change their sign */
    unsigned fold;
} NmPrediction;

static inline NmPrediction nm_round(uint32_t base, uint32_t sum) {
    const uint32_t half = 1u << (NM_WEIGHT_BITS - 1);
    int32_t whole = (int32_t)(sum + half) >> NM_WEIGHT_BITS;
    int32_t rest = (int32_t)(sum - ((uint32_t)whole << NM_WEIGHT_BITS));
    uint32_t away = rest < 0 ? 0u - (uint32_t)rest : (uint32_t)rest;
    unsigned fold = away >> (NM_WEIGHT_BITS - 4);
    return (NmPrediction){base + (uint32_t)whole, rest < 0 ? ~0u : 0u, fold < NM_FOLDS ? fold : NM_FOLDS - 1};
}

static inline NmPoint nm_weighted(const NmPoint *mesh, const uint16_t *neighbours, const int16_t *weights,
                                  uint32_t count, NmPoint sum) {
    for (uint32_t j = 0; j < count; j++) sum += mesh[neighbours[j]] * (uint32_t)(int32_t)weights[j];
    return sum;
}

/* The weighted sum for one point, less its base, and the base. `before` are the meshes before this one. */
static inline NmPoint nm_sum(const NmModel *model, int kind, uint32_t point, const NmPoint *mesh,
                             const NmPoint *const *before, NmPoint *base) {
    const uint16_t *neighbours = model->neighbours + (size_t)point * model->width;
    const int16_t *weights = model->weights[kind] + (size_t)point * nm_taps(model, kind);
    NmPoint sum = {0, 0, 0, 0};
    if (point == 0) { /* nothing in this mesh is known */
        *base = kind ? before[0][0] : sum;
        return sum;
    }
    *base = mesh[neighbours[0]];
    sum = nm_weighted(mesh, neighbours, weights, model->now[kind], sum - (*base << NM_WEIGHT_BITS));
    weights += model->now[kind];
    for (int k = 0; k < 2 * kind; k++) {
        sum += before[k][point] * (uint32_t)(int32_t)weights[0];
        sum = nm_weighted(before[k], neighbours, weights + 1, model->before[k], sum);
        weights += 1 + model->before[k];
    }
    return sum;
}

#endif
