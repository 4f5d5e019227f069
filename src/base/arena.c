#include "base/arena.h"

#include <stdalign.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct chunk {
    struct chunk *next;
    size_t size, used;
    alignas(max_align_t) char data[];
};

struct arena {
    struct chunk *first, *now;
    size_t total;
};

static void *checked(void *p) {
    if (p)
        return p;
    fputs("sluice: out of memory\n", stderr);
    abort();
}

void *xmalloc(size_t size) { return checked(malloc(size ? size : 1)); }

void *xcalloc(size_t count, size_t size) { return checked(calloc(count ? count : 1, size ? size : 1)); }

void *xrealloc(void *old, size_t size) { return checked(realloc(old, size ? size : 1)); }

static struct chunk *chunk_new(struct arena *a, size_t size) {
    struct chunk *c = xmalloc(sizeof *c + size);
    *c = (struct chunk){.size = size};
    a->total += sizeof *c + size;
    return c;
}

struct arena *arena_new(size_t first) {
    struct arena *a = xcalloc(1, sizeof *a);
    a->first = a->now = chunk_new(a, first ? first : 4096);
    return a;
}

static void drop_chunks(struct arena *a, struct chunk *c) {
    while (c) {
        struct chunk *next = c->next;
        a->total -= sizeof *c + c->size;
        free(c);
        c = next;
    }
}

struct arena *arena_free(struct arena *a) {
    if (a) {
        drop_chunks(a, a->first);
        free(a);
    }
    return NULL;
}

void arena_reset(struct arena *a) {
    drop_chunks(a, a->first->next);
    a->first->next = NULL;
    a->first->used = 0;
    a->now = a->first;
}

void *arena_alloc(struct arena *a, size_t size) {
    size_t step = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (step < size)
        checked(NULL);
    if (a->now->size - a->now->used < step) {
        size_t next = a->now->size < 256 * 1024 ? a->now->size * 2 : a->now->size;
        struct chunk *c = chunk_new(a, step > next ? step : next);
        a->now->next = c;
        a->now = c;
    }
    void *p = a->now->data + a->now->used;
    a->now->used += step;
    return memset(p, 0, size);
}

size_t arena_size(const struct arena *a) { return a->total; }
