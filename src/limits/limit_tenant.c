#include "limits/limit_tenant.h"
#include "base/error.h"
#include "base/map.h"
#include "limits/limit_pack.h"

#include <stdlib.h>

struct total {
    struct limit_total saved;
    uint64_t reserved;
};

struct limit_tenants {
    struct map *by_name;
};

static const struct limit_span *const day = &limit_spans[LIMIT_RECIPIENTS_DAY];

struct limit_tenants *limit_tenants_new(void) {
    struct limit_tenants *t = xcalloc(1, sizeof *t);
    t->by_name = map_new(true);
    return t;
}

struct limit_tenants *limit_tenants_free(struct limit_tenants *t) {
    if (!t)
        return NULL;
    struct str name;
    void *total;
    for (size_t at = 0; map_next(t->by_name, &at, &name, &total);)
        free(total);
    map_free(t->by_name);
    free(t);
    return NULL;
}

static struct total *total_of(struct limit_tenants *t, struct str tenant) {
    struct total *total = map_get(t->by_name, tenant);
    if (!total) {
        total = xcalloc(1, sizeof *total);
        map_put(t->by_name, tenant, total);
    }
    return total;
}

/* The total as it is at `half`. */
static struct limit_total at_time(const struct limit_total *saved, uint32_t half, uint32_t limit) {
    struct limit_total now = *saved;
    uint32_t last = now.last / day->halves, tick = half / day->halves;
    if (tick < last) { /* the clock went back: as if just sent */
        for (unsigned i = 0; i < now.window.marks; i++)
            now.window.at[i] -= last - tick;
        last = tick;
    }
    limit_window_advance(&now.window, day->ticks, last, tick);
    limit_window_fit(&now.window, last, limit_unit(limit));
    now.last = half;
    return now;
}

uint32_t limit_tenants_used(const struct limit_tenants *t, struct str tenant, int64_t now, uint32_t limit) {
    const struct total *total = map_get(t->by_name, tenant);
    if (!total)
        return 0;
    struct limit_total then = at_time(&total->saved, limit_half(now), limit);
    uint64_t used = limit_window_count(&then.window) + total->reserved;
    return used > UINT32_MAX ? UINT32_MAX : (uint32_t)used;
}

void limit_tenants_reserve(struct limit_tenants *t, struct str tenant, uint32_t external) {
    total_of(t, tenant)->reserved += external;
}

void limit_tenants_settle(struct limit_tenants *t, struct str tenant, int64_t now, uint32_t limit,
                          uint32_t external, bool committed) {
    struct total *total = total_of(t, tenant);
    total->reserved -= total->reserved < external ? total->reserved : external;
    if (!committed)
        return;
    total->saved = at_time(&total->saved, limit_half(now), limit);
    limit_window_add(&total->saved.window, total->saved.last / day->halves, external);
}

bool limit_tenants_next(const struct limit_tenants *t, size_t *at, struct str *ret_tenant,
                        const struct limit_total **ret) {
    void *total;
    if (!map_next(t->by_name, at, ret_tenant, &total))
        return false;
    *ret = &((struct total *)total)->saved;
    return true;
}

int limit_tenants_put(struct limit_tenants *t, struct str tenant, const struct limit_total *saved) {
    const struct limit_window *w = &saved->window;
    uint32_t last = saved->last / day->halves;
    if (!limit_window_valid(w, last) || (w->marks && last - w->at[0] > day->ticks) ||
        saved->last > UINT32_MAX - LIMIT_HALF_MARGIN || saved->last < LIMIT_HALF_MARGIN)
        return SLUICE_ECORRUPT;
    total_of(t, tenant)->saved = *saved;
    return 0;
}
