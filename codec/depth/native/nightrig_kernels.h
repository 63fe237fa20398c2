/* The native kernels of the depth codecs: what the rest of the program may call.
 *
 * Plain C11 without Python and without state of its own: everything a call needs is passed in, so any number
 * of threads may run at once, each with its own workspace. A decoder takes any bytes whatever: it reads and
 * writes nothing out of bounds and takes a time that the number of pixels bounds.
 *
 * Each kernel has a twin in Python that gives the same bytes and the same pixels.
 */
#ifndef NIGHTRIG_KERNELS_H
#define NIGHTRIG_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    NR_DAMAGED = -1,        /* decoder: these bytes are no payload */
    NR_TOO_LARGE = -2,      /* encoder: the result does not fit; store the image in another way */
    NR_TOO_MANY_VALUES = -3 /* encoder: more distinct values than the format has ranks */
};

/* lattice-rans. `map` is the content of a context map file, checked by nr_rans_check_map. `workspace` has
 * nr_rans_encoder_bytes or nr_rans_decoder_bytes bytes (0: more than this machine can address), is aligned to 64
 * and need not be cleared. height and width are at least 1.
 *
 * nr_rans_encode returns the length of what it wrote to `out`, or one of the errors above.
 * nr_rans_decode returns 0 or NR_DAMAGED; after an error the content of `pixels` means nothing.
 */
int nr_rans_check_map(const uint8_t *map, size_t map_bytes);
size_t nr_rans_encoder_bytes(uint32_t height, uint32_t width);
size_t nr_rans_decoder_bytes(uint32_t height, uint32_t width);
ptrdiff_t nr_rans_encode(const uint16_t *pixels, uint32_t height, uint32_t width, const uint8_t *map,
                         uint8_t *out, size_t out_bytes, void *workspace);
int nr_rans_decode(const uint8_t *data, size_t data_bytes, uint32_t height, uint32_t width,
                   const uint8_t *map, uint16_t *pixels, void *workspace);

/* max. `workspace` has nr_max_workspace_bytes bytes (about 1.9 MB; 0 means that max has no images of this width),
 * is aligned to 16 and need not be cleared. height and width are at least 1.
 *
 * nr_max_encode returns the length of what it wrote to `out`, or one of the errors above.
 * nr_max_decode returns 0 or NR_DAMAGED; after an error the content of `pixels` means nothing. It takes exactly
 * the bytes that were written: fewer and more are damage.
 */
size_t nr_max_workspace_bytes(uint32_t width);
ptrdiff_t nr_max_encode(const uint16_t *pixels, uint32_t height, uint32_t width, uint8_t *out, size_t out_bytes,
                        void *workspace);
int nr_max_decode(const uint8_t *data, size_t data_bytes, uint32_t height, uint32_t width, uint16_t *pixels,
                  void *workspace);

#endif
