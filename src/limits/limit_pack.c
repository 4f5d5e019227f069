#include "limits/limit_pack.h"

const struct limit_span limit_spans[LIMIT_COUNTERS] = {
    [LIMIT_EXTERNAL_HOUR] = {40, 180, 2},
    [LIMIT_INTERNAL_HOUR] = {40, 180, 2},
    [LIMIT_RECIPIENTS_DAY] = {960, 180, 2},
    [LIMIT_MESSAGES_MINUTE] = {1, 120, 1},
};

struct writer {
    unsigned char *at;
    uint64_t held;
    uint32_t bits;
};

static void put(struct writer *w, uint32_t value, uint32_t bits) {
    w->held |= (uint64_t)value << w->bits;
    for (w->bits += bits; w->bits >= 8; w->bits -= 8, w->held >>= 8)
        *w->at++ = (unsigned char)w->held;
}

static void put_rice(struct writer *w, uint32_t value, uint32_t rice) {
    uint32_t ones = value >> rice;
    for (; ones >= 16; ones -= 16)
        put(w, 0xffff, 16);
    put(w, (1u << ones) - 1, ones + 1);
    put(w, value & ((1u << rice) - 1), rice);
}

void limit_pack(const struct limit_windows *windows, unsigned char packed[LIMIT_PACKED]) {
    struct writer w = {.at = packed};
    memset(packed, 0, LIMIT_PACKED);
    put(&w, windows->turn - windows->last, 16);
    for (enum limit_counter c = 0; c < LIMIT_COUNTERS; c++) {
        const struct limit_window *window = &windows->of[c];
        uint32_t newer = limit_windows_base(windows, c);
        put(&w, window->unit, 8);
        put(&w, window->fill, 8);
        put(&w, window->marks, 6);
        put(&w, window->cut, 1);
        for (uint32_t i = window->marks; i-- > 0; newer = window->at[i])
            put_rice(&w, newer - window->at[i], limit_spans[c].rice);
    }
    if (w.bits)
        *w.at = (unsigned char)w.held;
}

struct reader {
    const unsigned char *at, *end;
    uint64_t held;
    uint32_t bits;
    bool failed;
};

static uint32_t get(struct reader *r, uint32_t bits) {
    for (; r->bits < bits; r->bits += 8) {
        if (r->at == r->end) {
            r->failed = true;
            return 0;
        }
        r->held |= (uint64_t)*r->at++ << r->bits;
    }
    uint32_t value = (uint32_t)r->held & ((1u << bits) - 1);
    r->held >>= bits;
    r->bits -= bits;
    return value;
}

static uint32_t get_rice(struct reader *r, uint32_t rice) {
    uint32_t ones = 0;
    while (get(r, 1))
        ones++;
    return ones << rice | get(r, rice);
}

bool limit_unpack(uint32_t last, const unsigned char packed[LIMIT_PACKED], struct limit_windows *ret) {
    struct reader r = {.at = packed, .end = packed + LIMIT_PACKED};
    struct limit_windows windows = {.last = last, .turn = last + get(&r, 16)};
    if (windows.turn < last)
        return false;
    for (enum limit_counter c = 0; c < LIMIT_COUNTERS; c++) {
        struct limit_window *w = &windows.of[c];
        uint32_t base = limit_windows_base(&windows, c), tick = base;
        w->unit = get(&r, 8);
        w->fill = get(&r, 8);
        w->marks = (uint8_t)get(&r, 6);
        w->cut = get(&r, 1);
        if (w->marks > LIMIT_MARKS)
            return false;
        for (uint32_t i = w->marks; i-- > 0; w->at[i] = tick) {
            uint32_t step = get_rice(&r, limit_spans[c].rice);
            if (step > tick)
                return false;
            tick -= step;
        }
        if (r.failed || base - tick > limit_spans[c].ticks || !limit_window_valid(w, base))
            return false;
    }
    *ret = windows;
    return true;
}
