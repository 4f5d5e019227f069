#include "pool/state.h"
#include "seeded_bug.h"
#include <stdlib.h>

const char *rest_cause_text(enum rest_cause cause) {
    static const char *const TEXTS[] = {
#define X(name, text) text,
        REST_CAUSES(X)
#undef X
    };
    return TEXTS[cause];
}

struct pool_state *pool_state_new(void) {
    struct pool_state *s = xcalloc(1, sizeof *s);
    *s = (struct pool_state){map_new(false), map_new(true)};
    return s;
}

static void free_record(struct source_record *r) {
    for (int c = 0; c < REST_CAUSE_COUNT; c++)
        free(r->rests[c].reason);
    free(r);
}

static struct map *free_records(struct map *m) {
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(m, &at, &key, &value))
        free_record(value);
    return map_free(m);
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
    free_records(s->sources);
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
            free_record(r);
    }
    map_free(s->sources);
    s->sources = kept;
}

/* ---- rests ---- */

static void wake(struct rest *rest) {
    free(rest->reason);
    *rest = (struct rest){0};
}

void source_rest(struct pool_state *s, const struct ip *ip, enum rest_cause cause, int64_t until,
                 struct str reason) {
    struct rest *rest = &pool_state_record(s, ip)->rests[cause];
    if (until < rest->until)
        return;
    wake(rest);
    rest->until = until;
    reason = str_head(reason, REST_REASON_MAX);
    if (!reason.len)
        return;
    rest->reason = xcalloc(reason.len + 1, 1);
    memcpy(rest->reason, reason.at, reason.len);
}

void source_wake(struct pool_state *s, const struct ip *ip, enum rest_cause cause) {
    struct source_record *r = map_get(s->sources, key_of(ip));
    for (int c = 0; r && c < REST_CAUSE_COUNT; c++) {
#ifndef SLUICE_SEEDED_BUG_REST_CAUSE_FORGOTTEN
        if (c != (int)cause)
            continue;
#else
        (void)cause;
#endif
        wake(&r->rests[c]);
    }
}

static bool holds(const struct source_record *r, int cause, const struct pool *pool, int64_t now) {
#ifndef SLUICE_SEEDED_BUG_LISTED_NOT_RESTED
    bool heeds = cause != REST_LISTED || !pool->stays_listed;
#else
    bool heeds = cause != REST_LISTED && pool;
#endif
    return r->rests[cause].until > now && heeds;
}

int64_t pool_state_rests(const struct source_record *r, const struct pool *pool, int64_t now) {
    int64_t until = 0;
    for (int c = 0; r && c < REST_CAUSE_COUNT; c++)
        if (holds(r, c, pool, now) && r->rests[c].until > until)
            until = r->rests[c].until;
    return until;
}

void pool_state_reasons(const struct source_record *r, const struct pool *pool, int64_t now,
                        struct buf *out) {
    size_t before = out->len;
    for (int c = 0; r && c < REST_CAUSE_COUNT; c++)
        if (holds(r, c, pool, now))
            buf_printf(out, "%s%s", out->len > before ? "; " : "",
                       r->rests[c].reason ? r->rests[c].reason : rest_cause_text((enum rest_cause)c));
}

void source_count(struct pool_state *s, const struct ip *ip, int64_t now, bool delivered) {
    struct source_record *r = pool_state_record(s, ip);
    r->last_used = now;
    r->delivered += delivered;
    r->failed += !delivered;
}

bool source_rests(const struct pool_state *s, const struct pool *pool, const struct ip *ip, int64_t now) {
    return pool_state_rests(map_get(s->sources, key_of(ip)), pool, now) > 0;
}

struct source_health source_health(const struct pool_state *s, const struct pool *pool, const struct ip *ip,
                                   int64_t now, struct arena *arena) {
    const struct source_record *r = map_get(s->sources, key_of(ip));
    struct buf reasons __attribute__((cleanup(buf_free))) = {0};
    if (!r)
        return (struct source_health){.reason = STR("")};
    struct source_health health = {.resting_until = pool_state_rests(r, pool, now),
                                   .picked = r->picked,
                                   .delivered = r->delivered,
                                   .failed = r->failed,
                                   .last_used = r->last_used};
    for (int c = 0; c < REST_CAUSE_COUNT; c++)
        health.causes |= holds(r, c, pool, now) ? 1u << c : 0;
    pool_state_reasons(r, pool, now, &reasons);
    health.reason = str_copy(arena, buf_view(&reasons));
    return health;
}
