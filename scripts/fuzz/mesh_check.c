/* Whether every way the mesh kernels were compiled gives back stored segments, writes their bytes again, and agrees with
 * the other ways on meshes and on damage by chance.
 *
 * usage: check FOLDER CASES. In FOLDER stands, for each line NAME of stored.txt, NAME.case: all little-endian, u32
 * points, levels, width, now (2), before (2), meshes, channels, bytes of the payload; then what NmModel and NmSegment
 * point to, in their order, the payload, and the points. Prints a line for each path: its name and a digest of all that
 * it said. Started by scripts/check_kernels.
 */
#include "mesh.h"
#include "stored.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t FNV_BASIS = 0xCBF29CE484222325, FNV_PRIME = 0x100000001B3;

static uint64_t digest_of(uint64_t digest, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) digest = (digest ^ bytes[i]) * FNV_PRIME;
    return digest;
}

static uint64_t digest_of_points(uint64_t digest, const NmPoint *points, size_t numbers) {
    for (size_t i = 0; i < numbers; i++) digest = (digest ^ points[i / 4][i % 4]) * FNV_PRIME;
    return digest;
}

/* ---- stored segments ------------------------------------------------------------------------------------------ */

static void check_stored(const NmPath *path, const char *folder, const char *name) {
    NrStored from = nr_open_stored(folder, name);
    const uint32_t *head = nr_numbers(&from, 10, 4);
    NmModel model = {.points = head[0], .levels = head[1], .width = head[2], .now = {head[3], head[4]}, .before = {head[5], head[6]}};
    model.level_ends = nr_numbers(&from, model.levels, 4);
    model.neighbours = nr_numbers(&from, (size_t)model.points * model.width, 2);
    for (int kind = 0; kind < NM_KINDS; kind++) model.weights[kind] = nr_numbers(&from, (size_t)model.points * nm_taps(&model, kind), 2);
    for (int kind = 0; kind < NM_KINDS; kind++) model.classes[kind] = nr_numbers(&from, 2 * (size_t)model.points, 1);
    model.sums = nr_numbers(&from, NM_CONTEXTS * (NM_SYMBOLS + 1), 2);
    NmSegment segment = {.meshes = head[7], .channels = head[8]};
    segment.refs = nr_numbers(&from, 2 * (size_t)segment.meshes, 4);
    segment.shifts = nr_numbers(&from, 2 * (size_t)segment.meshes, 1);
    const uint8_t *payload = nr_numbers(&from, head[9], 1);
    size_t numbers = 4 * (size_t)segment.meshes * model.points;
    const uint32_t *stored = nr_numbers(&from, numbers, 4);

    NmPoint *points = nr_fresh(4 * numbers);
    if (path->decode(&model, &segment, payload, head[9], points)) nr_fail("a stored segment is refused");
    for (size_t i = 0; i < numbers; i++)
        if (points[i / 4][i % 4] != stored[i]) nr_fail("a stored segment gives other points");
    uint32_t *codes = nr_fresh(4 * numbers);
    uint16_t *contexts = nr_fresh(2 * numbers);
    uint8_t *known = memset(nr_fresh(numbers / 4), 3, numbers / 4), *out = nr_fresh(2 * (size_t)head[9]);
    path->predict(&model, &segment, points, known, codes, contexts);
    ptrdiff_t length = nm_encode(&model, &segment, codes, contexts, out, 2 * (size_t)head[9]);
    if (length != (ptrdiff_t)head[9] || memcmp(out + 2 * (size_t)head[9] - length, payload, head[9]) != 0)
        nr_fail("a stored segment is encoded to other bytes");
    nr_let_go();
}

static int check_all_stored(const NmPath *path, const char *folder) {
    char name[200];
    FILE *file = nr_open_list(folder);
    int stored = 0;
    for (; fscanf(file, "%199s", name) == 1; stored++) check_stored(path, folder, name);
    fclose(file);
    return stored;
}

/* ---- meshes and damage by chance -------------------------------------------------------------------------------- */

static uint64_t check_drawn(const NmPath *path, NrChance *chance, uint64_t digest) {
    NmCase is;
    nm_draw_case(chance, &is);
    NmPoint *points = nr_fresh(4 * is.numbers), *back = nr_fresh(4 * is.numbers);
    uint8_t *out = nr_fresh(nm_room(&is));
    nm_draw_points(chance, &is, points);
    size_t length = nm_encode_case(&is, path, chance, points, out);
    uint8_t *payload = nr_fresh(length); /* with bounds of its own */
    memcpy(payload, out + nm_room(&is) - length, length);
    digest = digest_of(digest, payload, length);
    if (path->decode(&is.model, &is.segment, payload, length, back)) nr_fail("what was encoded is refused");
    if (memcmp(points, back, 4 * is.numbers) != 0) nr_fail("what was encoded comes back as something else");
    for (uint32_t flips = nr_below(chance, 4); flips; flips--) nr_flip_bit(chance, payload, (uint32_t)length);
    size_t size = nr_once_in(chance, 6) ? nr_below(chance, (uint32_t)length + 1) : length;
    int result = path->decode(&is.model, &is.segment, payload, size, back);
    digest = digest_of(digest, (const uint8_t[]){result == 0}, 1);
    if (!result) digest = digest_of_points(digest, back, is.numbers);
    nr_let_go();
    return digest;
}

int main(int argc, char **argv) {
    if (argc != 3) nr_fail("usage: check FOLDER CASES");
    const NmPath *paths;
    unsigned count = nm_paths(&paths);
    for (unsigned i = 0; i < count; i++) {
        int stored = check_all_stored(&paths[i], argv[1]), cases = atoi(argv[2]);
        NrChance chance = {.state = 1};
        uint64_t digest = FNV_BASIS;
        for (int n = 0; n < cases; n++) digest = check_drawn(&paths[i], &chance, digest);
        printf("%s %016" PRIx64 " %d %d\n", paths[i].name, digest, stored, cases);
    }
    return 0;
}
