/* How libFuzzer changes the inputs of decode.c: as it likes, within a payload whose lengths are then put right, or
 * by a payload that is made anew or encoded from an image. */
#include "fuzz.h"

#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

enum { OUT_SLOT = 60, PIXELS_SLOT = 61, BEHIND_MUTATOR = 2, ROOM = 3 * NR_MAX_IMAGE + (1 << 17) };

/* Replaces the input by what an encoder makes of an image; returns its size. */
static size_t encode_something(const NrCodec *codec, NrChance *chance, uint8_t *data, size_t room) {
    NrCase is;
    nr_draw_case(codec, chance, data);
    nr_case_of(codec, data, NR_CASE_BYTES, &is);
    uint8_t bytes[24];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)nr_chance(chance);
    if (nr_once_in(chance, 2)) bytes[2] = bytes[3] = 3; /* a gentle slope */
    uint16_t *pixels = nr_exactly(PIXELS_SLOT, sizeof(uint16_t) * is.height * is.width);
    nr_draw_image(bytes, sizeof bytes, is.height, is.width, pixels);
    uint8_t *out = nr_exactly(OUT_SLOT, ROOM);
    void *workspace = nr_begin_workspace(codec, BEHIND_MUTATOR, codec->encoder_bytes(is.height, is.width), 0);
    ptrdiff_t got = codec->path[0].encode(pixels, is.height, is.width, is.variant, out, ROOM, workspace);
    if (got < 0 || (size_t)got > room - NR_CASE_BYTES) return NR_CASE_BYTES;
    memcpy(data + NR_CASE_BYTES, out, (size_t)got);
    return NR_CASE_BYTES + (size_t)got;
}

static void flip_bits(NrChance *chance, uint8_t *payload, size_t size) {
    if (!size) return;
    for (uint32_t flips = nr_below(chance, 4); flips; flips--) {
        uint32_t most = nr_once_in(chance, 2) && size > 200 ? 200 : (uint32_t)size;
        nr_flip_bit(chance, payload, most);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    const NrCodec *codec = nr_codec();
    NrChance chance = {.state = ((uint64_t)seed << 32) + 0x9E3779B9u};
    nr_chance(&chance);
    uint32_t how = nr_below(&chance, 16);
    if (size < NR_CASE_BYTES + 8 || max_size < NR_MAX_PAYLOAD || how < 2) {
        if (size < NR_CASE_BYTES + 8 && max_size >= NR_MAX_PAYLOAD) nr_draw_case(codec, &chance, data), size = NR_CASE_BYTES;
        return LLVMFuzzerMutate(data, size, max_size);
    }
    nr_begin_case();
    uint8_t *payload = data + NR_CASE_BYTES;
    size_t room = max_size - NR_CASE_BYTES;
    if (how < 7 && codec->make) {
        NrCase is;
        if (nr_once_in(&chance, 2) || size > 2000) nr_draw_case(codec, &chance, data);
        nr_case_of(codec, data, size, &is);
        size = NR_CASE_BYTES + codec->make(&chance, is.height, is.width, is.variant, payload, room);
        if (nr_once_in(&chance, 2)) return size;
    } else if (how < 10) {
        size = encode_something(codec, &chance, data, max_size);
    } else if (how < 12) {
        size = NR_CASE_BYTES + LLVMFuzzerMutate(payload, size - NR_CASE_BYTES, room);
    } else if (how == 12) {
        nr_draw_case(codec, &chance, data); /* the same payload for another image */
    } else if (how == 13) {
        size -= nr_below(&chance, (uint32_t)(size - NR_CASE_BYTES) / 2 + 1);
    }
    flip_bits(&chance, payload, size - NR_CASE_BYTES);
    if (codec->repair && !nr_once_in(&chance, 8)) codec->repair(&chance, payload, size - NR_CASE_BYTES);
    return size;
}
