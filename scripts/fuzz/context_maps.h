/* The paths of lattice-rans through the processor, and context maps to try them with. */
#ifndef NIGHTRIG_FUZZ_CONTEXT_MAPS_H
#define NIGHTRIG_FUZZ_CONTEXT_MAPS_H

#include "fuzz.h"
#include "lattice_rans.h"

/* 1 where the kernel with AVX2 was compiled and this processor runs it. */
static inline int nr_has_wide_path(void) {
#if defined(__x86_64__) && !defined(NR_PLAIN)
    return __builtin_cpu_supports("avx2");
#else
    return 0;
#endif
}

enum {
    NR_INSTALLED_MAP,
    NR_FLAT_MAP, /* a class for everything, no weights */
    NR_WILD_MAP, /* as many classes as there can be, any weights, tables of every kind */
    NR_MAPS,
    NR_MAX_MAP_BYTES = NR_MAP_DEFAULTS_AT + NR_MAX_CLASSES * NR_SYMBOLS
};

/* A map that nr_rans_check_map takes. */
const uint8_t *nr_fuzz_map(unsigned which);

/* A map with that many classes and everything else by chance; returns its length. */
size_t nr_draw_map(NrChance *chance, int classes, uint8_t *map);

#endif
