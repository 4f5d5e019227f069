#include "queue/lane.h"

#include "base/clock.h"

#include <stdlib.h>
#include <sys/random.h>

enum { TICK_MS = 1000, POOL_NAMES_MAX = 65534, SOURCES_MAX = NAMES_CHUNK * NAMES_CHUNKS };

/* ---- settings ---- */

static struct shared_settings *share(const struct queue_settings *settings, unsigned references) {
    struct arena *arena = arena_new(0);
    struct shared_settings *shared = arena_new_of(arena, struct shared_settings);
    shared->references = references;
    shared->arena = arena;
    shared->settings = queue_settings_copy(arena, settings);
    return shared;
}

void shared_settings_unref(struct shared_settings *shared) {
    if (shared && atomic_fetch_sub(&shared->references, 1) == 1)
        arena_free(shared->arena);
}

struct new_settings {
    struct queue_worker *worker;
    struct shared_settings *shared;
};

static void take_settings(void *arg) {
    struct new_settings *next = arg;
    struct queue_worker *w = next->worker;
    shared_settings_unref(w->shared);
    w->shared = next->shared;
    free(next);
    if (w->schedule_count)
        memset(w->schedules, 0, w->schedule_count * sizeof *w->schedules);
    home_forget_routes(w);
    lanes_settings(w);
    home_run_due(w);
}

void queue_set_settings(struct queue *queue, const struct queue_settings *settings) {
    struct shared_settings *shared = share(settings, queue->count);
    for (unsigned i = 0; i < queue->count; i++) {
        struct new_settings *next = xcalloc(1, sizeof *next);
        *next = (struct new_settings){&queue->workers[i], shared};
        worker_post(queue->workers[i].worker, take_settings, next);
    }
}

/* ---- reasons ---- */

void reason_free(struct reason *reason) {
    free(reason->memory);
    *reason = (struct reason){0};
}

void reason_set(struct reason *reason, const struct outcome *outcome) {
    enum { KEPT = 400 };
    reason_free(reason);
    if (!outcome || outcome->fate == OUTCOME_DONE)
        return;
    struct str enhanced = str_head(outcome->enhanced, 16), text = str_head(outcome->text, KEPT);
    reason->memory = xmalloc(enhanced.len + text.len + 1);
    if (enhanced.len)
        memcpy(reason->memory, enhanced.at, enhanced.len);
    if (text.len)
        memcpy(reason->memory + enhanced.len, text.at, text.len);
    reason->outcome = *outcome;
    reason->outcome.enhanced = str_from(reason->memory, enhanced.len);
    reason->outcome.text = str_from(reason->memory + enhanced.len, text.len);
}

struct note {
    struct queue_domain *domain;
    struct reason reason;
};

static void take_note(void *arg) {
    struct note *note = arg;
    reason_free(&note->domain->last);
    note->domain->last = note->reason;
    free(note);
}

void home_note(struct queue_domain *domain, const struct outcome *outcome) {
    struct note *note = xcalloc(1, sizeof *note);
    note->domain = domain;
    reason_set(&note->reason, outcome);
    struct worker *home = domain->home->worker;
    if (worker_self() == home)
        take_note(note);
    else
        worker_post(home, take_note, note);
}

/* ---- putting ---- */

struct put {
    struct queue_worker *home;
    struct arena *arena;
    uint64_t message;
    struct delivery_init *inits;
    uint16_t *pools;
    size_t count;
};

static void take_put(void *arg) {
    struct put *put = arg;
    home_put(put->home, put->message, put->inits, put->pools, put->count);
    arena_free(put->arena);
}

struct queue_worker *queue_home(struct queue *queue, uint64_t message) {
    uint64_t h = message * UINT64_C(0x9e3779b97f4a7c15);
    return &queue->workers[(h >> 33) % queue->count];
}

static void copy_names(struct arena *arena, struct delivery_init *inits, size_t count) {
    for (size_t i = 0; i < count; i++) {
        bool same = i && str_eq(inits[i].domain, inits[i - 1].domain);
        inits[i].domain = same ? inits[i - 1].domain : str_copy(arena, inits[i].domain);
        inits[i].via = str_copy(arena, inits[i].via);
        inits[i].pool = STR_NULL;
    }
}

int queue_put(struct queue *queue, uint64_t message, const struct delivery_init *inits, size_t count) {
    struct arena *arena = arena_new(512 + count * (sizeof *inits + 2));
    uint16_t *pools = arena_array(arena, uint16_t, count);
    for (size_t i = 0; i < count; i++) {
        bool same = i && str_eq(inits[i].pool, inits[i - 1].pool);
        uint32_t number = same ? pools[i - 1] : names_put(&queue->pools, inits[i].pool);
        if (!number || inits[i].recipient >= UINT32_C(1) << 24) {
            arena_free(arena);
            return SLUICE_ELIMIT;
        }
        pools[i] = (uint16_t)number;
    }
    struct queue_worker *home = queue_home(queue, message);
    if (worker_self() == home->worker) {
        home_put(home, message, inits, pools, count);
        arena_free(arena);
        return 0;
    }
    struct put *put = arena_new_of(arena, struct put);
    *put = (struct put){home, arena, message, arena_array(arena, struct delivery_init, count), pools, count};
    if (count)
        memcpy(put->inits, inits, count * sizeof *inits);
    copy_names(arena, put->inits, count);
    worker_post(home->worker, take_put, put);
    return 0;
}

/* ---- life ---- */

struct queue_worker *queue_self(struct queue *queue) {
    struct worker *self = worker_self();
    unsigned index = self ? worker_index(self) : 0;
    return index < queue->count && queue->workers[index].worker == self ? &queue->workers[index] : NULL;
}

static void tick(void *arg) {
    struct queue_worker *w = arg;
    home_tick(w);
    lanes_tick(w);
    worker_after(w->worker, TICK_MS, tick, w);
}

int queue_new(struct rt *rt, const struct queue_settings *settings, const struct queue_calls *calls,
              struct log *log, struct queue **ret) {
    if (rt_count(rt) > 256)
        return SLUICE_ELIMIT; /* delivery.owner has 8 bits */
    struct queue *queue = xcalloc(1, sizeof *queue);
    queue->rt = rt;
    queue->log = log;
    queue->calls = *calls;
    queue->count = rt_count(rt);
    pthread_mutex_init(&queue->all_lock, NULL);
    names_init(&queue->pools, POOL_NAMES_MAX);
    names_init(&queue->sources, SOURCES_MAX);
    queue->workers = xcalloc(queue->count, sizeof *queue->workers);
    struct shared_settings *shared = share(settings, queue->count);
    for (unsigned i = 0; i < queue->count; i++) {
        struct queue_worker *w = &queue->workers[i];
        *w = (struct queue_worker){.queue = queue,
                                   .worker = rt_worker(rt, i),
                                   .index = i,
                                   .shared = shared,
                                   .domains = map_new(true),
                                   .lanes = map_new(false),
                                   .turn = i + 1};
        if (getrandom(&w->random, sizeof w->random, GRND_NONBLOCK) < 0)
            w->random = (uint64_t)clock_wall_ms() + i;
        worker_post(w->worker, tick, w);
    }
    *ret = queue;
    return 0;
}

struct queue *queue_free(struct queue *queue) {
    if (!queue)
        return NULL;
    while (queue->all)
        session_free(queue->all);
    for (unsigned i = 0; i < queue->count; i++) {
        lanes_free(&queue->workers[i]);
        home_free(&queue->workers[i]);
        shared_settings_unref(queue->workers[i].shared);
    }
    names_free(&queue->pools);
    names_free(&queue->sources);
    pthread_mutex_destroy(&queue->all_lock);
    free(queue->workers);
    free(queue);
    return NULL;
}

static void drain_worker(void *arg) { lanes_drain(arg); }

int queue_drain(struct queue *queue, int64_t deadline) {
    atomic_store(&queue->draining, true);
    for (unsigned i = 0; i < queue->count; i++)
        worker_post(queue->workers[i].worker, drain_worker, &queue->workers[i]);
    while (atomic_load(&queue->sessions)) {
        if (clock_mono_ms() >= deadline)
            return SLUICE_ETIMEOUT;
        int error = fiber_sleep(10);
        if (error < 0)
            return error;
    }
    return 0;
}
