/* Palettes: the distinct values of an image.
 *
 * The values of a stereo camera are z = round(C / k) for k = 1, 2, ...: the steps between them grow slowly, so
 * most steps equal the one before. What is written is how often a step repeats, and by how much the next one
 * differs.
 */
#include "palette.h"

int nr_palette_find(const uint16_t *pixels, size_t count, uint8_t *seen, uint16_t *rank_of, uint16_t *value_of) {
    memset(seen, 0, 65536);
    size_t i = 0;
    for (; i + 4 <= count; i += 4) { /* four independent stores: the loop is bound by them */
        seen[pixels[i]] = 1;
        seen[pixels[i + 1]] = 1;
        seen[pixels[i + 2]] = 1;
        seen[pixels[i + 3]] = 1;
    }
    for (; i < count; i++) seen[pixels[i]] = 1;

    unsigned ranks = 0;
    seen[0] = 0;
    rank_of[0] = 0;
    value_of[0] = 0;
    for (unsigned base = 0; base < 65536; base += 8) {
        uint64_t eight;
        memcpy(&eight, seen + base, sizeof eight);
        if (!eight) continue;
        for (unsigned value = base; value < base + 8; value++) {
            if (!seen[value]) continue;
            if (ranks == NR_MAX_RANKS) return -1;
            value_of[++ranks] = (uint16_t)value;
            rank_of[value] = (uint16_t)ranks;
        }
    }
    return (int)ranks;
}

void nr_palette_write(NrBitWriter *to, const uint16_t *value_of, unsigned ranks) {
    nr_put_golomb(to, ranks, 8);
    int32_t step = 1;
    uint32_t repeats = 0;
    for (unsigned rank = 1; rank <= ranks; rank++) {
        int32_t next = value_of[rank] - value_of[rank - 1];
        if (next == step) {
            repeats++;
            continue;
        }
        nr_put_golomb(to, repeats, 0);
        nr_put_golomb(to, nr_zigzag(next - step) - 1, 0); /* it is never 0 */
        repeats = 0;
        step = next;
    }
    if (repeats) nr_put_golomb(to, repeats, 0);
}

int nr_palette_read(NrBitReader *from, uint16_t *value_of) {
    uint32_t ranks = nr_get_golomb(from, 8);
    if (from->torn || ranks > NR_MAX_RANKS) return -1;
    value_of[0] = 0;
    int32_t step = 1, value = 0;
    for (uint32_t rank = 1; rank <= ranks;) {
        uint32_t repeats = nr_get_golomb(from, 0);
        if (from->torn || repeats > ranks + 1 - rank) return -1;
        for (; repeats; repeats--) {
            value += step;
            if (value > 65535) return -1;
            value_of[rank++] = (uint16_t)value;
        }
        if (rank > ranks) break;
        uint32_t change = nr_get_golomb(from, 0);
        if (from->torn || change >= 2 * 65536) return -1;
        step += nr_unzigzag(change + 1);
        value += step;
        if (step < 1 || value > 65535) return -1;
        value_of[rank++] = (uint16_t)value;
    }
    return (int)ranks;
}
