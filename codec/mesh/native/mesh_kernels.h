/* The native kernels of the mesh codec: what the rest of the program may call.
 *
 * Plain C11 without Python and without state of its own, as the kernels of the depth codecs: any number of threads
 * may run at once. Each has a twin in NumPy (codec/mesh/_affine_twin.py) that gives the same bytes and numbers.
 *
 * `points` are meshes x model->points x 4 numbers in the model's order, aligned to 16. `refs` are two numbers a mesh:
 * the meshes (of smaller number) that it is predicted from, which may be the same, or both -1. `shifts` are
 * two numbers a mesh, added to the classes of its positions and of its uncertainties. `channels` is 3, or 4 where
 * uncertainties are coded. The caller answers for all of these; only `data` may be anything whatever.
 */
#ifndef NIGHTRIG_MESH_KERNELS_H
#define NIGHTRIG_MESH_KERNELS_H

#include "affine_model.h"

typedef struct {
    uint32_t meshes, channels;
    const int32_t *refs;
    const int8_t *shifts;
} NmSegment;

/* What is to be coded: `codes` and `contexts` (without shifts), meshes x points x 4 each, for nm_encode. Of points
 * whose `known` has not bit 0 (position) or bit 1 (uncertainty), the number becomes the predicted one. */
void nm_predict(const NmModel *model, const NmSegment *segment, NmPoint *points, const uint8_t *known,
                uint32_t *codes, uint16_t *contexts);

/* For each mesh the shifts that cost least by `costs` (contexts x symbols), judged by some of its points. */
void nm_choose_shifts(const NmModel *model, const NmSegment *segment, const uint32_t *codes,
                      const uint16_t *contexts, const uint16_t *costs, int8_t *shifts);

/* Returns the length of what it wrote to the end of `out`, or NM_TOO_LARGE. */
ptrdiff_t nm_encode(const NmModel *model, const NmSegment *segment, const uint32_t *codes,
                    const uint16_t *contexts, uint8_t *out, size_t out_bytes);

/* Fills `points`. Returns 0, or NM_DAMAGED; then their content means nothing. */
int nm_decode(const NmModel *model, const NmSegment *segment, const uint8_t *data, size_t data_bytes,
              NmPoint *points);

#endif
