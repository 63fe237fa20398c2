/* The mesh of a posed body: pose blend shapes and linear blend skinning, sixteen vertices at a time.
 *
 * Plain C11 without Python and without state: any number of threads may run at once. The twin in NumPy is
 * capture/body/skinning.py; both agree to what the rounded pose directions leave, some hundredths of a millimetre.
 */
#ifndef NIGHTRIG_SKIN_H
#define NIGHTRIG_SKIN_H

#include <stddef.h>
#include <stdint.h>

enum { NB_BLOCK = 16, NB_ROWS = 3 * NB_BLOCK };

/* Vertices come in blocks of NB_BLOCK, the last one filled up: x of all sixteen, then y, then z.
 *
 * What a direction adds to a block is a row of NB_ROWS whole numbers: a wide row of sixteen bits, or a narrow one of
 * eight. Narrow rows come in pairs, as NB_ROWS numbers of sixteen bits with the first row's number in the lower
 * half. For each block `counts` says how many wide rows there are and how many narrow pairs, `order` names their
 * directions (wide ones, then pair by pair), and `rows` holds them in that order; all of these go on from one block
 * to the next. `joints` and `weights` are vertex_count x width. The caller answers for all sizes, and for joints
 * and directions that there are. */
typedef struct {
    uint32_t vertex_count, width;
    float narrow_step;
    const uint16_t *counts, *order;
    const int16_t *rows;
    const uint8_t *joints;
    const float *weights;
} NbSkin;

enum { NB_NARROW_UNIT = 1 << 14, NB_MOST_JOINTS = 64 };

/* A body at rest and its pose: `vectors` the axis-angle vectors of joint_count joints, `rest_joints` where these are
 * before, in metres, `parents` which joint each hangs on (a smaller one; -1 for the root), `translation` metres. */
typedef struct {
    uint32_t joint_count;
    const double *vectors, *rest_joints, *translation;
    const int8_t *parents;
} NbBody;

/* What the vertices are made of. `wide`: what one step of each direction's wide rows adds, in metres. `narrow`: how many
 * NB_NARROW_UNIT-th of `narrow_step` one step of its narrow rows adds; after the last direction 0. `transforms`: of each
 * joint four columns of four numbers (the last of each unused), the three axes and the shift. */
typedef struct {
    float wide[9 * NB_MOST_JOINTS];
    int16_t narrow[9 * NB_MOST_JOINTS];
    float transforms[16 * NB_MOST_JOINTS];
} NbPose;

/* There are nine directions for each joint but the root: the entries of its rotation, row by row, less those of none.
 * `wide_steps` metres of each direction. */
void nb_pose(const NbBody *body, const double *wide_steps, NbPose *pose);

/* `rest` blocks x NB_ROWS metres. Writes vertex_count x 3 to `out`. */
void nb_skin(const NbSkin *skin, const NbPose *pose, const float *rest, float *out);

#endif
