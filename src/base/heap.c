#include "base/heap.h"

#include "base/arena.h"
#include <stdlib.h>

void heap_free(struct heap *h) {
    free(h->nodes);
    *h = (struct heap){0};
}

static void place(struct heap *h, uint32_t i, struct heap_node *n) {
    h->nodes[i] = n;
    n->at = i + 1;
}

static void up(struct heap *h, uint32_t i) {
    struct heap_node *n = h->nodes[i];
    while (i && h->nodes[(i - 1) / 2]->key > n->key) {
        place(h, i, h->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(h, i, n);
}

static void down(struct heap *h, uint32_t i) {
    struct heap_node *n = h->nodes[i];
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->nodes[child + 1]->key < h->nodes[child]->key)
            child++;
        if (h->nodes[child]->key >= n->key)
            break;
        place(h, i, h->nodes[child]);
        i = child;
    }
    place(h, i, n);
}

void heap_put(struct heap *h, struct heap_node *n, int64_t key) {
    heap_remove(h, n);
    if (h->count == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 64;
        h->nodes = xrealloc(h->nodes, h->cap * sizeof *h->nodes);
    }
    n->key = key;
    place(h, h->count++, n);
    up(h, n->at - 1);
}

struct heap_node *heap_first(const struct heap *h) {
    return h->count ? h->nodes[0] : NULL;
}

void heap_remove(struct heap *h, struct heap_node *n) {
    if (!n->at)
        return;
    uint32_t i = n->at - 1;
    n->at = 0;
    struct heap_node *last = h->nodes[--h->count];
    if (last == n)
        return;
    place(h, i, last);
    up(h, i);
    down(h, last->at - 1);
}
