/* Shapes and images of the fuzz targets. */
#include "fuzz.h"

int nr_case_of(const NrCodec *codec, const uint8_t *data, size_t size, NrCase *found) {
    if (size < NR_CASE_BYTES) return 0;
    found->height = 1u + data[0];
    found->width = codec->least_width + (data[1] | (uint32_t)data[2] << 8) % 4096;
    found->variant = data[3] % codec->variants;
    if (found->height * found->width > NR_MAX_IMAGE) found->height = NR_MAX_IMAGE / found->width;
    return 1;
}

void nr_draw_case(const NrCodec *codec, NrChance *chance, uint8_t *data) {
    uint32_t kind = nr_once_in(chance, 4000) ? 16 : nr_below(chance, 16), height = 1, more_width;
    uint32_t variant = nr_below(chance, codec->variants);
    switch (kind) {
        case 0: more_width = nr_below(chance, 600); break;
        case 1: height += nr_below(chance, 64), more_width = nr_below(chance, 3); break;
        case 2: height += nr_below(chance, 64), more_width = nr_below(chance, 89); break;
        case 3: height += nr_below(chance, 3), more_width = nr_below(chance, 300); break;
        case 16: height += 60 + nr_below(chance, 60), more_width = 220 + nr_below(chance, 50); break; /* > 2 lanes */
        default: height += nr_below(chance, 12), more_width = nr_below(chance, 24);
    }
    data[0] = (uint8_t)(height - 1);
    data[1] = (uint8_t)more_width;
    data[2] = (uint8_t)(more_width >> 8);
    data[3] = (uint8_t)variant;
}

void nr_draw_image(const uint8_t *bytes, size_t size, uint32_t height, uint32_t width, uint16_t *pixels) {
    uint8_t how[8] = {0};
    for (size_t i = 0; i < sizeof how && i < size; i++) how[i] = bytes[i];
    uint32_t kind = how[0] % 4, base = 1u + 8u * how[1], holes = how[4] % 17u, jumps = how[5] % 9u, scale = 1u + how[6];
    int32_t down = (int8_t)how[2], across = (int8_t)how[3];
    /* The bytes behind are the noise, and go on as chance where they do not suffice. */
    NrChance chance = {.state = how[7]};
    size_t at = sizeof how;
    for (uint32_t y = 0; y < height; y++) {
        for (uint32_t x = 0; x < width; x++) {
            uint32_t noise = at < size ? bytes[at++] * 0x01010101u : nr_chance(&chance);
            int32_t rank = (int32_t)base + (down * (int32_t)y + across * (int32_t)x) / 16 + (int32_t)(noise & 3) - 1;
            if ((noise >> 2 & 63) < jumps) rank += (int32_t)(noise >> 8 & 1023);
            if (rank < 1) rank = 1 - rank;
            uint32_t value = (uint32_t)rank;
            if (kind == 1) value = 4000000u / (value + 60); /* the lattice of a stereo camera */
            if (kind == 2) value *= scale;
            if (kind == 3) value = noise >> 8;
            pixels[(size_t)y * width + x] = (noise >> 24 & 15) < holes ? 0 : (uint16_t)value;
        }
    }
}
