/* What the fuzz targets and scripts/check_kernels share: a codec as they see it, chance, memory, images and cases.
 *
 * A target is a codec (one file that says what it is, such as lattice_rans.c) and a question put to it: decode.c
 * throws damaged payloads at its decoders, encode.c images at its encoders, check.c asks whether all ways to compile
 * it agree. A new codec is one more file, two more lines in the table of scripts/fuzz/run and one in that of
 * scripts/check_kernels.
 */
#ifndef NIGHTRIG_FUZZ_H
#define NIGHTRIG_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* ---- chance: the same numbers from the same seed -------------------------------------------------------- */

typedef struct {
    uint64_t state;
} NrChance;

static inline uint32_t nr_chance(NrChance *chance) { /* xorshift64*; a state of 0 would stay there */
    uint64_t x = chance->state ? chance->state : 0x9E3779B97F4A7C15u;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    chance->state = x;
    return (uint32_t)(x * 0x2545F4914F6CDD1Du >> 32);
}

static inline uint32_t nr_below(NrChance *chance, uint32_t limit) {
    return (uint32_t)((uint64_t)nr_chance(chance) * limit >> 32);
}

/* As C leaves open which operand comes first, no expression asks twice where that would tell. */
static inline int nr_once_in(NrChance *chance, uint32_t times) { return nr_below(chance, times) == 0; }

static inline void nr_flip_bit(NrChance *chance, uint8_t *bytes, uint32_t size) {
    uint32_t at = nr_below(chance, size);
    bytes[at] ^= (uint8_t)(1u << nr_below(chance, 8));
}

/* ---- a codec -------------------------------------------------------------------------------------------- */

enum { NR_MAX_PATHS = 4, NR_MAX_PAYLOAD = 8192, NR_MAX_IMAGE = 1 << 15 /* pixels */ };

/* One of the ways a kernel was compiled; all of them must give the same. `variant` is what a codec has beside the
 * image: lattice-rans, one of several context maps. */
typedef struct {
    const char *name;
    ptrdiff_t (*encode)(const uint16_t *pixels, uint32_t height, uint32_t width, unsigned variant, uint8_t *out,
                        size_t out_bytes, void *workspace);
    int (*decode)(const uint8_t *data, size_t data_bytes, uint32_t height, uint32_t width, unsigned variant,
                  uint16_t *pixels, void *workspace);
} NrPath;

typedef struct {
    unsigned variants, paths; /* as many of `path` as this processor can run */
    NrPath path[NR_MAX_PATHS];
    size_t (*encoder_bytes)(uint32_t height, uint32_t width);
    size_t (*decoder_bytes)(uint32_t height, uint32_t width);
    int takes_pieces; /* the kernel takes its workspace by NR_TAKE: nr_fuzz_take serves it */
    uint32_t least_width;

    /* A payload that is right in most places, so that what comes behind them is reached; returns its length. */
    size_t (*make)(NrChance *chance, uint32_t height, uint32_t width, unsigned variant, uint8_t *out, size_t room);
    /* Puts the lengths and bounds of a damaged payload right. */
    void (*repair)(NrChance *chance, uint8_t *payload, size_t size);
} NrCodec;

const NrCodec *nr_codec(void);

/* ---- memory (memory.c) ------------------------------------------------------------------------------------ */

/* Before anything is asked for: what the cases before held may go. */
void nr_begin_case(void);

/* Exactly so many bytes, with guards around them, aligned to 64. The same slot and size are the same memory. */
void *nr_exactly(unsigned slot, size_t bytes);

/* Begins a call of a kernel: what it is given is filled with `pattern`, and must fit into `promised` bytes. */
void *nr_begin_workspace(const NrCodec *codec, unsigned slot, size_t promised, int pattern);

_Noreturn void nr_fail(const char *what);

/* ---- cases (cases.c) -------------------------------------------------------------------------------------- */

/* The first bytes of an input: u8 height - 1, u16 width - the codec's least, u8 variant. Large images are cut. */
enum { NR_CASE_BYTES = 4 };

typedef struct {
    uint32_t height, width;
    unsigned variant;
} NrCase;

/* Returns 0 where there are too few bytes. */
int nr_case_of(const NrCodec *codec, const uint8_t *data, size_t size, NrCase *found);

/* Draws a case: mostly small, sometimes of one row, narrow, or wide. */
void nr_draw_case(const NrCodec *codec, NrChance *chance, uint8_t *data);

/* An image that the bytes describe: slopes, noise, holes, jumps, a lattice or none. */
void nr_draw_image(const uint8_t *bytes, size_t size, uint32_t height, uint32_t width, uint16_t *pixels);

#endif
