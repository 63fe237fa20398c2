/* max as the fuzz targets see it. It has one kernel, without vectors, and no lengths to put right. */
#include "fuzz.h"
#include "nightrig_kernels.h"

static ptrdiff_t encode(const uint16_t *pixels, uint32_t height, uint32_t width, unsigned variant, uint8_t *out,
                        size_t out_bytes, void *workspace) {
    (void)variant;
    return nr_max_encode(pixels, height, width, out, out_bytes, workspace);
}

static int decode(const uint8_t *data, size_t data_bytes, uint32_t height, uint32_t width, unsigned variant,
                  uint16_t *pixels, void *workspace) {
    (void)variant;
    return nr_max_decode(data, data_bytes, height, width, pixels, workspace);
}

static size_t workspace_bytes(uint32_t height, uint32_t width) {
    (void)height;
    return nr_max_workspace_bytes(width);
}

const NrCodec *nr_codec(void) {
    static const NrCodec codec = {
        .variants = 1,
        .paths = 1,
        .path = {{"only", encode, decode}},
        .encoder_bytes = workspace_bytes,
        .decoder_bytes = workspace_bytes,
        .least_width = 1,
    };
    return &codec;
}
