/* Throws damaged streams at the decoders of the depth kernels, for the sanitizers to watch.
 *
 * usage: fuzz_depth TARGET CASES SEED
 *
 * Each case takes a stream that an encoder wrote for a small random image, damages it, and decodes it between
 * guarded allocations of exactly the sizes promised. What comes out does not matter; that nothing is touched
 * outside does, and that a whole stream still gives its image. Every case follows from SEED and its number.
 *
 * Built and started by scripts/fuzz/run_max. Another decoder is one more line in TARGETS.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nightrig_kernels.h"

/* ---- targets --------------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    size_t (*workspace_bytes)(uint32_t height, uint32_t width);
    ptrdiff_t (*encode)(const uint16_t *pixels, uint32_t height, uint32_t width, uint8_t *out, size_t out_bytes,
                        void *workspace);
    int (*decode)(const uint8_t *data, size_t data_bytes, uint32_t height, uint32_t width, uint16_t *pixels,
                  void *workspace);
} Target;

static size_t max_workspace(uint32_t height, uint32_t width) {
    (void)height;
    return nr_max_workspace_bytes(width);
}

static const Target TARGETS[] = {
    {"max", max_workspace, nr_max_encode, nr_max_decode},
};

/* ---- chance ------------------------------------------------------------------------------------------------ */

static uint64_t chance;

static uint32_t random_bits(void) { /* xorshift64* */
    chance ^= chance >> 12;
    chance ^= chance << 25;
    chance ^= chance >> 27;
    return (uint32_t)(chance * 0x2545F4914F6CDD1DULL >> 32);
}

static uint32_t below(uint32_t limit) { return (uint32_t)((uint64_t)random_bits() * limit >> 32); }

static uint32_t small_number(uint32_t limit) { /* mostly small, sometimes anything */
    return below(below(4) ? 1 + limit / 8 : limit);
}

/* ---- images ------------------------------------------------------------------------------------------------ */

#define SIDE 40

typedef struct {
    uint32_t height, width;
    uint16_t pixels[SIDE * SIDE];
} Image;

/* A slope with noise, holes and jumps, each in a random amount: from constant to nothing but noise. */
static void draw(Image *image) {
    image->height = 1 + small_number(SIDE);
    image->width = 1 + below(SIDE);
    const uint32_t top = 1 + small_number(65535), base = below(top), noise = 1 + small_number(2000), holes = small_number(300);
    const uint32_t down = below(20), across = below(20), jumps = small_number(100), scale = 1 + small_number(40);
    for (uint32_t y = 0; y < image->height; y++) {
        for (uint32_t x = 0; x < image->width; x++) {
            uint32_t value = base + (y * down + x * across + below(noise)) * scale;
            if (below(300) < jumps) value = 1 + below(top);
            if (below(8)) value = value % top + 1;
            if (below(300) < holes) value = 0;
            image->pixels[y * image->width + x] = (uint16_t)value;
        }
    }
}

/* ---- damage ------------------------------------------------------------------------------------------------ */

#define ROOM 16384

static size_t damage(uint8_t *stream, size_t size) {
    for (uint32_t rounds = 1 + below(3); rounds > 0 && size > 0; rounds--) {
        const uint32_t at = below(4) ? below((uint32_t)size) : below(size < 80 ? (uint32_t)size : 80);
        switch (below(8)) {
            case 0: stream[at] ^= (uint8_t)(1u << below(8)); break;
            case 1: stream[at] = (uint8_t)random_bits(); break;
            case 2: stream[at] = below(2) ? 0 : 255; break;
            case 3: { /* a run of one byte */
                const uint32_t length = 1 + below((uint32_t)size - at);
                memset(stream + at, (int)below(256), length);
                break;
            }
            case 4: /* everything behind it is noise */
                for (size_t i = at; i < size; i++) stream[i] = (uint8_t)random_bits();
                break;
            case 5: size = at; break;
            case 6: /* longer by anything */
                for (uint32_t more = below(64); more > 0 && size < ROOM; more--) stream[size++] = (uint8_t)random_bits();
                break;
            default: { /* a piece moved */
                const uint32_t to = below((uint32_t)size), longest = (uint32_t)size - (at > to ? at : to);
                memmove(stream + to, stream + at, below(longest + 1));
            }
        }
    }
    return size;
}

/* ---- cases ------------------------------------------------------------------------------------------------- */

static void *exactly(size_t bytes) {
    void *const memory = malloc(bytes ? bytes : 1);
    if (!memory) abort();
    return memory;
}

static void fail(const char *what, uint64_t number) {
    fprintf(stderr, "case %" PRIu64 ": %s\n", number, what);
    abort();
}

/* Decode between guards; the stream may be of another size than the image says. */
static int decode(const Target *target, const uint8_t *stream, size_t size, uint32_t height, uint32_t width,
                  uint16_t *pixels_out, void *workspace) {
    uint8_t *const data = exactly(size);
    uint16_t *const pixels = exactly(sizeof *pixels * height * width);
    memcpy(data, stream, size);
    const int result = target->decode(data, size, height, width, pixels, workspace);
    if (result == 0 && pixels_out) memcpy(pixels_out, pixels, sizeof *pixels * height * width);
    free(data);
    free(pixels);
    return result;
}

int main(int argc, char **argv) {
    const Target *target = NULL;
    for (size_t i = 0; argc == 4 && i < sizeof TARGETS / sizeof *TARGETS; i++) {
        if (strcmp(argv[1], TARGETS[i].name) == 0) target = &TARGETS[i];
    }
    if (!target) {
        fprintf(stderr, "usage: fuzz_depth TARGET CASES SEED; targets:");
        for (size_t i = 0; i < sizeof TARGETS / sizeof *TARGETS; i++) fprintf(stderr, " %s", TARGETS[i].name);
        fputc('\n', stderr);
        return 2;
    }
    const uint64_t cases = strtoull(argv[2], NULL, 10), seed = strtoull(argv[3], NULL, 10);
    uint64_t whole = 0, refused = 0, accepted = 0;
    Image image;
    for (uint64_t number = 0; number < cases;) {
        chance = (seed + 1) * 0x9E3779B97F4A7C15ULL + number;
        for (int i = 0; i < 4; i++) random_bits();
        draw(&image);
        void *const workspace = exactly(target->workspace_bytes(image.height, image.width));
        uint8_t stream[ROOM], damaged[ROOM];
        uint8_t *const out = exactly(ROOM);
        const ptrdiff_t length = target->encode(image.pixels, image.height, image.width, out, ROOM, workspace);
        if (length > 0) {
            /* The room is part of the promise: one byte less must be refused. */
            uint8_t *const tight = exactly((size_t)length - 1);
            if (target->encode(image.pixels, image.height, image.width, tight, (size_t)length - 1, workspace) >= 0)
                fail("an encoder wrote more than it had room for", number);
            free(tight);
            memcpy(stream, out, (size_t)length);
            uint16_t back[SIDE * SIDE];
            if (decode(target, stream, (size_t)length, image.height, image.width, back, workspace) != 0)
                fail("a whole stream was refused", number);
            if (memcmp(back, image.pixels, sizeof *back * image.height * image.width) != 0)
                fail("a whole stream gave other pixels", number);
            whole++;
        }
        free(out);
        for (int i = 0; length > 0 && i < 60; i++, number++) {
            memcpy(damaged, stream, (size_t)length);
            const size_t size = damage(damaged, (size_t)length);
            const uint32_t height = below(8) ? image.height : 1 + below(SIDE);
            if (decode(target, damaged, size, height, image.width, NULL, workspace) == 0) {
                accepted++;
            } else {
                refused++;
            }
        }
        if (length <= 0) number++;
        free(workspace);
    }
    printf("%s: %" PRIu64 " damaged streams, %" PRIu64 " refused, %" PRIu64 " decoded to something; %" PRIu64
           " whole ones came back\n",
           target->name, refused + accepted, refused, accepted, whole);
    return 0;
}
