/* Binary arithmetic coder of `max`: bits with given probabilities to bytes, and back.
 *
 * Owns the interval [low, high] of 32-bit numbers that the bits coded so far leave, and the bytes. A bit is
 * the choice between the lower part (1) and the upper part (0) of the interval, cut in proportion to the
 * probability; leading bytes in which both ends agree are final and leave. Nothing ever carries.
 *
 * Both directions are one function, so that a model is written once. Reading behind the end gives zeros, and
 * writing behind it goes nowhere; both are noticed, and the caller asks at the end.
 */
#ifndef NR_MAX_CODER_H
#define NR_MAX_CODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CODER_BYTES 4u /* bytes in a state: what is read ahead at the start and flushed at the end */

typedef struct {
    uint32_t low, high;
    uint32_t code;       /* decoder: the 32 bits of the stream that stand at the interval */
    const uint8_t *in;
    uint8_t *out;
    size_t size;         /* of `in` or `out` */
    size_t position;     /* bytes read or written so far, counted on past `size` */
    bool decoding;
} Coder;

static inline uint32_t next_byte(Coder *coder) {
    const size_t at = coder->position++;
    return at < coder->size ? coder->in[at] : 0u;
}

static inline void put_byte(Coder *coder, uint32_t byte) {
    const size_t at = coder->position++;
    if (at < coder->size) coder->out[at] = (uint8_t)byte;
}

static inline bool ran_over(const Coder *coder) { return coder->position > coder->size; }

static inline Coder encoder_into(uint8_t *out, size_t capacity) {
    const Coder coder = {.high = UINT32_MAX, .out = out, .size = capacity};
    return coder;
}

static inline Coder decoder_of(const uint8_t *in, size_t size) {
    Coder coder = {.high = UINT32_MAX, .in = in, .size = size, .decoding = true};
    for (unsigned i = 0; i < CODER_BYTES; i++) coder.code = coder.code << 8 | next_byte(&coder);
    return coder;
}

/* Code `bit`, or decode one (`bit` is ignored then); `p1` is the probability of a 1 in 1/65536, 1 to 65535.
 *
 * (high - low) * p1 / 65536 is below high - low, so both parts hold at least one number; and with p1 at
 * least k away from 0 and 65536 each bit shrinks high - low by k / 65536 of itself or more. That bounds how
 * many bits a given number of bytes can hold. */
static inline int code_bit(Coder *coder, uint32_t p1, int bit) {
    const uint32_t cut = coder->low + (uint32_t)((uint64_t)(coder->high - coder->low) * p1 >> 16);
    if (coder->decoding) bit = coder->code <= cut;
    if (bit) {
        coder->high = cut;
    } else {
        coder->low = cut + 1;
    }
    while ((coder->low ^ coder->high) >> 24 == 0) {
        if (coder->decoding) {
            coder->code = coder->code << 8 | next_byte(coder);
        } else {
            put_byte(coder, coder->high >> 24);
        }
        coder->low <<= 8;
        coder->high = coder->high << 8 | 255u;
    }
    return bit;
}

/* Encoder: the last bytes. Any number in the interval would do. */
static inline void flush(Coder *coder) {
    for (unsigned i = 0; i < CODER_BYTES; i++) put_byte(coder, coder->low >> (24 - 8 * i) & 255u);
}

#endif
