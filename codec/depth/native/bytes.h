/* Little-endian numbers and a bit stream, alike on every host, and never beyond their bounds. */
#ifndef NIGHTRIG_BYTES_H
#define NIGHTRIG_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define NR_LE16(x) __builtin_bswap16(x)
#define NR_LE32(x) __builtin_bswap32(x)
#define NR_LE64(x) __builtin_bswap64(x)
#else
#define NR_LE16(x) (x)
#define NR_LE32(x) (x)
#define NR_LE64(x) (x)
#endif

static inline uint16_t nr_load16(const uint8_t *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return NR_LE16(value);
}

static inline uint32_t nr_load32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return NR_LE32(value);
}

static inline void nr_store16(uint8_t *at, uint16_t value) {
    value = NR_LE16(value);
    memcpy(at, &value, sizeof value);
}

static inline void nr_store32(uint8_t *at, uint32_t value) {
    value = NR_LE32(value);
    memcpy(at, &value, sizeof value);
}

/* ---- bits, the first in the lowest place of the first byte -------------------------------------------- */

typedef struct {
    uint8_t *at, *end;
    uint64_t held;
    unsigned count; /* bits in `held`, fewer than 8 between calls */
    int full;       /* set, and for good, where the bytes did not suffice */
} NrBitWriter;

static inline void nr_put_bits(NrBitWriter *to, uint32_t value, unsigned bits) {
    to->held |= (uint64_t)value << to->count;
    to->count += bits;
    while (to->count >= 8) {
        if (to->at == to->end) {
            to->full = 1;
            to->count = 0;
            return;
        }
        *to->at++ = (uint8_t)to->held;
        to->held >>= 8;
        to->count -= 8;
    }
}

static inline void nr_flush_bits(NrBitWriter *to) {
    if (to->count) nr_put_bits(to, 0, 8 - to->count);
}

typedef struct {
    const uint8_t *at, *end;
    uint64_t held;
    unsigned count;
    int torn; /* set, and for good, where more was asked for than there is */
} NrBitReader;

/* At most 32 bits at a time. */
static inline uint32_t nr_get_bits(NrBitReader *from, unsigned bits) {
    while (from->count < bits) {
        if (from->at == from->end) {
            from->torn = 1;
            return 0;
        }
        from->held |= (uint64_t)*from->at++ << from->count;
        from->count += 8;
    }
    uint32_t value = (uint32_t)(from->held & (((uint64_t)1 << bits) - 1));
    from->held >>= bits;
    from->count -= bits;
    return value;
}

/* True where all bytes are used and what fills up the last one is 0. */
static inline int nr_bits_are_used_up(const NrBitReader *from) {
    return !from->torn && from->at == from->end && from->count < 8 && from->held == 0;
}

/* Exponential Golomb codes of order k: with v = number + 2^k and n = floor(log2 v), n - k zeros, a one, and
 * the lowest n bits of v. Numbers are below 2^24. */
#define NR_GOLOMB_LIMIT (1u << 24)

static inline unsigned nr_log2(uint32_t value) { return 31u - (unsigned)__builtin_clz(value); }

static inline unsigned nr_golomb_bits(uint32_t number, unsigned k) {
    return 2 * nr_log2(number + (1u << k)) + 1 - k;
}

static inline void nr_put_golomb(NrBitWriter *to, uint32_t number, unsigned k) {
    uint32_t v = number + (1u << k);
    unsigned n = nr_log2(v);
    nr_put_bits(to, 1u << (n - k), n - k + 1);
    nr_put_bits(to, v & ((1u << n) - 1), n);
}

static inline uint32_t nr_get_golomb(NrBitReader *from, unsigned k) {
    unsigned n = k;
    while (!nr_get_bits(from, 1)) {
        if (from->torn || ++n > 24) {
            from->torn = 1;
            return 0;
        }
    }
    uint32_t number = ((1u << n) | nr_get_bits(from, n)) - (1u << k);
    return from->torn ? 0 : number;
}

/* Signed numbers as unsigned ones: 0, -1, 1, -2, 2, ... become 0, 1, 2, 3, 4, ... */
static inline uint32_t nr_zigzag(int32_t value) {
    return value < 0 ? 2 * (uint32_t)-value - 1 : 2 * (uint32_t)value;
}

static inline int32_t nr_unzigzag(uint32_t code) {
    return code & 1 ? -(int32_t)(code / 2) - 1 : (int32_t)(code / 2);
}

#endif
