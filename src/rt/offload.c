#include "base/arena.h"
#include "rt/loop.h"
#include <stdlib.h>

struct job {
    struct job *next;
    void (*fn)(void *);
    void *arg;
    struct latch done;
};

struct offload_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct job *first, *last;
    bool ending;
    unsigned count, started;
    pthread_t threads[];
};

struct offload_pool *offload_new(unsigned threads) {
    struct offload_pool *p = xcalloc(1, sizeof *p + threads * sizeof p->threads[0]);
    p->count = threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    return p;
}

static struct job *take(struct offload_pool *p) {
    pthread_mutex_lock(&p->lock);
    while (!p->first && !p->ending)
        pthread_cond_wait(&p->work, &p->lock);
    struct job *j = p->first;
    if (j) {
        p->first = j->next;
        if (!p->first)
            p->last = NULL;
    }
    pthread_mutex_unlock(&p->lock);
    return j;
}

static void *offload_main(void *arg) {
    struct job *j;
    while ((j = take(arg))) {
        j->fn(j->arg);
        latch_set(&j->done);
    }
    return NULL;
}

int offload_start(struct offload_pool *p) {
    while (p->started < p->count) {
        if (pthread_create(&p->threads[p->started], NULL, offload_main, p))
            return SLUICE_ELIMIT;
        pthread_setname_np(p->threads[p->started++], "offload");
    }
    return 0;
}

/* When no fiber is left, so no job either. */
struct offload_pool *offload_free(struct offload_pool *p) {
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->started; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return NULL;
}

static void put(struct offload_pool *p, struct job *j) {
    pthread_mutex_lock(&p->lock);
    if (p->last)
        p->last->next = j;
    else
        p->first = j;
    p->last = j;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

void offload_run(struct offload_pool *p, void (*fn)(void *), void *arg) {
    struct job j = {.fn = fn, .arg = arg};
    latch_init(&j.done);
    put(p, &j);
    latch_wait(&j.done);
}
