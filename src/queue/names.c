#include "queue/parts.h"

#include <stdlib.h>

void names_init(struct names *names, uint32_t limit) {
    pthread_mutex_init(&names->lock, NULL);
    names->numbers = map_new(false);
    names->arena = arena_new(0);
    names->limit = limit;
}

void names_free(struct names *names) {
    if (!names->arena)
        return;
    pthread_mutex_destroy(&names->lock);
    map_free(names->numbers);
    arena_free(names->arena);
}

uint32_t names_put(struct names *names, struct str name) {
    pthread_mutex_lock(&names->lock);
    uint32_t number = (uint32_t)(uintptr_t)map_get(names->numbers, name);
    if (!number && names->count < names->limit) {
        uint32_t at = names->count++;
        struct str *chunk = atomic_load_explicit(&names->chunks[at / NAMES_CHUNK], memory_order_relaxed);
        if (!chunk) {
            chunk = arena_array(names->arena, struct str, NAMES_CHUNK);
            atomic_store_explicit(&names->chunks[at / NAMES_CHUNK], chunk, memory_order_release);
        }
        chunk[at % NAMES_CHUNK] = str_copy(names->arena, name);
        number = at + 1;
        map_put(names->numbers, name, (void *)(uintptr_t)number);
    }
    pthread_mutex_unlock(&names->lock);
    return number;
}

struct str names_at(const struct names *names, uint32_t number) {
    if (!number)
        return STR_NULL;
    struct str *chunk =
        atomic_load_explicit(&names->chunks[(number - 1) / NAMES_CHUNK], memory_order_acquire);
    return chunk[(number - 1) % NAMES_CHUNK];
}
