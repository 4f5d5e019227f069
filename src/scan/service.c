#include "scan/exchange.h"

#include "base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { TRIP = 3, REST_FIRST_MS = 1000, REST_MAX_MS = 30 * 1000, IDLE_MS = 20 * 1000 };

/* ---- states ---- */

static struct scanner_settings copy_of(struct arena *arena, const struct scanner_settings *s) {
    struct scanner_settings c = *s;
    c.name = str_copy(arena, s->name);
    c.at.text = str_copy(arena, s->at.text);
    c.at.host = str_copy(arena, s->at.host);
    c.at.path = s->at.path ? str_c(arena, str_of(s->at.path)) : NULL;
    c.password = c.user = STR("");
    return c;
}

static struct scanner_state *state_new(struct scan_service *service, const struct scanner_settings *s) {
    struct scanner_state *state = xcalloc(1, sizeof *state);
    state->arena = arena_new(512);
    state->service = service;
    state->settings = copy_of(state->arena, s);
    state->desks = xcalloc(service->workers, sizeof *state->desks);
    state->rest_ms = REST_FIRST_MS;
    return state;
}

struct scanner_state *scan_state_of(struct scan_service *service, const struct scanner_settings *s) {
    pthread_mutex_lock(&service->lock);
    struct scanner_state *state = service->states;
    while (state && !(state->settings.kind == s->kind && str_eq(state->settings.name, s->name) &&
                      str_eq(state->settings.at.text, s->at.text)))
        state = state->next;
    if (!state) {
        state = state_new(service, s);
        state->next = service->states;
        service->states = state;
    }
    pthread_mutex_unlock(&service->lock);
    return state;
}

struct scan_service *scan_service_new(unsigned workers, const struct scan_watcher *watcher) {
    struct scan_service *service = xcalloc(1, sizeof *service);
    pthread_mutex_init(&service->lock, NULL);
    service->workers = workers;
    if (watcher)
        service->watcher = *watcher;
    return service;
}

struct scan_service *scan_service_free(struct scan_service *service) {
    if (!service)
        return NULL;
    while (service->states) {
        struct scanner_state *state = service->states;
        service->states = state->next;
        for (unsigned i = 0; i < service->workers; i++) {
            struct scan_desk *desk = &state->desks[i];
            worker_timer_cancel(desk->reaper);
            while (desk->idle) {
                struct scan_link *link = desk->idle;
                desk->idle = link->next;
                stream_free(link->stream);
                free(link);
            }
        }
        free(state->desks);
        arena_free(state->arena);
        free(state);
    }
    pthread_mutex_destroy(&service->lock);
    free(service);
    return NULL;
}

/* ---- health ---- */

/* Under the lock. */
static struct scan_health health_of(const struct scanner_state *s) {
    return (struct scan_health){
        .name = s->settings.name,
        .kind = str_of(scanner_kind_name(s->settings.kind)),
        .where = s->settings.at.text,
        .up = !s->down,
        .why = str_of(s->why),
        .since = s->since,
        .requests = s->requests,
        .failures = s->failures,
        .time_ms = s->time_ms,
        .spam = s->spam,
        .malware = s->malware,
        .connections = s->connections,
    };
}

static void tell(struct scanner_state *s) {
    const struct scan_watcher *watcher = &s->service->watcher;
    char why[SCAN_WHY_MAX];
    if (!watcher->changed)
        return;
    pthread_mutex_lock(&s->service->lock);
    struct scan_health health = health_of(s);
    memcpy(why, s->why, sizeof why);
    pthread_mutex_unlock(&s->service->lock);
    health.why = str_of(why);
    watcher->changed(watcher->arg, &health);
}

/* A scanner without a fiber that pings it would rest for ever. */
static void start_probe(struct scanner_state *s) {
    pthread_mutex_lock(&s->service->lock);
    bool start = s->down && !s->probing && s->configured;
    s->probing |= start;
    pthread_mutex_unlock(&s->service->lock);
    if (!start || fiber_start(scan_probe, s) == 0)
        return;
    pthread_mutex_lock(&s->service->lock);
    s->probing = false; /* the next message tries again */
    pthread_mutex_unlock(&s->service->lock);
}

bool scan_state_up(struct scanner_state *s, struct arena *arena, struct str *ret_why) {
    char since[CLOCK_RFC3339_SIZE];
    pthread_mutex_lock(&s->service->lock);
    bool up = !s->down;
    if (!up)
        *ret_why = str_printf(arena, "rests since %s: %s", clock_rfc3339(s->since, since), s->why);
    pthread_mutex_unlock(&s->service->lock);
    if (!up)
        start_probe(s);
    return up;
}

void scan_state_good(struct scanner_state *s) {
    pthread_mutex_lock(&s->service->lock);
    s->failures_in_row = 0;
    s->rest_ms = REST_FIRST_MS;
    pthread_mutex_unlock(&s->service->lock);
}

void scan_state_bad(struct scanner_state *s, struct str why) {
    bool tripped = false;
    pthread_mutex_lock(&s->service->lock);
    snprintf(s->why, sizeof s->why, "%.*s", STR_FMT(why));
    if (++s->failures_in_row >= TRIP && !s->down) {
        tripped = s->down = true;
        s->since = clock_wall_ms();
    }
    pthread_mutex_unlock(&s->service->lock);
    if (!tripped)
        return;
    tell(s);
    start_probe(s);
}

void scan_service_configure(struct scan_service *service, const struct scan_settings *settings) {
    struct scanner_state **now = xcalloc(settings->count + 1, sizeof(struct scanner_state *));
    for (size_t i = 0; i < settings->count; i++)
        now[i] = scan_state_of(service, &settings->scanners[i]);
    pthread_mutex_lock(&service->lock);
    for (struct scanner_state *s = service->states; s; s = s->next)
        s->configured = false;
    for (size_t i = 0; i < settings->count; i++) {
        now[i]->configured = true;
        now[i]->order = i;
    }
    pthread_mutex_unlock(&service->lock);
    free(now);
}

void scan_service_health(struct scan_service *service, struct arena *arena, struct scan_health **ret,
                         size_t *ret_count) {
    size_t count = 0;
    pthread_mutex_lock(&service->lock);
    for (struct scanner_state *s = service->states; s; s = s->next)
        count += s->configured;
    *ret = arena_array(arena, struct scan_health, count);
    for (struct scanner_state *s = service->states; s; s = s->next) {
        if (!s->configured || s->order >= count)
            continue;
        struct scan_health *h = &(*ret)[s->order];
        *h = health_of(s);
        h->name = str_copy(arena, h->name);
        h->where = str_copy(arena, h->where);
        h->why = str_copy(arena, h->why);
    }
    pthread_mutex_unlock(&service->lock);
    *ret_count = count;
}

/* ---- probing ---- */

/* Is it still wanted? Gives the rest before the next ping, and doubles it. */
static bool next_rest(struct scanner_state *s, int64_t *ret_rest) {
    pthread_mutex_lock(&s->service->lock);
    *ret_rest = s->rest_ms;
    s->rest_ms = s->rest_ms * 2 < REST_MAX_MS ? s->rest_ms * 2 : REST_MAX_MS;
    bool wanted = s->configured;
    pthread_mutex_unlock(&s->service->lock);
    return wanted;
}

static void came_back(struct scanner_state *s) {
    pthread_mutex_lock(&s->service->lock);
    s->down = false;
    s->failures_in_row = TRIP - 1; /* it must prove itself with a message */
    s->since = clock_wall_ms();
    pthread_mutex_unlock(&s->service->lock);
    tell(s);
}

void scan_probe(void *arg) {
    struct scanner_state *s = arg;
    const struct scan_watcher *watcher = &s->service->watcher;
    int64_t rest;
    bool back = false, wanted;
    while ((wanted = next_rest(s, &rest)) && fiber_sleep(rest) == 0) {
        struct str why;
        struct resolver *resolver = watcher->resolver ? watcher->resolver(watcher->arg) : NULL;
        back = scan_ping(&s->settings, resolver, &why) == 0;
        if (back)
            break;
        pthread_mutex_lock(&s->service->lock);
        snprintf(s->why, sizeof s->why, "%.*s", STR_FMT(why));
        pthread_mutex_unlock(&s->service->lock);
    }
    if (back || !wanted)
        came_back(s);
    pthread_mutex_lock(&s->service->lock);
    s->probing = false;
    pthread_mutex_unlock(&s->service->lock);
}

/* ---- connections ---- */

struct scan_desk *scan_desk_of(struct scanner_state *s) {
    return &s->desks[worker_index(worker_self())];
}

/* Nothing to read and not at its end. */
static bool is_quiet(const struct stream *stream) {
    char byte;
    return recv(stream_fd(stream), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

struct stream *scan_desk_take(struct scan_desk *desk) {
    struct stream *stream = NULL;
    while (desk->idle && !stream) {
        struct scan_link *link = desk->idle;
        desk->idle = link->next;
        stream = is_quiet(link->stream) ? link->stream : stream_free(link->stream);
        free(link);
    }
    return stream;
}

/* Closes what has been idle for long; the newest stand first. */
static void reap(void *arg) {
    struct scan_desk *desk = arg;
    struct scan_link **at = &desk->idle;
    int64_t before = clock_mono_ms() - IDLE_MS;
    desk->reaper = NULL;
    while (*at && (*at)->since > before)
        at = &(*at)->next;
    while (*at) {
        struct scan_link *old = *at;
        *at = old->next;
        stream_free(old->stream);
        free(old);
    }
    if (desk->idle)
        desk->reaper = worker_after(worker_self(), IDLE_MS / 2, reap, desk);
}

void scan_desk_keep(struct scanner_state *s, struct stream *stream) {
    struct scan_desk *desk = scan_desk_of(s);
    struct scan_link *link = xcalloc(1, sizeof *link);
    *link = (struct scan_link){stream, clock_mono_ms(), desk->idle};
    desk->idle = link;
    if (!desk->reaper)
        desk->reaper = worker_after(worker_self(), IDLE_MS, reap, desk);
}
