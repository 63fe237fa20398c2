/* What lattice-rans expects of a pixel, from the pixels before it: a prediction and a context.
 *
 * Encoder and decoder share these lines. The encoder looks at eight neighbouring pixels of a row at once, the
 * decoder at pixels of eight rows; the arithmetic is the same, on 16-bit numbers that wrap.
 *
 * Pixels are ranks. `N` is the pixel above, `W` the one to the left, `NEE` one row up and two columns right,
 * and so on. A pixel that was not measured takes the rank of the pixel above it and counts as invalid.
 *
 * Why this shape. The noise of a stereo camera is a smooth field, so a rounded plane through W, N and NW is
 * right for nine pixels of ten, and the question is where the next contour line of that field runs. A weighted
 * sum of eleven neighbours says by which fraction of a rank the plane is off (`score`); the signs of five
 * first and second differences say what shape the ground has. Second differences do not change on a tilted
 * plane, which is what floors and walls are. Near holes only validity and two signs count.
 */
#ifndef NIGHTRIG_CONTEXT_MODEL_H
#define NIGHTRIG_CONTEXT_MODEL_H

#include "bytes.h"
#include "simd16.h"

enum {
    NR_WEIGHTS = 11,
    NR_SCORE_SHIFT = 3, /* the score counts twelfths of a rank */
    NR_WEIGHT_UNIT = 12 << NR_SCORE_SHIFT,
    NR_SCORE_BOUND = 10,
    NR_SCORES = 2 * NR_SCORE_BOUND + 1,
    NR_SMOOTH_CONTEXTS = NR_SCORES * 3 * 3 * 3 * 3 * 3,
    NR_HOLE_CONTEXTS = 128 * 3 * 3,
    NR_CONTEXTS = NR_SMOOTH_CONTEXTS + NR_HOLE_CONTEXTS,

    NR_MAX_CLASSES = 64,
    NR_SYMBOLS = 16, /* of a class: 0 to 13 are zigzag codes of residuals */
    NR_ESCAPE = 14,  /* a larger one: its code less NR_ESCAPE stands among the escapes */
    NR_INVALID = 15, /* the pixel was not measured */

    /* A context map file: u16 id, u16 number of classes, 11 weights i16, the class of each context u8, and for
     * each class the 16 frequency codes u8 of its default table. */
    NR_MAP_CLASSES_AT = 2,
    NR_MAP_WEIGHTS_AT = 4,
    NR_MAP_CLASS_OF_AT = NR_MAP_WEIGHTS_AT + 2 * NR_WEIGHTS,
    NR_MAP_DEFAULTS_AT = NR_MAP_CLASS_OF_AT + NR_CONTEXTS
};

typedef struct {
    NrVec W, WW, N, NW, NE, NN, NWW, NEE, NNW, NNE, NNEE, NNWW;
} NrNeighbours;

/* All ones where the neighbour was measured, 0 where not. */
typedef struct {
    NrVec W, WW, N, NW, NE, NEE, NN;
} NrValidity;

/* Splat over all lanes, so that no loop has to. `of_N` makes the weights sum up to NR_WEIGHT_UNIT. */
typedef struct {
    NrVec W, WW, NW, NE, NN, NWW, NEE, NNW, NNE, NNEE, NNWW, of_N;
} NrWeights;

static inline NrWeights nr_load_weights(const uint8_t *map) {
    int16_t w[NR_WEIGHTS];
    int32_t rest = NR_WEIGHT_UNIT;
    for (int i = 0; i < NR_WEIGHTS; i++) {
        w[i] = (int16_t)nr_load16(map + NR_MAP_WEIGHTS_AT + 2 * i);
        rest -= w[i];
    }
    return (NrWeights){nr_all(w[0]), nr_all(w[1]), nr_all(w[2]), nr_all(w[3]),
                       nr_all(w[4]), nr_all(w[5]), nr_all(w[6]), nr_all(w[7]),
                       nr_all(w[8]), nr_all(w[9]), nr_all(w[10]), nr_all((int16_t)(uint16_t)rest)};
}

/* The plane through W, N and NW, held to at most one rank outside of what lies between W and N. */
static inline NrVec nr_plane(const NrNeighbours *at) {
    NrVec lowest = nr_sub(nr_min(at->W, at->N), nr_all(1));
    NrVec highest = nr_add(nr_max(at->W, at->N), nr_all(1));
    return nr_min(nr_max(nr_sub(nr_add(at->W, at->N), at->NW), lowest), highest);
}

static inline NrVec nr_sign(NrVec v) { return nr_clip(v, 1); }

static inline NrVec nr_smooth_context(const NrNeighbours *at, NrVec plane, const NrWeights *weights) {
#define NR_TIMES(neighbour) nr_mul(at->neighbour, weights->neighbour)
    NrVec sum = nr_add(nr_add(NR_TIMES(W), NR_TIMES(WW)), nr_add(NR_TIMES(NW), NR_TIMES(NE)));
    sum = nr_add(sum, nr_add(nr_add(NR_TIMES(NN), NR_TIMES(NWW)), nr_add(NR_TIMES(NEE), NR_TIMES(NNW))));
    sum = nr_add(sum, nr_add(NR_TIMES(NNE), nr_add(NR_TIMES(NNEE), NR_TIMES(NNWW))));
    sum = nr_add(sum, nr_mul(at->N, weights->of_N));
#undef NR_TIMES
    NrVec off = nr_sub(sum, nr_mul(plane, nr_all(NR_WEIGHT_UNIT)));
    NrVec score = nr_clip(nr_add(off, nr_all(1 << (NR_SCORE_SHIFT - 1))) >> NR_SCORE_SHIFT, NR_SCORE_BOUND);

    NrVec down = nr_sub(at->W, at->NW), across = nr_sub(at->N, at->NW);
    NrVec bend_across = nr_sub(nr_sub(at->NE, at->N), across);
    NrVec bend_down = nr_sub(nr_sub(at->N, at->NN), down);
    NrVec twist = nr_sub(nr_sub(at->W, at->WW), across);
    NrVec context = nr_add(nr_mul(score, nr_all(3)), nr_sign(down));
    context = nr_add(nr_mul(context, nr_all(3)), nr_sign(across));
    context = nr_add(nr_mul(context, nr_all(3)), nr_sign(bend_across));
    context = nr_add(nr_mul(context, nr_all(3)), nr_sign(bend_down));
    context = nr_add(nr_mul(context, nr_all(3)), nr_sign(twist));
    return nr_add(context, nr_all(NR_SMOOTH_CONTEXTS / 2));
}

/* All ones where the four nearest neighbours were measured: the smooth context holds there. */
static inline NrVec nr_is_smooth(const NrValidity *valid) {
    return valid->W & valid->N & valid->NW & valid->NE;
}

static inline NrVec nr_hole_context(const NrNeighbours *at, const NrValidity *valid) {
    NrVec which = (valid->W & nr_all(1)) | (valid->N & nr_all(2)) | (valid->NW & nr_all(4)) |
                  (valid->NE & nr_all(8)) | (valid->WW & nr_all(16)) | (valid->NEE & nr_all(32)) |
                  (valid->NN & nr_all(64));
    NrVec signs = nr_add(nr_mul(nr_sign(nr_sub(at->W, at->NW)), nr_all(3)), nr_sign(nr_sub(at->N, at->NW)));
    return nr_add(nr_mul(which, nr_all(9)), nr_add(signs, nr_all(NR_SMOOTH_CONTEXTS + 4)));
}

/* The plane where W and N were measured, else the one of them that was, else NE, else what N was filled with. */
static inline NrVec nr_hole_prediction(const NrNeighbours *at, NrVec plane, const NrValidity *valid) {
    NrVec without_left = nr_select(~valid->N & valid->NE, at->NE, at->N);
    return nr_select(valid->W, nr_select(valid->N, plane, at->W), without_left);
}

#endif
