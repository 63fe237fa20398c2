/* Decodes one stored payload by the kernels, writes its pixels to stdout (little-endian), encodes them again.
 *
 *   check_golden CODEC_ID PAYLOAD [MAP] > PIXELS
 *
 * Exit 0 where encoding gives the payload again; 1 where anything differs or is refused; 2 for wrong arguments.
 * Built and run by scripts/check_kernels for each way the kernels can be compiled.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "nightrig_kernels.h"

enum { HEADER_BYTES = 12, RANS = 3, MAX = 5, CRC_BYTES = 4 };

static uint8_t *read_all(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    uint8_t *data = malloc(1 << 20);
    *bytes = data ? fread(data, 1, 1 << 20, file) : 0;
    fclose(file);
    return data;
}

int main(int argc, char **argv) {
    size_t bytes = 0, map_bytes = 0;
    if (argc < 3) return 2;
    int codec = atoi(argv[1]);
    uint8_t *payload = read_all(argv[2], &bytes), *map = argc > 3 ? read_all(argv[3], &map_bytes) : NULL;
    if (!payload || bytes < HEADER_BYTES + CRC_BYTES) return 2;
    if (codec == RANS && (!map || nr_rans_check_map(map, map_bytes))) return 2;
    uint32_t height = nr_load32(payload + 4), width = nr_load32(payload + 8);
    size_t before = HEADER_BYTES + (codec == MAX ? CRC_BYTES : 0), pixels = (size_t)height * width;

    size_t forth = codec == RANS ? nr_rans_encoder_bytes(height, width) : nr_max_workspace_bytes(width);
    size_t back = codec == RANS ? nr_rans_decoder_bytes(height, width) : forth;
    size_t room = 3 * pixels + (1 << 17), size = (forth > back ? forth : back) + 64;
    void *workspace = aligned_alloc(64, size / 64 * 64);
    uint16_t *image = malloc(pixels * sizeof *image + 1);
    uint8_t *again = malloc(room);
    if (!workspace || !image || !again) return 2;

    int failed = codec == RANS ? nr_rans_decode(payload + before, bytes - before, height, width, map, image, workspace)
                               : nr_max_decode(payload + before, bytes - before, height, width, image, workspace);
    if (failed) return 1;
    for (size_t i = 0; i < pixels; i++) {
        uint8_t pair[2];
        nr_store16(pair, image[i]);
        fwrite(pair, 1, sizeof pair, stdout);
    }
    ptrdiff_t length = codec == RANS ? nr_rans_encode(image, height, width, map, again, room, workspace)
                                     : nr_max_encode(image, height, width, again, room, workspace);
    return length != (ptrdiff_t)(bytes - before) || memcmp(again, payload + before, bytes - before);
}
