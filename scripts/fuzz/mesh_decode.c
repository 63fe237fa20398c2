/* Any bytes at all, given to every decoder of meshes with valid models by chance: none touches what is not its own, all
 * say the same, whatever lay in their memory before. An input is u32 the chance of its model, then the bytes. */
#include "mesh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

enum { SEED_BYTES = 4, CALLS = 2, POINTS_SLOT = 10, OUT_SLOT = 20 };

static unsigned long long decoded, accepted;

static void report(void) { fprintf(stderr, "decoded to an image: %llu of %llu\n", accepted, decoded); }

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    atexit(report);
    return 0;
}

static NrChance chance_of(const uint8_t *data) {
    uint64_t state = 0x9E3779B9;
    for (int i = 0; i < SEED_BYTES; i++) state = state << 8 | data[i];
    return (NrChance){.state = state};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < SEED_BYTES) return 0;
    NrChance chance = chance_of(data);
    NmCase is;
    nm_draw_case(&chance, &is);
    const NmPath *paths;
    unsigned count = nm_paths(&paths);
    size_t bytes = size - SEED_BYTES, point_bytes = 4 * is.numbers;
    uint8_t *payload = malloc(bytes ? bytes : 1);
    if (bytes) memcpy(payload, data + SEED_BYTES, bytes);
    NmPoint *points[CALLS];
    int results[CALLS];
    for (unsigned call = 0; call < CALLS; call++) {
        points[call] = nr_exactly(POINTS_SLOT + call, point_bytes ? point_bytes : 1);
        memset(points[call], call ? 0x5A : 0xA5, point_bytes);
        results[call] = paths[call % count].decode(&is.model, &is.segment, payload, bytes, points[call]);
    }
    if (results[0] != results[1]) nr_fail("one decoder takes what another refuses");
    if (!results[0] && memcmp(points[0], points[1], point_bytes) != 0) nr_fail("two decoders give different points");
    decoded++;
    accepted += !results[0];
    free(payload);
    return 0;
}

/* Bytes that an encoder made for the model of the input, as they are or damaged; by chance alone none would be good. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    NrChance chance = {.state = ((uint64_t)seed << 32) + 0x9E3779B9u};
    nr_chance(&chance);
    if (size < SEED_BYTES || max_size < NR_MAX_PAYLOAD || nr_once_in(&chance, 4))
        return LLVMFuzzerMutate(data, size, max_size);
    if (nr_once_in(&chance, 2)) {
        for (int i = 0; i < SEED_BYTES; i++) data[i] = (uint8_t)nr_chance(&chance);
        NrChance own = chance_of(data);
        NmCase is;
        nm_draw_case(&own, &is);
        NmPoint *points = nr_exactly(POINTS_SLOT + CALLS, 4 * is.numbers + 1);
        nm_draw_points(&chance, &is, points);
        uint8_t *out = nr_exactly(OUT_SLOT, nm_room(&is));
        const NmPath *paths;
        nm_paths(&paths);
        size_t length = nm_encode_case(&is, &paths[0], &chance, points, out);
        size_t kept = length < max_size - SEED_BYTES ? length : max_size - SEED_BYTES;
        memcpy(data + SEED_BYTES, out + nm_room(&is) - length, kept);
        size = SEED_BYTES + kept;
    }
    for (uint32_t flips = size > SEED_BYTES ? nr_below(&chance, 4) : 0; flips; flips--)
        nr_flip_bit(&chance, data + SEED_BYTES, (uint32_t)(size - SEED_BYTES));
    return nr_once_in(&chance, 6) ? size - nr_below(&chance, (uint32_t)(size - SEED_BYTES) + 1) : size;
}
