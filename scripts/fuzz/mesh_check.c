/* Whether every way the mesh kernels were compiled gives back stored segments, writes their bytes again, and agrees with
 * the other ways on meshes and on damage by chance.
 *
 * usage: check FOLDER CASES. In FOLDER stands, for each line NAME of stored.txt, NAME.case: all little-endian, u32
 * points, levels, width, now (2), before (2), meshes, channels, bytes of the payload; then what NmModel and NmSegment
 * point to, in their order, the payload, and the points. Prints a line for each path: its name and a digest of all that
 * it said. Started by scripts/check_kernels.
 */
#include "mesh.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 24 };

static const uint64_t FNV_BASIS = 0xCBF29CE484222325, FNV_PRIME = 0x100000001B3;

static uint64_t digest_of(uint64_t digest, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) digest = (digest ^ bytes[i]) * FNV_PRIME;
    return digest;
}

static uint64_t digest_of_points(uint64_t digest, const NmPoint *points, size_t numbers) {
    for (size_t i = 0; i < numbers; i++) digest = (digest ^ points[i / 4][i % 4]) * FNV_PRIME;
    return digest;
}

/* Fresh memory each time: valgrind and MemorySanitizer know that nothing was ever written to it. All of it goes at the
 * end of a case. */
static void *held[32];
static unsigned holds;

static void *fresh(size_t bytes) {
    if (holds == sizeof held / sizeof *held || posix_memalign(&held[holds], 64, bytes ? bytes : 1)) nr_fail("no memory");
    return held[holds++];
}

static void let_go(void) {
    while (holds) free(held[--holds]);
}

/* ---- stored segments ------------------------------------------------------------------------------------------ */

typedef struct {
    const uint8_t *at, *end;
} Bytes;

/* `count` numbers of `width` bytes in the order of this processor; an int16_t is a uint16_t here. */
static void *take(Bytes *from, size_t count, size_t width) {
    if ((size_t)(from->end - from->at) < count * width) nr_fail("a stored segment is cut short");
    uint8_t *taken = fresh(count * width);
    for (size_t i = 0; i < count; i++, from->at += width) {
        uint32_t value = 0;
        for (size_t byte = width; byte-- > 0;) value = value << 8 | from->at[byte];
        if (width == 1) taken[i] = (uint8_t)value;
        if (width == 2) ((uint16_t *)taken)[i] = (uint16_t)value;
        if (width == 4) ((uint32_t *)taken)[i] = value;
    }
    return taken;
}

static void check_stored(const NmPath *path, const char *folder, const char *name) {
    char file_name[4096];
    snprintf(file_name, sizeof file_name, "%s/%s.case", folder, name);
    FILE *file = fopen(file_name, "rb");
    if (!file) nr_fail(file_name);
    uint8_t *content = fresh(MOST_BYTES);
    Bytes from = {content, content + fread(content, 1, MOST_BYTES, file)};
    fclose(file);
    const uint32_t *head = take(&from, 10, 4);
    NmModel model = {.points = head[0], .levels = head[1], .width = head[2], .now = {head[3], head[4]}, .before = {head[5], head[6]}};
    model.level_ends = take(&from, model.levels, 4);
    model.neighbours = take(&from, (size_t)model.points * model.width, 2);
    for (int kind = 0; kind < NM_KINDS; kind++) model.weights[kind] = take(&from, (size_t)model.points * nm_taps(&model, kind), 2);
    for (int kind = 0; kind < NM_KINDS; kind++) model.classes[kind] = take(&from, 2 * (size_t)model.points, 1);
    model.sums = take(&from, NM_CONTEXTS * (NM_SYMBOLS + 1), 2);
    NmSegment segment = {.meshes = head[7], .channels = head[8]};
    segment.refs = take(&from, 2 * (size_t)segment.meshes, 4);
    segment.shifts = take(&from, 2 * (size_t)segment.meshes, 1);
    const uint8_t *payload = take(&from, head[9], 1);
    size_t numbers = 4 * (size_t)segment.meshes * model.points;
    const uint32_t *stored = take(&from, numbers, 4);

    NmPoint *points = fresh(4 * numbers);
    if (path->decode(&model, &segment, payload, head[9], points)) nr_fail("a stored segment is refused");
    for (size_t i = 0; i < numbers; i++)
        if (points[i / 4][i % 4] != stored[i]) nr_fail("a stored segment gives other points");
    uint32_t *codes = fresh(4 * numbers);
    uint16_t *contexts = fresh(2 * numbers);
    uint8_t *known = memset(fresh(numbers / 4), 3, numbers / 4), *out = fresh(2 * (size_t)head[9]);
    path->predict(&model, &segment, points, known, codes, contexts);
    ptrdiff_t length = nm_encode(&model, &segment, codes, contexts, out, 2 * (size_t)head[9]);
    if (length != (ptrdiff_t)head[9] || memcmp(out + 2 * (size_t)head[9] - length, payload, head[9]) != 0)
        nr_fail("a stored segment is encoded to other bytes");
    let_go();
}

static int check_all_stored(const NmPath *path, const char *folder) {
    char list[4096], name[200];
    snprintf(list, sizeof list, "%s/stored.txt", folder);
    FILE *file = fopen(list, "r");
    if (!file) nr_fail("there is no stored.txt");
    int stored = 0;
    for (; fscanf(file, "%199s", name) == 1; stored++) check_stored(path, folder, name);
    fclose(file);
    return stored;
}

/* ---- meshes and damage by chance -------------------------------------------------------------------------------- */

static uint64_t check_drawn(const NmPath *path, NrChance *chance, uint64_t digest) {
    NmCase is;
    nm_draw_case(chance, &is);
    NmPoint *points = fresh(4 * is.numbers), *back = fresh(4 * is.numbers);
    uint8_t *out = fresh(nm_room(&is));
    nm_draw_points(chance, &is, points);
    size_t length = nm_encode_case(&is, path, chance, points, out);
    uint8_t *payload = fresh(length); /* with bounds of its own */
    memcpy(payload, out + nm_room(&is) - length, length);
    digest = digest_of(digest, payload, length);
    if (path->decode(&is.model, &is.segment, payload, length, back)) nr_fail("what was encoded is refused");
    if (memcmp(points, back, 4 * is.numbers) != 0) nr_fail("what was encoded comes back as something else");
    for (uint32_t flips = nr_below(chance, 4); flips; flips--) nr_flip_bit(chance, payload, (uint32_t)length);
    size_t size = nr_once_in(chance, 6) ? nr_below(chance, (uint32_t)length + 1) : length;
    int result = path->decode(&is.model, &is.segment, payload, size, back);
    digest = digest_of(digest, (const uint8_t[]){result == 0}, 1);
    if (!result) digest = digest_of_points(digest, back, is.numbers);
    let_go();
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
