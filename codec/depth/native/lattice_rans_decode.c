/* lattice-rans, backwards: up to 32 rows advance together, a vector of them at a time.
 *
 * A window keeps what the last steps brought for each lane, a line a step. As row y - 1 belongs to the lane before,
 * 16 steps behind, the neighbours of a vector of lanes lie side by side in it, at distances that never change.
 * The two columns left of lane 0 hold the rows that the last two lanes coded a round earlier.
 */
#include "lattice_rans.h"

#ifndef NR_NAME
#define NR_NAME(name) name##_narrow
#endif

enum {
    /* Lines of the window: those that are looked back to (NNWW lies 34 back), and those of the steps until the last
     * ones are moved to its beginning again. All of it stays in the first-level cache. */
    HISTORY = 40,
    WINDOW = HISTORY + 8 * NR_BLOCK,
    COLUMNS = NR_MAX_LANES + 2 * 8,
    FIRST = 8, /* the column of lane 0 */
    ABOVE = NR_LANE_DELAY,

    /* The context of what is not coded. What the vectors make of a pixel is below NR_CONTEXTS. */
    NO_CONTEXT = NR_CONTEXTS,
    NR_VALUES = 65536
};

typedef struct {
    NrWavefront wave;
    NrWeights weights;
    uint8_t class_of[NR_CONTEXTS + 1];
    uint8_t *symbol_at;                                /* class, place in the table -> symbol */
    uint32_t shape[(NR_MAX_CLASSES + 1) * NR_SYMBOLS]; /* frequency << 16 | begin */
    uint16_t *value_of;                                /* 65,536 entries: no rank leads out of it */
    unsigned ranks;

    /* Lines of COLUMNS; what lies before the first step is all zeros. */
    uint16_t rank[WINDOW * COLUMNS], valid[WINDOW * COLUMNS];
    int now;                                /* the line of the block's first step */
    uint16_t *last_rank[2], *last_valid[2]; /* by position: rows of the last lane, and of the one before it */
    NrLanePlace left[2];                    /* what the columns left of lane 0 show */

    uint32_t states[NR_MAX_LANES];
    const uint8_t *words, *words_end;
    uint8_t tail[2 * (2 * NR_MAX_LANES)]; /* the last words, with zeros behind them */
    int is_in_tail;
    const uint16_t *escape_at[NR_MAX_LANES], *escape_end[NR_MAX_LANES];

    NrLanePlace places[NR_MAX_LANES];         /* at the first step of the block */
    uint16_t working[NR_BLOCK][NR_MAX_LANES]; /* all ones where a pixel is coded, else 0 */
    uint8_t is_whole[NR_MAX_LANES];           /* each step of the block is a pixel */
    uint16_t *line[NR_MAX_LANES];             /* where the pixels of a whole block go */
    uint16_t contexts[NR_MAX_LANES], predictions[NR_MAX_LANES]; /* of the step to come */
    uint16_t known[NR_BLOCK][NR_MAX_LANES];   /* ranks as decoded in this block, 0 where not measured */
    unsigned first_working, end_working;
    uint8_t partial[NR_MAX_LANES]; /* the lanes that work in this block but not in all of it */
    unsigned partial_count;

    NrVec bad; /* not 0 once a rank was out of bounds */
    int damaged;
} Decoder;

/* ---- side information ---------------------------------------------------------------------------------- */

static int read_tables(NrBitReader *from, const uint8_t *map, Decoder *d) {
    int classes = nr_map_classes(map);
    for (int c = 0; c <= classes; c++) {
        uint16_t frequencies[NR_SYMBOLS] = {NR_FREQUENCY_SUM}; /* for what is not coded: always the same */
        uint8_t codes[NR_SYMBOLS];
        if (c < classes) {
            if (nr_frequencies_read(from, nr_map_defaults(map, c), codes)) return -1;
            if (nr_frequencies_of(codes, frequencies)) return -1;
        }
        uint8_t *symbol_at = d->symbol_at + (size_t)c * NR_FREQUENCY_SUM;
        uint32_t begin = 0;
        for (int s = 0; s < NR_SYMBOLS; s++) {
            d->shape[c * NR_SYMBOLS + s] = (uint32_t)frequencies[s] << 16 | begin;
            memset(symbol_at + begin, s, frequencies[s]);
            begin += frequencies[s];
        }
    }
    return 0;
}

static int read_escapes(NrBitReader *from, uint16_t *escapes, size_t limit, Decoder *d) {
    unsigned order = nr_get_bits(from, 3);
    size_t used = 0;
    for (int64_t lane = 0; lane < d->wave.lanes; lane++) {
        uint32_t in_lane = nr_get_golomb(from, 4);
        if (from->torn || in_lane > limit - used) return -1;
        d->escape_at[lane] = escapes + used;
        for (; in_lane; in_lane--) {
            uint32_t number = nr_get_golomb(from, order);
            if (from->torn || number > UINT16_MAX - NR_ESCAPE) return -1;
            escapes[used++] = (uint16_t)number;
        }
        d->escape_end[lane] = escapes + used;
    }
    return 0;
}

/* ---- one step ------------------------------------------------------------------------------------------ */

/* Each step takes at most a word for each lane; before the last ones the words move to where more may be read. */
static void keep_words_readable(Decoder *d) {
    ptrdiff_t left = d->words_end - d->words;
    if (d->is_in_tail) {
        if (left < 0) {
            d->damaged = 1;
            d->words = d->words_end; /* the block goes on to its end, within the tail */
        }
        return;
    }
    if (left >= 2 * NR_MAX_LANES) return;
    memcpy(d->tail, d->words, (size_t)left);
    memset(d->tail + left, 0, sizeof d->tail - (size_t)left);
    d->words = d->tail;
    d->words_end = d->tail + left;
    d->is_in_tail = 1;
}

/* The next symbol of a lane. `words` goes in and out by value, so that it can live in a register. */
static inline const uint8_t *get_symbol(const Decoder *d, uint32_t *state, uint32_t c, const uint8_t *words,
                                        uint64_t *symbol) {
    uint32_t x = *state, place = x & (NR_FREQUENCY_SUM - 1);
    *symbol = d->symbol_at[c << NR_FREQUENCY_BITS | place];
    uint32_t shape = d->shape[c * NR_SYMBOLS + *symbol];
    x = (shape >> 16) * (x >> NR_FREQUENCY_BITS) + place - (shape & 0xFFFF);
    /* 1 where x < NR_RANS_LOW. Without a branch: nothing could predict it. */
    uint32_t is_empty = (x - NR_RANS_LOW) >> 31;
    *state = x << 16 * is_empty | (nr_load16(words) & (0 - is_empty));
    return words + 2 * is_empty;
}

static uint16_t get_escape(Decoder *d, unsigned lane) {
    if (d->escape_at[lane] == d->escape_end[lane]) {
        d->damaged = 1;
        return NR_ESCAPE;
    }
    return (uint16_t)(*d->escape_at[lane]++ + NR_ESCAPE);
}

/* Works out what to expect of the lanes of a vector at step j of the block. */
static inline void prepare_group(Decoder *d, unsigned j, unsigned first) {
    size_t here = ((size_t)d->now + j) * COLUMNS + FIRST + first;
    const uint16_t *rank_here = d->rank + here, *valid_here = d->valid + here;
#define NR_RANK(back, left) nr_load(rank_here - (back) * COLUMNS - (left))
#define NR_VALID(back, left) nr_load(valid_here - (back) * COLUMNS - (left))
    NrNeighbours at = {.W = NR_RANK(1, 0), .WW = NR_RANK(2, 0),
                       .N = NR_RANK(ABOVE, 1), .NW = NR_RANK(ABOVE + 1, 1), .NE = NR_RANK(ABOVE - 1, 1),
                       .NWW = NR_RANK(ABOVE + 2, 1), .NEE = NR_RANK(ABOVE - 2, 1),
                       .NN = NR_RANK(2 * ABOVE, 2), .NNW = NR_RANK(2 * ABOVE + 1, 2),
                       .NNE = NR_RANK(2 * ABOVE - 1, 2), .NNEE = NR_RANK(2 * ABOVE - 2, 2),
                       .NNWW = NR_RANK(2 * ABOVE + 2, 2)};
    NrValidity valid = {.W = NR_VALID(1, 0), .N = NR_VALID(ABOVE, 1), .NW = NR_VALID(ABOVE + 1, 1),
                        .NE = NR_VALID(ABOVE - 1, 1)};
    NrVec prediction = nr_plane(&at), smooth = nr_is_smooth(&valid), works = nr_load(&d->working[j][first]);
    NrVec context = nr_smooth_context(&at, prediction, &d->weights);
    if (!nr_is_all_ones(smooth)) {
        valid.WW = NR_VALID(2, 0);
        valid.NEE = NR_VALID(ABOVE - 2, 1);
        valid.NN = NR_VALID(2 * ABOVE, 2);
        prediction = nr_select(smooth, prediction, nr_hole_prediction(&at, prediction, &valid));
        context = nr_select(smooth, context, nr_hole_context(&at, &valid));
    }
#undef NR_RANK
#undef NR_VALID
    nr_store(&d->contexts[first], nr_select(works, context, nr_all(NO_CONTEXT)));
    nr_store(&d->predictions[first], prediction);
}

/* Decodes the lanes of a vector at step j of the block. Lanes that have nothing to do leave their state alone. */
static inline void decode_group(Decoder *d, unsigned j, unsigned first) {
    size_t here = ((size_t)d->now + j) * COLUMNS + FIRST + first;
    const uint8_t *words = d->words;
    uint64_t each[NR_VEC]; /* in registers: a vector loaded from eight fresh stores would wait for them */
#pragma GCC unroll 16
    for (unsigned i = 0; i < NR_VEC; i++)
        words = get_symbol(d, &d->states[first + i], d->class_of[d->contexts[first + i]], words, &each[i]);
    d->words = words;
    NrVec symbol = nr_join(each);
    NrVec measured = (NrVec)(symbol != nr_all(NR_INVALID));
    if (nr_any((NrVec)(symbol == nr_all(NR_ESCAPE)))) {
        for (unsigned i = 0; i < NR_VEC; i++)
            if (each[i] == NR_ESCAPE) each[i] = get_escape(d, first + i);
        symbol = nr_join(each);
    }
    NrVec rank = nr_add(nr_load(&d->predictions[first]), nr_unzigzag_all(symbol));
    NrVec out_of_bounds = (NrVec)(rank > nr_all((int16_t)d->ranks)) | (NrVec)(rank < nr_all(1));
    d->bad |= nr_load(&d->working[j][first]) & measured & out_of_bounds;
    nr_store(d->rank + here, nr_select(measured, rank, nr_load(d->rank + here - ABOVE * COLUMNS - 1)));
    nr_store(d->valid + here, measured);
    nr_store(&d->known[j][first], rank & measured);
}

/* What stands in the margins of a row: see docs/FORMAT.md. */
static void set_margin(Decoder *d, unsigned lane, unsigned j) {
    int here = (d->now + (int)j) * COLUMNS + FIRST + (int)lane;
    int position = (int)d->places[lane].position + (int)j;
    int first_above = here - (ABOVE - NR_MARGIN + position) * COLUMNS - 1, last_of_row = here - COLUMNS;
    d->rank[here] = d->rank[position < NR_MARGIN ? first_above : last_of_row];
    d->valid[here] = 0;
}

/* Keeps the rows of the last two lanes for the round to come, and lays out those of the round before. */
static void pass_on(Decoder *d, unsigned j) {
    uint16_t *rank = d->rank + (d->now + (int)j) * COLUMNS + FIRST, *valid = d->valid + (rank - d->rank);
    for (int back = 1; back <= 2; back++) {
        int64_t from = d->wave.lanes - back;
        if (d->places[from].row >= 0) {
            int64_t position = d->places[from].position + j;
            d->last_rank[back - 1][position] = rank[from];
            d->last_valid[back - 1][position] = valid[from];
        }
        const NrLanePlace *left = &d->left[back - 1];
        if (left->row >= 0) { /* before, it is the row above the image: zeros */
            rank[-back] = d->last_rank[back - 1][left->position + j];
            valid[-back] = d->last_valid[back - 1][left->position + j];
        }
    }
}

/* ---- all steps ----------------------------------------------------------------------------------------- */

/* Brings a lane to its place of the next block and finds which of its steps are pixels. In the midst of a row
 * nothing changes. Returns 1 where it did. */
static int move_lane(Decoder *d, unsigned lane, uint16_t *pixels, int64_t last_whole) {
    NrLanePlace *place = &d->places[lane];
    if (d->is_whole[lane] && place->position <= last_whole) return 0;
    int works = nr_lane_works(&d->wave, *place);
    int64_t x = place->position - NR_MARGIN;
    d->is_whole[lane] = works && x >= 0 && place->position <= last_whole;
    if (works && !d->is_whole[lane]) d->partial[d->partial_count++] = (uint8_t)lane;
    if (d->is_whole[lane]) d->line[lane] = pixels + place->row * d->wave.width + x;
    for (int j = 0; j < NR_BLOCK; j++)
        d->working[j][lane] = works && x + j >= 0 && x + j < d->wave.width ? 0xFFFF : 0;
    return 1;
}

static void move_lanes(Decoder *d, uint16_t *pixels) {
    int64_t last_whole = d->wave.width - NR_BLOCK + NR_MARGIN;
    int changed = 0;
    d->partial_count = 0;
    for (unsigned lane = 0; lane < d->wave.lanes; lane++) changed |= move_lane(d, lane, pixels, last_whole);
    if (!changed) return;
    d->first_working = NR_MAX_LANES;
    d->end_working = 0;
    for (unsigned lane = 0; lane < d->wave.lanes; lane++) {
        if (!nr_lane_works(&d->wave, d->places[lane])) continue;
        if (d->first_working > lane) d->first_working = lane;
        d->end_working = lane + 1;
    }
    d->first_working -= d->first_working % NR_VEC;
}

static void write_pixels(Decoder *d, uint16_t *pixels) {
    const uint16_t *value_of = d->value_of;
    for (unsigned lane = 0; lane < d->wave.lanes; lane++) {
        if (!d->is_whole[lane]) continue;
        uint16_t *line = d->line[lane];
        for (int j = 0; j < NR_BLOCK; j++) line[j] = value_of[d->known[j][lane]];
        d->line[lane] = line + NR_BLOCK;
    }
    for (unsigned i = 0; i < d->partial_count; i++) {
        unsigned lane = d->partial[i];
        int64_t first = d->places[lane].row * d->wave.width + d->places[lane].position - NR_MARGIN;
        for (int j = 0; j < NR_BLOCK; j++)
            if (d->working[j][lane]) pixels[first + j] = value_of[d->known[j][lane]];
    }
}

static void decode_block(Decoder *d, uint16_t *pixels) {
    if (d->now + NR_BLOCK > WINDOW) {
        size_t kept = HISTORY * COLUMNS * sizeof(uint16_t);
        memcpy(d->rank, d->rank + (d->now - HISTORY) * COLUMNS, kept);
        memcpy(d->valid, d->valid + (d->now - HISTORY) * COLUMNS, kept);
        d->now = HISTORY;
    }
    move_lanes(d, pixels);
    unsigned first = d->first_working, end = d->end_working;
    for (unsigned group = first; group < end; group += NR_VEC) prepare_group(d, 0, group);
    for (unsigned j = 0; j < NR_BLOCK; j++) {
        for (unsigned group = first; group < end; group += NR_VEC) {
            decode_group(d, j, group);
            for (unsigned i = 0; i < d->partial_count; i++)
                if (d->partial[i] - group < NR_VEC && !d->working[j][d->partial[i]]) set_margin(d, d->partial[i], j);
            /* At once, so that the next group's symbols are decoded while the processor waits for this. */
            if (j + 1 < NR_BLOCK) prepare_group(d, j + 1, group);
        }
        pass_on(d, j);
        keep_words_readable(d);
    }
    write_pixels(d, pixels);
    for (unsigned lane = 0; lane < d->wave.lanes; lane++) nr_advance(&d->wave, &d->places[lane]);
    for (int i = 0; i < 2; i++) nr_advance(&d->wave, &d->left[i]);
    d->now += NR_BLOCK;
}

static int ended_well(const Decoder *d) {
    for (int64_t lane = 0; lane < d->wave.lanes; lane++)
        if (d->states[lane] != NR_RANS_LOW || d->escape_at[lane] != d->escape_end[lane]) return 0;
    return !d->damaged && !nr_any(d->bad) && d->words == d->words_end;
}

/* Each width of vectors has a Decoder of its own size. */
uint64_t NR_NAME(nr_rans_decoder_bytes)(uint32_t height, uint32_t width) {
    uint64_t period = (uint64_t)nr_wavefront(height, width, NR_MAX_LANES).period;
    return sizeof(Decoder) + NR_VALUES * sizeof(uint16_t) + (NR_MAX_CLASSES + 1) * NR_FREQUENCY_SUM +
           4 * period * sizeof(uint16_t) + nr_escape_limit((uint64_t)height * width) * sizeof(uint16_t) +
           16 * NR_ALIGNMENT;
}

int NR_NAME(nr_rans_decode)(const uint8_t *data, size_t data_bytes, uint32_t height, uint32_t width,
                   const uint8_t *map, uint16_t *pixels, void *workspace) {
    uint8_t *free_space = workspace;
    if (data_bytes < NR_RANS_SIDE_AT) return NR_DAMAGED;
    unsigned lanes = data[NR_RANS_LANES_AT];
    size_t side_bytes = nr_load32(data + NR_RANS_SIDE_BYTES_AT), left = data_bytes - NR_RANS_SIDE_AT;
    if (lanes < NR_MIN_LANES || lanes > NR_MAX_LANES) return NR_DAMAGED;
    if (side_bytes > left || left - side_bytes < 4 * lanes || (left - side_bytes) % 2) return NR_DAMAGED;
    NrWavefront wave = nr_wavefront(height, width, lanes);
    if (!nr_has_few_steps(&wave)) return NR_DAMAGED;

    Decoder *d = nr_take(&free_space, sizeof *d);
    memset(d->rank, 0, sizeof d->rank);
    memset(d->valid, 0, sizeof d->valid);
    d->now = HISTORY;
    memset(d->working, 0, sizeof d->working);
    memset(d->is_whole, 0, sizeof d->is_whole);
    d->wave = nr_wavefront(height, width, lanes);
    d->weights = nr_load_weights(map);
    memcpy(d->class_of, map + NR_MAP_CLASS_OF_AT, NR_CONTEXTS);
    d->class_of[NO_CONTEXT] = (uint8_t)nr_map_classes(map);
    d->is_in_tail = d->damaged = 0;
    d->bad = nr_all(0);
    d->value_of = nr_take(&free_space, NR_VALUES * sizeof(uint16_t));
    memset(d->value_of, 0, NR_VALUES * sizeof(uint16_t));
    d->symbol_at = nr_take(&free_space, (NR_MAX_CLASSES + 1) * NR_FREQUENCY_SUM);
    size_t row_bytes = (size_t)d->wave.period * sizeof(uint16_t);
    for (int i = 0; i < 2; i++) {
        d->last_rank[i] = nr_take(&free_space, row_bytes);
        d->last_valid[i] = nr_take(&free_space, row_bytes);
    }
    size_t limit = nr_escape_limit((uint64_t)height * width);
    uint16_t *escapes = nr_take(&free_space, limit * sizeof(uint16_t));

    NrBitReader bits = {.at = data + NR_RANS_SIDE_AT, .end = data + NR_RANS_SIDE_AT + side_bytes};
    int ranks = nr_palette_read(&bits, d->value_of);
    if (ranks < 0 || read_tables(&bits, map, d) || read_escapes(&bits, escapes, limit, d)) return NR_DAMAGED;
    if (!nr_bits_are_used_up(&bits)) return NR_DAMAGED;
    d->ranks = (unsigned)ranks;

    for (unsigned lane = 0; lane < NR_MAX_LANES; lane++)
        d->states[lane] = lane < lanes ? nr_load32(bits.end + 4 * lane) : NR_RANS_LOW;
    for (unsigned lane = 0; lane < lanes; lane++)
        if (d->states[lane] < NR_RANS_LOW || d->states[lane] >> 31) return NR_DAMAGED;
    d->words = bits.end + 4 * lanes;
    d->words_end = data + data_bytes;
    keep_words_readable(d);
    for (unsigned lane = 0; lane < lanes; lane++) d->places[lane] = nr_lane_place(&d->wave, (int)lane, 0);
    for (int i = 0; i < 2; i++) d->left[i] = nr_lane_place(&d->wave, -1 - i, 0);
    for (int64_t block = 0; block < d->wave.steps; block += NR_BLOCK) {
        decode_block(d, pixels);
        if (d->damaged) return NR_DAMAGED;
    }
    return ended_well(d) ? 0 : NR_DAMAGED;
}
