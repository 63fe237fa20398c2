/* Any context map that nr_rans_check_map takes is one that images can be coded with, and back. The first bytes of an
 * input are an image, the rest a map. */
#include "context_maps.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

enum { IMAGE_BYTES = 24, HEIGHT = 5, WIDTH = 17, PIXELS = HEIGHT * WIDTH, ROOM = 3 * PIXELS + (1 << 17) };

static void there_and_back(const NrCodec *codec, const uint8_t *map, const uint16_t *pixels) {
    uint8_t *out = nr_exactly(16, ROOM);
    void *workspace = nr_begin_workspace(codec, 0, nr_rans_encoder_bytes(HEIGHT, WIDTH), 0xA5);
    ptrdiff_t length = nr_rans_encode(pixels, HEIGHT, WIDTH, map, out, ROOM, workspace);
    if (length < 0) return;
    uint16_t *back = nr_exactly(17, PIXELS * sizeof(uint16_t));
    workspace = nr_begin_workspace(codec, 0, nr_rans_decoder_bytes(HEIGHT, WIDTH), 0x5A);
    if (nr_rans_decode(out, (size_t)length, HEIGHT, WIDTH, map, back, workspace)) nr_fail("an image does not come back");
    if (memcmp(back, pixels, PIXELS * sizeof(uint16_t)) != 0) nr_fail("another image comes back");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < IMAGE_BYTES) return 0;
    nr_begin_case();
    size_t map_bytes = size - IMAGE_BYTES;
    uint8_t *map = malloc(map_bytes);
    if (map_bytes) memcpy(map, data + IMAGE_BYTES, map_bytes);
    if (!nr_rans_check_map(map, map_bytes)) {
        uint16_t *pixels = nr_exactly(18, PIXELS * sizeof(uint16_t));
        nr_draw_image(data, IMAGE_BYTES, HEIGHT, WIDTH, pixels);
        there_and_back(nr_codec(), map, pixels);
    }
    free(map);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    NrChance chance = {.state = ((uint64_t)seed << 32) + 0x9E3779B9u};
    nr_chance(&chance);
    if (max_size < IMAGE_BYTES + NR_MAX_MAP_BYTES || nr_once_in(&chance, 4)) return LLVMFuzzerMutate(data, size, max_size);
    if (size < IMAGE_BYTES || nr_once_in(&chance, 2))
        for (int i = 0; i < IMAGE_BYTES; i++) data[i] = (uint8_t)nr_chance(&chance);
    if (size > IMAGE_BYTES && nr_once_in(&chance, 3)) return size; /* another image for the same map */
    size = IMAGE_BYTES + nr_draw_map(&chance, 1 + (int)nr_below(&chance, NR_MAX_CLASSES), data + IMAGE_BYTES);
    if (nr_once_in(&chance, 4)) nr_flip_bit(&chance, data + IMAGE_BYTES, (uint32_t)size - IMAGE_BYTES);
    return size;
}
