/* Many questions to the configured DNS, on a runtime of one worker. */
#include "base/clock.h"
#include "cmd/dns.h"
#include "flow/flow.h"
#include "rt/fiber.h"
#include <errno.h>
#include <semaphore.h>

enum { FIBERS = 64, GIVE_UP = FIBERS * 2 };

struct asking {
    const struct dns_questions *questions;
    struct resolver *resolver;
    size_t next; /* touched on the worker only, as all below */
    size_t answered, failed, running;
    sem_t done;
};

static void run(void *arg) {
    struct asking *a = arg;
    while (a->next < a->questions->count) {
        size_t number = a->next++;
        bool dead = !a->answered && a->failed >= GIVE_UP;
        if (a->questions->ask(a->questions->ctx, number, dead ? NULL : a->resolver))
            a->answered++;
        else
            a->failed++;
    }
    if (--a->running == 0)
        sem_post(&a->done);
}

static void start(void *arg) {
    struct asking *a = arg;
    a->running = 1;
    for (int i = 0; i < FIBERS; i++)
        a->running += fiber_start(run, a) == 0;
    if (--a->running == 0)
        sem_post(&a->done);
}

/* A look-up that was given up may still be under way: the resolver goes when all fibers have ended. */
static void close_resolver(void *arg) {
    struct asking *a = arg;
    a->resolver = resolver_free(a->resolver);
}

int cmd_dns_ask(struct cli *cli, const struct settings *settings, const struct dns_questions *questions) {
    struct asking a = {.questions = questions};
    struct str why = STR("the runtime can't be started");
    struct rt *rt = NULL;
    sem_init(&a.done, 0, 0);
    int bad = rt_new(1, 1, NULL, &rt);
    if (!bad) {
        rt_at_end(rt, close_resolver, &a);
        bad = flow_resolver(settings, rt_worker(rt, 0), cli->arena, &why, &a.resolver);
    }
    if (!bad)
        bad = rt_start(rt);
    if (!bad) {
        worker_post(rt_worker(rt, 0), start, &a);
        while (sem_wait(&a.done) != 0 && errno == EINTR)
            continue;
        bad = a.next < questions->count;
    }
    if (bad)
        fprintf(cli->err, "sluice: %.*s\n", STR_FMT(cli_safe(cli->arena, why, 0)));
    rt_free(rt);
    sem_destroy(&a.done);
    return bad ? CLI_NO : CLI_DONE;
}
