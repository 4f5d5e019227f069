#include "queue/parts.h"

#include <stdlib.h>

static struct delivery *at_place(const struct store *store, uint32_t place) {
    return &store->chunks[place / STORE_CHUNK][place % STORE_CHUNK];
}

void store_free(struct store *store) {
    for (uint32_t i = 0; i < store->chunk_count; i++)
        free(store->chunks[i]);
    free(store->chunks);
    free(store->table);
    *store = (struct store){0};
}

static uint32_t slot_of(const struct store *store, uint64_t message) {
    uint64_t h = message * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32) & (store->table_cap - 1);
}

/* The slot of the message, or the empty one where it would stand. */
static uint32_t find_slot(const struct store *store, uint64_t message) {
    uint32_t slot = slot_of(store, message);
    while (store->table[slot] && at_place(store, store->table[slot] - 1)->message != message)
        slot = (slot + 1) & (store->table_cap - 1);
    return slot;
}

static void grow_table(struct store *store) {
    if (store->messages * 4 < store->table_cap * 3)
        return;
    uint32_t *old = store->table, old_cap = store->table_cap;
    store->table_cap = old_cap ? old_cap * 2 : 64;
    store->table = xcalloc(store->table_cap, sizeof *store->table);
    for (uint32_t i = 0; i < old_cap; i++)
        if (old[i])
            store->table[find_slot(store, at_place(store, old[i] - 1)->message)] = old[i];
    free(old);
}

static uint32_t new_place(struct store *store) {
    if (store->free) {
        uint32_t place = store->free - 1;
        store->free = at_place(store, place)->next;
        return place;
    }
    if (store->used == store->chunk_count * STORE_CHUNK) {
        store->chunks = xrealloc(store->chunks, (store->chunk_count + 1) * sizeof *store->chunks);
        store->chunks[store->chunk_count++] = xcalloc(STORE_CHUNK, sizeof(struct delivery));
    }
    return store->used++;
}

struct delivery *store_add(struct store *store, uint64_t message) {
    grow_table(store);
    uint32_t place = new_place(store);
    struct delivery *delivery = at_place(store, place);
    *delivery = (struct delivery){.message = message};
    uint32_t slot = find_slot(store, message);
    if (!store->table[slot]) {
        store->table[slot] = place + 1;
        store->messages++;
    } else {
        struct delivery *last = at_place(store, store->table[slot] - 1);
        if (store->newest != place + 1 && at_place(store, store->newest - 1)->message == message)
            last = at_place(store, store->newest - 1);
        while (last->next & NEXT_PLACE)
            last = at_place(store, (last->next & NEXT_PLACE) - 1);
        last->next |= place + 1;
    }
    store->newest = place + 1;
    store->count++;
    return delivery;
}

/* Linear probing without gravestones: what follows the gap moves up if it may. */
static void close_gap(struct store *store, uint32_t gap) {
    uint32_t mask = store->table_cap - 1;
    for (uint32_t slot = (gap + 1) & mask; store->table[slot]; slot = (slot + 1) & mask) {
        uint32_t wanted = slot_of(store, at_place(store, store->table[slot] - 1)->message);
        if (((slot - wanted) & mask) >= ((slot - gap) & mask)) {
            store->table[gap] = store->table[slot];
            gap = slot;
        }
    }
    store->table[gap] = 0;
}

void store_remove(struct store *store, struct delivery *delivery) {
    uint32_t slot = find_slot(store, delivery->message);
    uint32_t next = delivery->next & NEXT_PLACE, place = store->table[slot];
    if (at_place(store, place - 1) == delivery) {
        if (next) {
            store->table[slot] = next;
        } else {
            close_gap(store, slot);
            store->messages--;
        }
    } else {
        struct delivery *before = at_place(store, place - 1);
        while (at_place(store, (before->next & NEXT_PLACE) - 1) != delivery)
            before = at_place(store, (before->next & NEXT_PLACE) - 1);
        place = before->next & NEXT_PLACE;
        before->next = (before->next & ~NEXT_PLACE) | next;
    }
    *delivery = (struct delivery){.next = store->free};
    store->free = place;
    store->count--;
}

struct delivery *store_first(const struct store *store, uint64_t message) {
    if (!store->table_cap)
        return NULL;
    uint32_t place = store->table[find_slot(store, message)];
    return place ? at_place(store, place - 1) : NULL;
}

struct delivery *store_next(const struct store *store, const struct delivery *delivery) {
    uint32_t place = delivery->next & NEXT_PLACE;
    return place ? at_place(store, place - 1) : NULL;
}

struct delivery *store_at(const struct store *store, uint32_t place) {
    struct delivery *delivery = at_place(store, place);
    return delivery->domain ? delivery : NULL;
}
