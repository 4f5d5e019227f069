#include "watch/fresh_resolver.h"
#include "rt/fiber.h"

/* ---- made and freed on the loop: a fiber's stack is too small ---- */

struct call {
    const struct settings *settings;
    struct arena *arena;
    struct str why;
    struct resolver *resolver;
    int error;
    struct latch latch;
};

static void make(void *arg) {
    struct call *call = arg;
    call->error = flow_resolver(call->settings, worker_self(), call->arena, &call->why, &call->resolver);
    latch_set(&call->latch);
}

static void unmake(void *arg) {
    struct call *call = arg;
    resolver_free(call->resolver);
    latch_set(&call->latch);
}

int fresh_resolver_new(const struct settings *s, struct arena *arena, struct str *ret_why,
                       struct resolver **ret) {
    struct call call = {.settings = s, .arena = arena};
    latch_init(&call.latch);
    worker_post(worker_self(), make, &call);
    latch_wait(&call.latch);
    *ret_why = call.why, *ret = call.resolver;
    return call.error;
}

void fresh_resolver_free(struct resolver *resolver) {
    struct call call = {.resolver = resolver};
    if (!resolver)
        return;
    latch_init(&call.latch);
    worker_post(worker_self(), unmake, &call);
    latch_wait(&call.latch);
}

/* ---- fibers ---- */

struct team {
    void (*fn)(void *);
    void *arg;
    unsigned running;
    struct latch done;
};

static void play(void *arg) {
    struct team *team = arg;
    team->fn(team->arg);
    if (--team->running == 0)
        latch_set(&team->done);
}

void fresh_fibers(unsigned count, void (*fn)(void *), void *arg) {
    struct team team = {.fn = fn, .arg = arg};
    latch_init(&team.done);
    for (unsigned i = 0; i < count; i++)
        team.running += fiber_start(play, &team) == 0;
    if (team.running)
        latch_wait(&team.done);
    else
        fn(arg);
}
