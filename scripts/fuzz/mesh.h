/* What the targets of the mesh codec share: valid models and segments by chance, and the ways its kernels were
 * compiled. All arrays have exactly the size they need, so that a sanitizer sees a step too far. */
#ifndef NIGHTRIG_FUZZ_MESH_H
#define NIGHTRIG_FUZZ_MESH_H

#include "affine_code.h"
#include "fuzz.h"

enum { NM_MAX_PATHS = 2 };

typedef struct {
    const char *name;
    void (*predict)(const NmModel *model, const NmSegment *segment, NmPoint *points, const uint8_t *known,
                    uint32_t *codes, uint16_t *contexts);
    int (*decode)(const NmModel *model, const NmSegment *segment, const uint8_t *data, size_t data_bytes,
                  NmPoint *points);
} NmPath;

/* As many as this processor can run; returns how many. */
unsigned nm_paths(const NmPath **paths);

/* `numbers`: 4 for each point of each mesh. */
typedef struct {
    NmModel model;
    NmSegment segment;
    size_t numbers;
} NmCase;

/* Everything about a case but its points comes from the chance; it lasts until the next one is drawn. */
void nm_draw_case(NrChance *chance, NmCase *drawn);

/* Anything from noise of 32 bits to meshes that hardly move. */
void nm_draw_points(NrChance *chance, const NmCase *is, NmPoint *points);

/* Encodes points by one of the paths, which puts predictions where nothing is known; `out` has room for the most that
 * the program ever gives: nm_room. Returns the length, of what stands at the end of out. */
size_t nm_room(const NmCase *is);
size_t nm_encode_case(const NmCase *is, const NmPath *path, NrChance *chance, NmPoint *points, uint8_t *out);

#endif
