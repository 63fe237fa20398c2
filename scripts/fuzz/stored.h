/* What mesh_check.c and skin_check.c share: cases that scripts/check_kernels wrote, numbers of whatever width one after
 * the other and little-endian, and memory for what is in them. */
#ifndef NIGHTRIG_FUZZ_STORED_H
#define NIGHTRIG_FUZZ_STORED_H

#include "fuzz.h"

#include <stdio.h>

/* Fresh memory each time, with bounds of its own: valgrind and MemorySanitizer know that nothing was ever written to
 * it. All of it goes at the end of a case. */
void *nr_fresh(size_t bytes);
void nr_let_go(void);

/* stored.txt of the folder: the names of its cases. */
FILE *nr_open_list(const char *folder);

typedef struct {
    const uint8_t *at, *end;
} NrStored;

/* FOLDER/NAME.case, from its beginning. */
NrStored nr_open_stored(const char *folder, const char *name);

/* The next `count` numbers of `width` bytes in the order of this processor. */
void *nr_numbers(NrStored *from, size_t count, size_t width);

#endif
