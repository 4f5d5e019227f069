/* spool_bench FOLDER [WAITERS [MESSAGES [BYTES]]] - synced appends a second: so many waiters hand over one
 * message each and wait for its commit. Prints rate, syncs, batches and processor time. */
#include "base/clock.h"
#include "base/error.h"
#include "spool/spool.h"
#include "spool/spool_io.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

struct bench {
    struct spool *spool;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    long left, waiting, failed;
    size_t size;
    char *bytes;
};

/* The fastest way to be a waiter: the callback hands over the next message. */
static void next_message(struct bench *b);

static void ended(void *arg, int error) {
    (void)arg;
    (void)error;
}

static void committed(void *arg, int error, uint64_t message) {
    struct bench *b = arg;
    if (error == 0)
        spool_outcome(b->spool, message, 0, &(struct spool_outcome){.fate = SPOOL_DELIVERED}, ended, NULL);
    pthread_mutex_lock(&b->lock);
    b->failed += error != 0;
    b->waiting--;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
}

static void next_message(struct bench *b) {
    static const struct spool_recipient recipient = {.address = {"bob@example.com", 15}};
    const struct spool_group group = {.pool = STR("normal"),
                                      .rule = STR("own"),
                                      .reason = STR("own mail"),
                                      .reverse_path = STR("alice@contoso.com"),
                                      .recipients = &recipient,
                                      .recipient_count = 1};
    const struct spool_message m = {
        .trace_id = STR("01JD8N0000000000000000000A"), .groups = &group, .group_count = 1};
    struct spool_body *body = spool_body_new(b->spool);
    if (spool_body_add(body, b->bytes, b->size) != 0) {
        spool_body_abort(body);
        committed(b, SLUICE_EIO, 0);
        return;
    }
    spool_commit(b->spool, &m, body, committed, b);
}

static double cpu_seconds(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void run(struct bench *b, long waiters) {
    pthread_mutex_lock(&b->lock);
    while (b->left || b->waiting) {
        if (b->left && b->waiting < waiters) {
            b->left--;
            b->waiting++;
            pthread_mutex_unlock(&b->lock);
            next_message(b);
            pthread_mutex_lock(&b->lock);
        } else {
            pthread_cond_wait(&b->wake, &b->lock);
        }
    }
    pthread_mutex_unlock(&b->lock);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: spool_bench FOLDER [WAITERS [MESSAGES [BYTES]]]\n");
        return 2;
    }
    long waiters = argc > 2 ? strtol(argv[2], NULL, 10) : 32, messages = argc > 3 ? atol(argv[3]) : 50000;
    struct bench b = {.left = messages, .size = argc > 4 ? (size_t)strtol(argv[4], NULL, 10) : 10240};
    struct arena *arena = arena_new(0);
    struct str why;
    struct log *log = log_new(2, LOG_INFO);
    pthread_mutex_init(&b.lock, NULL);
    pthread_cond_init(&b.wake, NULL);
    b.bytes = malloc(b.size);
    memset(b.bytes, 'x', b.size);
    if (spool_open(&(struct spool_options){.dir = argv[1], .log = log}, NULL, NULL, arena, &why, &b.spool) !=
        0) {
        fprintf(stderr, "%.*s\n", STR_FMT(why));
        return 1;
    }
    double cpu = cpu_seconds();
    int64_t begin = clock_mono_ms();
    run(&b, waiters);
    double seconds = (double)(clock_mono_ms() - begin) / 1000, used = cpu_seconds() - cpu;
    struct spool_stats stats;
    spool_stats(b.spool, &stats);
    printf("%ld messages of %zu bytes, %ld waiters: %.0f/s, %.2f s; %llu syncs, %.1f records a commit (most "
           "%u), "
           "%.1f us of cpu a message, %llu segments, %ld failed\n",
           messages, b.size, waiters, (double)messages / seconds, seconds, (unsigned long long)stats.syncs,
           (double)stats.records / (double)(stats.commits ? stats.commits : 1), stats.largest_batch,
           used * 1e6 / (double)messages, (unsigned long long)(stats.segments + stats.spare_segments),
           b.failed);
    spool_close(b.spool);
    log_free(log);
    arena_free(arena);
    free(b.bytes);
    return b.failed != 0;
}
