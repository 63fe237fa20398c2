/* Stored cases for those who hold a kernel against its twin in NumPy: see stored.h. */
#include "stored.h"

#include <stdlib.h>

enum { ALIGNMENT = 64, MOST_BYTES = 1 << 24, MOST_HELD = 4096 };

static void *held[MOST_HELD];
static unsigned holds;

void *nr_fresh(size_t bytes) {
    if (holds == MOST_HELD || posix_memalign(&held[holds], ALIGNMENT, bytes ? bytes : 1)) nr_fail("no memory");
    return held[holds++];
}

void nr_let_go(void) {
    while (holds) free(held[--holds]);
}

NrStored nr_open_stored(const char *folder, const char *name) {
    char file_name[4096];
    snprintf(file_name, sizeof file_name, "%s/%s.case", folder, name);
    FILE *file = fopen(file_name, "rb");
    if (!file) nr_fail(file_name);
    uint8_t *content = nr_fresh(MOST_BYTES);
    NrStored stored = {content, content + fread(content, 1, MOST_BYTES, file)};
    fclose(file);
    return stored;
}

void *nr_numbers(NrStored *from, size_t count, size_t width) {
    if ((size_t)(from->end - from->at) < count * width) nr_fail("a stored case is cut short");
    const uint16_t one = 1;
    const int is_little = *(const uint8_t *)&one;
    uint8_t *taken = nr_fresh(count * width);
    for (size_t i = 0; i < count; i++, from->at += width)
        for (size_t byte = 0; byte < width; byte++)
            taken[i * width + byte] = from->at[is_little ? byte : width - 1 - byte];
    return taken;
}

FILE *nr_open_list(const char *folder) {
    char list[4096];
    snprintf(list, sizeof list, "%s/stored.txt", folder);
    FILE *file = fopen(list, "r");
    if (!file) nr_fail("there is no stored.txt");
    return file;
}
