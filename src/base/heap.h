/* heap.h - a min-heap of embedded nodes, ordered by a 64-bit key (a due time).
 *
 * A node knows its place, so it can be removed or moved in O(log n).
 * Zero-initialise heap and nodes. Use `heap_owner` to get from node to struct.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t key;
    uint32_t at; /* place + 1; 0: in no heap */
};

struct heap {
    struct heap_node **nodes;
    uint32_t count, cap;
};

#define heap_owner(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

void heap_free(struct heap *);
void heap_put(struct heap *, struct heap_node *, int64_t key);
/* The least, or NULL; stays in the heap. */
struct heap_node *heap_first(const struct heap *);
/* Takes out a node; nothing happens when it is in no heap. */
void heap_remove(struct heap *, struct heap_node *);
