#include "rt/dns_cache.h"

#include "base/map.h"
#include "rt/dns_wire.h"

#include <stdlib.h>

enum { TTL_MAX_S = 24 * 60 * 60, NEGATIVE_MAX_S = 300, STALE_TTL_S = 30 /* RFC 8767 4 */ };

struct entry {
    struct arena *arena;
    struct str key;
    struct dns_answer answer;
    int64_t expires, stale_until;
    struct entry *newer, *older;
};

struct dns_cache {
    struct map *entries;
    struct entry *newest, *oldest;
    size_t limit;
    uint32_t stale_s;
};

struct dns_cache *dns_cache_new(size_t limit, uint32_t stale_s) {
    struct dns_cache *cache = xcalloc(1, sizeof *cache);
    cache->entries = map_new(false);
    cache->limit = limit;
    cache->stale_s = stale_s;
    return cache;
}

static void unlink_entry(struct dns_cache *cache, struct entry *entry) {
    *(entry->newer ? &entry->newer->older : &cache->newest) = entry->older;
    *(entry->older ? &entry->older->newer : &cache->oldest) = entry->newer;
}

static void link_entry(struct dns_cache *cache, struct entry *entry) {
    entry->newer = NULL;
    entry->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = entry;
    cache->newest = entry;
}

static void drop(struct dns_cache *cache, struct entry *entry) {
    map_remove(cache->entries, entry->key);
    unlink_entry(cache, entry);
    arena_free(entry->arena);
}

struct dns_cache *dns_cache_free(struct dns_cache *cache) {
    if (!cache)
        return NULL;
    while (cache->newest)
        drop(cache, cache->newest);
    map_free(cache->entries);
    free(cache);
    return NULL;
}

void dns_answer_copy(struct arena *arena, const struct dns_answer *from, struct dns_answer *ret) {
    struct dns_answer to = *from;
    to.records = arena_array(arena, struct dns_record, from->count);
    for (size_t i = 0; i < from->count; i++) {
        to.records[i] = from->records[i];
        to.records[i].name = str_copy(arena, from->records[i].name);
        to.records[i].text = str_copy(arena, from->records[i].text);
        to.records[i].raw = str_copy(arena, from->records[i].raw);
    }
    to.canonical = str_copy(arena, from->canonical);
    to.why = str_copy(arena, from->why);
    *ret = to;
}

enum { KEY_MAX = DNS_NAME_MAX + 2 };

static struct str make_key(char memory[KEY_MAX], struct str name, enum dns_type type) {
    memory[0] = (char)(type >> 8);
    memory[1] = (char)type;
    memcpy(memory + 2, name.at, name.len);
    return str_from(memory, name.len + 2);
}

void dns_cache_put(struct dns_cache *cache, struct str name, enum dns_type type,
                   const struct dns_answer *answer, int64_t now) {
    char memory[KEY_MAX];
    struct str key = make_key(memory, name, type);
    struct entry *old = map_get(cache->entries, key);
    if (old)
        drop(cache, old);
    if (answer->status == DNS_FAILED)
        return;
    struct arena *arena = arena_new(512);
    struct entry *entry = arena_new_of(arena, struct entry);
    entry->arena = arena;
    entry->key = str_copy(arena, key);
    dns_answer_copy(arena, answer, &entry->answer);
    uint32_t most = answer->status == DNS_RECORDS ? TTL_MAX_S : NEGATIVE_MAX_S;
    uint32_t ttl = answer->ttl < most ? answer->ttl : most;
    entry->expires = entry->stale_until = now + (int64_t)ttl * 1000;
    if (answer->status == DNS_RECORDS)
        entry->stale_until += (int64_t)cache->stale_s * 1000;
    map_put(cache->entries, entry->key, entry);
    link_entry(cache, entry);
    if (map_count(cache->entries) > cache->limit)
        drop(cache, cache->oldest);
}

static struct entry *find(struct dns_cache *cache, struct str name, enum dns_type type, int64_t now) {
    char memory[KEY_MAX];
    struct entry *entry = map_get(cache->entries, make_key(memory, name, type));
    if (!entry)
        return NULL;
    if (entry->stale_until <= now) {
        drop(cache, entry);
        return NULL;
    }
    if (entry != cache->newest) {
        unlink_entry(cache, entry);
        link_entry(cache, entry);
    }
    return entry;
}

bool dns_cache_get(struct dns_cache *cache, struct str name, enum dns_type type, int64_t now,
                   struct arena *arena, struct dns_answer *ret) {
    struct entry *entry = find(cache, name, type, now);
    if (!entry || entry->expires <= now)
        return false;
    dns_answer_copy(arena, &entry->answer, ret);
    ret->ttl = (uint32_t)((entry->expires - now + 999) / 1000);
    return true;
}

bool dns_cache_stale(struct dns_cache *cache, struct str name, enum dns_type type, int64_t now,
                     struct arena *arena, struct dns_answer *ret) {
    struct entry *entry = find(cache, name, type, now);
    if (!entry || entry->answer.status != DNS_RECORDS)
        return false;
    dns_answer_copy(arena, &entry->answer, ret);
    ret->stale = true;
    ret->secure = false;
    ret->ttl = STALE_TTL_S;
    return true;
}
