/* lattice-rans as the fuzz targets see it: its kernels with and without AVX2, and payloads that are nearly right.
 *
 * A payload made here has side information without a flaw, most of the time, so that a decoder goes on to the
 * pixels; bytes by chance would end within the first table.
 */
#include "context_maps.h"

static ptrdiff_t encode_narrow(const uint16_t *pixels, uint32_t height, uint32_t width, unsigned variant, uint8_t *out,
                               size_t out_bytes, void *workspace) {
    return nr_rans_encode_narrow(pixels, height, width, nr_fuzz_map(variant), out, out_bytes, workspace);
}

static int decode_narrow(const uint8_t *data, size_t data_bytes, uint32_t height, uint32_t width, unsigned variant,
                         uint16_t *pixels, void *workspace) {
    return nr_rans_decode_narrow(data, data_bytes, height, width, nr_fuzz_map(variant), pixels, workspace);
}

#if defined(__x86_64__) && !defined(NR_PLAIN)
static ptrdiff_t encode_wide(const uint16_t *pixels, uint32_t height, uint32_t width, unsigned variant, uint8_t *out,
                             size_t out_bytes, void *workspace) {
    return nr_rans_encode_wide(pixels, height, width, nr_fuzz_map(variant), out, out_bytes, workspace);
}

static int decode_wide(const uint8_t *data, size_t data_bytes, uint32_t height, uint32_t width, unsigned variant,
                       uint16_t *pixels, void *workspace) {
    return nr_rans_decode_wide(data, data_bytes, height, width, nr_fuzz_map(variant), pixels, workspace);
}
#else
#define encode_wide encode_narrow
#define decode_wide decode_narrow
#endif

/* ---- side information ------------------------------------------------------------------------------------- */

static void make_palette(NrChance *chance, NrBitWriter *to) {
    uint32_t ranks = nr_once_in(chance, 4) ? nr_below(chance, NR_MAX_RANKS + 1) : 1 + nr_below(chance, 40);
    if (nr_once_in(chance, 50)) ranks = NR_MAX_RANKS + nr_below(chance, 3);
    nr_put_golomb(to, ranks, 8);
    uint32_t rank = 1;
    int32_t step = 1, value = 0;
    while (rank <= ranks) {
        uint32_t left = ranks + 1 - rank, repeats = nr_once_in(chance, 3) ? left : nr_below(chance, left + 1);
        if (nr_once_in(chance, 200)) repeats++;
        nr_put_golomb(to, repeats, 0);
        rank += repeats;
        value += step * (int32_t)repeats;
        if (rank > ranks || value > 65535) return;
        int32_t next = 1 + (int32_t)nr_below(chance, nr_once_in(chance, 4) ? (uint32_t)(65536 - value) / left + 1 : 4);
        if (next == step) next++;
        nr_put_golomb(to, nr_zigzag(next - step) - 1, 0);
        step = next;
        value += step;
        rank++;
    }
}

static void make_tables(NrChance *chance, NrBitWriter *to, const uint8_t *map) {
    uint32_t kind = nr_below(chance, 6);
    for (int c = 0; c < nr_map_classes(map); c++) {
        const uint8_t *defaults = nr_map_defaults(map, c);
        uint8_t codes[NR_SYMBOLS], any = (uint8_t)nr_below(chance, NR_MAX_FREQUENCY_CODE + 1);
        uint32_t symbol = nr_below(chance, NR_SYMBOLS);
        memcpy(codes, defaults, NR_SYMBOLS);
        switch (nr_once_in(chance, 8) ? nr_below(chance, 6) : kind) {
            case 0: break;
            case 1: /* one symbol is certain: pixels without words */
                memset(codes, 0, NR_SYMBOLS);
                codes[nr_once_in(chance, 2) ? symbol : 0] = any ? any : 1;
                break;
            case 2:
                for (int s = 0; s < NR_SYMBOLS; s++) codes[s] = (uint8_t)nr_below(chance, NR_MAX_FREQUENCY_CODE + 1);
                break;
            case 3: codes[symbol] = any; break;
            case 4: codes[NR_ESCAPE] = NR_MAX_FREQUENCY_CODE; break;
            default: codes[NR_INVALID] = NR_MAX_FREQUENCY_CODE;
        }
        if (nr_once_in(chance, 2000)) codes[symbol] = (uint8_t)(NR_MAX_FREQUENCY_CODE + 1 + nr_below(chance, 158));
        nr_frequencies_write(to, codes, defaults, !memcmp(codes, defaults, NR_SYMBOLS) && !nr_once_in(chance, 9));
    }
}

static void make_escapes(NrChance *chance, NrBitWriter *to, unsigned lanes, uint32_t limit) {
    uint32_t order = nr_below(chance, 8), most = nr_once_in(chance, 4) ? limit + 2 : nr_below(chance, 20);
    uint32_t least = nr_once_in(chance, 3) ? 65500 : 0;
    nr_put_bits(to, order, 3);
    for (unsigned lane = 0; lane < lanes; lane++) {
        uint32_t in_lane = nr_once_in(chance, 2) ? 0 : nr_below(chance, most + 1);
        nr_put_golomb(to, in_lane, 4);
        for (; in_lane; in_lane--)
            nr_put_golomb(to, least + nr_below(chance, nr_once_in(chance, 300) ? 70 : 20), order);
        if (most > 40) most = 40; /* one lane at most has very many */
    }
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

static size_t make(NrChance *chance, uint32_t height, uint32_t width, unsigned variant, uint8_t *out, size_t room) {
    unsigned lanes = nr_once_in(chance, 2) ? NR_MIN_LANES : NR_MIN_LANES + nr_below(chance, NR_MAX_LANES - 1);
    size_t states_and_words = 4 * lanes + 2 * NR_MAX_LANES;
    NrBitWriter side = {.at = out + NR_RANS_SIDE_AT, .end = out + room - states_and_words};
    make_palette(chance, &side);
    make_tables(chance, &side, nr_fuzz_map(variant));
    make_escapes(chance, &side, lanes, nr_escape_limit((uint64_t)height * width));
    nr_flush_bits(&side);

    out[NR_RANS_LANES_AT] = (uint8_t)lanes;
    nr_store32(out + NR_RANS_SIDE_BYTES_AT, (uint32_t)(side.at - out - NR_RANS_SIDE_AT));
    uint8_t *at = side.at, *end = out + room;
    int is_at_rest = nr_once_in(chance, 3); /* as a decoder ends: right where nothing but certain symbols comes */
    for (unsigned lane = 0; lane < lanes; lane++, at += 4)
        nr_store32(at, is_at_rest ? NR_RANS_LOW : NR_RANS_LOW + nr_below(chance, (1u << 31) - NR_RANS_LOW));
    size_t words = is_at_rest ? 0 : nr_below(chance, nr_once_in(chance, 2) ? 40 : 1500);
    for (; words && end - at >= 2; words--, at += 2) nr_store16(at, (uint16_t)nr_chance(chance));
    return (size_t)(at - out);
}

static void repair(NrChance *chance, uint8_t *payload, size_t size) {
    if (size < NR_RANS_SIDE_AT + 4 * NR_MIN_LANES) return;
    unsigned lanes = payload[NR_RANS_LANES_AT];
    if (lanes < NR_MIN_LANES || lanes > NR_MAX_LANES) lanes = NR_MIN_LANES + lanes % (NR_MAX_LANES - 1);
    if (NR_RANS_SIDE_AT + 4 * lanes > size) lanes = NR_MIN_LANES;
    payload[NR_RANS_LANES_AT] = (uint8_t)lanes;
    uint32_t side_bytes = nr_load32(payload + NR_RANS_SIDE_BYTES_AT);
    size_t most = size - NR_RANS_SIDE_AT - 4 * lanes;
    if (side_bytes > most) side_bytes = (uint32_t)most - nr_below(chance, most < 40 ? (uint32_t)most + 1 : 40);
    if ((most - side_bytes) % 2) side_bytes += side_bytes < most ? 1 : -1u;
    nr_store32(payload + NR_RANS_SIDE_BYTES_AT, side_bytes);
    uint8_t *state = payload + NR_RANS_SIDE_AT + side_bytes;
    for (unsigned lane = 0; lane < lanes; lane++, state += 4) {
        uint32_t x = nr_load32(state) & 0x7FFFFFFF;
        nr_store32(state, x < NR_RANS_LOW ? x | NR_RANS_LOW : x);
    }
}

const NrCodec *nr_codec(void) {
    static NrCodec codec = {
        .variants = NR_MAPS,
        .path = {{"narrow", encode_narrow, decode_narrow}, {"wide", encode_wide, decode_wide}},
        .encoder_bytes = nr_rans_encoder_bytes,
        .decoder_bytes = nr_rans_decoder_bytes,
#ifdef NR_TAKE
        .takes_pieces = 1,
#endif
        .least_width = 8,
        .make = make,
        .repair = repair,
    };
    codec.paths = nr_has_wide_path() ? 2 : 1;
    return &codec;
}
