/* How often each symbol of a class comes: counted, rounded to codes of a byte, written, and made to sum up. */
#ifndef NIGHTRIG_FREQUENCIES_H
#define NIGHTRIG_FREQUENCIES_H

#include "context_model.h"

enum {
    NR_FREQUENCY_BITS = 12,
    NR_FREQUENCY_SUM = 1 << NR_FREQUENCY_BITS,
    NR_MAX_FREQUENCY_CODE = 1 + 8 * NR_FREQUENCY_BITS
};

/* The codes a class is stored with, given what was counted and the default codes of the map. Returns 1 where the
 * default table is the better choice (`codes` are the defaults then), else 0. */
int nr_frequency_codes(const uint32_t *counts, const uint8_t *defaults, uint8_t *codes);

void nr_frequencies_write(NrBitWriter *to, const uint8_t *codes, const uint8_t *defaults, int is_default);

/* Returns 0, or -1 where a code is out of bounds. */
int nr_frequencies_read(NrBitReader *from, const uint8_t *defaults, uint8_t *codes);

/* Frequencies of at least 1 for each code other than 0, with the sum NR_FREQUENCY_SUM. Returns -1 where all codes
 * are 0. */
int nr_frequencies_of(const uint8_t *codes, uint16_t *frequencies);

#endif
