/* What the API asks of pools and their addresses. */
#include "cmd/backend.h"

#include "base/clock.h"
#include "watch/watch.h"

enum { PAGE = 500 };

struct health_call {
    struct flow *flow;
    const struct pool *pool;
    struct source_health *health; /* one for each source; the reasons are in `arena` */
    struct arena *arena;
    int64_t now;
};

static void health_on_owner(void *arg) {
    struct health_call *call = arg;
    for (uint32_t i = 0; i < call->pool->source_count; i++)
        call->health[i] = source_health(flow_here(call->flow)->health, call->pool, &call->pool->sources[i].ip,
                                        call->now, call->arena);
}

/* The caller's fiber waits while the owner fills its arena. */
static struct source_health *health_of(struct daemon *d, const struct pool *pool, struct arena *arena) {
    struct health_call call = {&d->flow, pool, arena_array(arena, struct source_health, pool->source_count),
                               arena, clock_wall_ms()};
    worker_call(rt_owner(d->rt, STR("pool"), pool->name), health_on_owner, &call);
    return call.health;
}

struct pool_count {
    const struct pools *pools;
    struct api_pool *rows;
};

/* What waits and what health is known of belongs to this node's site; names may come again at others. */
static bool stands_here(const struct pools *pools, const struct pool *pool) {
    return pools->sites[pool->site].here;
}

static void count_lanes(const struct queue_status *queue, struct pool_count *to) {
    for (size_t i = 0; i < queue->lane_count; i++)
        for (size_t p = 0; p < to->pools->pool_count; p++)
            if (stands_here(to->pools, &to->pools->pools[p]) &&
                str_eq(queue->lanes[i].pool, to->pools->pools[p].name)) {
                to->rows[p].sending += (int64_t)queue->lanes[i].sending;
                to->rows[p].waiting += (int64_t)queue->lanes[i].ready;
            }
}

static void count_waiting(struct daemon *d, struct pool_count *to) {
    for (size_t p = 0; p < to->pools->pool_count; p++) {
        struct queue_filter filter = {.pool = to->pools->pools[p].name};
        uint64_t cursor = 0;
        if (!stands_here(to->pools, &to->pools->pools[p]))
            continue;
        do {
            struct arena *arena = arena_new(0);
            struct queue_row *rows;
            size_t count = queue_list(d->flow.queue, &filter, PAGE, &cursor, arena, &rows);
            for (size_t i = 0; i < count; i++) {
                to->rows[p].held += rows[i].state == DELIVERY_HELD;
                to->rows[p].waiting += rows[i].state == DELIVERY_WAITING;
            }
            arena_free(arena);
        } while (cursor);
    }
}

static struct str carries_text(const struct pool *pool, struct arena *arena) {
    struct str text = STR("");
    for (int c = 0; c < MAIL_CLASS_COUNT; c++)
        if (pool_carries(pool, (enum mail_class)c))
            text = str_printf(arena, "%.*s%s%s", STR_FMT(text), text.len ? ", " : "",
                              mail_class_name((enum mail_class)c));
    return text;
}

int backend_pools(void *arg, void (*row)(void *, const struct api_pool *), void *to, struct buf *ret_why) {
    struct daemon *d = arg;
    struct arena *arena = arena_new(0);
    struct settings *s = flow_settings(&d->flow);
    struct queue_status queue;
    struct pool_count counts = {s->pools, arena_array(arena, struct api_pool, s->pools->pool_count)};
    (void)ret_why;
    queue_status(d->flow.queue, arena, &queue);
    count_lanes(&queue, &counts);
    count_waiting(d, &counts);
    for (size_t p = 0; p < s->pools->pool_count; p++) {
        const struct pool *pool = &s->pools->pools[p];
        struct api_pool *out = &counts.rows[p];
        bool here = stands_here(s->pools, pool);
        struct source_health *health = here ? health_of(d, pool, arena) : NULL;
        for (uint32_t i = 0; here && i < pool->source_count; i++) {
            out->usable += !health[i].resting_until;
            out->delivered += (int64_t)health[i].delivered;
            out->failed += (int64_t)health[i].failed;
        }
        out->name = pool->name;
        out->site = s->pools->sites[pool->site].name;
        out->class_tag = pool->code;
        out->carries = carries_text(pool, arena);
        out->spf = str_of(pool_spf_text(pool));
        out->sources = pool->source_count;
        row(to, out);
    }
    settings_unref(s);
    arena_free(arena);
    return 0;
}

/* `health` is that of its pool at this site; NULL: elsewhere. */
static struct api_source source_row(const struct daemon *d, const struct source *source,
                                    const struct pool *pool, const struct source_health *health,
                                    struct arena *arena) {
    static const struct source_health none;
    const struct source_health *h = health ? health : &none;
    struct str lists = STR("");
    struct api_source row = {
        .ip = source->ip,
        .pool = pool->name,
        .ptr = str_of(source->ptr),
        .ehlo = str_of(source->ehlo),
        .state = !health            ? STR("elsewhere")
                 : h->resting_until ? STR("resting")
                                    : STR("healthy"),
        .why = h->reason,
        .until = h->resting_until == REST_UNTIL_WOKEN ? 0 : h->resting_until,
        .last_used = h->last_used,
        .connections = (int64_t)h->picked,
        .delivered = (int64_t)h->delivered,
        .failed = (int64_t)h->failed,
    };
    row.listed = health ? watch_listings(d->watch, &source->ip, arena, &lists) : 0;
    if (row.listed && !(h->causes & 1u << REST_LISTED))
        row.why = str_printf(arena, "%.*s%son %.*s, and stays", STR_FMT(h->reason), h->reason.len ? "; " : "",
                             STR_FMT(lists));
    return row;
}

int backend_sources(void *arg, struct str only, void (*row)(void *, const struct api_source *), void *to,
                    struct buf *ret_why) {
    struct daemon *d = arg;
    struct arena *arena = arena_new(0);
    struct settings *s = flow_settings(&d->flow);
    (void)ret_why;
    for (size_t p = 0; p < s->pools->pool_count; p++) {
        const struct pool *pool = &s->pools->pools[p];
        if (only.len && !str_eq(only, pool->name))
            continue;
        struct source_health *health = stands_here(s->pools, pool) ? health_of(d, pool, arena) : NULL;
        for (uint32_t i = 0; i < pool->source_count; i++) {
            struct api_source one = source_row(d, &pool->sources[i], pool, health ? &health[i] : NULL, arena);
            row(to, &one);
        }
    }
    settings_unref(s);
    arena_free(arena);
    return 0;
}

static struct str causes_text(unsigned causes, struct arena *arena) {
    struct str text = STR("");
    for (int c = 0; c < REST_CAUSE_COUNT; c++)
        if (causes >> c & 1u)
            text = str_printf(arena, "%.*s%s%s", STR_FMT(text), text.len ? ", " : "",
                              rest_cause_text((enum rest_cause)c));
    return text;
}

int backend_source(void *arg, const struct ip *ip, struct arena *arena, struct api_source_detail *ret,
                   struct buf *ret_why) {
    struct daemon *d = arg;
    char text[IP_TEXT_SIZE];
    struct settings *s = flow_settings(&d->flow);
    const struct source *source = source_find(s->pools, ip);
    if (!source) {
        buf_printf(ret_why, "%s is none of the addresses of the pools", ip_text(ip, text));
        settings_unref(s);
        return SLUICE_ENOTFOUND;
    }
    const struct pool *pool = &s->pools->pools[source->pool];
    struct source_health *health = stands_here(s->pools, pool) ? health_of(d, pool, arena) : NULL;
    const struct source_health *own = health ? &health[source - pool->sources] : NULL;
    *ret = (struct api_source_detail){.source = source_row(d, source, pool, own, arena)};
    ret->source.pool = str_copy(arena, pool->name);
    ret->source.ptr = str_copy(arena, ret->source.ptr);
    ret->source.ehlo = str_copy(arena, ret->source.ehlo);
    ret->site = str_copy(arena, s->pools->sites[pool->site].name);
    ret->carries = carries_text(pool, arena);
    ret->stays_listed = pool->stays_listed;
    ret->causes = causes_text(own ? own->causes : 0, arena);
    watch_show(d->watch, ip, arena, ret);
    watch_history(d->log, s->trace_dir, ip, arena, ret);
    settings_unref(s);
    return 0;
}

void backend_pool_metrics(struct daemon *d, void (*add)(void *, const struct api_metric *), void *to) {
    struct arena *arena = arena_new(0);
    struct settings *s = flow_settings(&d->flow);
    for (size_t p = 0; p < s->pools->pool_count; p++) {
        const struct pool *pool = &s->pools->pools[p];
        if (!stands_here(s->pools, pool))
            continue;
        struct source_health *health = health_of(d, pool, arena);
        size_t resting = 0;
        for (uint32_t i = 0; i < pool->source_count; i++)
            resting += health[i].resting_until > 0;
        add(to, &(struct api_metric){"sluice_source_resting", "addresses of the pool that rest", false,
                                     "pool", pool->name, (double)resting});
    }
    settings_unref(s);
    arena_free(arena);
}
