/* The fibers of a home: they find routes, and tell flow of what can't be sent. */
#include "queue/parts.h"

#include "base/clock.h"

#include <stdlib.h>

enum { ROUTING_MAX = 256, TELLERS_MAX = 16, TOLD_MAX = 256, ROUTE_MS = 30 * 1000 };

static void route_fiber(void *arg) {
    struct queue_domain *domain = arg;
    struct queue_worker *w = domain->home;
    struct queue *queue = w->queue;
    struct shared_settings *shared = w->shared;
    atomic_fetch_add(&shared->references, 1);
    struct route *route;
    route_find(shared->settings, queue->calls.resolver(queue->calls.arg, w->worker), domain->name,
               domain->via, clock_mono_ms() + ROUTE_MS, &route);
    bool outdated = shared != w->shared;
    shared_settings_unref(shared);
    w->routing--;
    domain->busy = false;
    if (fiber_yield() == SLUICE_ECANCELLED) {
        route_unref(route);
        return;
    }
    route_unref(domain->route);
    domain->route = route;
    home_routed(w, domain);
    if (outdated)
        domain->route_until = 0;
    ask_next(w);
}

void ask_next(struct queue_worker *w) {
    while (w->line_first && w->routing < ROUTING_MAX) {
        struct queue_domain *domain = w->line_first;
        if (fiber_start(route_fiber, domain) < 0)
            return; /* the tick tries again */
        w->routing++;
        w->line_first = domain->next_in_line;
        if (!w->line_first)
            w->line_last = NULL;
        domain->next_in_line = NULL;
    }
}

void ask_route(struct queue_worker *w, struct queue_domain *domain) {
    if (domain->busy)
        return;
    domain->busy = true;
    if (w->line_last)
        w->line_last->next_in_line = domain;
    else
        w->line_first = domain;
    w->line_last = domain;
    ask_next(w);
}

/* Deliveries of one message and group with the same fate. */
static size_t next_told(struct queue_worker *w, struct delivery **told, const struct route **ret_why) {
    size_t count = 0;
    for (struct delivery *d; count < TOLD_MAX && (d = w->telling.first); count++) {
        if (count && (d->message != told[0]->message || d->group != told[0]->group || d->route != *ret_why))
            break;
        list_pop(&w->telling);
        *ret_why = d->route;
        if (count)
            route_unref(d->route);
        d->route = NULL;
        told[count] = d;
    }
    return count;
}

static void teller_fiber(void *arg) {
    struct queue_worker *w = arg;
    struct queue_calls *calls = &w->queue->calls;
    struct delivery **told = xcalloc(TOLD_MAX, sizeof(struct delivery *));
    const struct route *why;
    for (size_t count; fiber_yield() == 0 && (count = next_told(w, told, &why));) {
        struct arena *arena = arena_new(0);
        struct outcome outcome = outcome_copy(arena, why ? why->outcome : told[0]->domain->last.outcome);
        (why ? calls->unroutable : calls->expired)(calls->arg, told, count, &outcome);
        route_unref(why);
        arena_free(arena);
    }
    free(told);
    w->tellers--;
}

void tell_next(struct queue_worker *w) {
    while (w->telling.first && w->tellers < TELLERS_MAX) {
        if (fiber_start(teller_fiber, w) < 0)
            return; /* the tick tries again */
        w->tellers++;
    }
}

void tell(struct queue_worker *w, struct delivery *delivery, const struct route *why) {
    delivery->route = why ? route_ref(why) : NULL;
    list_add(&w->telling, delivery);
    if (!w->tellers || w->telling.first != w->telling.last)
        tell_next(w);
}
