/* limit_model.h - the naive exact counter that the windows are compared with, and chance. */
#pragma once
#include "cmocka_setup.h"
#include <stdbool.h>
#include <stdlib.h>

struct model_event {
    int64_t time;
    uint64_t amount;
};

/* Zero-initialise; free with model_free. */
struct model {
    struct model_event *events; /* in order of time */
    size_t count, cap, first;   /* before `first`: older than anybody asks for */
};

static inline void model_free(struct model *m) {
    free(m->events);
    *m = (struct model){0};
}

static inline void model_add(struct model *m, int64_t time, uint64_t amount) {
    if (m->count == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 64;
        m->events = realloc(m->events, m->cap * sizeof *m->events);
        assert_non_null(m->events);
    }
    m->events[m->count++] = (struct model_event){time, amount};
}

/* Exactly what was counted in the last `window` ms up to `now`; `keep`: nobody will ask for more. */
static inline uint64_t model_count(struct model *m, int64_t now, int64_t window, int64_t keep) {
    uint64_t sum = 0;
    while (m->first < m->count && m->events[m->first].time <= now - keep)
        m->first++;
    for (size_t i = m->first; i < m->count; i++)
        if (m->events[i].time > now - window && m->events[i].time <= now)
            sum += m->events[i].amount;
    return sum;
}

static inline uint64_t chance(uint64_t *state, uint64_t below) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}
