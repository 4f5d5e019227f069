#include "pool/state.h"
#include <stdlib.h>

struct pool_state *pool_state_new(void) {
    struct pool_state *s = xcalloc(1, sizeof *s);
    *s = (struct pool_state){map_new(false), map_new(true)};
    return s;
}

static struct map *free_values(struct map *m) {
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(m, &at, &key, &value))
        free(value);
    return map_free(m);
}

struct pool_state *pool_state_free(struct pool_state *s) {
    if (!s)
        return NULL;
    free_values(s->sources);
    free_values(s->turns);
    free(s);
    return NULL;
}

static struct str key_of(const struct ip *ip) { return str_from(ip, sizeof *ip); }

struct source_record *pool_state_record(struct pool_state *s, const struct ip *ip) {
    struct source_record *r = map_get(s->sources, key_of(ip));
    if (!r) {
        r = xcalloc(1, sizeof *r);
        r->ip = *ip;
        map_put(s->sources, key_of(ip), r);
    }
    return r;
}

/* Receivers start at different sources. When there are very many of them, all start anew. */
uint32_t *pool_state_turn(struct pool_state *s, const struct pool *pool, struct str receiver) {
    struct arena *scratch = arena_new(512);
    struct str key = str_printf(scratch, "%.*s%c%.*s", STR_FMT(pool->name), '\0', STR_FMT(receiver));
    uint32_t *turn = map_get(s->turns, key);
    if (!turn) {
        if (map_count(s->turns) >= RECEIVERS_MAX) {
            free_values(s->turns);
            s->turns = map_new(true);
        }
        turn = xmalloc(sizeof *turn);
        *turn = (uint32_t)str_hash_nocase(key, 0);
        map_put(s->turns, key, turn);
    }
    arena_free(scratch);
    return turn;
}

/* A map can't change while it is walked: the survivors move to a new one. */
void pool_state_reload(struct pool_state *s, const struct pools *pools) {
    struct map *kept = map_new(false);
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(s->sources, &at, &key, &value)) {
        struct source_record *r = value;
        if (source_find(pools, &r->ip))
            map_put(kept, key, r);
        else
            free(r);
    }
    map_free(s->sources);
    s->sources = kept;
}

void source_rest(struct pool_state *s, const struct ip *ip, int64_t until, struct str reason) {
    struct source_record *r = pool_state_record(s, ip);
    if (until <= r->resting_until)
        return;
    r->resting_until = until;
    reason = str_head(reason, REST_REASON_MAX);
    if (reason.len)
        memcpy(r->reason, reason.at, reason.len);
    r->reason[reason.len] = '\0';
}

void source_wake(struct pool_state *s, const struct ip *ip) {
    struct source_record *r = map_get(s->sources, key_of(ip));
    if (r)
        r->resting_until = 0, r->reason[0] = '\0';
}

void source_count(struct pool_state *s, const struct ip *ip, int64_t now, bool delivered) {
    struct source_record *r = pool_state_record(s, ip);
    r->last_used = now;
    r->delivered += delivered;
    r->failed += !delivered;
}

struct source_health source_health(const struct pool_state *s, const struct ip *ip) {
    const struct source_record *r = map_get(s->sources, key_of(ip));
    if (!r)
        return (struct source_health){0};
    return (struct source_health){.resting_until = r->resting_until,
                                  .reason = str_of(r->reason),
                                  .picked = r->picked,
                                  .delivered = r->delivered,
                                  .failed = r->failed,
                                  .last_used = r->last_used};
}
