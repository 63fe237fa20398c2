/* A pose as the vertices need it: see skin.h. */
#include <math.h>

#include "skin.h"

typedef double Matrix[3][3];

/* R = cos t + sin t / t [v] + (1 - cos t) / t^2 v v', t being the length of v and [v] its cross product matrix. */
static void rotation_of(const double *v, Matrix out) {
    const double square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
    const double angle = sqrt(square), half = 0.5 * angle;
    const double ratio = half > 1e-12 ? sin(half) / half : 1.0;
    const double a = angle > 1e-12 ? sin(angle) / angle : 1.0, b = 0.5 * ratio * ratio;
    const double cosine = 1.0 - b * square;
    const double cross[3][3] = {{0.0, -v[2], v[1]}, {v[2], 0.0, -v[0]}, {-v[1], v[0], 0.0}};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) out[i][j] = (i == j ? cosine : 0.0) + a * cross[i][j] + b * v[i] * v[j];
}

static int16_t narrow_of(double feature) {
    const double steps = rint(feature * NB_NARROW_UNIT);
    if (!(steps > INT16_MIN)) return INT16_MIN;
    return steps < INT16_MAX ? (int16_t)steps : INT16_MAX;
}

void nb_pose(const NbBody *body, const double *wide_steps, NbPose *pose) {
    Matrix world[NB_MOST_JOINTS];
    double place[NB_MOST_JOINTS][3];
    for (uint32_t k = 0; k < body->joint_count; k++) {
        Matrix own;
        const double *rest = body->rest_joints + 3 * (size_t)k;
        const int parent = body->parents[k];
        rotation_of(body->vectors + 3 * (size_t)k, own);
        for (int i = 0; i < 3; i++) {
            if (parent < 0) {
                for (int j = 0; j < 3; j++) world[k][i][j] = own[i][j];
                place[k][i] = rest[i] + body->translation[i];
                continue;
            }
            const double *above = body->rest_joints + 3 * (size_t)parent;
            place[k][i] = place[parent][i];
            for (int j = 0; j < 3; j++) {
                world[k][i][j] = 0.0;
                for (int m = 0; m < 3; m++) world[k][i][j] += world[parent][i][m] * own[m][j];
                place[k][i] += world[parent][i][j] * (rest[j] - above[j]);
            }
        }
        float *columns = pose->transforms + 16 * (size_t)k;
        for (int i = 0; i < 3; i++) {
            double shift = place[k][i];
            for (int j = 0; j < 3; j++) {
                columns[4 * j + i] = (float)world[k][i][j];
                shift -= world[k][i][j] * rest[j];
            }
            columns[12 + i] = (float)shift;
        }
        for (int j = 0; j < 4; j++) columns[4 * j + 3] = 0.0F;
        for (int i = 0; k > 0 && i < 9; i++) {
            const size_t direction = 9 * (size_t)(k - 1) + (size_t)i;
            const double feature = own[i / 3][i % 3] - (i % 4 == 0);
            pose->wide[direction] = (float)(feature * wide_steps[direction]);
            pose->narrow[direction] = narrow_of(feature);
        }
    }
    pose->narrow[9 * (size_t)(body->joint_count - 1)] = 0;
}
