/* lattice-rans: the functions that others call. Chooses the vectors of this processor. */
#include "lattice_rans.h"

#if defined(__x86_64__) && !defined(NR_PLAIN)
#define HAS_WIDE_VECTORS __builtin_cpu_supports("avx2")
#define WIDE(name) name##_wide
#else
#define HAS_WIDE_VECTORS 0
#define WIDE(name) name##_narrow
#endif

int nr_rans_check_map(const uint8_t *map, size_t map_bytes) {
    if (map_bytes < NR_MAP_DEFAULTS_AT) return NR_DAMAGED;
    int classes = nr_map_classes(map);
    if (classes < 1 || classes > NR_MAX_CLASSES) return NR_DAMAGED;
    if (map_bytes != NR_MAP_DEFAULTS_AT + (size_t)classes * NR_SYMBOLS) return NR_DAMAGED;
    for (int i = 0; i < NR_CONTEXTS; i++)
        if (map[NR_MAP_CLASS_OF_AT + i] >= classes) return NR_DAMAGED;
    for (int c = 0; c < classes; c++) {
        int largest = 0;
        for (int s = 0; s < NR_SYMBOLS; s++)
            if (nr_map_defaults(map, c)[s] > largest) largest = nr_map_defaults(map, c)[s];
        if (largest < 1 || largest > NR_MAX_FREQUENCY_CODE) return NR_DAMAGED;
    }
    return 0;
}

size_t nr_rans_decoder_bytes(uint32_t height, uint32_t width) {
    uint64_t bytes = HAS_WIDE_VECTORS ? WIDE(nr_rans_decoder_bytes)(height, width)
                                      : nr_rans_decoder_bytes_narrow(height, width);
    return bytes <= SIZE_MAX ? (size_t)bytes : 0;
}

ptrdiff_t nr_rans_encode(const uint16_t *pixels, uint32_t height, uint32_t width, const uint8_t *map,
                         uint8_t *out, size_t out_bytes, void *workspace) {
    return HAS_WIDE_VECTORS ? WIDE(nr_rans_encode)(pixels, height, width, map, out, out_bytes, workspace)
                            : nr_rans_encode_narrow(pixels, height, width, map, out, out_bytes, workspace);
}

int nr_rans_decode(const uint8_t *data, size_t data_bytes, uint32_t height, uint32_t width,
                   const uint8_t *map, uint16_t *pixels, void *workspace) {
    return HAS_WIDE_VECTORS ? WIDE(nr_rans_decode)(data, data_bytes, height, width, map, pixels, workspace)
                            : nr_rans_decode_narrow(data, data_bytes, height, width, map, pixels, workspace);
}
