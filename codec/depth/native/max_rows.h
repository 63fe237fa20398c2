/* The rows of ranks that `max` predicts from: the current one and the five above.
 *
 * Ranks: 0 in the image means "not measured"; such a pixel takes the rank of a neighbour here, so that
 * predictions have no holes, and is marked invalid. Owns the borders, so that nobody else asks where the
 * image ends: every row goes on for PAD pixels on both sides.
 */
#ifndef NR_MAX_ROWS_H
#define NR_MAX_ROWS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ROWS 6 /* rows in reach: the current one is 0, the one above 1, ... */
#define PAD 8  /* at least the reach of every context */

typedef struct {
    int16_t *rank;  /* 0 only above the first row; else 1 to 32767 once a pixel is valid */
    int16_t *error; /* rank minus the linear prediction, in 1/64, within +-1024; 0 where invalid */
    uint8_t *valid; /* 1 or 0; 1 above the first row */
} Row;

typedef struct {
    Row row[ROWS];
    uint32_t width;
} Rows;

static inline size_t row_length(uint32_t width) { return ((size_t)width + 2 * PAD + 7) / 8 * 8; }

static inline size_t rows_bytes(uint32_t width) {
    return ROWS * row_length(width) * (2 * sizeof(int16_t) + sizeof(uint8_t));
}

/* Before the first row: everything above it has rank 0, is valid and was predicted exactly. */
static void rows_start(Rows *rows, void *memory, uint32_t width) {
    const size_t length = row_length(width);
    int16_t *const numbers = memory;
    uint8_t *const flags = (uint8_t *)(numbers + 2 * ROWS * length);
    memset(numbers, 0, 2 * ROWS * length * sizeof *numbers);
    memset(flags, 1, ROWS * length);
    rows->width = width;
    for (size_t i = 0; i < ROWS; i++) {
        rows->row[i].rank = numbers + 2 * i * length + PAD;
        rows->row[i].error = numbers + (2 * i + 1) * length + PAD;
        rows->row[i].valid = flags + i * length + PAD;
    }
}

/* The oldest row becomes the current one; left of it lies what lies above its first pixel. */
static inline void row_begin(Rows *rows) {
    const Row reused = rows->row[ROWS - 1];
    for (int i = ROWS - 1; i > 0; i--) rows->row[i] = rows->row[i - 1];
    rows->row[0] = reused;
    for (int i = 1; i <= PAD; i++) {
        reused.rank[-i] = rows->row[1].rank[0];
        reused.valid[-i] = rows->row[1].valid[0];
    }
}

/* Right of a row lies its last pixel; above the first row lie copies of it once it is known. */
static inline void row_end(Rows *rows, uint32_t y) {
    const Row done = rows->row[0];
    const size_t width = rows->width;
    for (size_t i = width; i < width + PAD; i++) {
        done.rank[i] = done.rank[width - 1];
        done.valid[i] = done.valid[width - 1];
    }
    if (y > 0) return;
    for (int i = 1; i < ROWS; i++) {
        memcpy(rows->row[i].rank - PAD, done.rank - PAD, (width + 2 * PAD) * sizeof *done.rank);
    }
}

static inline void put_valid(Rows *rows, ptrdiff_t x, int32_t rank) {
    rows->row[0].rank[x] = (int16_t)rank;
    rows->row[0].valid[x] = 1;
}

/* The rank of the left neighbour, or of the one above where only that is valid. */
static inline void put_invalid(Rows *rows, ptrdiff_t x) {
    const Row now = rows->row[0], above = rows->row[1];
    now.rank[x] = !now.valid[x - 1] && above.valid[x] ? above.rank[x] : now.rank[x - 1];
    now.error[x] = 0;
    now.valid[x] = 0;
}

#endif
