#include "base/map.h"

#include <stdlib.h>
#include <sys/random.h>

struct slot {
    char *key;
    size_t len;
    uint64_t hash;
    void *value;
};

struct map {
    struct slot *slots;
    size_t size, count, graves;
    uint64_t seed;
    bool fold;
};

static char grave;

struct map *map_new(bool fold) {
    struct map *m = xcalloc(1, sizeof *m);
    m->fold = fold;
    m->size = 16;
    m->slots = xcalloc(m->size, sizeof *m->slots);
    if (getrandom(&m->seed, sizeof m->seed, GRND_NONBLOCK) != (ssize_t)sizeof m->seed)
        m->seed = (uint64_t)(uintptr_t)m;
    return m;
}

struct map *map_free(struct map *m) {
    if (m) {
        for (size_t i = 0; i < m->size; i++)
            if (m->slots[i].key != &grave)
                free(m->slots[i].key);
        free(m->slots);
        free(m);
    }
    return NULL;
}

size_t map_count(const struct map *m) { return m->count; }

static uint64_t hash_of(const struct map *m, struct str key) {
    return m->fold ? str_hash_nocase(key, m->seed) : str_hash(key, m->seed);
}

static bool same(const struct map *m, const struct slot *s, struct str key, uint64_t hash) {
    struct str have = {s->key, s->len};
    return s->hash == hash && (m->fold ? str_eq_nocase(have, key) : str_eq(have, key));
}

static struct slot *find(const struct map *m, struct str key, uint64_t hash) {
    for (size_t i = hash & (m->size - 1);; i = (i + 1) & (m->size - 1)) {
        struct slot *s = &m->slots[i];
        if (!s->key)
            return NULL;
        if (s->key != &grave && same(m, s, key, hash))
            return s;
    }
}

static void grow(struct map *m) {
    struct slot *old = m->slots;
    size_t size = m->size;
    if (m->count * 2 >= size)
        m->size *= 2;
    m->slots = xcalloc(m->size, sizeof *m->slots);
    m->graves = 0;
    for (size_t i = 0; i < size; i++) {
        if (!old[i].key || old[i].key == &grave)
            continue;
        size_t j = old[i].hash & (m->size - 1);
        while (m->slots[j].key)
            j = (j + 1) & (m->size - 1);
        m->slots[j] = old[i];
    }
    free(old);
}

void *map_get(const struct map *m, struct str key) {
    struct slot *s = find(m, key, hash_of(m, key));
    return s ? s->value : NULL;
}

void *map_put(struct map *m, struct str key, void *value) {
    uint64_t hash = hash_of(m, key);
    struct slot *s = find(m, key, hash);
    if (s) {
        void *old = s->value;
        s->value = value;
        return old;
    }
    if ((m->count + m->graves + 1) * 4 > m->size * 3)
        grow(m);
    size_t i = hash & (m->size - 1);
    while (m->slots[i].key && m->slots[i].key != &grave)
        i = (i + 1) & (m->size - 1);
    if (m->slots[i].key == &grave)
        m->graves--;
    char *copy = xmalloc(key.len + 1);
    if (key.len)
        memcpy(copy, key.at, key.len);
    copy[key.len] = 0;
    m->slots[i] = (struct slot){copy, key.len, hash, value};
    m->count++;
    return NULL;
}

void *map_remove(struct map *m, struct str key) {
    struct slot *s = find(m, key, hash_of(m, key));
    if (!s)
        return NULL;
    void *old = s->value;
    free(s->key);
    *s = (struct slot){.key = &grave};
    m->count--;
    m->graves++;
    return old;
}

bool map_next(const struct map *m, size_t *at, struct str *ret_key, void **ret_value) {
    for (; *at < m->size; ++*at) {
        struct slot *s = &m->slots[*at];
        if (!s->key || s->key == &grave)
            continue;
        *ret_key = (struct str){s->key, s->len};
        *ret_value = s->value;
        ++*at;
        return true;
    }
    return false;
}
