/* The parts that `max` predicts bits with, all in integers: tables, slots, mixers and refiners.
 *
 * A probability is that of a 1. Evidence lives in the logistic domain ("stretched"): ln(p / (1 - p)) in
 * 1/256, kept within +-2047, where evidence adds up. Each part has one function to look and one to learn;
 * nothing here knows what the bits mean.
 */
#ifndef NR_MAX_MODEL_H
#define NR_MAX_MODEL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Signed numbers are shifted right on purpose: rounding towards minus infinity is part of the format. */
_Static_assert((-3 >> 1) == -2, "the compiler must shift signed numbers arithmetically");

static inline int32_t clamp(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

/* ---- tables ------------------------------------------------------------------------------------------ */

#define STRETCH_LIMIT 2047
#define STRETCH_STEPS 4096
#define SQUASH_KNOTS 65 /* one every 64 of 4096 steps, straight in between */
#define COUNTS 256

/* round(65536 / (1 + exp(-k / 4))) for k = -32 ... 32 */
static const uint16_t SQUASH_KNOT[SQUASH_KNOTS] = {
    22,    28,    36,    47,    60,    77,    98,    126,   162,   208,   267,   342,   439,
    562,   720,   922,   1179,  1506,  1921,  2446,  3108,  3938,  4971,  6249,  7812,  9702,
    11955, 14595, 17625, 21025, 24743, 28693, 32768, 36843, 40793, 44511, 47911, 50941, 53581,
    55834, 57724, 59287, 60565, 61598, 62428, 63090, 63615, 64030, 64357, 64614, 64816, 64974,
    65097, 65194, 65269, 65328, 65374, 65410, 65438, 65459, 65476, 65489, 65500, 65508, 65514,
};

typedef struct {
    uint16_t squash[STRETCH_STEPS]; /* probability, in 1/65536, of stretched + 2048 */
    int16_t stretch[STRETCH_STEPS]; /* stretched, of the probability in 1/4096 */
    uint16_t step[COUNTS];          /* how far a slot that has learned so often moves, in 1/32768 */
    uint16_t trust[COUNTS];         /* how much its word weighs, in 1/256: nothing at first, then up to 1.25 */
} Tables;

static void make_tables(Tables *tables) {
    for (int32_t i = 0; i < STRETCH_STEPS; i++) {
        const int32_t left = SQUASH_KNOT[i / 64], right = SQUASH_KNOT[i / 64 + 1], part = i % 64;
        tables->squash[i] = (uint16_t)((left * (64 - part) + right * part + 32) / 64);
    }
    /* The inverse, by search: the lowest step whose probability reaches the middle of the 4096th. */
    int32_t at = 1;
    for (int32_t i = 0; i < STRETCH_STEPS; i++) {
        while (at < STRETCH_STEPS - 1 && tables->squash[at] < i * 16 + 8) at++;
        tables->stretch[i] = (int16_t)(at - 2048);
    }
    for (int32_t n = 0; n < COUNTS; n++) {
        tables->step[n] = (uint16_t)(163840 / (5 * n + 8));   /* 32768 / (n + 1.6) */
        tables->trust[n] = (uint16_t)(2240 * n / (7 * n + 10)); /* 320 * (1 - 1 / (1 + 0.7 * n)) */
    }
}

static inline int32_t squash(const Tables *tables, int32_t stretched) {
    return tables->squash[stretched + 2048];
}

/* ---- slots: what has been seen in one context -------------------------------------------------------- */

/* Upper 24 bits: the probability; lower 8: how often it has learned, up to a limit. */
typedef uint32_t Slot;

#define FRESH_SLOT 0x80000000u

/* By copies of what is already there: there are 1.3 MB of slots, and nothing fills memory faster. */
static inline void slots_reset(Slot *slots, size_t count) {
    slots[0] = FRESH_SLOT;
    for (size_t done = 1; done < count; done *= 2) {
        memcpy(slots + done, slots, (done < count - done ? done : count - done) * sizeof *slots);
    }
}

static inline int32_t slot_word(Slot slot, const Tables *tables) {
    return tables->stretch[slot >> 20] * tables->trust[slot & 255] >> 8;
}

/* Move towards the bit by step[n]: the mean of all bits at first, the latest `limit` of them later on. */
static inline void slot_learn(Slot *slot, int bit, uint32_t limit, const Tables *tables) {
    const uint32_t count = *slot & 255, step = tables->step[count];
    uint32_t p = *slot >> 8;
    if (bit) {
        p += ((0xFFFFFFu - p) >> 9) * step >> 6;
    } else {
        p -= (p >> 9) * step >> 6;
    }
    *slot = p << 8 | (count < limit ? count + 1 : count);
}

/* ---- mixers: a weighted sum of stretched words, its weights learned on line --------------------------- */

#define ONE_WEIGHT 65536
#define WEIGHT_LIMIT (8 * ONE_WEIGHT - 1)

static inline void weights_reset(int32_t *weights, size_t count, int32_t value) {
    for (size_t i = 0; i < count; i++) weights[i] = value;
}

/* Words are within +-2558 and weights / 16 within +-32768: eight products stay below 2^30. */
static inline int32_t mix(const int32_t *words, const int32_t *weights, int count) {
    int32_t sum = 0;
    for (int i = 0; i < count; i++) sum += words[i] * (weights[i] >> 4);
    return clamp(sum >> 12, -STRETCH_LIMIT, STRETCH_LIMIT);
}

/* Gradient step on the coding cost: each weight moves by word * error * rate. */
static inline void mix_learn(const int32_t *words, int32_t *weights, int count, int bit, int32_t p1,
                             int32_t rate) {
    const int32_t error = (bit * 65536 - p1) * rate >> 8;
    for (int i = 0; i < count; i++) {
        const int32_t moved = weights[i] + ((words[i] * error + 8192) >> 14);
        weights[i] = clamp(moved, -WEIGHT_LIMIT, WEIGHT_LIMIT);
    }
}

/* ---- refiners: what a prediction was worth so far, in a context ---------------------------------------- */

#define REFINER_KNOTS 33 /* one every 128 of the 4096 stretched steps */

typedef uint16_t Refiner[REFINER_KNOTS];

static void refiners_reset(Refiner *refiners, size_t count, const Tables *tables) {
    for (size_t i = 0; i < count; i++) {
        for (int32_t k = 0; k < REFINER_KNOTS; k++) {
            const int32_t stretched = clamp((k - 16) * 128, -STRETCH_LIMIT, STRETCH_LIMIT);
            refiners[i][k] = (uint16_t)squash(tables, stretched);
        }
    }
}

static inline int32_t refine(const uint16_t *knots, int32_t stretched) {
    const int32_t at = stretched + 2048, part = at & 127;
    return (knots[at >> 7] * (128 - part) + knots[(at >> 7) + 1] * part) >> 7;
}

/* The nearer knot moves a 64th of the way. */
static inline void refine_learn(uint16_t *knots, int32_t stretched, int bit) {
    uint16_t *const knot = &knots[(stretched + 2048 + 64) >> 7];
    *knot = (uint16_t)(bit ? *knot + ((65535 - *knot) >> 6) : *knot - (*knot >> 6));
}

#endif
