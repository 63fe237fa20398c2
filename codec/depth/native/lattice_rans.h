/* What the encoder and the decoder of lattice-rans share: the layout of a payload and the coder's constants.
 *
 * A payload, behind the image header: u8 lanes, u32 bytes of side information, the side information (a bit
 * stream: palette, frequency tables, escapes), the u32 state of each lane, and 16-bit words to the end.
 */
#ifndef NIGHTRIG_LATTICE_RANS_H
#define NIGHTRIG_LATTICE_RANS_H

#include "frequencies.h"
#include "nightrig_kernels.h"
#include "palette.h"
#include "wavefront.h"

enum {
    NR_RANS_LANES_AT = 0,
    NR_RANS_SIDE_BYTES_AT = 1,
    NR_RANS_SIDE_AT = 5,

    /* A state lies in [NR_RANS_LOW, NR_RANS_LOW << 16); it begins, for the encoder, and ends, for the decoder,
     * at NR_RANS_LOW. */
    NR_RANS_LOW = 1 << 15,

    /* Orders of the Golomb codes that escapes may choose from take 3 bits. */
    NR_MAX_GOLOMB_ORDER = 7
};

/* What lattice_rans.c chooses from: the same code for vectors of eight and of sixteen. */
ptrdiff_t nr_rans_encode_narrow(const uint16_t *pixels, uint32_t height, uint32_t width, const uint8_t *map,
                                uint8_t *out, size_t out_bytes, void *workspace);
ptrdiff_t nr_rans_encode_wide(const uint16_t *pixels, uint32_t height, uint32_t width, const uint8_t *map,
                              uint8_t *out, size_t out_bytes, void *workspace);
int nr_rans_decode_narrow(const uint8_t *data, size_t data_bytes, uint32_t height, uint32_t width,
                          const uint8_t *map, uint16_t *pixels, void *workspace);
int nr_rans_decode_wide(const uint8_t *data, size_t data_bytes, uint32_t height, uint32_t width,
                        const uint8_t *map, uint16_t *pixels, void *workspace);
uint64_t nr_rans_decoder_bytes_narrow(uint32_t height, uint32_t width);
uint64_t nr_rans_decoder_bytes_wide(uint32_t height, uint32_t width);

/* No more than this share of the pixels may escape; a smooth image has one of two hundred. Nor may there be more of
 * them than a Golomb code can say. */
static inline uint32_t nr_escape_limit(uint64_t pixels) {
    uint64_t share = pixels / 4 + 64;
    return share < NR_GOLOMB_LIMIT ? (uint32_t)share : NR_GOLOMB_LIMIT - 1;
}

static inline int16_t nr_map_classes(const uint8_t *map) { return (int16_t)nr_load16(map + NR_MAP_CLASSES_AT); }
static inline const uint8_t *nr_map_defaults(const uint8_t *map, int c) {
    return map + NR_MAP_DEFAULTS_AT + c * NR_SYMBOLS;
}

/* A piece of the workspace, which begins where vectors and cache lines do if the workspace does. */
enum { NR_ALIGNMENT = 64 };
#ifdef NR_TAKE /* the fuzzers': each piece has bounds of its own, and all of them must fit into what was promised */
#define nr_take NR_TAKE
void *nr_take(uint8_t **workspace, size_t bytes);
#else
static inline void *nr_take(uint8_t **workspace, size_t bytes) {
    void *piece = *workspace;
    *workspace += (bytes + NR_ALIGNMENT - 1) / NR_ALIGNMENT * NR_ALIGNMENT;
    return piece;
}
#endif

/* A row of the encoder: room for a margin before it, and behind it for a margin and the rest of a vector. */
enum { NR_ROW_BEGIN = 8 };
static inline size_t nr_row_bytes(uint32_t width) {
    return ((size_t)width + NR_ROW_BEGIN + 2 * 16 + NR_MARGIN) * sizeof(uint16_t);
}

#endif
