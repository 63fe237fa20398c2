/* The decoder of the affine codec. It takes any bytes whatever and reads and writes nothing out of bounds. */
#include "affine_code.h"

#ifndef NM_NAME
#define NM_NAME(name) name##_narrow
#endif

typedef struct {
    uint32_t states[NM_LANES];
    const uint8_t *at, *end;
    int torn;
} Decoder;

static inline void refill(Decoder *from, unsigned lane, uint32_t x) {
    if (x < 1u << 16) {
        if (from->end - from->at < 2) {
            from->torn = 1;
            x = 1u << 16;
        } else {
            x = x << 16 | (uint32_t)from->at[0] | (uint32_t)from->at[1] << 8;
            from->at += 2;
        }
    }
    from->states[lane] = x;
}

static inline uint32_t get_symbol(Decoder *from, unsigned lane, const uint16_t *sums) {
    uint32_t x = from->states[lane], slot = x & ((1u << NM_PROBABILITY_BITS) - 1), symbol = 0;
    while (sums[symbol + 1] <= slot) symbol++; /* the last sum is 2^15: it ends there */
    uint32_t frequency = (uint32_t)sums[symbol + 1] - sums[symbol];
    refill(from, lane, frequency * (x >> NM_PROBABILITY_BITS) + slot - sums[symbol]);
    return symbol;
}

static uint32_t get_raw(Decoder *from, unsigned lane, unsigned bits) {
    uint32_t value = 0;
    for (unsigned done = 0; done < bits;) {
        unsigned piece = bits - done < NM_RAW_BITS ? bits - done : NM_RAW_BITS;
        uint32_t x = from->states[lane];
        value |= (x & ((1u << piece) - 1)) << done;
        refill(from, lane, x >> piece);
        done += piece;
    }
    return value;
}

/* One group: `mesh` from its first point on, `predictions` and `contexts` by lane. Inlined, as its caller, for each
 * number of channels: dividing by a constant is a multiplication. */
static inline __attribute__((always_inline)) void get_group(Decoder *from, const NmModel *model, unsigned channels,
                                                            unsigned points, NmPoint *mesh,
                                                            const NmPrediction *predictions,
                                                            const unsigned *contexts) {
    unsigned count = points * channels;
    uint32_t codes[NM_LANES];
    for (unsigned lane = 0; lane < count; lane++)
        codes[lane] = get_symbol(from, lane, model->sums + contexts[lane] * (NM_SYMBOLS + 1));
    uint32_t lows[NM_LANES];
    for (unsigned lane = 0; lane < count; lane++)
        lows[lane] = get_raw(from, lane, nm_low_bits(contexts[lane] / NM_FOLDS));
    for (unsigned lane = 0; lane < count; lane++) {
        if (codes[lane] < NM_ESCAPE) continue;
        unsigned bits = get_raw(from, lane, 6);
        if (bits > 32) {
            from->torn = 1;
            bits = 0;
        }
        codes[lane] += get_raw(from, lane, bits);
    }
    for (unsigned lane = 0; lane < count; lane++) {
        uint32_t code = codes[lane] << nm_low_bits(contexts[lane] / NM_FOLDS) | lows[lane];
        NmPrediction p = predictions[lane];
        mesh[lane / channels][lane % channels] = p.whole + ((nm_unzigzag(code) ^ p.flip) - p.flip);
    }
}

static inline __attribute__((always_inline)) void decode_mesh(Decoder *from, const NmModel *model, int kind,
                                                              NmPoint *mesh, const NmPoint *const *before,
                                                              const int8_t *shifts, unsigned channels) {
    NmPrediction predictions[NM_LANES];
    unsigned contexts[NM_LANES];
    uint32_t start = 0;
    for (uint32_t level = 0; level < model->levels; level++) {
        for (uint32_t end = model->level_ends[level]; start < end;) {
            uint32_t points = end - start < NM_GROUP ? end - start : NM_GROUP;
            unsigned lane = 0;
            for (uint32_t i = start; i < start + points; i++) {
                NmPoint base, sum = nm_sum(model, kind, i, mesh, before, &base);
                const uint8_t *classes = model->classes[kind] + 2 * (size_t)i;
                mesh[i] = (NmPoint){0, 0, 0, 0};
                for (unsigned c = 0; c < channels; c++, lane++) {
                    predictions[lane] = nm_round(base[c], sum[c]);
                    contexts[lane] = nm_shifted(classes[c == 3] * NM_FOLDS + predictions[lane].fold, shifts[c == 3]);
                }
            }
            get_group(from, model, channels, points, mesh + start, predictions, contexts);
            start += points;
        }
    }
}

int NM_NAME(nm_decode)(const NmModel *model, const NmSegment *segment, const uint8_t *data, size_t data_bytes,
                       NmPoint *points) {
    Decoder from = {.at = data, .end = data + data_bytes};
    unsigned lanes = NM_GROUP * segment->channels;
    if (data_bytes < 4 * (size_t)lanes) return NM_DAMAGED;
    for (unsigned lane = 0; lane < lanes; lane++, from.at += 4)
        from.states[lane] = (uint32_t)from.at[0] | (uint32_t)from.at[1] << 8 | (uint32_t)from.at[2] << 16 |
                            (uint32_t)from.at[3] << 24;
    for (uint32_t m = 0; m < segment->meshes && !from.torn; m++) {
        const NmPoint *before[2];
        nm_meshes_before(segment, m, points, model->points, before);
        const int8_t *shifts = segment->shifts + 2 * (size_t)m;
        NmPoint *mesh = points + (size_t)m * model->points;
        if (segment->channels == 3)
            decode_mesh(&from, model, nm_kind(segment, m), mesh, before, shifts, 3);
        else
            decode_mesh(&from, model, nm_kind(segment, m), mesh, before, shifts, 4);
    }
    if (from.torn || from.at != from.end) return NM_DAMAGED;
    for (unsigned lane = 0; lane < lanes; lane++)
        if (from.states[lane] != 1u << 16) return NM_DAMAGED;
    return 0;
}

#ifndef NM_WIDE
int nm_decode(const NmModel *model, const NmSegment *segment, const uint8_t *data, size_t data_bytes,
              NmPoint *points) {
#ifdef NM_HAS_WIDE
    if (__builtin_cpu_supports("avx2")) return nm_decode_wide(model, segment, data, data_bytes, points);
#endif
    return nm_decode_narrow(model, segment, data, data_bytes, points);
}
#endif
