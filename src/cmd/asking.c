#include "cmd/asking.h"

#include "rt/fiber.h"
#include <errno.h>
#include <semaphore.h>
#include <time.h>

enum { WAITING_MS = 500 };

struct asking {
    const struct cli_asking *how;
    struct flow flow;
    struct flow_worker worker;
    size_t started, running; /* touched on the worker only */
    sem_t done;
};

static void run(void *arg) {
    struct asking *a = arg;
    a->how->run(a->how->ctx, &a->flow);
    if (--a->running == 0)
        sem_post(&a->done);
}

static void start(void *arg) {
    struct asking *a = arg;
    a->running = 1;
    for (unsigned i = 0; i < a->how->fibers; i++)
        if (fiber_start(run, a) == 0)
            a->started++, a->running++;
    if (--a->running == 0)
        sem_post(&a->done);
}

/* A look-up that was given up may still be under way: the resolver goes when all fibers have ended. */
static void close_resolver(void *arg) {
    struct asking *a = arg;
    a->worker.resolver = resolver_free(a->worker.resolver);
}

static void wait_for(struct asking *a) {
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAITING_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L, until.tv_nsec %= 1000000000L;
        if (sem_timedwait(&a->done, &until) == 0)
            return;
        if (errno == ETIMEDOUT && a->how->waiting)
            a->how->waiting(a->how->ctx);
    }
}

static int ask(struct asking *a, const struct settings *settings, struct arena *arena, struct str *ret_why) {
    *ret_why = STR("the runtime can't be started");
    int bad = rt_new(1, 1, NULL, &a->flow.rt);
    if (bad)
        return bad;
    a->worker = (struct flow_worker){.flow = &a->flow, .worker = rt_worker(a->flow.rt, 0), .random = 1};
    rt_at_end(a->flow.rt, close_resolver, a);
    bad = flow_resolver(settings, a->worker.worker, arena, ret_why, &a->worker.resolver);
    if (bad)
        return bad;
    worker_set_data(a->worker.worker, &a->worker);
    bad = rt_start(a->flow.rt);
    if (bad)
        return bad;
    if (a->how->begin)
        a->how->begin(a->how->ctx, a->worker.resolver);
    worker_post(a->worker.worker, start, a);
    wait_for(a);
    *ret_why = STR("no memory for a fiber");
    return a->started ? 0 : SLUICE_ELIMIT;
}

int cli_ask_dns(struct cli *cli, const struct settings *settings, const struct cli_asking *how) {
    struct asking a = {.how = how};
    struct str why;
    sem_init(&a.done, 0, 0);
    int bad = ask(&a, settings, cli->arena, &why);
    if (bad)
        fprintf(cli->err, "sluice: %.*s\n", STR_FMT(cli_safe(cli->arena, why, 0)));
    rt_free(a.flow.rt);
    sem_destroy(&a.done);
    return bad ? CLI_NO : CLI_DONE;
}
