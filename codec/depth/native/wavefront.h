/* In which order lattice-rans codes pixels: rows advance together, each some steps behind the one above.
 *
 * Row y is coded by lane y mod L in its round y div L. A row has two positions of margin, its pixels, and two
 * positions of margin again; position p of round r falls on step r * P + D * lane + p, where D = 16 and the
 * period P is the length of a row in whole blocks of 8 steps, but at least D * L. Steps come in order, and within a
 * step lanes do. What lies 16 steps back in the row above reaches 13 columns beyond the pixel: all neighbours
 * are known, so the lanes need not wait for each other.
 */
#ifndef NIGHTRIG_WAVEFRONT_H
#define NIGHTRIG_WAVEFRONT_H

#include <stdint.h>

enum { NR_MIN_LANES = 2, NR_MAX_LANES = 32, NR_LANE_DELAY = 16, NR_MARGIN = 2, NR_BLOCK = 8 };

typedef struct {
    int64_t lanes, height, width;
    int64_t row_steps; /* margins and filling-up included: a multiple of NR_BLOCK */
    int64_t period, steps;
} NrWavefront;

static inline NrWavefront nr_wavefront(uint32_t height, uint32_t width, unsigned lanes) {
    NrWavefront w = {.lanes = lanes, .height = height, .width = width};
    w.row_steps = ((int64_t)width + 2 * NR_MARGIN + NR_BLOCK - 1) / NR_BLOCK * NR_BLOCK;
    int64_t shortest = NR_LANE_DELAY * w.lanes;
    w.period = w.row_steps > shortest ? w.row_steps : shortest;
    int64_t last = w.height - 1;
    w.steps = last / w.lanes * w.period + last % w.lanes * NR_LANE_DELAY + w.row_steps;
    return w;
}

/* More steps than this are no payload: a narrow image takes 16 of them a row, most of them for nothing, and only then
 * does an image of millions of rows exceed it. So the pixels bound the time, for the twin too, which pays by the
 * step. Of the shapes that cameras have none comes near it. */
static inline int nr_has_few_steps(const NrWavefront *w) {
    return w->steps <= w->height * w->width / 16 + 65536;
}

/* Where a lane stands at the first step of a block. Outside of `row_steps` and `height` it has nothing to do. */
typedef struct {
    int64_t row, position;
} NrLanePlace;

static inline NrLanePlace nr_lane_place(const NrWavefront *w, int lane, int64_t step) {
    /* A round earlier, so that what a lane that has yet to begin would do lies in rows before the image. */
    int64_t local = step - (int64_t)NR_LANE_DELAY * lane + w->period;
    return (NrLanePlace){(local / w->period - 1) * w->lanes + lane, local % w->period};
}

/* A block on or back, without a division. */
static inline void nr_advance(const NrWavefront *w, NrLanePlace *place) {
    place->position += NR_BLOCK;
    if (place->position == w->period) {
        place->position = 0;
        place->row += w->lanes;
    }
}

static inline void nr_go_back(const NrWavefront *w, NrLanePlace *place) {
    if (place->position == 0) {
        place->position = w->period;
        place->row -= w->lanes;
    }
    place->position -= NR_BLOCK;
}

static inline int nr_lane_works(const NrWavefront *w, NrLanePlace place) {
    return place.row >= 0 && place.row < w->height && place.position < w->row_steps;
}

#endif
