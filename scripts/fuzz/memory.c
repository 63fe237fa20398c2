/* Memory of exact sizes for the fuzz targets. It is kept from case to case: mapping it anew would take longer
 * than decoding. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL = 4096, ALIGNMENT = 64, FIRST_PIECE = 64, PIECES = 32 };

typedef struct {
    unsigned slot;
    size_t bytes;
    void *memory;
} Pooled;

static Pooled pool[POOL];
static size_t pooled;
static struct {
    unsigned slot, taken;
    size_t left;
    int pattern;
} current;

void nr_fail(const char *what) {
    fprintf(stderr, "FAILED: %s\n", what);
    abort();
}

void nr_begin_case(void) {
    if (pooled < POOL / 2) return;
    for (size_t i = 0; i < POOL; i++) free(pool[i].memory);
    memset(pool, 0, sizeof pool);
    pooled = 0;
}

void *nr_exactly(unsigned slot, size_t bytes) {
    size_t at = (bytes * 31 + slot * 977) % POOL;
    while (pool[at].memory && (pool[at].slot != slot || pool[at].bytes != bytes)) at = (at + 1) % POOL;
    if (!pool[at].memory) {
        pool[at] = (Pooled){slot, bytes, NULL};
        if (posix_memalign(&pool[at].memory, ALIGNMENT, bytes) || ++pooled == POOL) nr_fail("no memory");
    }
    return pool[at].memory;
}

void *nr_begin_workspace(const NrCodec *codec, unsigned slot, size_t promised, int pattern) {
    if (!promised) nr_fail("a kernel has no workspace for a small image");
    current.slot = slot;
    current.taken = 0;
    current.left = promised;
    current.pattern = pattern;
    return codec->takes_pieces ? NULL : memset(nr_exactly(slot, promised), pattern, promised);
}

/* Compiled into the kernels in place of nr_take: NR_TAKE. */
void *nr_fuzz_take(uint8_t **workspace, size_t bytes);
void *nr_fuzz_take(uint8_t **workspace, size_t bytes) {
    (void)workspace;
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (rounded > current.left) nr_fail("a kernel takes more than the workspace it asked for");
    current.left -= rounded;
    void *piece = nr_exactly(FIRST_PIECE + current.slot * PIECES + current.taken++, bytes);
    return memset(piece, current.pattern, bytes);
}
