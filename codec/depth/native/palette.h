/* The distinct values of an image and their ranks. Rank 0 belongs to the value 0: not measured. */
#ifndef NIGHTRIG_PALETTE_H
#define NIGHTRIG_PALETTE_H

#include "bytes.h"

/* Sums of three ranks and their differences must keep their sign in 16 bits. */
#define NR_MAX_RANKS 16383

/* Finds the values of an image other than 0 in ascending order: value_of[1], value_of[2], ... and their ranks.
 * `seen` is scratch space of 65,536 bytes. Returns the number of ranks, or -1 if they are too many. */
int nr_palette_find(const uint16_t *pixels, size_t count, uint8_t *seen, uint16_t *rank_of, uint16_t *value_of);

void nr_palette_write(NrBitWriter *to, const uint16_t *value_of, unsigned ranks);

/* Fills value_of[0] to value_of[ranks]. Returns the number of ranks, or -1 where the bits are no palette. */
int nr_palette_read(NrBitReader *from, uint16_t *value_of);

#endif
