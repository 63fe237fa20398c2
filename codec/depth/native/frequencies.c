/* Frequency tables.
 *
 * A frequency is stored as a code: 0 for none, else 1 + 8 log2 of it, rounded. An eighth of an octave is fine
 * enough (it costs a thousandth of the bits) and makes most codes equal to those of the map's default tables
 * or nearly so; what is written is the difference. A class takes its default table unchanged where that costs
 * less: small images, and rare classes of large ones.
 */
#include "frequencies.h"

/* 4096 * 2^(i / 8), and the borders between them: 4096 * 2^((i + 1/2) / 8). */
static const uint16_t MANTISSA[8] = {4096, 4467, 4871, 5312, 5793, 6317, 6889, 7512};
static const uint16_t BORDER[8] = {4277, 4664, 5087, 5547, 6049, 6597, 7194, 7845};

static uint32_t frequency_of_code(unsigned code) {
    if (!code) return 0;
    unsigned eighths = code - 1;
    return (uint32_t)MANTISSA[eighths % 8] << eighths / 8 >> 12;
}

static unsigned code_of_frequency(uint32_t frequency) {
    unsigned octave = nr_log2(frequency);
    uint32_t mantissa = frequency << 12 >> octave;
    unsigned eighth = 0;
    while (eighth < 8 && mantissa >= BORDER[eighth]) eighth++;
    return 1 + 8 * octave + eighth;
}

static unsigned difference_bits(unsigned code, unsigned usual) {
    return nr_golomb_bits(nr_zigzag((int32_t)code - (int32_t)usual), 0);
}

/* Bits, in eighths, that `count` symbols of a frequency with this code take. */
static uint64_t symbol_cost(uint32_t count, unsigned code) {
    return (uint64_t)count * (unsigned)(NR_MAX_FREQUENCY_CODE - (int)code);
}

int nr_frequency_codes(const uint32_t *counts, const uint8_t *defaults, uint8_t *codes) {
    uint64_t total = 0;
    for (int s = 0; s < NR_SYMBOLS; s++) total += counts[s];

    uint64_t cost = 0, default_cost = 0;
    int default_fits = 1;
    for (int s = 0; s < NR_SYMBOLS; s++) {
        if (counts[s]) {
            uint64_t frequency = (counts[s] * (uint64_t)NR_FREQUENCY_SUM + total / 2) / total;
            codes[s] = (uint8_t)code_of_frequency(frequency ? (uint32_t)frequency : 1);
            cost += symbol_cost(counts[s], codes[s]);
            if (defaults[s])
                default_cost += symbol_cost(counts[s], defaults[s]);
            else
                default_fits = 0;
        } else {
            /* Keep the place of a symbol that did not come where that costs less than taking it away:
             * a share f / 4096 of the table costs each of the others f / 4096 * 1.44 bits. */
            uint64_t share = total * frequency_of_code(defaults[s]) * 23 / 16;
            uint64_t removal = (uint64_t)NR_FREQUENCY_SUM * (difference_bits(0, defaults[s]) - 1);
            codes[s] = share < removal ? defaults[s] : 0;
        }
        cost += 8 * difference_bits(codes[s], defaults[s]);
    }
    if (!default_fits || cost < default_cost) return 0;
    memcpy(codes, defaults, NR_SYMBOLS);
    return 1;
}

void nr_frequencies_write(NrBitWriter *to, const uint8_t *codes, const uint8_t *defaults, int is_default) {
    nr_put_bits(to, !is_default, 1);
    if (is_default) return;
    for (int s = 0; s < NR_SYMBOLS; s++)
        nr_put_golomb(to, nr_zigzag((int32_t)codes[s] - (int32_t)defaults[s]), 0);
}

int nr_frequencies_read(NrBitReader *from, const uint8_t *defaults, uint8_t *codes) {
    memcpy(codes, defaults, NR_SYMBOLS);
    if (!nr_get_bits(from, 1)) return from->torn ? -1 : 0;
    for (int s = 0; s < NR_SYMBOLS; s++) {
        int32_t code = (int32_t)defaults[s] + nr_unzigzag(nr_get_golomb(from, 0));
        if (from->torn || code < 0 || code > NR_MAX_FREQUENCY_CODE) return -1;
        codes[s] = (uint8_t)code;
    }
    return 0;
}

int nr_frequencies_of(const uint8_t *codes, uint16_t *frequencies) {
    uint32_t sum = 0;
    for (int s = 0; s < NR_SYMBOLS; s++) sum += frequency_of_code(codes[s]);
    if (!sum) return -1;
    int32_t left = NR_FREQUENCY_SUM;
    int most = 0;
    for (int s = 0; s < NR_SYMBOLS; s++) {
        uint32_t scaled = frequency_of_code(codes[s]) * NR_FREQUENCY_SUM / sum;
        frequencies[s] = (uint16_t)(codes[s] && !scaled ? 1 : scaled);
        left -= frequencies[s];
        if (frequencies[s] > frequencies[most]) most = s;
    }
    /* Rounding leaves at most 16 either way, and the largest of 16 is at least 4096 / 16 - 15. */
    frequencies[most] = (uint16_t)(frequencies[most] + left);
    return 0;
}
