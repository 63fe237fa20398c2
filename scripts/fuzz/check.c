/* Whether every way a codec was compiled here gives back stored payloads, writes what its twin writes, and agrees
 * with the other ways on images and on damage by chance.
 *
 * usage: check FOLDER IMAGES. In FOLDER stands, for each line "NAME HEIGHT WIDTH" of stored.txt: NAME.payload,
 * NAME.pixels (u16, little-endian), and NAME.again, what the twin makes of the pixels. Prints a line for each path:
 * its name and a digest of all that it said; equal digests of two processors mean that they agree. Ends with
 * FAILED: ... and a code other than 0 at the first difference. Started by scripts/check_kernels.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGE_EVERY = 40, LARGE_HEIGHT = 263, LARGE_WIDTH = 533, RECIPE_BYTES = 24 };

static const uint64_t FNV_BASIS = 0xCBF29CE484222325, FNV_PRIME = 0x100000001B3;

static uint64_t digest_of(uint64_t digest, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) digest = (digest ^ bytes[i]) * FNV_PRIME;
    return digest;
}

static uint64_t digest_of_pixels(uint64_t digest, const uint16_t *pixels, size_t count) {
    for (size_t i = 0; i < count; i++)
        digest = digest_of(digest, (const uint8_t[]){(uint8_t)pixels[i], (uint8_t)(pixels[i] >> 8)}, 2);
    return digest;
}

/* Fresh memory each time: valgrind and MemorySanitizer know that nothing was ever written to it. */
static void *fresh(size_t bytes) {
    void *memory;
    if (posix_memalign(&memory, 64, bytes ? bytes : 1)) nr_fail("no memory");
    return memory;
}

static size_t room_for(const NrCase *is) { return 3 * (size_t)is->height * is->width + (1 << 17); }

static ptrdiff_t encode(const NrCodec *codec, const NrPath *path, const NrCase *is, const uint16_t *pixels, uint8_t *out) {
    void *workspace = fresh(codec->encoder_bytes(is->height, is->width));
    ptrdiff_t length = path->encode(pixels, is->height, is->width, is->variant, out, room_for(is), workspace);
    free(workspace);
    return length;
}

static int decode(const NrCodec *codec, const NrPath *path, const NrCase *is, const uint8_t *payload, size_t size,
                  uint16_t *pixels) {
    void *workspace = fresh(codec->decoder_bytes(is->height, is->width));
    uint8_t *copy = fresh(size); /* with bounds of its own */
    memcpy(copy, payload, size);
    int result = path->decode(copy, size, is->height, is->width, is->variant, pixels, workspace);
    free(copy);
    free(workspace);
    return result;
}

/* ---- stored payloads ------------------------------------------------------------------------------------------ */

static uint8_t *read_file(const char *folder, const char *name, const char *kind, size_t *size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%s", folder, name, kind);
    FILE *file = fopen(path, "rb");
    if (!file) nr_fail(path);
    uint8_t *bytes = fresh(1 << 20);
    *size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

static void check_stored(const NrCodec *codec, const NrPath *path, const char *folder, const char *name, const NrCase *is) {
    size_t payload_bytes, pixel_bytes, again_bytes, count = (size_t)is->height * is->width;
    uint8_t *payload = read_file(folder, name, "payload", &payload_bytes), *out = fresh(room_for(is));
    uint8_t *stored = read_file(folder, name, "pixels", &pixel_bytes), *again = read_file(folder, name, "again", &again_bytes);
    uint16_t *pixels = fresh(2 * count);
    if (pixel_bytes != 2 * count) nr_fail(name);
    if (decode(codec, path, is, payload, payload_bytes, pixels)) nr_fail("a stored payload is refused");
    for (size_t i = 0; i < count; i++)
        if (pixels[i] != (stored[2 * i] | stored[2 * i + 1] << 8)) nr_fail("a stored payload gives other pixels");
    ptrdiff_t length = encode(codec, path, is, pixels, out);
    if (length < 0 || (size_t)length != again_bytes || memcmp(out, again, again_bytes) != 0)
        nr_fail("the twin writes other bytes");
    free(payload), free(stored), free(again), free(pixels), free(out);
}

static int check_all_stored(const NrCodec *codec, const NrPath *path, const char *folder) {
    char list[4096], name[200];
    snprintf(list, sizeof list, "%s/stored.txt", folder);
    FILE *file = fopen(list, "r");
    if (!file) nr_fail("there is no stored.txt");
    NrCase is = {0};
    int stored = 0;
    for (; fscanf(file, "%199s %" SCNu32 " %" SCNu32, name, &is.height, &is.width) == 3; stored++)
        check_stored(codec, path, folder, name, &is);
    fclose(file);
    return stored;
}

/* ---- images and damage by chance -------------------------------------------------------------------------------- */

static size_t damage(const NrCodec *codec, NrChance *chance, const NrCase *is, uint8_t *payload, size_t size) {
    if (codec->make && nr_once_in(chance, 3)) size = codec->make(chance, is->height, is->width, is->variant, payload, NR_MAX_PAYLOAD);
    for (uint32_t flips = nr_below(chance, 4); flips; flips--) nr_flip_bit(chance, payload, (uint32_t)size);
    if (codec->repair && nr_once_in(chance, 2)) codec->repair(chance, payload, size);
    return nr_once_in(chance, 6) ? nr_below(chance, (uint32_t)size + 1) : size;
}

static uint64_t check_image(const NrCodec *codec, const NrPath *path, NrChance *chance, int is_large, uint64_t digest) {
    uint8_t shape[NR_CASE_BYTES], recipe[RECIPE_BYTES];
    NrCase is;
    nr_draw_case(codec, chance, shape);
    nr_case_of(codec, shape, sizeof shape, &is);
    if (is_large) is.height = LARGE_HEIGHT, is.width = LARGE_WIDTH;
    for (size_t i = 0; i < sizeof recipe; i++) recipe[i] = (uint8_t)nr_chance(chance);
    if (is_large) recipe[0] = 1;
    size_t count = (size_t)is.height * is.width;
    uint16_t *pixels = fresh(2 * count), *back = fresh(2 * count);
    uint8_t *payload = fresh(room_for(&is));
    nr_draw_image(recipe, sizeof recipe, is.height, is.width, pixels);

    ptrdiff_t length = encode(codec, path, &is, pixels, payload);
    digest = digest_of(digest, (const uint8_t[]){(uint8_t)length, (uint8_t)(length >> 8), (uint8_t)(length >> 16)}, 3);
    if (length > 0) {
        digest = digest_of(digest, payload, (size_t)length);
        if (decode(codec, path, &is, payload, (size_t)length, back)) nr_fail("what was encoded is refused");
        if (memcmp(pixels, back, 2 * count) != 0) nr_fail("what was encoded comes back as something else");
        size_t size = damage(codec, chance, &is, payload, (size_t)length);
        int result = decode(codec, path, &is, payload, size, back);
        digest = digest_of(digest, (const uint8_t[]){result == 0}, 1);
        if (!result) digest = digest_of_pixels(digest, back, count);
    }
    free(pixels), free(back), free(payload);
    return digest;
}

int main(int argc, char **argv) {
    if (argc != 3) nr_fail("usage: check FOLDER IMAGES");
    const NrCodec *codec = nr_codec();
    for (unsigned i = 0; i < codec->paths; i++) {
        const NrPath *path = &codec->path[i];
        int stored = check_all_stored(codec, path, argv[1]), images = atoi(argv[2]);
        NrChance chance = {.state = 1};
        uint64_t digest = FNV_BASIS;
        for (int image = 0; image < images; image++)
            digest = check_image(codec, path, &chance, image % LARGE_EVERY == LARGE_EVERY - 1, digest);
        printf("%s %016" PRIx64 " %d %d\n", path->name, digest, stored, images);
    }
    return 0;
}
