#include "rt/dns_once.h"

#include "base/clock.h"
#include "base/map.h"
#include "rt/dns_cache.h"
#include "rt/dns_wire.h"
#include "rt/fiber.h"

#include <stdio.h>
#include <stdlib.h>

struct question {
    struct dns_once *once;
    struct question *next; /* in the order of asking */
    struct fiber *fiber;   /* while it is under way */
    struct str name;
    enum dns_type type;
    struct dns_answer answer;
    struct waiters waiters;
    bool started, done;
    bool failed; /* somebody who wanted the answer did not get it */
};

struct face {
    struct resolver table; /* first: a struct resolver * is one of these */
    struct dns_once *once;
    bool ahead;
};

struct dns_once {
    struct face wanted, ahead;
    struct dns_once_settings settings;
    struct arena *arena;
    struct map *questions; /* by type and name */
    struct question *first, **last;
    struct waiters room;
    unsigned under_way;
    size_t fibers;
    bool closed;
    struct latch ended; /* with `closed`: the last of the fibers has */
};

static void fail(struct dns_answer *ret, struct str why) {
    *ret = (struct dns_answer){.status = DNS_FAILED, .why = why};
}

/* ---- asking below ---- */

static void put(struct question *q, const struct dns_answer *answer) {
    q->answer = *answer;
    q->done = true;
    if (q->once->settings.counts)
        atomic_fetch_add(&q->once->settings.counts->done, 1);
    waiters_wake_all(&q->waiters);
}

/* Without a bound in time: the resolver below has one of its own, and at the end it is cancelled. */
static void ask_below(struct question *q) {
    struct dns_once *once = q->once;
    struct dns_answer answer;
    while (once->under_way >= once->settings.most && !once->closed)
        if (waiters_wait(&once->room, INT64_MAX) != 0)
            break;
    if (once->closed) {
        fail(&answer, once->settings.late);
    } else {
        once->under_way++;
        resolver_lookup(once->settings.below, q->name, q->type, INT64_MAX, once->arena, &answer);
        once->under_way--;
        waiters_wake_one(&once->room);
    }
    put(q, &answer);
}

static void run(void *arg) {
    struct question *q = arg;
    struct dns_once *once = q->once;
    q->fiber = fiber_self();
    ask_below(q);
    q->fiber = NULL;
    if (--once->fibers == 0 && once->closed)
        latch_set(&once->ended);
}

static void start(struct question *q) {
    q->started = true;
    q->once->fibers++;
    if (fiber_start(run, q) == 0)
        return;
    q->once->fibers--;
    ask_below(q); /* no room for a fiber: by who wants to know */
}

static struct question *question_of(struct dns_once *once, struct str name, enum dns_type type) {
    char memory[32 + DNS_NAME_MAX];
    int len = snprintf(memory, sizeof memory, "%u %.*s", (unsigned)type, STR_FMT(name));
    struct str key = str_from(memory, (size_t)len);
    struct question *q = map_get(once->questions, key);
    if (q)
        return q;
    q = arena_new_of(once->arena, struct question);
    *q = (struct question){.once = once, .name = str_copy(once->arena, name), .type = type};
    map_put(once->questions, key, q);
    *once->last = q, once->last = &q->next;
    if (once->settings.counts)
        atomic_fetch_add(&once->settings.counts->asked, 1);
    return q;
}

/* ---- the resolver ---- */

static void lookup(struct resolver *self, struct str written, enum dns_type type, int64_t deadline,
                   struct arena *arena, struct dns_answer *ret) {
    const struct face *face = (const struct face *)(const void *)self;
    struct dns_once *once = face->once;
    char memory[DNS_NAME_MAX];
    struct str name;
    int error = 0;
    if (!dns_name_normal(written, memory, &name)) {
        resolver_lookup(once->settings.below, written, type, deadline, arena, ret); /* it has the words */
        return;
    }
    struct question *q = question_of(once, name, type);
    if (!q->started && clock_mono_ms() < once->settings.deadline)
        start(q);
    for (;;) {
        int64_t end = once->settings.deadline; /* it may move while we wait */
        if (q->done || error == SLUICE_ECANCELLED || clock_mono_ms() >= (deadline < end ? deadline : end))
            break;
        error = waiters_wait(&q->waiters, deadline < end ? deadline : end);
    }
    if (q->done)
        dns_answer_copy(arena, &q->answer, ret);
    else if (error == SLUICE_ECANCELLED)
        fail(ret, STR("cancelled"));
    else
        fail(ret,
             clock_mono_ms() >= once->settings.deadline ? once->settings.late : STR("no answer in time"));
    q->failed |= !face->ahead && ret->status == DNS_FAILED;
}

struct resolver *dns_once_resolver(struct dns_once *once) {
    return &once->wanted.table;
}
struct resolver *dns_once_ahead(struct dns_once *once) {
    return &once->ahead.table;
}

struct dns_once *dns_once_new(const struct dns_once_settings *settings) {
    struct dns_once *once = xcalloc(1, sizeof *once);
    once->wanted = (struct face){.table.lookup = lookup, .once = once};
    once->ahead = (struct face){.table.lookup = lookup, .once = once, .ahead = true};
    once->settings = *settings;
    once->arena = arena_new(0);
    once->questions = map_new(false);
    once->last = &once->first;
    return once;
}

/* ---- the end ---- */

void dns_once_extend(struct dns_once *once, int64_t ms) { once->settings.deadline += ms; }

void dns_once_end(struct dns_once *once) {
    once->settings.deadline = 0;
    for (struct question *q = once->first; q; q = q->next)
        waiters_wake_all(&q->waiters);
}

size_t dns_once_failures(const struct dns_once *once, struct arena *arena, struct dns_once_failure **ret) {
    size_t count = 0, at = 0;
    for (const struct question *q = once->first; q; q = q->next)
        count += q->failed;
    *ret = arena_array(arena, struct dns_once_failure, count);
    for (const struct question *q = once->first; q; q = q->next)
        if (q->failed)
            (*ret)[at++] = (struct dns_once_failure){
                .name = str_copy(arena, q->name),
                .why = str_copy(arena, q->done ? q->answer.why : once->settings.late),
                .type = q->type};
    return count;
}

struct dns_once *dns_once_free(struct dns_once *once) {
    if (!once)
        return NULL;
    latch_init(&once->ended);
    once->closed = true;
    dns_once_end(once);
    for (struct question *q = once->first; q; q = q->next)
        if (q->fiber)
            fiber_cancel(q->fiber);
    if (once->fibers)
        latch_wait(&once->ended);
    map_free(once->questions);
    arena_free(once->arena);
    free(once);
    return NULL;
}
