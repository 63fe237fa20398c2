/* `max`, the densest depth codec: one 16-bit image to one stream of bytes and back, bit for bit.
 *
 * Owns everything behind the image header and the check value of the payload; docs/FORMAT.md describes the
 * stream. Integers only: the same bytes on every processor and with every compiler, and the same as the twin
 * in _max_twin.py. Every call stands alone: what a workspace holds from an earlier call changes nothing.
 *
 * Promises, whatever the arguments point to: the encoder never writes past out_capacity; the decoder never
 * reads past size nor writes past height * width, and ends after a time bounded by the number of pixels.
 * Knows nothing of Python, of headers and of files, allocates nothing, and has no state of its own. A
 * workspace serves one call at a time.
 */
#ifndef NR_MAX_MIXER_H
#define NR_MAX_MIXER_H

#include <stddef.h>
#include <stdint.h>

enum {
    NR_MAX_TOO_BIG = -1,     /* encoder: the stream does not fit out_capacity; store the image otherwise */
    NR_MAX_UNSUITABLE = -2,  /* encoder: no pixels, too wide, or too many values; store it otherwise */
    NR_MAX_DAMAGED = -3,     /* decoder: no encoder wrote these bytes for an image of this size */
};

#define NR_MAX_WIDTH 16384   /* pixels in a row: bounds the workspace and the sums of the fit */
#define NR_MAX_VALUES 32767  /* values other than 0 in one image: differences of ranks fit 16 bits */

/* Bytes of workspace for images of this width (at most NR_MAX_WIDTH), aligned to 8; about 2.3 MB. */
size_t nr_max_workspace_size(uint32_t width);

/* Encode height * width pixels in row order. Returns the length of the stream, or NR_MAX_TOO_BIG or
 * NR_MAX_UNSUITABLE. */
ptrdiff_t nr_max_encode(const uint16_t *pixels, uint32_t height, uint32_t width, uint8_t *out,
                        size_t out_capacity, void *workspace);

/* Decode a stream of exactly size bytes. Returns 0 or NR_MAX_DAMAGED; then pixels hold anything. */
int nr_max_decode(const uint8_t *data, size_t size, uint32_t height, uint32_t width, uint16_t *pixels,
                  void *workspace);

#endif
