/* Context maps for the fuzz targets. The installed one is the file NR_MAP_FILE, given when this is compiled. */
#include "context_maps.h"

#include <stdio.h>

size_t nr_draw_map(NrChance *chance, int classes, uint8_t *map) {
    nr_store16(map, 9);
    nr_store16(map + NR_MAP_CLASSES_AT, (uint16_t)classes);
    for (int i = 0; i < NR_WEIGHTS; i++) {
        uint32_t weight = nr_once_in(chance, 3) ? nr_chance(chance) : nr_below(chance, 64) - 16;
        nr_store16(map + NR_MAP_WEIGHTS_AT + 2 * i, (uint16_t)weight);
    }
    for (int i = 0; i < NR_CONTEXTS; i++) map[NR_MAP_CLASS_OF_AT + i] = (uint8_t)nr_below(chance, (uint32_t)classes);
    for (int c = 0; c < classes; c++) {
        uint8_t *table = map + NR_MAP_DEFAULTS_AT + c * NR_SYMBOLS;
        uint32_t least = nr_below(chance, NR_MAX_FREQUENCY_CODE);
        for (int s = 0; s < NR_SYMBOLS; s++)
            table[s] = nr_once_in(chance, 4) ? 0 : (uint8_t)(least + nr_below(chance, NR_MAX_FREQUENCY_CODE + 1 - least));
        uint32_t there = nr_below(chance, NR_SYMBOLS); /* one at least */
        table[there] = (uint8_t)(1 + nr_below(chance, NR_MAX_FREQUENCY_CODE));
    }
    return NR_MAP_DEFAULTS_AT + (size_t)classes * NR_SYMBOLS;
}

static size_t draw_flat_map(uint8_t *map) {
    memset(map, 0, NR_MAX_MAP_BYTES);
    nr_store16(map + NR_MAP_CLASSES_AT, 1);
    memset(map + NR_MAP_DEFAULTS_AT, 65, NR_SYMBOLS);
    return NR_MAP_DEFAULTS_AT + NR_SYMBOLS;
}

static size_t read_installed_map(uint8_t *map) {
    FILE *file = fopen(NR_MAP_FILE, "rb");
    if (!file) nr_fail("cannot open " NR_MAP_FILE);
    size_t bytes = fread(map, 1, NR_MAX_MAP_BYTES, file);
    fclose(file);
    return bytes;
}

const uint8_t *nr_fuzz_map(unsigned which) {
    static uint8_t maps[NR_MAPS][NR_MAX_MAP_BYTES];
    static int is_ready[NR_MAPS];
    if (!is_ready[which]) {
        NrChance chance = {.state = 5};
        size_t bytes = which == NR_INSTALLED_MAP ? read_installed_map(maps[which])
                       : which == NR_FLAT_MAP    ? draw_flat_map(maps[which])
                                                 : nr_draw_map(&chance, NR_MAX_CLASSES, maps[which]);
        if (nr_rans_check_map(maps[which], bytes)) nr_fail("a context map of the fuzzer is none");
        is_ready[which] = 1;
    }
    return maps[which];
}
