/* Linear prediction for `max`: a rank from 29 ranks to its left and above, with weights fitted to the image.
 *
 * The noise of a stereo camera is a smooth field, rounded to ranks: a weighted mean of many neighbours knows
 * fractions of a rank that no single one does. The weights differ from camera to camera and stand in the
 * stream, so a decoder never fits: how they were found is the encoder's affair (and yet deterministic).
 */
#ifndef NR_MAX_LINEAR_H
#define NR_MAX_LINEAR_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "max_model.h"
#include "max_rows.h"

#define TAPS 29
#define LEFT_TAPS 5    /* the first ones, in the current row */
#define TAPS_PADDED 32 /* whole vectors; what is behind the last tap is 0 */
#define TAP_REACH 12   /* differences to the rank above count up to this */
#define UNIT_BITS 6    /* predictions are in 1/64 of a rank */
#define WEIGHT_BITS 10 /* weights are in 1/1024 */

/* Everything within five steps (|dx| + dy <= 5) that is known, but the pixel above, against which all are
 * measured: row by row upwards, each from left to right. */
static const struct {
    int8_t row, dx;
} TAP[TAPS] = {
    {0, -5}, {0, -4}, {0, -3}, {0, -2}, {0, -1},                            /* the current row */
    {1, -4}, {1, -3}, {1, -2}, {1, -1}, {1, 1},  {1, 2}, {1, 3}, {1, 4},    /* the one above */
    {2, -3}, {2, -2}, {2, -1}, {2, 0},  {2, 1},  {2, 2}, {2, 3},            /* and so on */
    {3, -2}, {3, -1}, {3, 0},  {3, 1},  {3, 2},  {4, -1}, {4, 0}, {4, 1}, {5, 0},
};

/* Weights for images too small to fit: the mean of fits to other cameras and to the simulator. */
static const int16_t DEFAULT_WEIGHTS[TAPS] = {
    -30, 26,  115, 140, 458,
    -54, -43, 19, -121, 102, 90, 81, 24,
    -26, -13, 7, 43, 26, 18, -27,
    -14, -44, 34, -9, -62, -20, 11, -49, 10,
};

static inline int16_t difference_to(int16_t above, int16_t rank) {
    const int16_t difference = (int16_t)(rank - above); /* ranks are 0 to 32767: it fits */
    return difference < -TAP_REACH ? -TAP_REACH : difference > TAP_REACH ? TAP_REACH : difference;
}

/* What the taps above the current row contribute to each of its predictions, in 1/1024: a whole row at a
 * time, because only the five to the left have to wait for the pixels before. */
static void predict_from_above(const Rows *rows, const int16_t weights[TAPS], int32_t *sums) {
    const size_t width = rows->width;
    const int16_t *const above = rows->row[1].rank;
    memset(sums, 0, width * sizeof *sums);
    for (int tap = LEFT_TAPS; tap < TAPS; tap++) {
        const int16_t *const rank = rows->row[TAP[tap].row].rank + TAP[tap].dx;
        const int16_t weight = weights[tap];
        for (size_t x = 0; x < width; x++) sums[x] += difference_to(above[x], rank[x]) * weight;
    }
}

/* The prediction in 1/64 of a rank. 29 products of 12 and 32768 stay below 2^24. */
static inline int32_t predict(const Rows *rows, ptrdiff_t x, const int16_t weights[TAPS], int32_t sum) {
    const int16_t *const rank = rows->row[0].rank + x;
    const int16_t above = rows->row[1].rank[x];
    for (int tap = 0; tap < LEFT_TAPS; tap++) sum += difference_to(above, rank[tap - LEFT_TAPS]) * weights[tap];
    return above * (1 << UNIT_BITS) + (sum >> (WEIGHT_BITS - UNIT_BITS));
}

/* ---- the fit: least squares over every eighth pixel ---------------------------------------------------- */

#define SAMPLE_STEP 8
#define SAMPLE_MIN 512    /* fewer samples than this: the default weights */
#define PLANE_REACH 6     /* samples further from the plane of three neighbours are edges, not noise */
#define FIT_SWEEPS 100
#define FIT_BITS 16       /* weights while fitting, in 1/65536 */
#define FIT_LIMIT (8 << FIT_BITS)
#define MOMENT_BITS 30    /* moments are scaled below this */
#define RIDGE_BITS 13     /* a little is added to the diagonal: a flat image has no unique solution */

typedef struct {
    int64_t moment[TAPS][TAPS_PADDED]; /* of pairs of differences; only up to the diagonal */
    int64_t target[TAPS_PADDED];       /* of differences and what is to be predicted */
    int32_t row_moment[TAPS][TAPS_PADDED], row_target[TAPS_PADDED];
    int64_t samples;
} Fit;

/* The current row (complete) into the moments. In one row there are at most 2048 samples of 11 * 28 at most: no
 * difference reaches 12 but at an edge, and a target is two of them and six off the plane at most. 32-bit sums hold
 * them, and are quicker. */
static void fit_row(Fit *fit, const Rows *rows, uint32_t y) {
    const int16_t *const rank = rows->row[0].rank, *const above = rows->row[1].rank;
    const uint8_t *const valid = rows->row[0].valid;
    memset(fit->row_moment, 0, sizeof fit->row_moment);
    memset(fit->row_target, 0, sizeof fit->row_target);
    for (ptrdiff_t x = (ptrdiff_t)(y % SAMPLE_STEP); x < (ptrdiff_t)rows->width; x += SAMPLE_STEP) {
        if (!valid[x]) continue;
        const int32_t target = rank[x] - above[x];
        const int32_t off_plane = target - (rank[x - 1] - above[x - 1]);
        if (off_plane < -PLANE_REACH || off_plane > PLANE_REACH) continue;
        int16_t window[TAPS_PADDED] = {0};
        bool edge = false;
        for (int i = 0; i < TAPS; i++) {
            window[i] = difference_to(above[x], rows->row[TAP[i].row].rank[x + TAP[i].dx]);
            edge |= window[i] == TAP_REACH || window[i] == -TAP_REACH;
        }
        if (edge) continue;
        for (int i = 0; i < TAPS; i++) {
            const int32_t factor = window[i];
            for (int j = 0; j < TAPS_PADDED; j++) fit->row_moment[i][j] += factor * window[j];
        }
        for (int j = 0; j < TAPS_PADDED; j++) fit->row_target[j] += target * window[j];
        fit->samples++;
    }
    for (int i = 0; i < TAPS; i++) {
        for (int j = 0; j <= i; j++) fit->moment[i][j] += fit->row_moment[i][j];
        fit->target[i] += fit->row_target[i];
    }
}

/* Gauss-Seidel sweeps from the default weights: each step sets one weight to its best value given the others,
 * so the squared error only falls, and stopping early is no harm. Sums stay below 29 * 2^30 * 2^19. */
static void fit_solve(Fit *fit, int16_t weights[TAPS]) {
    memcpy(weights, DEFAULT_WEIGHTS, sizeof DEFAULT_WEIGHTS);
    if (fit->samples < SAMPLE_MIN) return;
    int64_t largest = 1;
    for (int i = 0; i < TAPS; i++) {
        if (fit->moment[i][i] > largest) largest = fit->moment[i][i];
    }
    int scale = 0;
    while (largest >> scale >> MOMENT_BITS) scale++;
    int64_t fine[TAPS];
    for (int i = 0; i < TAPS; i++) {
        fine[i] = (int64_t)weights[i] * (1 << (FIT_BITS - WEIGHT_BITS));
        fit->target[i] >>= scale;
        for (int j = 0; j <= i; j++) fit->moment[j][i] = fit->moment[i][j] >>= scale;
        fit->moment[i][i] += (fit->moment[i][i] >> RIDGE_BITS) + 1;
    }
    for (int sweep = 0; sweep < FIT_SWEEPS; sweep++) {
        for (int i = 0; i < TAPS; i++) {
            int64_t rest = fit->target[i] * (1 << FIT_BITS);
            for (int j = 0; j < TAPS; j++) rest -= fit->moment[i][j] * fine[j];
            fine[i] += rest / fit->moment[i][i];
            if (fine[i] > FIT_LIMIT) fine[i] = FIT_LIMIT;
            if (fine[i] < -FIT_LIMIT) fine[i] = -FIT_LIMIT;
        }
    }
    const int drop = FIT_BITS - WEIGHT_BITS;
    for (int i = 0; i < TAPS; i++) weights[i] = (int16_t)((fine[i] + (1 << (drop - 1))) >> drop);
}

#endif
