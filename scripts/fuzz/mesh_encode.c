/* Any points at all, with valid models by chance: every path predicts the same, and what is encoded comes back. */
#include "mesh.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { POINTS_SLOT = 10, BACK_SLOT = 20, OUT_SLOT = 30 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    NrChance chance = {.state = 0xCBF29CE484222325};
    for (size_t i = 0; i < size; i++) chance.state = (chance.state ^ data[i]) * 0x100000001B3;
    NmCase is;
    nm_draw_case(&chance, &is);
    const NmPath *paths;
    unsigned count = nm_paths(&paths);
    size_t room = nm_room(&is), point_bytes = 4 * is.numbers, first_length = 0;
    NmPoint *given = nr_exactly(POINTS_SLOT, point_bytes + 1), *points[NM_MAX_PATHS];
    uint8_t *out[NM_MAX_PATHS];
    nm_draw_points(&chance, &is, given);
    for (unsigned path = 0; path < count; path++) {
        NrChance same = chance;
        points[path] = memcpy(nr_exactly(POINTS_SLOT + 1 + path, point_bytes ? point_bytes : 1), given, point_bytes);
        out[path] = nr_exactly(OUT_SLOT + path, room);
        size_t length = nm_encode_case(&is, &paths[path], &same, points[path], out[path]);
        if (!path) first_length = length;
        if (length != first_length || memcmp(out[path] + room - length, out[0] + room - length, length) != 0)
            nr_fail("two encoders write different bytes");
        if (memcmp(points[path], points[0], point_bytes) != 0) nr_fail("two predictors fill in different points");
    }
    uint8_t *payload = malloc(first_length);
    memcpy(payload, out[0] + room - first_length, first_length);
    for (unsigned path = 0; path < count; path++) {
        NmPoint *back = memset(nr_exactly(BACK_SLOT + path, point_bytes ? point_bytes : 1), 0xA5, point_bytes);
        if (paths[path].decode(&is.model, &is.segment, payload, first_length, back))
            nr_fail("a decoder refuses what was encoded");
        if (memcmp(back, points[0], point_bytes) != 0) nr_fail("a decoder gives other points than were encoded");
    }
    free(payload);
    return 0;
}
