#include "spool/index.h"

#include "base/arena.h"
#include <stdlib.h>
#include <string.h>

#define INDEX_WIDE UINT32_C(0x80000000)

static uint32_t home(const struct index *x, uint32_t place) {
    return (uint32_t)((place * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (x->cap - 1);
}

static struct index_slot *find(const struct index *x, uint32_t place) {
    if (x->cap == 0)
        return NULL;
    for (uint32_t i = home(x, place);; i = (i + 1) & (x->cap - 1)) {
        if (x->slots[i].place == place)
            return &x->slots[i];
        if (x->slots[i].place == 0)
            return NULL;
    }
}

static void put(struct index *x, struct index_slot slot) {
    uint32_t i = home(x, slot.place);
    while (x->slots[i].place)
        i = (i + 1) & (x->cap - 1);
    x->slots[i] = slot;
    x->count++;
}

static void resize(struct index *x, uint32_t cap) {
    struct index old = *x;
    x->slots = xcalloc(cap, sizeof *x->slots);
    x->cap = cap;
    x->count = 0;
    for (uint32_t i = 0; i < old.cap; i++)
        if (old.slots[i].place)
            put(x, old.slots[i]);
    free(old.slots);
}

/* Closes the hole, so that no tombstones are needed. */
static void take_out(struct index *x, struct index_slot *slot) {
    uint32_t mask = x->cap - 1, hole = (uint32_t)(slot - x->slots);
    for (uint32_t i = (hole + 1) & mask; x->slots[i].place; i = (i + 1) & mask) {
        uint32_t h = home(x, x->slots[i].place);
        if (((i - h) & mask) >= ((i - hole) & mask)) {
            x->slots[hole] = x->slots[i];
            hole = i;
        }
    }
    x->slots[hole].place = 0;
    x->count--;
    if (x->count == 0) {
        free(x->slots);
        x->slots = NULL;
        x->cap = 0;
    } else if (x->cap > 64 && x->count < x->cap / 4) {
        resize(x, x->cap / 2);
    }
}

void index_free(struct index *x) {
    for (uint32_t i = 0; i < x->wide_count; i++)
        if (x->wide[i]) {
            free(x->wide[i]->pinned);
            free(x->wide[i]);
        }
    free(x->wide);
    free(x->slots);
    *x = (struct index){0};
}

static uint32_t add_wide(struct index *x, uint32_t recipients, struct segment *const *pinned,
                         uint32_t parts) {
    struct wide *w = xcalloc(1, sizeof *w + ((size_t)recipients + 7) / 8);
    w->recipients = w->waiting = recipients;
    w->parts = parts;
    w->pinned = parts ? xcalloc(parts, sizeof(struct segment *)) : NULL;
    if (parts)
        memcpy(w->pinned, pinned, parts * sizeof(struct segment *));
    memset(w->waits, 0xff, ((size_t)recipients + 7) / 8);
    uint32_t at = x->wide_hint;
    while (at < x->wide_count && x->wide[at])
        at++;
    if (at == x->wide_cap) {
        x->wide_cap = x->wide_cap ? 2 * x->wide_cap : 8;
        x->wide = xrealloc(x->wide, x->wide_cap * sizeof(struct wide *));
    }
    if (at == x->wide_count)
        x->wide_count++;
    x->wide[at] = w;
    x->wide_hint = at + 1;
    return at;
}

void index_add(struct index *x, uint32_t place, uint32_t recipients, struct segment *const *pinned,
               uint32_t parts) {
    if ((uint64_t)x->count * 8 >= (uint64_t)x->cap * 7)
        resize(x, x->cap ? 2 * x->cap : 16);
    uint32_t state = recipients > 31 || parts ? INDEX_WIDE | add_wide(x, recipients, pinned, parts)
                                              : (uint32_t)((UINT64_C(1) << recipients) - 1);
    put(x, (struct index_slot){place, state});
}

bool index_has(const struct index *x, uint32_t place) { return find(x, place) != NULL; }

bool index_waits(const struct index *x, uint32_t place, uint32_t recipient) {
    const struct index_slot *slot = find(x, place);
    if (!slot)
        return false;
    if (!(slot->state & INDEX_WIDE))
        return recipient < 31 && (slot->state >> recipient & 1);
    const struct wide *w = x->wide[slot->state & ~INDEX_WIDE];
    return recipient < w->recipients && (w->waits[recipient / 8] >> recipient % 8 & 1);
}

struct index_end index_end(struct index *x, uint32_t place, uint32_t recipient, bool durable) {
    struct index_end end = {0};
    if (!index_waits(x, place, recipient))
        return end;
    struct index_slot *slot = find(x, place);
    end.ended = true;
    if (!(slot->state & INDEX_WIDE)) {
        slot->state &= ~(UINT32_C(1) << recipient);
        end.last = slot->state == 0;
    } else {
        uint32_t at = slot->state & ~INDEX_WIDE;
        struct wide *w = x->wide[at];
        w->waits[recipient / 8] &= (uint8_t) ~(1u << recipient % 8);
        w->at_risk = w->at_risk || !durable;
        end.last = --w->waiting == 0;
        if (end.last) {
            end.wide = w;
            x->wide[at] = NULL;
            if (at < x->wide_hint)
                x->wide_hint = at;
        }
    }
    if (end.last)
        take_out(x, slot);
    return end;
}

static int by_place(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

uint32_t *index_places(const struct index *x) {
    uint32_t *places = xmalloc(((size_t)x->count + 1) * sizeof *places), count = 0;
    for (uint32_t i = 0; i < x->cap; i++)
        if (x->slots[i].place)
            places[count++] = x->slots[i].place;
    qsort(places, count, sizeof *places, by_place);
    return places;
}

size_t index_bytes(const struct index *x) {
    return x->cap * sizeof *x->slots + x->wide_cap * sizeof *x->wide;
}
