/* max: which bits an image is made of, and in which contexts each is predicted.
 *
 * One function per kind of thing coded (palette, valid or not, residual), each for both directions: what the
 * encoder does and what the decoder does cannot drift apart. Integers only, and no more of them than 32 bits hold
 * where it is not said: the same bytes on every processor and with every compiler, and the same as the twin in
 * codec/depth/_max_twin.py. docs/FORMAT.md tells the stream in words.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "max_coder.h"
#include "max_linear.h"
#include "max_model.h"
#include "max_rows.h"
#include "nightrig_kernels.h"

/* ---- sizes and rates: all part of the format ----------------------------------------------------------- */

#define CONTEXTS 7      /* slots that a residual's bit is predicted from */
#define HASH_BITS 15    /* slots in each table of residual contexts */
#define NODES 16        /* kinds of bits of a residual */
#define NODE_ZERO 0     /* is it other than 0? */
#define NODE_SIGN 1     /* is it negative? */
#define NODE_SIZE 2     /* is it larger still? 7 steps for either sign */
#define REFINED_NODES 2 /* the first two are refined; the rest are too rare to learn it */
#define ACTIVITIES 11
#define FRACTIONS 16
#define LARGEST_UNARY 20 /* larger sizes go on in Elias gamma code */
#define GAMMA_BITS 15    /* no size of a rank below 32768 needs more */

#define MASK_CONTEXTS 3
#define MASK_HASH 32768  /* slots in each table of mask contexts */
#define MASK_MIXERS 256

#define BIAS_WORD 256 /* the last word of every mixer: what holds without evidence */
#define RESIDUAL_WEIGHT (ONE_WEIGHT * 4 / 25)
#define MASK_WEIGHT (ONE_WEIGHT * 3 / 10)
#define RESIDUAL_RATE 64
#define MASK_RATE 20
#define RESIDUAL_LIMIT 160 /* counts at which slots stop to slow down */
#define MASK_LIMIT 160
#define RUN_LIMIT 255
#define PALETTE_LIMIT 60
#define GAMMA_LIMIT 60

/* Probabilities keep this far from 0 and 1; by the coder's rule it bounds what a byte can hold. */
#define MASK_MARGIN 16
#define RESIDUAL_MARGIN 32

#define WIDTH_LIMIT 16384  /* pixels in a row: bounds the workspace and the sums of the fit */
#define VALUES_LIMIT 32767 /* values other than 0: differences of ranks fit 16 bits */
#define HEADER_BYTES (2 + 2 * TAPS) /* number of values, weights */

typedef struct {
    Tables tables;
    Slot residual[CONTEXTS][1 << HASH_BITS];
    int32_t by_activity[NODES][ACTIVITIES * 2][CONTEXTS + 1];
    int32_t by_fraction[NODES][FRACTIONS][CONTEXTS + 1];
    Refiner refine_activity[REFINED_NODES][FRACTIONS * ACTIVITIES];
    Refiner refine_error[REFINED_NODES][FRACTIONS * 16];
    Slot gamma[GAMMA_BITS + 1];
    Slot mask[MASK_CONTEXTS][MASK_HASH];
    int32_t mask_weights[MASK_MIXERS][MASK_CONTEXTS + 1];
    Slot runs[16];
    Slot palette[512];
} Model;

typedef struct {
    Model model;
    Fit fit;
    Coder coder;
    Rows rows;
    int16_t weights[TAPS];
    int32_t from_above[WIDTH_LIMIT]; /* to the predictions of the current row */
    int32_t values;           /* ranks are 1 to this */
    uint16_t value_of[65536]; /* by rank */
    uint16_t rank_of[65536];  /* by value, 0 where it does not occur; the encoder's */
    int64_t row_memory[];     /* 8-byte aligned */
} Workspace;

size_t nr_max_workspace_bytes(uint32_t width) {
    return width == 0 || width > WIDTH_LIMIT ? 0 : sizeof(Workspace) + rows_bytes(width);
}

static void model_reset(Model *model) {
    make_tables(&model->tables);
    slots_reset(model->residual[0], sizeof model->residual / sizeof(Slot));
    slots_reset(model->mask[0], sizeof model->mask / sizeof(Slot));
    slots_reset(model->gamma, sizeof model->gamma / sizeof(Slot));
    slots_reset(model->runs, sizeof model->runs / sizeof(Slot));
    slots_reset(model->palette, sizeof model->palette / sizeof(Slot));
    weights_reset(model->by_activity[0][0], sizeof model->by_activity / sizeof(int32_t), RESIDUAL_WEIGHT);
    weights_reset(model->by_fraction[0][0], sizeof model->by_fraction / sizeof(int32_t), RESIDUAL_WEIGHT);
    weights_reset(model->mask_weights[0], sizeof model->mask_weights / sizeof(int32_t), MASK_WEIGHT);
    refiners_reset(model->refine_activity[0], REFINED_NODES * FRACTIONS * ACTIVITIES, &model->tables);
    refiners_reset(model->refine_error[0], REFINED_NODES * FRACTIONS * 16, &model->tables);
}

/* A bit predicted by one slot alone. */
static int code_slot(Workspace *work, Slot *slot, uint32_t limit, int bit) {
    const int32_t p1 = clamp((int32_t)(*slot >> 16), MASK_MARGIN, 65536 - MASK_MARGIN);
    bit = code_bit(&work->coder, (uint32_t)p1, bit);
    slot_learn(slot, bit, limit, &work->model.tables);
    return bit;
}

/* Brought to the range -reach ... reach and then to 0 ... 2 * reach, as contexts want it. */
static inline uint32_t level(int32_t difference, int32_t reach) {
    return (uint32_t)(clamp(difference, -reach, reach) + reach);
}

/* ---- the palette: which of the values 1 to 65535 occur -------------------------------------------------- */

/* Depth values of a stereo camera lie as the quotients of a constant by 1, 2, 3, ...: a gap is like the one
 * before it. The context compares the gap so far with the last three. */
static int code_palette(Workspace *work) {
    int32_t gap = 1, gap1 = 1, gap2 = 1, gap3 = 1;
    int32_t found = 0;
    for (int32_t value = 1; value < 65536 && found < work->values; value++) {
        const uint32_t context = level(gap - gap1, 3) | level(gap2 - gap1, 2) << 3 |
                                 level(gap3 - gap1, 1) << 6 | (uint32_t)clamp(gap1 - 1, 0, 1) << 8;
        const int occurs = work->coder.decoding ? 0 : work->rank_of[value] != 0;
        if (code_slot(work, &work->model.palette[context], PALETTE_LIMIT, occurs)) {
            work->value_of[++found] = (uint16_t)value;
            gap3 = gap2;
            gap2 = gap1;
            gap1 = gap;
            gap = 1;
        } else {
            gap++;
        }
    }
    return found == work->values ? 0 : NR_DAMAGED;
}

/* ---- valid or not --------------------------------------------------------------------------------------- */

static int code_mixed_mask(Workspace *work, uint32_t near, ptrdiff_t x, int bit) {
    const Rows *const rows = &work->rows;
    const int16_t *const now = rows->row[0].rank + x, *const above = rows->row[1].rank + x;
    const int16_t *const error = rows->row[0].error + x, *const error_above = rows->row[1].error + x;
    Model *const model = &work->model;
    const uint32_t contexts[MASK_CONTEXTS] = {
        near,
        (near & 31) | level(now[-1] - above[0], 7) << 5 | level(above[1] - above[0], 3) << 9 |
            level(now[-1] - now[-2], 3) << 12,
        (near & 127) | level(error[-1] >> 3, 7) << 7 | level(error_above[0] >> 3, 7) << 11,
    };
    int32_t words[MASK_CONTEXTS + 1];
    for (int i = 0; i < MASK_CONTEXTS; i++) {
        words[i] = slot_word(model->mask[i][contexts[i]], &model->tables);
    }
    words[MASK_CONTEXTS] = BIAS_WORD;
    int32_t *const weights = model->mask_weights[near];
    const int32_t p1 = squash(&model->tables, mix(words, weights, MASK_CONTEXTS + 1));
    bit = code_bit(&work->coder, (uint32_t)p1, bit);
    mix_learn(words, weights, MASK_CONTEXTS + 1, bit, p1, MASK_RATE);
    for (int i = 0; i < MASK_CONTEXTS; i++) {
        slot_learn(&model->mask[i][contexts[i]], bit, MASK_LIMIT, &model->tables);
    }
    return bit;
}

/* Where all eight neighbours agree, and that is nearly everywhere, one slot is as good as the mixer. */
static int code_mask(Workspace *work, ptrdiff_t x, int bit) {
    const Row *const row = work->rows.row;
    const uint8_t *const now = row[0].valid + x, *const above = row[1].valid + x;
    const uint32_t near = (uint32_t)(now[-1] | above[0] << 1 | above[-1] << 2 | above[1] << 3 | now[-2] << 4 |
                                     row[2].valid[x] << 5 | above[2] << 6 | above[-2] << 7);
    if (near != 0 && near != 255) return code_mixed_mask(work, near, x, bit);
    const uint32_t far = (uint32_t)(now[-3] | now[-4] << 1 | row[3].valid[x] << 2);
    return code_slot(work, &work->model.runs[(near & 8) | far], RUN_LIMIT, bit);
}

/* ---- residuals: how far a rank is from its prediction ---------------------------------------------------- */

typedef struct {
    int32_t linear;       /* the linear prediction, in 1/64 of a rank */
    int32_t expected;     /* the rank that the residual is measured from */
    uint32_t hash[CONTEXTS];
    uint32_t activity2;   /* activity and whether all neighbours are valid: chooses mixers */
    uint32_t fraction;    /* how far `linear` is above `expected`, in 1/16 from -1/2 on: chooses mixers */
    uint32_t refiner[2];
} Place;

static inline uint32_t hashed(uint32_t key, uint32_t context) {
    uint32_t hash = (key + context * 0x10000000u) * 0x9E3779B1u;
    hash ^= hash >> 15;
    hash *= 0x85EBCA77u;
    return hash ^ hash >> 13;
}

/* How badly the neighbours were predicted: the sum of four errors in 1/64, on a scale of eleven steps. */
static inline uint32_t activity_of(int32_t errors) {
    static const int16_t STEP[ACTIVITIES - 1] = {24, 40, 56, 72, 96, 128, 192, 320, 640, 1600};
    uint32_t activity = 0;
    for (int i = 0; i < ACTIVITIES - 1; i++) activity += errors >= STEP[i];
    return activity;
}

static inline int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t most(int32_t a, int32_t b) { return a > b ? a : b; }

/* The linear prediction, rounded and kept near its neighbours. Next to a hole it leans on ranks that are only
 * filled in: there the first valid neighbour of N, W, NE says more, unless both N and W are valid. */
static inline int32_t expected_rank(int32_t linear, int32_t w, int32_t n, int32_t nw, int32_t ne,
                                    uint32_t valid_near, int32_t values) {
    int32_t expected = (linear + 32) >> UNIT_BITS;
    expected = clamp(expected, least(least(w, n), least(nw, ne)) - 3, most(most(w, n), most(nw, ne)) + 3);
    if ((valid_near & 3) != 3) expected = valid_near & 2 ? n : !(valid_near & 1) && valid_near & 8 ? ne : w;
    return clamp(expected, 1, values);
}

static inline void look_around(Workspace *work, ptrdiff_t x, Place *place) {
    const Row *const row = work->rows.row;
    const int16_t *const now = row[0].rank + x, *const above = row[1].rank + x;
    const int16_t *const error = row[0].error + x, *const error_above = row[1].error + x;
    const uint8_t *const valid = row[0].valid + x, *const valid_above = row[1].valid + x;
    const uint32_t near = (uint32_t)(valid[-1] | valid_above[0] << 1 | valid_above[-1] << 2 |
                                     valid_above[1] << 3 | valid[-2] << 4 | valid_above[2] << 5);
    const int32_t linear = predict(&work->rows, x, work->weights, work->from_above[x]);
    const int32_t expected =
        expected_rank(linear, now[-1], above[0], above[-1], above[1], near, work->values);
    const int32_t w = now[-1] - expected, n = above[0] - expected, nw = above[-1] - expected,
                  ne = above[1] - expected, ww = now[-2] - expected, nn = row[2].rank[x] - expected;
    const int32_t beyond = linear - expected * (1 << UNIT_BITS);
    const uint32_t fraction16 = (level(beyond, 32) >> 2) - (beyond >= 32), fraction8 = fraction16 >> 1;
    const int32_t e_w = error[-1], e_n = error_above[0], e_nw = error_above[-1], e_ne = error_above[1];
    const uint32_t activity = activity_of(abs(e_w) + abs(e_n) + abs(e_nw) + abs(e_ne));
    const uint32_t holes = (near & 15) != 15;

    place->linear = linear;
    place->expected = expected;
    place->fraction = fraction16;
    place->activity2 = activity * 2 + holes;
    place->refiner[0] = fraction16 * ACTIVITIES + activity;
    place->refiner[1] = fraction16 * 16 + level(e_w >> 3, 7);

    const uint32_t keys[CONTEXTS] = {
        /* the distribution around the prediction */
        (fraction16 * 16 + activity) * 2 + holes,
        /* the pattern of the neighbours, which the linear prediction sums up */
        ((((level(w, 2) * 5 + level(n, 2)) * 5 + level(ne, 2)) * 5 + level(nw, 2)) * 5 + level(ww, 2)) * 5 +
            level(nn, 2),
        /* errors go on: the noise is smooth */
        ((fraction8 * 16 + level(e_w >> 3, 7)) * 16 + level(e_n >> 3, 7)) * 16 + level(e_ne >> 3, 7),
        (fraction16 * 32 + level(e_w >> 2, 15)) * 12 + activity,
        /* slopes and edges */
        ((level(w, 9) * 19 + level(n, 9)) * 9 + level(ne, 4)) * 4 + (fraction16 >> 2),
        /* holes */
        ((near * 16 + level(beyond >> UNIT_BITS, 7)) * 8 + fraction8) * 12 + activity,
        ((near * 24 + level(w, 11)) * 24 + level(n, 11)) * 8 + level(ne, 3),
    };
    for (uint32_t i = 0; i < CONTEXTS; i++) place->hash[i] = hashed(keys[i], i);
}

static int code_node(Workspace *work, const Place *place, uint32_t node, int bit) {
    Model *const model = &work->model;
    const Tables *const tables = &model->tables;
    Slot *slots[CONTEXTS];
    int32_t words[CONTEXTS + 1];
    for (int i = 0; i < CONTEXTS; i++) {
        slots[i] = &model->residual[i][(place->hash[i] >> (32 - HASH_BITS)) ^ node];
        words[i] = slot_word(*slots[i], tables);
    }
    words[CONTEXTS] = BIAS_WORD;

    int32_t *const weights1 = model->by_activity[node][place->activity2];
    int32_t *const weights2 = model->by_fraction[node][place->fraction];
    const int32_t mixed1 = mix(words, weights1, CONTEXTS + 1), mixed2 = mix(words, weights2, CONTEXTS + 1);
    const int32_t mixed = (mixed1 + mixed2) >> 1;
    int32_t p1 = squash(tables, mixed);
    uint16_t *const knots1 = model->refine_activity[node % REFINED_NODES][place->refiner[0]];
    uint16_t *const knots2 = model->refine_error[node % REFINED_NODES][place->refiner[1]];
    if (node < REFINED_NODES) p1 = (2 * p1 + refine(knots1, mixed) + refine(knots2, mixed)) >> 2;
    p1 = clamp(p1, RESIDUAL_MARGIN, 65536 - RESIDUAL_MARGIN);

    bit = code_bit(&work->coder, (uint32_t)p1, bit);

    mix_learn(words, weights1, CONTEXTS + 1, bit, squash(tables, mixed1), RESIDUAL_RATE);
    mix_learn(words, weights2, CONTEXTS + 1, bit, squash(tables, mixed2), RESIDUAL_RATE);
    for (int i = 0; i < CONTEXTS; i++) slot_learn(slots[i], bit, RESIDUAL_LIMIT, tables);
    if (node < REFINED_NODES) {
        refine_learn(knots1, mixed, bit);
        refine_learn(knots2, mixed, bit);
    }
    return bit;
}

/* The node for "larger than `size`": every size up to 4, then 5 to 8, 9 to 12 and 13 to 20 together. */
static inline uint32_t size_node(int32_t size, int negative) {
    const uint32_t step = size < 4 ? (uint32_t)size : size < 8 ? 4 : size < 12 ? 5 : 6;
    return NODE_SIZE + 2 * step + (uint32_t)negative;
}

/* A number from 1 to 65535 in Elias gamma code, its length learned. */
static int32_t code_gamma(Workspace *work, int32_t number) {
    int bits = 0;
    while (bits < GAMMA_BITS &&
           code_slot(work, &work->model.gamma[bits], GAMMA_LIMIT, number >> (bits + 1) != 0)) {
        bits++;
    }
    int32_t coded = 1;
    for (int i = bits - 1; i >= 0; i--) {
        coded = coded << 1 | code_bit(&work->coder, 32768, number >> i & 1);
    }
    return coded;
}

static int32_t code_residual(Workspace *work, const Place *place, int32_t residual) {
    if (!code_node(work, place, NODE_ZERO, residual != 0)) return 0;
    const int negative = code_node(work, place, NODE_SIGN, residual < 0);
    const int32_t size = abs(residual) - 1;
    int32_t coded = 0;
    while (coded < LARGEST_UNARY && code_node(work, place, size_node(coded, negative), size > coded)) coded++;
    if (coded == LARGEST_UNARY) coded += code_gamma(work, size - LARGEST_UNARY + 1) - 1;
    return negative ? -(coded + 1) : coded + 1;
}

/* ---- whole images ---------------------------------------------------------------------------------------- */

/* The encoder gives the rank (0: invalid), the decoder a place for the pixel's value. */
static int code_pixel(Workspace *work, ptrdiff_t x, int32_t rank, uint16_t *decoded) {
    Rows *const rows = &work->rows;
    if (!code_mask(work, x, rank != 0)) {
        put_invalid(rows, x);
        if (decoded) *decoded = 0;
        return 0;
    }
    if (work->values == 0) return NR_DAMAGED;
    Place place;
    look_around(work, x, &place);
    rank = place.expected + code_residual(work, &place, rank - place.expected);
    if (rank < 1 || rank > work->values) return NR_DAMAGED;
    put_valid(rows, x, rank);
    const int32_t error = clamp(rank * (1 << UNIT_BITS) - place.linear, -1024, 1024);
    rows->row[0].error[x] = (int16_t)error;
    if (decoded) *decoded = work->value_of[rank];
    return 0;
}

/* Rank all values that occur; false where there are too many. */
static bool rank_values(Workspace *work, const uint16_t *pixels, size_t count) {
    memset(work->rank_of, 0, sizeof work->rank_of);
    for (size_t i = 0; i < count; i++) work->rank_of[pixels[i]] = 1;
    work->rank_of[0] = 0;
    work->values = 0;
    for (size_t value = 1; value < 65536; value++) {
        if (!work->rank_of[value]) continue;
        if (work->values == VALUES_LIMIT) return false;
        work->rank_of[value] = (uint16_t)++work->values;
    }
    return true;
}

static void fit_weights(Workspace *work, const uint16_t *pixels, uint32_t height, uint32_t width) {
    memset(&work->fit, 0, sizeof work->fit);
    rows_start(&work->rows, work->row_memory, width);
    for (uint32_t y = 0; y < height; y++) {
        row_begin(&work->rows);
        for (uint32_t x = 0; x < width; x++) {
            const int32_t rank = work->rank_of[pixels[(size_t)y * width + x]];
            if (rank) {
                put_valid(&work->rows, (ptrdiff_t)x, rank);
            } else {
                put_invalid(&work->rows, (ptrdiff_t)x);
            }
        }
        row_end(&work->rows, y);
        fit_row(&work->fit, &work->rows, y);
    }
    fit_solve(&work->fit, work->weights);
}

ptrdiff_t nr_max_encode(const uint16_t *pixels, uint32_t height, uint32_t width, uint8_t *out,
                        size_t out_bytes, void *workspace) {
    Workspace *const work = workspace;
    if (height == 0 || width == 0 || width > WIDTH_LIMIT) return NR_TOO_LARGE;
    if (!rank_values(work, pixels, (size_t)height * width)) return NR_TOO_MANY_VALUES;
    if (out_bytes < HEADER_BYTES) return NR_TOO_LARGE;
    fit_weights(work, pixels, height, width);
    nr_store16(out, (uint16_t)work->values);
    for (int i = 0; i < TAPS; i++) nr_store16(out + 2 + 2 * i, (uint16_t)work->weights[i]);

    model_reset(&work->model);
    work->coder = encoder_into(out + HEADER_BYTES, out_bytes - HEADER_BYTES);
    code_palette(work);
    rows_start(&work->rows, work->row_memory, width);
    for (uint32_t y = 0; y < height; y++) {
        row_begin(&work->rows);
        predict_from_above(&work->rows, work->weights, work->from_above);
        for (uint32_t x = 0; x < width; x++) {
            code_pixel(work, (ptrdiff_t)x, work->rank_of[pixels[(size_t)y * width + x]], NULL);
        }
        row_end(&work->rows, y);
        if (ran_over(&work->coder)) return NR_TOO_LARGE;
    }
    flush(&work->coder);
    if (ran_over(&work->coder)) return NR_TOO_LARGE;
    return (ptrdiff_t)(HEADER_BYTES + work->coder.position);
}

int nr_max_decode(const uint8_t *data, size_t data_bytes, uint32_t height, uint32_t width, uint16_t *pixels,
                  void *workspace) {
    Workspace *const work = workspace;
    if (height == 0 || width == 0 || width > WIDTH_LIMIT || data_bytes < HEADER_BYTES) return NR_DAMAGED;
    work->values = nr_load16(data);
    if (work->values > VALUES_LIMIT) return NR_DAMAGED;
    for (int i = 0; i < TAPS; i++) {
        const int32_t bits = nr_load16(data + 2 + 2 * i);
        work->weights[i] = (int16_t)(bits < 32768 ? bits : bits - 65536);
    }

    model_reset(&work->model);
    work->coder = decoder_of(data + HEADER_BYTES, data_bytes - HEADER_BYTES);
    if (code_palette(work) != 0) return NR_DAMAGED;
    rows_start(&work->rows, work->row_memory, width);
    for (uint32_t y = 0; y < height; y++) {
        row_begin(&work->rows);
        predict_from_above(&work->rows, work->weights, work->from_above);
        for (uint32_t x = 0; x < width; x++) {
            if (code_pixel(work, (ptrdiff_t)x, 0, &pixels[(size_t)y * width + x]) != 0) return NR_DAMAGED;
        }
        row_end(&work->rows, y);
        if (ran_over(&work->coder)) return NR_DAMAGED;
    }
    return work->coder.position == work->coder.size ? 0 : NR_DAMAGED;
}
