/* A worker as home of messages: it keeps their deliveries until they are due, and sends them on to the owner
 * of their receiver. */
#include "queue/lane.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BATCH = 1000,             /* due deliveries handled before others get their turn */
    TIMER_MAX_MS = 30 * 1000, /* the wall clock may be set */
    NO_POOL_MS = 60 * 1000,
    ROUTE_MIN_S = 5,
    ROUTE_MAX_S = 60,
};

int64_t queue_now(struct queue *queue) {
    return queue->calls.now ? queue->calls.now(queue->calls.arg) : clock_wall_ms();
}

uint64_t queue_random(struct queue_worker *w) {
    uint64_t z = w->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void list_add(struct delivery_list *list, struct delivery *delivery) {
    delivery->after = NULL;
    delivery->before = list->last;
    if (list->last)
        list->last->after = delivery;
    else
        list->first = delivery;
    list->last = delivery;
}

static void list_remove(struct delivery_list *list, struct delivery *delivery) {
    *(delivery->before ? &delivery->before->after : &list->first) = delivery->after;
    *(delivery->after ? &delivery->after->before : &list->last) = delivery->before;
}

struct delivery *list_pop(struct delivery_list *list) {
    struct delivery *first = list->first;
    if (first)
        list_remove(list, first);
    return first;
}

const struct retry_schedule *schedule_of_pool(struct queue_worker *w, uint16_t pool) {
    if (pool >= w->schedule_count) {
        uint32_t count = pool + 16u;
        w->schedules = xrealloc(w->schedules, count * sizeof *w->schedules);
        memset(w->schedules + w->schedule_count, 0, (count - w->schedule_count) * sizeof *w->schedules);
        w->schedule_count = count;
    }
    if (!w->schedules[pool].expire_ms)
        w->schedules[pool] = retry_schedule_of(settings_of(w), names_at(&w->queue->pools, pool));
    return &w->schedules[pool];
}

/* ---- domains ---- */

static struct queue_domain *domain_get(struct queue_worker *w, struct str name, struct str via) {
    char memory[600];
    struct buf joined = {0};
    struct str key = name;
    if (via.len) {
        int len = snprintf(memory, sizeof memory, "%.*s\n%.*s", STR_FMT(name), STR_FMT(via));
        key = str_from(memory, (size_t)len);
        if (key.len >= sizeof memory) {
            buf_printf(&joined, "%.*s\n%.*s", STR_FMT(name), STR_FMT(via));
            key = buf_view(&joined);
        }
    }
    struct queue_domain *domain = map_get(w->domains, key);
    if (!domain) {
        size_t len = name.len + (via.len ? 1 + via.len : 0);
        domain = xcalloc(1, sizeof *domain + len + 1);
        char *text = (char *)(domain + 1);
        memcpy(text, key.at ? key.at : "", key.len);
        domain->home = w;
        domain->key = str_from(text, len);
        domain->name = str_from(text, name.len);
        domain->via = via.len ? str_from(text + name.len + 1, via.len) : STR_NULL;
        map_put(w->domains, domain->key, domain);
    }
    buf_free(&joined);
    return domain;
}

static void domain_free(struct queue_domain *domain) {
    route_unref(domain->route);
    reason_free(&domain->last);
    free(domain);
}

/* A domain without mail stays for as long as its route is good, so that a busy receiver is asked for once. */
static void sweep_domains(struct queue_worker *w) {
    int64_t now = clock_mono_ms();
    struct queue_domain **link = &w->idle;
    while (*link) {
        struct queue_domain *domain = *link;
        if (domain->count) {
            domain->idle = false;
            *link = domain->next_idle;
        } else if (!domain->busy && domain->route_until <= now) {
            *link = domain->next_idle;
            map_remove(w->domains, domain->key);
            domain_free(domain);
        } else {
            link = &domain->next_idle;
        }
    }
}

/* ---- waiting ---- */

static void timer_fired(void *arg) {
    struct queue_worker *w = arg;
    w->timer = NULL;
    w->timer_at = 0;
    home_run_due(w);
}

static void arm_timer(struct queue_worker *w, int64_t now) {
    struct heap_node *first = heap_first(&w->due);
    if (!first || (w->timer && w->timer_at <= first->key))
        return;
    int64_t wait = first->key > now ? first->key - now : 0;
    if (wait > TIMER_MAX_MS)
        wait = TIMER_MAX_MS;
    worker_timer_cancel(w->timer);
    w->timer_at = now + wait;
    w->timer = worker_after(w->worker, wait, timer_fired, w);
}

static void wait_until(struct queue_worker *w, struct delivery *delivery, int64_t due) {
    atomic_store_explicit(&delivery->state, DELIVERY_WAITING, memory_order_relaxed);
    delivery->due = (struct heap_node){0};
    heap_put(&w->due, &delivery->due, due);
}

void home_hold(struct queue_worker *w, struct delivery *delivery) {
    atomic_store_explicit(&delivery->state, DELIVERY_HELD, memory_order_relaxed);
    delivery->let_go = false;
    w->held++;
}

void home_forget(struct queue_worker *w, struct delivery *delivery) {
    struct queue_domain *domain = delivery->domain;
    store_remove(&w->store, delivery);
    if (--domain->count == 0 && !domain->idle) {
        domain->idle = true;
        domain->next_idle = w->idle;
        w->idle = domain;
    }
}

/* ---- going on ---- */

/* The pool that it leaves from now; false: it waits. */
static bool choose_pool(struct queue_worker *w, struct delivery *delivery) {
    struct queue *queue = w->queue;
    if (!queue->calls.pool)
        return true;
    struct str stored = names_at(&queue->pools, delivery->pool);
    struct str pool = queue->calls.pool(queue->calls.arg, (enum mail_class)delivery->mail_class, stored);
    if (pool.len && str_eq(pool, stored))
        return true;
    uint32_t number = pool.len ? names_put(&queue->pools, pool) : 0;
    if (!number)
        return false;
    delivery->pool = (uint16_t)number;
    return true;
}

static void hand_over(struct queue_worker *w, struct delivery *first, const struct route *route) {
    struct worker *owner = rt_owner(w->queue->rt, STR("receiver"), route->receiver);
    bool forced = false;
    for (struct delivery *d = first; d; d = d->after) {
        d->owner = worker_index(owner) & 0xff;
        d->route = NULL;
        if (d->next & NEXT_FORCED) {
            d->next &= ~NEXT_FORCED;
            forced = true;
        }
    }
    struct queue_worker *there = &w->queue->workers[worker_index(owner)];
    if (forced) {
        struct lane_open *open = xcalloc(1, sizeof *open + route->receiver.len);
        char *text = (char *)(open + 1);
        memcpy(text, route->receiver.at, route->receiver.len);
        *open = (struct lane_open){there, str_from(text, route->receiver.len), first->pool};
        worker_post(owner, lane_open, open);
    }
    first->route = route_ref(route);
    if (there == w && !forced)
        lane_accept(first);
    else
        worker_post(owner, lane_accept, first);
}

/* On its way, now: expired, or to its lane, or asking for the route to it. */
static void go_on(struct queue_worker *w, struct delivery *delivery, int64_t now) {
    atomic_store_explicit(&delivery->state, DELIVERY_ROUTING, memory_order_relaxed);
    const struct retry_schedule *schedule = schedule_of_pool(w, delivery->pool);
    if (retry_expiry(schedule, (int64_t)delivery->arrival_s * 1000) <= now) {
        tell(w, delivery, NULL);
        return;
    }
    if (!choose_pool(w, delivery)) {
        wait_until(w, delivery, now + NO_POOL_MS);
        return;
    }
    struct queue_domain *domain = delivery->domain;
    delivery->route = NULL;
    list_add(&domain->asking, delivery);
    if (!domain->route || domain->route_until <= clock_mono_ms()) {
        ask_route(w, domain);
    } else if (!domain->flushing) {
        domain->flushing = true;
        domain->next_flushing = w->flushing;
        w->flushing = domain;
    }
}

/* Those that wait for the route of their domain go on, with it or to hear why there is none. */
static void pass_on(struct queue_worker *w, struct queue_domain *domain) {
    struct delivery_list asked = domain->asking;
    domain->asking = (struct delivery_list){0};
    if (domain->route->outcome.fate != OUTCOME_DONE) {
        for (struct delivery *d; (d = list_pop(&asked));)
            tell(w, d, domain->route);
        return;
    }
    while (asked.first) {
        struct delivery *first = asked.first, *last = first;
        while (last->after && last->after->pool == first->pool)
            last = last->after;
        asked.first = last->after;
        last->after = NULL;
        hand_over(w, first, domain->route);
    }
}

/* At the end of a turn, so that what belongs together goes together. */
static void flush(struct queue_worker *w) {
    for (struct queue_domain *domain; (domain = w->flushing);) {
        w->flushing = domain->next_flushing;
        domain->flushing = false;
        pass_on(w, domain);
    }
}

void home_routed(struct queue_worker *w, struct queue_domain *domain) {
    uint32_t ttl = domain->route->ttl;
    ttl = ttl < ROUTE_MIN_S ? ROUTE_MIN_S : ttl > ROUTE_MAX_S ? ROUTE_MAX_S : ttl;
    domain->route_until = clock_mono_ms() + (int64_t)ttl * 1000;
    pass_on(w, domain);
}

static void place(struct queue_worker *w, struct delivery *delivery, int64_t due, int64_t now) {
    int64_t expiry = retry_expiry(schedule_of_pool(w, delivery->pool), (int64_t)delivery->arrival_s * 1000);
    if (due > expiry && expiry > now) /* past it: what could not be ended is asked again at `due` */
        due = expiry;
    if (due > now)
        wait_until(w, delivery, due);
    else
        go_on(w, delivery, now);
}

void home_place(struct queue_worker *w, struct delivery *delivery, int64_t due) {
    int64_t now = queue_now(w->queue);
    place(w, delivery, due, now);
    flush(w);
    arm_timer(w, now);
}

void home_run_due(struct queue_worker *w) {
    int64_t now = queue_now(w->queue);
    struct heap_node *first;
    for (int i = 0; i < BATCH && (first = heap_first(&w->due)) && first->key <= now; i++) {
        heap_remove(&w->due, first);
        go_on(w, heap_owner(first, struct delivery, due), now);
    }
    flush(w);
    arm_timer(w, now);
}

bool home_take(struct queue_worker *w, struct delivery *delivery) {
    switch (atomic_load_explicit(&delivery->state, memory_order_relaxed)) {
    case DELIVERY_WAITING:
        heap_remove(&w->due, &delivery->due);
        return true;
    case DELIVERY_HELD:
        w->held--;
        return true;
    case DELIVERY_ROUTING:
        break;
    default:
        return false;
    }
    struct delivery_list *asking = &delivery->domain->asking;
    for (struct delivery *d = asking->first; d; d = d->after)
        if (d == delivery) {
            list_remove(asking, d);
            return true;
        }
    return false;
}

/* ---- coming ---- */

void home_put(struct queue_worker *w, uint64_t message, const struct delivery_init *inits,
              const uint16_t *pools, size_t count) {
    int64_t now = queue_now(w->queue);
    for (size_t i = 0; i < count; i++) {
        const struct delivery_init *init = &inits[i];
        struct delivery *delivery = store_add(&w->store, message);
        delivery->group = init->group;
        delivery->recipient = init->recipient & 0xffffff;
        delivery->attempts = init->attempts;
        delivery->mail_class = init->mail_class & 0x7f;
        delivery->let_go = init->let_go;
        delivery->pool = pools[i];
        delivery->arrival_s = (uint32_t)(init->arrival / 1000);
        if (!ip_is_none(&init->source))
            delivery->source = names_put(&w->queue->sources, str_from(init->source.bytes, 16));
        delivery->domain = domain_get(w, init->domain, init->via);
        delivery->domain->count++;
        if (init->held)
            home_hold(w, delivery);
        else
            place(w, delivery, init->due, now);
    }
    flush(w);
    arm_timer(w, now);
}

bool home_settle(struct queue_worker *w, struct delivery *delivery) {
    if (delivery->how == COME_FINISHED) {
        home_forget(w, delivery);
        return false;
    }
    if (delivery->how == COME_DEFERRED) {
        if (delivery->attempts < UINT16_MAX)
            delivery->attempts++;
        delivery->source = delivery->sticky;
    }
    return true;
}

void home_arrive(void *arg) {
    struct delivery *delivery = arg;
    struct queue_worker *w = delivery->domain->home;
    if (delivery->next & NEXT_PINNED)
        delivery->next |= NEXT_BACK;
    else if (delivery->how == COME_HELD)
        home_hold(w, delivery);
    else if (home_settle(w, delivery))
        home_place(w, delivery, delivery->again);
}

void home_send(struct delivery *delivery) {
    struct worker *home = delivery->domain->home->worker;
    if (worker_self() == home)
        home_arrive(delivery);
    else
        worker_post(home, home_arrive, delivery);
}

void home_tick(struct queue_worker *w) {
    sweep_domains(w);
    ask_next(w);
    tell_next(w);
    home_run_due(w);
}

void home_forget_routes(struct queue_worker *w) {
    size_t at = 0;
    void *value;
    struct str key;
    while (map_next(w->domains, &at, &key, &value))
        ((struct queue_domain *)value)->route_until = 0;
}

static void domains_free(struct queue_worker *w) {
    size_t at = 0;
    void *value;
    struct str key;
    while (w->domains && map_next(w->domains, &at, &key, &value))
        domain_free(value);
    map_free(w->domains);
}

/* At the end: those on their way, or about to be told to flow, hold a route. */
static void drop_routes(struct queue_worker *w) {
    for (uint32_t i = 0; i < w->store.used; i++) {
        struct delivery *d = store_at(&w->store, i);
        if (d && atomic_load_explicit(&d->state, memory_order_relaxed) == DELIVERY_ROUTING)
            route_unref(d->route);
    }
}

void home_free(struct queue_worker *w) {
    drop_routes(w);
    domains_free(w);
    heap_free(&w->due);
    store_free(&w->store);
    free(w->schedules);
}
