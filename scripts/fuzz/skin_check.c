/* Whether every way the skinning kernel was compiled puts the vertices of stored bodies where NumPy does.
 *
 * usage: check FOLDER CASES. In FOLDER stands, for each line NAME of stored.txt, NAME.case: all little-endian, u32
 * vertices, vertices a joint moves at most, joints, numbers of `order`, numbers of `rows`, poses, f32 narrow step;
 * then what NbSkin points to, in its order, i8 parents, f64 steps of the wide rows, f32 mesh at rest; and of each
 * pose f64 vectors, joints at rest and translation, and f32 the vertices. CASES is not looked at: there is no second
 * kernel that could say what is right by chance. Prints a line for each path, as check.c does; in place of a digest,
 * which sums of floats cannot have, how near all vertices were. Started by scripts/check_kernels.
 */
#include "skin.h"
#include "stored.h"

#include <math.h>

static const float NEAR_M = 4e-5F;

static int check_body(const char *folder, const char *name) {
    NrStored from = nr_open_stored(folder, name);
    const uint32_t *head = nr_numbers(&from, 6, 4);
    NbSkin skin = {.vertex_count = head[0], .width = head[1]};
    NbBody body = {.joint_count = head[2]};
    const uint32_t poses = head[5];
    const size_t blocks = (skin.vertex_count + NB_BLOCK - 1) / NB_BLOCK, joints = body.joint_count;
    skin.narrow_step = *(const float *)nr_numbers(&from, 1, 4);
    skin.counts = nr_numbers(&from, 2 * blocks, 2);
    skin.order = nr_numbers(&from, head[3], 2);
    skin.rows = nr_numbers(&from, head[4], 2);
    skin.joints = nr_numbers(&from, (size_t)skin.vertex_count * skin.width, 1);
    skin.weights = nr_numbers(&from, (size_t)skin.vertex_count * skin.width, 4);
    body.parents = nr_numbers(&from, joints, 1);
    const double *wide_steps = nr_numbers(&from, 9 * (joints - 1), 8);
    const float *rest = nr_numbers(&from, blocks * NB_ROWS, 4);
    for (uint32_t k = 0; k < poses; k++) {
        body.vectors = nr_numbers(&from, 3 * joints, 8);
        body.rest_joints = nr_numbers(&from, 3 * joints, 8);
        body.translation = nr_numbers(&from, 3, 8);
        const size_t numbers = 3 * (size_t)skin.vertex_count;
        const float *expected = nr_numbers(&from, numbers, 4);
        float *out = nr_fresh(numbers * sizeof *out);
        NbPose *pose = nr_fresh(sizeof *pose);
        nb_pose(&body, wide_steps, pose);
        nb_skin(&skin, pose, rest, out);
        for (size_t i = 0; i < numbers; i++)
            if (!(fabsf(out[i] - expected[i]) <= NEAR_M)) nr_fail("a vertex is not where NumPy puts it");
    }
    nr_let_go();
    return (int)poses;
}

int main(int argc, char **argv) {
    if (argc != 3) nr_fail("usage: check FOLDER CASES");
    char name[200];
    FILE *file = nr_open_list(argv[1]);
    int bodies = 0, poses = 0;
    for (; fscanf(file, "%199s", name) == 1; bodies++) poses += check_body(argv[1], name);
    fclose(file);
    printf("skin within-40um %d %d\n", bodies, poses);
    return 0;
}
