/* lattice-rans, backwards: up to 32 rows advance together, a vector of them at a time.
 *
 * A ring keeps what the last steps brought for each lane. As row y - 1 belongs to the lane before, 16 steps
 * behind, the neighbours of a vector of lanes lie side by side in it. The two columns left of lane 0 hold the rows
 * that the last two lanes coded a round earlier.
 */
#include "lattice_rans.h"

#ifndef NR_NAME
#define NR_NAME(name) name##_narrow
#endif

enum {
    RING = 64, /* steps, a power of two; NNWW lies 34 back */
    ABOVE = NR_LANE_DELAY,
    COLUMNS = NR_MAX_LANES + 2 * NR_VEC,
    FIRST = NR_VEC, /* the column of lane 0 */

    /* The context of what is not coded. What the vectors make of a pixel is at most NR_CONTEXTS. */
    NO_CONTEXT = NR_CONTEXTS,
    NR_VALUES = 65536
};

typedef struct {
    uint16_t rank[RING][COLUMNS], valid[RING][COLUMNS];
} Ring;

/* The place of a step in the ring; what lies before the first step is all zeros. */
static inline size_t in_ring(int64_t step) { return (size_t)step & (RING - 1); }

typedef struct {
    NrWavefront wave;
    NrWeights weights;
    uint8_t class_of[NR_CONTEXTS + 1];
    uint8_t *symbol_at;                                   /* class, place in the table -> symbol */
    uint32_t shape[(NR_MAX_CLASSES + 1) * NR_SYMBOLS];    /* frequency << 16 | begin */
    Ring ring;
    uint16_t *last_rank[2], *last_valid[2]; /* by position: rows of the last lane, and of the one before it */
    uint16_t *value_of;                     /* 65,536 entries: no rank leads out of it */
    unsigned ranks;
    uint32_t states[NR_MAX_LANES];
    const uint8_t *words, *words_end;
    uint8_t tail[2 * (2 * NR_MAX_LANES)]; /* the last words, with zeros behind them */
    int is_in_tail;
    const uint16_t *escape_at[NR_MAX_LANES], *escape_end[NR_MAX_LANES];
    NrLanePlace places[NR_MAX_LANES];                /* at the first step of the block */
    uint16_t working[NR_BLOCK][NR_MAX_LANES];        /* all ones where a pixel is coded, else 0 */
    uint8_t is_whole[NR_MAX_LANES];                  /* each step of the block is a pixel */
    uint8_t partial[NR_MAX_LANES];                   /* the lanes that work, and of which this is not so */
    unsigned partial_count;
    NrLanePlace left[2];                             /* what the columns left of lane 0 show */
    uint16_t known[NR_BLOCK][NR_MAX_LANES];          /* ranks as decoded in this block, 0 where not measured */
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
    uint32_t refilled = x << 16 | nr_load16(words);
    int is_empty = x < NR_RANS_LOW;
    *state = is_empty ? refilled : x;
    return words + (is_empty ? 2 : 0);
}

static uint16_t get_escape(Decoder *d, unsigned lane) {
    if (d->escape_at[lane] == d->escape_end[lane]) {
        d->damaged = 1;
        return NR_ESCAPE;
    }
    return (uint16_t)(*d->escape_at[lane]++ + NR_ESCAPE);
}

/* Decodes the lanes of a vector at a step. Lanes that have nothing to do leave their state alone. */
static inline void decode_group(Decoder *d, int64_t step, unsigned j, unsigned first) {
    const Ring *ring = &d->ring;
    unsigned here = FIRST + first;
#define NR_RANK(back, left) nr_load(&ring->rank[in_ring(step - (back))][here - (left)])
#define NR_VALID(back, left) nr_load(&ring->valid[in_ring(step - (back))][here - (left)])
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
    uint16_t contexts[NR_VEC];
    nr_store(contexts, nr_select(works, context, nr_all(NO_CONTEXT)));
    const uint8_t *words = d->words;
    uint32_t *states = &d->states[first];
    uint64_t each[NR_VEC]; /* in registers: a vector loaded from eight fresh stores would wait for them */
    for (unsigned i = 0; i < NR_VEC; i++)
        words = get_symbol(d, &states[i], d->class_of[contexts[i]], words, &each[i]);
    d->words = words;
    NrVec symbol = nr_join(each);
    NrVec measured = (NrVec)(symbol != nr_all(NR_INVALID));
    if (nr_any((NrVec)(symbol == nr_all(NR_ESCAPE)))) {
        for (unsigned i = 0; i < NR_VEC; i++)
            if (each[i] == NR_ESCAPE) each[i] = get_escape(d, first + i);
        symbol = nr_join(each);
    }
    NrVec rank = nr_select(measured, nr_add(prediction, nr_unzigzag_all(symbol)), at.N);
    d->bad |= works & measured & ((NrVec)(rank > nr_all((int16_t)d->ranks)) | (NrVec)(rank < nr_all(1)));
    nr_store(&d->ring.rank[in_ring(step)][here], rank);
    nr_store(&d->ring.valid[in_ring(step)][here], measured);
    nr_store(&d->known[j][first], rank & measured);
}

/* What stands in the margins of a row: see docs/FORMAT.md. */
static void set_margin(Decoder *d, int64_t step, unsigned lane, unsigned j) {
    Ring *ring = &d->ring;
    unsigned here = FIRST + lane;
    int64_t position = d->places[lane].position + j;
    uint16_t rank = position < NR_MARGIN
                        ? ring->rank[in_ring(step - ABOVE + NR_MARGIN - position)][here - 1] /* first above */
                        : ring->rank[in_ring(step - 1)][here];                               /* last of the row */
    ring->rank[in_ring(step)][here] = rank;
    ring->valid[in_ring(step)][here] = 0;
}

/* Keeps the rows of the last two lanes for the round to come, and lays out those of the round before. */
static void pass_on(Decoder *d, int64_t step, unsigned j) {
    Ring *ring = &d->ring;
    for (int back = 1; back <= 2; back++) {
        unsigned from = (unsigned)d->wave.lanes - (unsigned)back;
        if (d->places[from].row >= 0) {
            int64_t position = d->places[from].position + j;
            d->last_rank[back - 1][position] = ring->rank[in_ring(step)][FIRST + from];
            d->last_valid[back - 1][position] = ring->valid[in_ring(step)][FIRST + from];
        }
        const NrLanePlace *left = &d->left[back - 1];
        if (left->row >= 0) { /* before, it is the row above the image: zeros */
            ring->rank[in_ring(step)][FIRST - back] = d->last_rank[back - 1][left->position + j];
            ring->valid[in_ring(step)][FIRST - back] = d->last_valid[back - 1][left->position + j];
        }
    }
}

/* ---- all steps ----------------------------------------------------------------------------------------- */

/* Which steps of the block are pixels. Most lanes are in the midst of a row, as they were a block before. */
static void find_work(Decoder *d, unsigned *first, unsigned *end) {
    d->partial_count = 0;
    for (unsigned lane = 0; lane < d->wave.lanes; lane++) {
        NrLanePlace place = d->places[lane];
        int works = nr_lane_works(&d->wave, place);
        int64_t x = place.position - NR_MARGIN;
        int is_whole = works && x >= 0 && x + NR_BLOCK <= d->wave.width;
        if (works && *first > lane) *first = lane;
        if (works) *end = lane + 1;
        if (works && !is_whole) d->partial[d->partial_count++] = (uint8_t)lane;
        if (is_whole && d->is_whole[lane]) continue;
        d->is_whole[lane] = (uint8_t)is_whole;
        for (int j = 0; j < NR_BLOCK; j++)
            d->working[j][lane] = works && x + j >= 0 && x + j < d->wave.width ? 0xFFFF : 0;
    }
}

static void write_pixels(const Decoder *d, unsigned lane, uint16_t *pixels) {
    NrLanePlace place = d->places[lane];
    if (!nr_lane_works(&d->wave, place)) return;
    int64_t x = place.position - NR_MARGIN;
    uint16_t *line = pixels + place.row * d->wave.width;
    const uint16_t *restrict value_of = d->value_of;
    if (d->is_whole[lane]) {
        for (int j = 0; j < NR_BLOCK; j++) line[x + j] = value_of[d->known[j][lane]];
        return;
    }
    for (int j = 0; j < NR_BLOCK; j++)
        if (d->working[j][lane]) line[x + j] = value_of[d->known[j][lane]];
}

static void decode_block(Decoder *d, int64_t block, uint16_t *pixels) {
    unsigned first = NR_MAX_LANES, end = 0;
    find_work(d, &first, &end);
    for (unsigned j = 0; j < NR_BLOCK; j++) {
        int64_t step = block + j;
        for (unsigned group = first - first % NR_VEC; group < end; group += NR_VEC) decode_group(d, step, j, group);
        for (unsigned i = 0; i < d->partial_count; i++)
            if (!d->working[j][d->partial[i]]) set_margin(d, step, d->partial[i], j);
        pass_on(d, step, j);
        keep_words_readable(d);
    }
    for (unsigned lane = 0; lane < d->wave.lanes; lane++) {
        write_pixels(d, lane, pixels);
        nr_advance(&d->wave, &d->places[lane]);
    }
    for (int i = 0; i < 2; i++) nr_advance(&d->wave, &d->left[i]);
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

    Decoder *d = nr_take(&free_space, sizeof *d);
    memset(&d->ring, 0, sizeof d->ring);
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
        decode_block(d, block, pixels);
        if (d->damaged) return NR_DAMAGED;
    }
    return ended_well(d) ? 0 : NR_DAMAGED;
}
