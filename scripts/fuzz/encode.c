/* Any image at all, given to every encoder of a codec: all write the same bytes, none writes more than it has room
 * for, and every decoder gives the image back. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

enum { IMAGE_SLOT = 16, OUT_SLOT = 17, BACK_SLOT = 40, ROOM = 3 * NR_MAX_IMAGE + (1 << 17) };

static const int PATTERNS[2] = {0xA5, 0x5A};

static ptrdiff_t encode(const NrCodec *codec, unsigned path, const NrCase *is, const uint16_t *pixels, uint8_t *out,
                        size_t room) {
    size_t promised = codec->encoder_bytes(is->height, is->width);
    void *workspace = nr_begin_workspace(codec, path, promised, PATTERNS[path % 2]);
    return codec->path[path].encode(pixels, is->height, is->width, is->variant, out, room, workspace);
}

/* With less room the result is the same or none at all; the guards see a byte too many. */
static void try_tight_room(const NrCodec *codec, const NrCase *is, const uint16_t *pixels, const uint8_t *whole,
                           size_t length, size_t room) {
    uint8_t *out = malloc(room);
    ptrdiff_t got = encode(codec, room % codec->paths, is, pixels, out, room);
    if (got >= 0 && ((size_t)got != length || memcmp(out, whole, length) != 0))
        nr_fail("an encoder that is short of room writes something else");
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const NrCodec *codec = nr_codec();
    NrCase is;
    if (!nr_case_of(codec, data, size, &is)) return 0;
    nr_begin_case();
    size_t pixel_bytes = sizeof(uint16_t) * is.height * is.width;
    uint16_t *pixels = nr_exactly(IMAGE_SLOT, pixel_bytes);
    nr_draw_image(data + NR_CASE_BYTES, size - NR_CASE_BYTES, is.height, is.width, pixels);

    uint8_t *out[NR_MAX_PATHS];
    ptrdiff_t length = 0;
    for (unsigned path = 0; path < codec->paths; path++) {
        out[path] = nr_exactly(OUT_SLOT + path, ROOM);
        ptrdiff_t got = encode(codec, path, &is, pixels, out[path], ROOM);
        if (!path) length = got;
        if (got != length || (got > 0 && memcmp(out[path], out[0], (size_t)got) != 0))
            nr_fail("two encoders write different bytes");
    }
    if (length <= 0) return 0;

    uint8_t *payload = malloc((size_t)length);
    memcpy(payload, out[0], (size_t)length);
    for (unsigned path = 0; path < codec->paths; path++) {
        int pattern = PATTERNS[path % 2];
        uint16_t *back = memset(nr_exactly(BACK_SLOT + path, pixel_bytes), pattern, pixel_bytes);
        void *workspace = nr_begin_workspace(codec, path, codec->decoder_bytes(is.height, is.width), pattern);
        if (codec->path[path].decode(payload, (size_t)length, is.height, is.width, is.variant, back, workspace))
            nr_fail("a decoder refuses what was encoded");
        if (memcmp(back, pixels, pixel_bytes) != 0) nr_fail("a decoder gives other pixels than were encoded");
    }
    NrChance chance = {.state = (uint64_t)length * 2654435761u + data[size - 1]};
    uint32_t least = nr_once_in(&chance, 2) && length > 40 ? (uint32_t)length - 40 : 0; /* nearly enough, or anything */
    uint32_t room = least + nr_below(&chance, least ? 80 : (uint32_t)length + 1200);
    try_tight_room(codec, &is, pixels, payload, (size_t)length, room);
    free(payload);
    return 0;
}

/* Another image of another shape, or a change within the image; shapes at libFuzzer's liking would mostly be large. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    NrChance chance = {.state = ((uint64_t)seed << 32) + 0x9E3779B9u};
    nr_chance(&chance);
    if (max_size < NR_MAX_PAYLOAD) return LLVMFuzzerMutate(data, size, max_size);
    if (size < NR_CASE_BYTES || nr_once_in(&chance, 2)) nr_draw_case(nr_codec(), &chance, data);
    if (size < NR_CASE_BYTES) size = NR_CASE_BYTES;
    return NR_CASE_BYTES + LLVMFuzzerMutate(data + NR_CASE_BYTES, size - NR_CASE_BYTES, max_size - NR_CASE_BYTES);
}
