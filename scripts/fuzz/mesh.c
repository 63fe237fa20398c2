/* Models, segments and points by chance. */
#include "mesh.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOT = 100, CODES = 120, CONTEXTS, KNOWN, COSTS, SHIFTS, MOST_POINTS = 140, MOST_MESHES = 7 };

unsigned nm_paths(const NmPath **paths) {
    static const NmPath all[NM_MAX_PATHS] = {
        {"narrow", nm_predict_narrow, nm_decode_narrow},
#ifdef NM_HAS_WIDE
        {"wide", nm_predict_wide, nm_decode_wide},
#endif
    };
    *paths = all;
#ifdef NM_HAS_WIDE
    return __builtin_cpu_supports("avx2") ? 2 : 1;
#else
    return 1;
#endif
}

/* Not from nr_exactly's memory, which two arrays of the same slot and size would share. */
static void *fresh(unsigned slot, size_t bytes) { return nr_exactly(FIRST_SLOT + slot, bytes ? bytes : 1); }

static uint32_t draw_weight(NrChance *chance, uint32_t kind) {
    if (kind == 0) return nr_chance(chance);
    return nr_below(chance, kind == 1 ? 4096 : 600) - (kind == 1 ? 2048u : 300u);
}

static void draw_sums(NrChance *chance, uint16_t *sums) {
    for (unsigned context = 0; context < NM_CONTEXTS; context++, sums += NM_SYMBOLS + 1) {
        uint32_t left = (1u << NM_PROBABILITY_BITS) - NM_SYMBOLS, kind = nr_below(chance, 4);
        uint32_t favourite = kind == 3 ? NM_ESCAPE : nr_below(chance, NM_SYMBOLS), sum = 0;
        for (unsigned symbol = 0; symbol < NM_SYMBOLS; symbol++) {
            uint32_t more = kind == 0                                     ? left / NM_SYMBOLS
                            : kind == 1 && symbol != favourite            ? 0
                            : symbol == favourite || symbol == NM_ESCAPE ? left
                                                                          : nr_below(chance, left / 4 + 1);
            sums[symbol] = (uint16_t)sum;
            if (symbol == NM_ESCAPE) more = left;
            left -= more;
            sum += 1 + more;
        }
        sums[NM_SYMBOLS] = 1u << NM_PROBABILITY_BITS;
    }
}

static void draw_model(NrChance *chance, NmModel *model) {
    uint32_t points = nr_once_in(chance, 8) ? 1 + nr_below(chance, 3) : 1 + nr_below(chance, MOST_POINTS);
    uint32_t most = nr_once_in(chance, 20) ? 48 : 6;
    *model = (NmModel){.points = points};
    for (int k = 0; k < 2; k++) {
        model->now[k] = 1 + nr_below(chance, most);
        model->before[k] = nr_below(chance, most + 1);
        if (model->now[k] > model->width) model->width = model->now[k];
        if (model->before[k] > model->width) model->width = model->before[k];
    }
    uint32_t ends[MOST_POINTS + 1] = {1}, levels = 1;
    for (; ends[levels - 1] < points; levels++) {
        uint32_t left = points - ends[levels - 1];
        ends[levels] = ends[levels - 1] + 1 + nr_below(chance, nr_once_in(chance, 3) && left > 5 ? 5 : left);
    }
    model->levels = levels;
    model->level_ends = memcpy(fresh(0, levels * sizeof ends[0]), ends, levels * sizeof ends[0]);
    uint16_t *neighbours = fresh(1, sizeof(uint16_t) * points * model->width);
    for (uint32_t level = 0, i = 0; level < levels; level++)
        for (uint32_t first = i; i < ends[level]; i++)
            for (uint32_t j = 0; j < model->width; j++)
                neighbours[i * model->width + j] = (uint16_t)(level ? nr_below(chance, first) : 0);
    model->neighbours = neighbours;
    uint32_t weight_kind = nr_below(chance, 3);
    for (int kind = 0; kind < NM_KINDS; kind++) {
        size_t count = (size_t)points * nm_taps(model, kind);
        int16_t *weights = fresh(2 + (unsigned)kind, sizeof(int16_t) * count);
        uint8_t *classes = fresh(4 + (unsigned)kind, 2 * (size_t)points);
        for (size_t i = 0; i < count; i++) weights[i] = (int16_t)(uint16_t)draw_weight(chance, weight_kind);
        for (size_t i = 0; i < 2 * (size_t)points; i++) classes[i] = (uint8_t)nr_below(chance, NM_CLASSES);
        model->weights[kind] = weights;
        model->classes[kind] = classes;
    }
    uint16_t *sums = fresh(6, sizeof(uint16_t) * NM_CONTEXTS * (NM_SYMBOLS + 1));
    draw_sums(chance, sums);
    model->sums = sums;
}

void nm_draw_case(NrChance *chance, NmCase *drawn) {
    nr_begin_case();
    draw_model(chance, &drawn->model);
    uint32_t meshes = nr_below(chance, MOST_MESHES + 1);
    int32_t *refs = fresh(7, 2 * sizeof(int32_t) * meshes);
    int8_t *shifts = fresh(8, 2 * meshes);
    for (uint32_t m = 0; m < meshes; m++) {
        int is_first = m == 0 || nr_once_in(chance, 4);
        for (int k = 0; k < 2; k++) {
            uint32_t shift = nr_once_in(chance, 9) ? nr_chance(chance) : nr_below(chance, 13) - 6;
            refs[2 * m + (uint32_t)k] = is_first ? -1 : (int32_t)nr_below(chance, m);
            shifts[2 * m + (uint32_t)k] = (int8_t)(uint8_t)shift;
        }
    }
    drawn->segment = (NmSegment){meshes, 3 + nr_below(chance, 2), refs, shifts};
    drawn->numbers = 4 * (size_t)meshes * drawn->model.points;
}

void nm_draw_points(NrChance *chance, const NmCase *is, NmPoint *points) {
    static const uint32_t kinds[] = {0, 1, 3, 40, 3000, 1u << 20, UINT32_MAX};
    uint32_t range = kinds[nr_below(chance, 7)], middle = nr_chance(chance);
    for (size_t i = 0; i < is->numbers / 4; i++)
        for (unsigned c = 0; c < 4; c++) points[i][c] = middle + (range ? nr_below(chance, range) : 0);
    if (is->segment.channels == 3)
        for (size_t i = 0; i < is->numbers / 4; i++) points[i][3] = 0;
}

size_t nm_room(const NmCase *is) { return 2 * is->numbers * is->segment.channels + 4 * NM_LANES; }

size_t nm_encode_case(const NmCase *is, const NmPath *path, NrChance *chance, NmPoint *points, uint8_t *out) {
    uint32_t *codes = fresh(CODES, sizeof(uint32_t) * is->numbers);
    uint16_t *contexts = fresh(CONTEXTS, sizeof(uint16_t) * is->numbers);
    uint8_t *known = fresh(KNOWN, is->numbers / 4);
    uint32_t all_known = nr_below(chance, 2);
    for (size_t i = 0; i < is->numbers / 4; i++) known[i] = all_known ? 3 : (uint8_t)nr_below(chance, 4);
    path->predict(&is->model, &is->segment, points, known, codes, contexts);
    NmSegment segment = is->segment;
    if (nr_once_in(chance, 3)) {
        uint16_t *costs = fresh(COSTS, sizeof(uint16_t) * NM_CONTEXTS * NM_SYMBOLS);
        int8_t *shifts = fresh(SHIFTS, 2 * segment.meshes);
        for (size_t i = 0; i < NM_CONTEXTS * NM_SYMBOLS; i++) costs[i] = (uint16_t)nr_below(chance, 3841);
        nm_choose_shifts(&is->model, &segment, codes, contexts, costs, shifts);
        memcpy((void *)(uintptr_t)is->segment.shifts, shifts, 2 * segment.meshes);
    }
    ptrdiff_t length = nm_encode(&is->model, &segment, codes, contexts, out, nm_room(is));
    if (length <= 0) nr_fail("an encoder has no room where there is always room");
    uint32_t cut = 1 + nr_below(chance, (uint32_t)length);
    uint8_t *tight = malloc((size_t)length - cut + 1);
    if (nm_encode(&is->model, &segment, codes, contexts, tight, (size_t)length - cut) != NM_TOO_LARGE)
        nr_fail("an encoder that is short of room does not say so");
    free(tight);
    return (size_t)length;
}
