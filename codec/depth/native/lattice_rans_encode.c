/* lattice-rans, forwards: pixels -> ranks -> (class, symbol) of each pixel -> tables -> rANS, last pixel first. */
#include "lattice_rans.h"

#ifndef NR_NAME
#define NR_NAME(name) name##_narrow
#endif

/* ---- symbols ------------------------------------------------------------------------------------------ */

/* Stands among the residuals; ranks are below 2^14, so that no code of a residual reaches it. */
enum { NOT_MEASURED = 0xFFFF };

/* A row with its margins: `rank` as filled, `valid` all ones or 0. Both point at column 0. */
typedef struct {
    uint16_t *rank, *valid;
} Row;

typedef struct {
    const uint16_t *pixels;
    int64_t height, width;
    uint16_t *first_of; /* the first symbol of each context's class: class * NR_SYMBOLS */
    NrWeights weights;
    uint16_t *rank_of;
    Row rows[3];
    uint16_t *contexts, *residuals; /* of one row, in whole vectors; residuals as zigzag codes */
    uint16_t *symbols;              /* class * NR_SYMBOLS + symbol, rows of row_steps with margins */
    uint16_t null_symbol;
    int64_t row_steps;
    uint32_t *counts[2]; /* two sets in turn, so that an increment need not wait for the one before */
    uint16_t *escapes;   /* in the order of the image */
    uint32_t *escapes_of_row;
    size_t escape_count, escape_limit;
} Symbols;

static void load_row(const Symbols *s, const uint16_t *pixels, Row row, Row above) {
    const uint16_t *restrict rank_of = s->rank_of;
    uint16_t *restrict rank = row.rank;
    for (int64_t x = 0; x < s->width; x++) rank[x] = rank_of[pixels[x]];
    for (int64_t x = 0; x < s->width; x += NR_VEC) {
        NrVec rank = nr_load(row.rank + x);
        NrVec invalid = (NrVec)(rank == nr_all(0));
        nr_store(row.valid + x, ~invalid);
        nr_store(row.rank + x, rank | (invalid & nr_load(above.rank + x)));
    }
    for (int m = 1; m <= NR_MARGIN; m++) {
        row.rank[-m] = above.rank[0];
        row.rank[s->width + m - 1] = row.rank[s->width - 1];
        row.valid[-m] = row.valid[s->width + m - 1] = 0;
    }
}

static void find_contexts(const Symbols *s, Row row, Row above, Row above2) {
    for (int64_t x = 0; x < s->width; x += NR_VEC) {
        const uint16_t *c = row.rank + x, *n = above.rank + x, *nn = above2.rank + x;
        NrNeighbours at = {.W = nr_load(c - 1),   .WW = nr_load(c - 2),   .N = nr_load(n),
                           .NW = nr_load(n - 1),  .NE = nr_load(n + 1),   .NN = nr_load(nn),
                           .NWW = nr_load(n - 2), .NEE = nr_load(n + 2),  .NNW = nr_load(nn - 1),
                           .NNE = nr_load(nn + 1), .NNEE = nr_load(nn + 2), .NNWW = nr_load(nn - 2)};
        const uint16_t *vc = row.valid + x, *vn = above.valid + x;
        NrValidity valid = {.W = nr_load(vc - 1), .N = nr_load(vn), .NW = nr_load(vn - 1), .NE = nr_load(vn + 1)};
        NrVec measured = nr_load(vc), smooth = nr_is_smooth(&valid);
        NrVec prediction = nr_plane(&at);
        NrVec context = nr_smooth_context(&at, prediction, &s->weights);
        if (!nr_is_all_ones(measured & smooth)) {
            valid.WW = nr_load(vc - 2);
            valid.NEE = nr_load(vn + 2);
            valid.NN = nr_load(above2.valid + x);
            prediction = nr_select(smooth, prediction, nr_hole_prediction(&at, prediction, &valid));
            context = nr_select(smooth, context, nr_hole_context(&at, &valid));
        }
        NrVec residual = nr_zigzag_all(nr_sub(nr_load(c), prediction));
        nr_store(s->contexts + x, context);
        nr_store(s->residuals + x, residual | ~measured); /* NOT_MEASURED where invalid */
    }
}

static uint32_t large_symbol(Symbols *s, uint32_t residual) {
    if (residual == NOT_MEASURED) return NR_INVALID;
    if (s->escape_count < s->escape_limit) s->escapes[s->escape_count] = (uint16_t)(residual - NR_ESCAPE);
    s->escape_count++;
    return NR_ESCAPE;
}

static inline void count_symbol(Symbols *s, int64_t x, uint16_t *symbols, uint32_t *counts) {
    uint32_t symbol = s->residuals[x];
    if (symbol >= NR_ESCAPE) symbol = large_symbol(s, symbol);
    symbol += s->first_of[s->contexts[x]];
    symbols[x] = (uint16_t)symbol;
    counts[symbol]++;
}

static void count_symbols(Symbols *s, int64_t y, uint16_t *symbols) {
    uint32_t *even = s->counts[0], *odd = s->counts[1];
    size_t escapes_before = s->escape_count;
    int64_t x = 0;
    for (; x + 2 <= s->width; x += 2) {
        count_symbol(s, x, symbols, even);
        count_symbol(s, x + 1, symbols, odd);
    }
    if (x < s->width) count_symbol(s, x, symbols, even);
    s->escapes_of_row[y] = (uint32_t)(s->escape_count - escapes_before);
}

/* Returns 0, or NR_TOO_LARGE where too much escapes. */
static int find_symbols(Symbols *s) {
    for (int64_t y = 0; y < s->height; y++) {
        Row row = s->rows[y % 3], above = s->rows[(y + 2) % 3], above2 = s->rows[(y + 1) % 3];
        load_row(s, s->pixels + y * s->width, row, above);
        find_contexts(s, row, above, above2);
        uint16_t *line = s->symbols + y * s->row_steps;
        count_symbols(s, y, line + NR_MARGIN);
        for (int64_t p = 0; p < NR_MARGIN; p++) line[p] = s->null_symbol;
        for (int64_t p = NR_MARGIN + s->width; p < s->row_steps; p++) line[p] = s->null_symbol;
        if (s->escape_count > s->escape_limit) return NR_TOO_LARGE;
    }
    return 0;
}

/* ---- side information ---------------------------------------------------------------------------------- */

/* Escapes lane by lane, so that each lane of the decoder finds its own one behind the other. */
static void write_escapes(NrBitWriter *to, const Symbols *s, unsigned lanes) {
    uint64_t cost[NR_MAX_GOLOMB_ORDER + 1] = {0};
    unsigned order = 0;
    for (unsigned k = 0; k <= NR_MAX_GOLOMB_ORDER; k++) {
        for (size_t i = 0; i < s->escape_count; i++) cost[k] += nr_golomb_bits(s->escapes[i], k);
        if (cost[k] < cost[order]) order = k;
    }
    nr_put_bits(to, order, 3);
    for (unsigned lane = 0; lane < lanes; lane++) {
        size_t first = 0;
        uint32_t in_lane = 0;
        for (int64_t y = lane; y < s->height; y += lanes) in_lane += s->escapes_of_row[y];
        nr_put_golomb(to, in_lane, 4);
        for (int64_t y = 0; y < s->height; y++) {
            if (y % lanes == lane)
                for (uint32_t i = 0; i < s->escapes_of_row[y]; i++) nr_put_golomb(to, s->escapes[first + i], order);
            first += s->escapes_of_row[y];
        }
    }
}

/* ---- rANS ---------------------------------------------------------------------------------------------- */

/* Coding a symbol of frequency f that begins at b takes the state x to (x div f) * 4096 + b + x mod f, that is
 * x + b + (x div f) * (4096 - f). The division is a multiplication with a rounded-up reciprocal. */
typedef struct {
    uint32_t limit; /* from here on the state gives 16 bits away first */
    uint32_t reciprocal;
    uint32_t bias;
    uint16_t complement;
    uint16_t shift; /* of the product with the reciprocal */
} Coding;

static Coding coding_of(uint32_t begin, uint32_t frequency) {
    Coding c = {.limit = frequency << (31 - NR_FREQUENCY_BITS),
                .complement = (uint16_t)(NR_FREQUENCY_SUM - frequency)};
    if (frequency < 2) {
        /* x div 1 would need a reciprocal of 2^32; 2^32 - 1 gives x - 1, and the bias makes up for it. */
        c.reciprocal = UINT32_MAX;
        c.shift = 32;
        c.bias = begin + NR_FREQUENCY_SUM - 1;
    } else {
        unsigned shift = nr_log2(frequency - 1) + 1; /* the least with frequency <= 2^shift */
        c.reciprocal = (uint32_t)((((uint64_t)1 << (shift + 31)) + frequency - 1) / frequency);
        c.shift = (uint16_t)(32 + shift - 1);
        c.bias = begin;
    }
    return c;
}

static inline uint8_t *put_symbol(uint32_t *state, uint8_t *words, const Coding *c) {
    uint32_t x = *state;
    nr_store16(words - 2, (uint16_t)x); /* overwritten by the next one unless it counts */
    uint32_t is_full = x >= c->limit; /* without a branch: nothing could predict it */
    words -= 2 * is_full;
    x >>= 16 * is_full;
    uint32_t quotient = (uint32_t)((uint64_t)x * c->reciprocal >> c->shift);
    *state = x + c->bias + quotient * c->complement;
    return words;
}

static uint8_t *put_block(const uint16_t *const *blocks, int first, int last, uint32_t *states, uint8_t *words,
                          const Coding *codings) {
    for (int j = NR_BLOCK - 1; j >= 0; j--)
        for (int lane = last; lane >= first; lane--)
            words = put_symbol(&states[lane], words, &codings[blocks[lane][j]]);
    return words;
}

/* The same for all lanes: a loop whose bounds the compiler knows is unrolled. */
static uint8_t *put_full_block(const uint16_t *const *blocks, uint32_t *states, uint8_t *words,
                               const Coding *codings) {
    for (int j = NR_BLOCK - 1; j >= 0; j--)
        for (int eight = NR_MAX_LANES - 8; eight >= 0; eight -= 8)
            for (int lane = 7; lane >= 0; lane--)
                words = put_symbol(&states[eight + lane], words, &codings[blocks[eight + lane][j]]);
    return words;
}

/* Writes the words from the end of [begin, end) downwards; returns where they begin, or NULL for want of room. */
static uint8_t *put_symbols(const Symbols *s, unsigned lanes, const Coding *codings, uint32_t *states,
                            uint8_t *begin, uint8_t *end) {
    NrWavefront wave = nr_wavefront((uint32_t)s->height, (uint32_t)s->width, lanes);
    uint16_t nothing[NR_BLOCK];
    for (int j = 0; j < NR_BLOCK; j++) nothing[j] = s->null_symbol;
    NrLanePlace places[NR_MAX_LANES];
    for (unsigned lane = 0; lane < lanes; lane++) {
        states[lane] = NR_RANS_LOW;
        places[lane] = nr_lane_place(&wave, (int)lane, wave.steps);
    }
    uint8_t *words = end;
    for (int64_t step = wave.steps - NR_BLOCK; step >= 0; step -= NR_BLOCK) {
        if (words - begin < 2 * NR_BLOCK * NR_MAX_LANES + 2) return NULL;
        const uint16_t *blocks[NR_MAX_LANES];
        int first = NR_MAX_LANES, last = -1;
        for (unsigned lane = 0; lane < lanes; lane++) {
            NrLanePlace *place = &places[lane];
            nr_go_back(&wave, place);
            int works = nr_lane_works(&wave, *place);
            blocks[lane] = works ? s->symbols + place->row * s->row_steps + place->position : nothing;
            if (works && first > (int)lane) first = (int)lane;
            if (works) last = (int)lane;
        }
        words = first == 0 && last == NR_MAX_LANES - 1 ? put_full_block(blocks, states, words, codings)
                                                       : put_block(blocks, first, last, states, words, codings);
    }
    return words;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static unsigned lanes_for(int64_t height, int64_t width) {
    int64_t lanes = (width + 2 * NR_MARGIN) / NR_LANE_DELAY;
    /* Each lane costs four bytes. */
    int64_t worth = height * width / 4096;
    if (lanes > worth) lanes = worth;
    if (lanes > height) lanes = height;
    if (lanes > NR_MAX_LANES) lanes = NR_MAX_LANES;
    return (unsigned)(lanes < NR_MIN_LANES ? NR_MIN_LANES : lanes);
}

#ifndef NR_WIDE
size_t nr_rans_encoder_bytes(uint32_t height, uint32_t width) {
    uint64_t pixels = (uint64_t)height * width, row_steps = (uint64_t)width + 2 * NR_MARGIN + NR_BLOCK;
    uint64_t bytes = 3 * 65536 * sizeof(uint16_t)                         /* values seen, ranks, values */
                     + NR_CONTEXTS * sizeof(uint16_t)
                     + 8 * nr_row_bytes(width)                            /* rows, contexts, residuals */
                     + row_steps * height * sizeof(uint16_t)              /* symbols */
                     + nr_escape_limit(pixels) * sizeof(uint16_t)         /* escapes */
                     + (uint64_t)height * sizeof(uint32_t)                /* escapes of each row */
                     + 2 * NR_MAX_CLASSES * NR_SYMBOLS * sizeof(uint32_t) /* counts */
                     + (NR_MAX_CLASSES * NR_SYMBOLS + 1) * sizeof(Coding) + 32 * NR_ALIGNMENT;
    return bytes <= SIZE_MAX ? (size_t)bytes : 0;
}
#endif

static void set_up(Symbols *s, const uint16_t *pixels, uint32_t height, uint32_t width, const uint8_t *map,
                   uint8_t **workspace) {
    *s = (Symbols){.pixels = pixels, .height = height, .width = width};
    s->first_of = nr_take(workspace, NR_CONTEXTS * sizeof(uint16_t));
    for (int i = 0; i < NR_CONTEXTS; i++) s->first_of[i] = (uint16_t)(map[NR_MAP_CLASS_OF_AT + i] * NR_SYMBOLS);
    s->weights = nr_load_weights(map);
    s->null_symbol = (uint16_t)(nr_map_classes(map) * NR_SYMBOLS);
    s->row_steps = nr_wavefront(height, width, NR_MIN_LANES).row_steps;
    s->escape_limit = nr_escape_limit((uint64_t)height * width);
    size_t row_bytes = nr_row_bytes(width), count_bytes = NR_MAX_CLASSES * NR_SYMBOLS * sizeof(uint32_t);
    for (int i = 0; i < 3; i++) {
        uint16_t *rank = nr_take(workspace, row_bytes), *valid = nr_take(workspace, row_bytes);
        memset(rank, 0, row_bytes);
        memset(valid, 0, row_bytes);
        s->rows[i] = (Row){rank + NR_ROW_BEGIN, valid + NR_ROW_BEGIN};
    }
    s->contexts = nr_take(workspace, row_bytes);
    s->residuals = nr_take(workspace, row_bytes);
    for (int i = 0; i < 2; i++) memset(s->counts[i] = nr_take(workspace, count_bytes), 0, count_bytes);
    s->symbols = nr_take(workspace, (size_t)s->row_steps * height * sizeof(uint16_t));
    s->escapes = nr_take(workspace, s->escape_limit * sizeof(uint16_t));
    s->escapes_of_row = nr_take(workspace, height * sizeof(uint32_t));
}

/* Chooses the tables, writes them, and makes the codings they imply. */
static void write_tables(NrBitWriter *to, const Symbols *s, const uint8_t *map, Coding *codings) {
    int classes = nr_map_classes(map);
    for (int c = 0; c < classes; c++) {
        uint32_t counts[NR_SYMBOLS];
        for (int i = 0; i < NR_SYMBOLS; i++)
            counts[i] = s->counts[0][c * NR_SYMBOLS + i] + s->counts[1][c * NR_SYMBOLS + i];
        uint8_t codes[NR_SYMBOLS];
        int is_default = nr_frequency_codes(counts, nr_map_defaults(map, c), codes);
        nr_frequencies_write(to, codes, nr_map_defaults(map, c), is_default);
        uint16_t frequencies[NR_SYMBOLS];
        nr_frequencies_of(codes, frequencies);
        uint32_t begin = 0;
        for (int i = 0; i < NR_SYMBOLS; i++) {
            if (frequencies[i]) codings[c * NR_SYMBOLS + i] = coding_of(begin, frequencies[i]);
            begin += frequencies[i];
        }
    }
    /* A symbol that is certain leaves a state as it is: what margins and idle lanes are given. */
    codings[s->null_symbol] = coding_of(0, NR_FREQUENCY_SUM);
}

ptrdiff_t NR_NAME(nr_rans_encode)(const uint16_t *pixels, uint32_t height, uint32_t width, const uint8_t *map,
                         uint8_t *out, size_t out_bytes, void *workspace) {
    uint8_t *free_space = workspace;
    uint8_t *seen = nr_take(&free_space, 65536);
    uint16_t *rank_of = nr_take(&free_space, 65536 * sizeof(uint16_t));
    uint16_t *value_of = nr_take(&free_space, (NR_MAX_RANKS + 1) * sizeof(uint16_t));
    Coding *codings = nr_take(&free_space, (NR_MAX_CLASSES * NR_SYMBOLS + 1) * sizeof(Coding));
    Symbols symbols;
    set_up(&symbols, pixels, height, width, map, &free_space);
    symbols.rank_of = rank_of;

    unsigned lanes = lanes_for(height, width);
    NrWavefront wave = nr_wavefront(height, width, lanes);
    if (!nr_has_few_steps(&wave)) return NR_TOO_LARGE;
    size_t fixed = NR_RANS_SIDE_AT + lanes * sizeof(uint32_t);
    if (out_bytes < fixed) return NR_TOO_LARGE;
    int ranks = nr_palette_find(pixels, (size_t)height * width, seen, rank_of, value_of);
    if (ranks < 0) return NR_TOO_MANY_VALUES;
    int failed = find_symbols(&symbols);
    if (failed) return failed;

    uint8_t *side = out + NR_RANS_SIDE_AT, *end = out + out_bytes;
    NrBitWriter bits = {.at = side, .end = end - lanes * sizeof(uint32_t)};
    nr_palette_write(&bits, value_of, (unsigned)ranks);
    write_tables(&bits, &symbols, map, codings);
    write_escapes(&bits, &symbols, lanes);
    nr_flush_bits(&bits);
    if (bits.full) return NR_TOO_LARGE;

    uint32_t states[NR_MAX_LANES];
    uint8_t *states_at = bits.at, *words_at = states_at + lanes * sizeof(uint32_t);
    uint8_t *words = put_symbols(&symbols, lanes, codings, states, words_at, end);
    if (!words) return NR_TOO_LARGE;
    out[NR_RANS_LANES_AT] = (uint8_t)lanes;
    nr_store32(out + NR_RANS_SIDE_BYTES_AT, (uint32_t)(states_at - side));
    for (unsigned lane = 0; lane < lanes; lane++) nr_store32(states_at + 4 * lane, states[lane]);
    memmove(words_at, words, (size_t)(end - words));
    return words_at + (end - words) - out;
}
