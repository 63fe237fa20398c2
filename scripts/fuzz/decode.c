/* Any bytes at all, given to every decoder of a codec: none touches what is not its own, all say the same of them,
 * and what they say does not depend on what lay in their memory before. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAYLOAD_SLOT = 16, PIXELS_SLOT = 17, CALLS = 2 };

static unsigned long long decoded, accepted;

static void report(void) { fprintf(stderr, "decoded to an image: %llu of %llu\n", accepted, decoded); }

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    atexit(report);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const NrCodec *codec = nr_codec();
    NrCase is;
    if (!nr_case_of(codec, data, size, &is)) return 0;
    nr_begin_case();
    /* Not from the pool: payloads have any length, and nothing may be kept of the one before. */
    size_t payload_bytes = size - NR_CASE_BYTES, pixel_bytes = sizeof(uint16_t) * is.height * is.width;
    uint8_t *payload = malloc(payload_bytes);
    if (payload_bytes) memcpy(payload, data + NR_CASE_BYTES, payload_bytes);

    unsigned calls = codec->paths > CALLS ? codec->paths : CALLS;
    int first_result = 0;
    uint16_t *first_pixels = NULL;
    for (unsigned call = 0; call < calls; call++) {
        unsigned path = call % codec->paths;
        int pattern = call % 2 ? 0x5A : 0xA5;
        uint16_t *pixels = memset(nr_exactly(PIXELS_SLOT + call, pixel_bytes), pattern, pixel_bytes);
        void *workspace = nr_begin_workspace(codec, call, codec->decoder_bytes(is.height, is.width), pattern);
        int result = codec->path[path].decode(payload, payload_bytes, is.height, is.width, is.variant, pixels, workspace);
        if (!call) {
            first_result = result;
            first_pixels = pixels;
        } else if (result != first_result) {
            nr_fail("one decoder takes what another refuses");
        } else if (!result && memcmp(pixels, first_pixels, pixel_bytes) != 0) {
            nr_fail("two decoders give different pixels");
        }
    }
    decoded++;
    accepted += !first_result;
    free(payload);
    return 0;
}
