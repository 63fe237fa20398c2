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

#include "fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 24, MOST_HELD = 4096 };
static const float NEAR_M = 4e-5F;

/* Fresh memory of the very size each time, so that whoever watches memory sees a step beside it. */
static void *held[MOST_HELD];
static unsigned holds;

static void *fresh(size_t bytes) {
    if (holds == MOST_HELD || !(held[holds] = malloc(bytes ? bytes : 1))) nr_fail("no memory");
    return held[holds++];
}

static void let_go(void) {
    while (holds) free(held[--holds]);
}

typedef struct {
    const uint8_t *at, *end;
} Bytes;

/* `count` numbers of `width` bytes in the order of this processor. */
static void *take(Bytes *from, size_t count, size_t width) {
    if ((size_t)(from->end - from->at) < count * width) nr_fail("a stored body is cut short");
    const uint16_t one = 1;
    const int is_little = *(const uint8_t *)&one;
    uint8_t *taken = fresh(count * width);
    for (size_t i = 0; i < count; i++, from->at += width)
        for (size_t byte = 0; byte < width; byte++)
            taken[i * width + byte] = from->at[is_little ? byte : width - 1 - byte];
    return taken;
}

static int check_body(const char *folder, const char *name) {
    char file_name[4096];
    snprintf(file_name, sizeof file_name, "%s/%s.case", folder, name);
    FILE *file = fopen(file_name, "rb");
    if (!file) nr_fail(file_name);
    uint8_t *content = fresh(MOST_BYTES);
    Bytes from = {content, content + fread(content, 1, MOST_BYTES, file)};
    fclose(file);
    const uint32_t *head = take(&from, 6, 4);
    NbSkin skin = {.vertex_count = head[0], .width = head[1]};
    NbBody body = {.joint_count = head[2]};
    const uint32_t poses = head[5];
    const size_t blocks = (skin.vertex_count + NB_BLOCK - 1) / NB_BLOCK, joints = body.joint_count;
    skin.narrow_step = *(const float *)take(&from, 1, 4);
    skin.counts = take(&from, 2 * blocks, 2);
    skin.order = take(&from, head[3], 2);
    skin.rows = take(&from, head[4], 2);
    skin.joints = take(&from, (size_t)skin.vertex_count * skin.width, 1);
    skin.weights = take(&from, (size_t)skin.vertex_count * skin.width, 4);
    body.parents = take(&from, joints, 1);
    const double *wide_steps = take(&from, 9 * (joints - 1), 8);
    const float *rest = take(&from, blocks * NB_ROWS, 4);
    for (uint32_t k = 0; k < poses; k++) {
        body.vectors = take(&from, 3 * joints, 8);
        body.rest_joints = take(&from, 3 * joints, 8);
        body.translation = take(&from, 3, 8);
        const size_t numbers = 3 * (size_t)skin.vertex_count;
        const float *expected = take(&from, numbers, 4);
        float *out = fresh(numbers * sizeof *out);
        NbPose *pose = fresh(sizeof *pose);
        nb_pose(&body, wide_steps, pose);
        nb_skin(&skin, pose, rest, out);
        for (size_t i = 0; i < numbers; i++)
            if (!(fabsf(out[i] - expected[i]) <= NEAR_M)) nr_fail("a vertex is not where NumPy puts it");
    }
    let_go();
    return (int)poses;
}

int main(int argc, char **argv) {
    if (argc != 3) nr_fail("usage: check FOLDER CASES");
    char list[4096], name[200];
    snprintf(list, sizeof list, "%s/stored.txt", argv[1]);
    FILE *file = fopen(list, "r");
    if (!file) nr_fail("there is no stored.txt");
    int bodies = 0, poses = 0;
    for (; fscanf(file, "%199s", name) == 1; bodies++) poses += check_body(argv[1], name);
    fclose(file);
    printf("skin within-40um %d %d\n", bodies, poses);
    return 0;
}
