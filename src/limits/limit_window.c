#include "limits/limit_window.h"

#include "seeded_bug.h"

/* How much there is in the newest `marks` chunks. */
static uint32_t inside(const struct limit_window *w, uint32_t marks) {
    return marks ? (marks - 1) * w->unit + w->fill : 0;
}

/* The estimate when the oldest `gone` marks have left. */
static uint32_t count_without(const struct limit_window *w, uint32_t gone) {
    uint32_t marks = w->marks - gone;
    uint32_t size = !w->cut && !gone ? 0 : marks ? w->unit : w->fill;
    return inside(w, marks) + size / 2; /* (size - 1) / 2, rounded up */
}

uint32_t limit_window_count(const struct limit_window *w) { return count_without(w, 0); }

static void drop_oldest(struct limit_window *w, uint32_t count) {
    w->marks = (uint8_t)(w->marks - count);
    w->cut = w->cut || count;
    memmove(w->at, w->at + count, w->marks * sizeof *w->at);
}

void limit_window_advance(struct limit_window *w, uint32_t span, uint32_t last, uint32_t now) {
    if (now - last > span) {
        w->marks = 0;
        w->fill = 0;
        w->cut = false;
        return;
    }
    uint32_t gone = 0;
#ifdef SLUICE_SEEDED_BUG_LIMIT_WINDOW_EARLY
    span -= 2;
#endif
    while (gone < w->marks && now - w->at[gone] > span)
        gone++;
    if (gone)
        drop_oldest(w, gone);
}

static void add(struct limit_window *w, uint32_t now, uint32_t amount) {
    uint64_t most = (uint64_t)(LIMIT_MARKS + 1) * w->unit; /* more makes no difference */
    if (amount > most)
        amount = (uint32_t)most;
    while (amount) {
        if (!w->marks || w->fill == w->unit) {
            if (w->marks == LIMIT_MARKS)
                drop_oldest(w, 1);
            w->at[w->marks++] = now;
            w->fill = 0;
        }
        uint32_t take = w->unit - w->fill < amount ? w->unit - w->fill : amount;
        w->fill += take;
        amount -= take;
    }
}

static void cut_anew(struct limit_window *w, uint32_t last, uint32_t unit) {
    struct limit_window old = *w;
    *w = (struct limit_window){.unit = unit, .coarsest = old.coarsest};
    add(w, old.marks ? old.at[0] : last, limit_window_count(&old) - inside(&old, old.marks));
    for (uint32_t i = 0; i < old.marks; i++) {
        bool newest = i + 1u == old.marks;
        add(w, old.at[i], 1);
        /* The rest of a chunk came at some time up to the next mark: the latest never admits too much. */
        add(w, newest ? last : old.at[i + 1], (newest ? old.fill : old.unit) - 1);
    }
}

void limit_window_add(struct limit_window *w, uint32_t now, uint32_t amount) {
    if (w->coarsest > w->unit && (uint64_t)inside(w, w->marks) + amount > (uint64_t)LIMIT_MARKS * w->unit)
        cut_anew(w, now, w->coarsest);
    add(w, now, amount);
}

void limit_window_fit(struct limit_window *w, uint32_t last, uint32_t unit) {
    bool holds = limit_window_count(w) <= (uint64_t)LIMIT_MARKS * unit;
    w->coarsest = unit;
    if (!w->unit || (unit < w->unit && holds))
        cut_anew(w, last, unit);
}

uint32_t limit_window_when(const struct limit_window *w, uint32_t span, uint32_t last, uint32_t amount,
                           uint32_t limit) {
    if (amount > limit)
        return UINT32_MAX;
    for (uint32_t gone = 0; gone <= w->marks; gone++)
        if (count_without(w, gone) <= limit - amount)
            return gone ? w->at[gone - 1] + span + 1 : 0;
    return last + span + 1;
}

bool limit_window_valid(const struct limit_window *w, uint32_t last) {
    if (w->marks > LIMIT_MARKS || w->fill > w->unit || (w->marks && !w->fill))
        return false;
    for (uint32_t i = 0; i < w->marks; i++)
        if (w->at[i] > (i + 1u < w->marks ? w->at[i + 1] : last))
            return false;
    return true;
}
