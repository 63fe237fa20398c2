/* The encoder's second half: shifts of contexts, and rANS, backwards. See mesh_kernels.h. */
#include "affine_code.h"

/* ---- shifts ---------------------------------------------------------------------------------------------- */

enum { LARGEST_SHIFT = 6, JUDGED_EVERY = 5 };

static uint32_t cost_of(uint32_t code, unsigned context, const uint16_t *costs) {
    unsigned low = nm_low_bits(context / NM_FOLDS);
    uint32_t high = code >> low;
    uint32_t symbol = high < NM_ESCAPE ? high : NM_ESCAPE;
    uint32_t escape_bits = high < NM_ESCAPE ? 0 : 5 + nm_bits_of(high - NM_ESCAPE);
    return costs[context * NM_SYMBOLS + symbol] + 256 * (low + escape_bits);
}

static int8_t best_shift(const NmModel *model, const uint32_t *codes, const uint16_t *contexts, unsigned first,
                         unsigned end, const uint16_t *costs) {
    uint64_t least = UINT64_MAX;
    int best = 0;
    for (int step = 0; step <= 2 * LARGEST_SHIFT; step++) { /* 0, 1, -1, 2, -2, ...: the nearest where it is equal */
        int shift = step & 1 ? (step + 1) / 2 : -(step / 2);
        uint64_t cost = 0;
        for (size_t i = JUDGED_EVERY - 1; i < model->points; i += JUDGED_EVERY)
            for (unsigned c = first; c < end; c++)
                cost += cost_of(codes[4 * i + c], nm_shifted(contexts[4 * i + c], shift), costs);
        if (cost < least) {
            least = cost;
            best = shift;
        }
    }
    return (int8_t)best;
}

void nm_choose_shifts(const NmModel *model, const NmSegment *segment, const uint32_t *codes,
                      const uint16_t *contexts, const uint16_t *costs, int8_t *shifts) {
    for (uint32_t m = 0; m < segment->meshes; m++) {
        size_t first = 4 * (size_t)m * model->points;
        shifts[2 * m] = best_shift(model, codes + first, contexts + first, 0, 3, costs);
        shifts[2 * m + 1] = segment->channels < 4
                                ? 0
                                : best_shift(model, codes + first, contexts + first, 3, 4, costs);
    }
}

/* ---- rANS, backwards --------------------------------------------------------------------------------------- */

typedef struct {
    uint32_t states[NM_LANES];
    uint8_t *at, *start; /* words are written towards the beginning */
    int full;
} Coder;

static inline void put(Coder *coder, unsigned lane, uint32_t below, uint32_t frequency, unsigned bits) {
    uint32_t x = coder->states[lane];
    if (x >= (uint64_t)frequency << (32 - bits)) {
        if (coder->at - coder->start < 2) {
            coder->full = 1;
            return;
        }
        coder->at -= 2;
        coder->at[0] = (uint8_t)x;
        coder->at[1] = (uint8_t)(x >> 8);
        x >>= 16;
    }
    coder->states[lane] = (x / frequency << bits) + x % frequency + below;
}

/* Low parts first, as the decoder takes them: so they are put high parts first. */
static void put_raw(Coder *coder, unsigned lane, uint32_t value, unsigned bits) {
    while (bits) {
        unsigned piece = (bits - 1) % NM_RAW_BITS + 1;
        bits -= piece;
        put(coder, lane, value >> bits & ((1u << piece) - 1), 1, piece);
    }
}

/* Inlined for each number of channels: dividing by a constant is a multiplication. */
static inline __attribute__((always_inline)) void put_group(Coder *coder, const NmModel *model, unsigned channels,
                                                            const int8_t *shifts, const uint32_t *codes,
                                                            const uint16_t *contexts, unsigned points) {
    unsigned count = points * channels;
    unsigned shifted[NM_LANES];
    for (unsigned lane = 0; lane < count; lane++)
        shifted[lane] = nm_shifted(contexts[lane / channels * 4 + lane % channels], shifts[lane % channels == 3]);
    for (unsigned lane = count; lane-- > 0;) {
        uint32_t high = codes[lane / channels * 4 + lane % channels] >> nm_low_bits(shifted[lane] / NM_FOLDS);
        if (high < NM_ESCAPE) continue;
        unsigned bits = nm_bits_of(high - NM_ESCAPE);
        put_raw(coder, lane, high - NM_ESCAPE, bits);
        put_raw(coder, lane, bits, 6);
    }
    for (unsigned lane = count; lane-- > 0;) {
        unsigned low = nm_low_bits(shifted[lane] / NM_FOLDS);
        put_raw(coder, lane, codes[lane / channels * 4 + lane % channels] & ((1u << low) - 1), low);
    }
    for (unsigned lane = count; lane-- > 0;) {
        uint32_t high = codes[lane / channels * 4 + lane % channels] >> nm_low_bits(shifted[lane] / NM_FOLDS);
        uint32_t symbol = high < NM_ESCAPE ? high : NM_ESCAPE;
        const uint16_t *sums = model->sums + shifted[lane] * (NM_SYMBOLS + 1) + symbol;
        put(coder, lane, sums[0], (uint32_t)sums[1] - sums[0], NM_PROBABILITY_BITS);
    }
}

ptrdiff_t nm_encode(const NmModel *model, const NmSegment *segment, const uint32_t *codes,
                    const uint16_t *contexts, uint8_t *out, size_t out_bytes) {
    Coder coder = {.at = out + out_bytes, .start = out};
    unsigned lanes = NM_GROUP * segment->channels;
    for (unsigned lane = 0; lane < lanes; lane++) coder.states[lane] = 1u << 16;
    for (uint32_t m = segment->meshes; m-- > 0;) {
        size_t mesh = (size_t)m * model->points;
        for (uint32_t level = model->levels; level-- > 0;) {
            uint32_t start = level ? model->level_ends[level - 1] : 0;
            for (uint32_t end = model->level_ends[level]; end > start;) {
                uint32_t points = (end - start - 1) % NM_GROUP + 1;
                end -= points;
                const int8_t *shifts = segment->shifts + 2 * (size_t)m;
                const uint32_t *own = codes + 4 * (mesh + end);
                const uint16_t *own_contexts = contexts + 4 * (mesh + end);
                if (segment->channels == 3)
                    put_group(&coder, model, 3, shifts, own, own_contexts, points);
                else
                    put_group(&coder, model, 4, shifts, own, own_contexts, points);
            }
        }
    }
    if (coder.full || coder.at - coder.start < 4 * (ptrdiff_t)lanes) return NM_TOO_LARGE;
    for (unsigned lane = lanes; lane-- > 0;) {
        coder.at -= 4;
        for (int byte = 0; byte < 4; byte++) coder.at[byte] = (uint8_t)(coder.states[lane] >> 8 * byte);
    }
    return out + out_bytes - coder.at;
}
