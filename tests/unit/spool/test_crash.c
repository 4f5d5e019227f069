/* Power loss at every sync point: what a simulated disk may then hold, against the model (invariant 2). */
#include "cmocka_setup.h"
#include <pthread.h>

#include "model.h"
#include <stdlib.h>

struct run {
    struct model model;
    struct simdisk *next; /* one of the crashes, for the next round */
    struct facts next_facts;
    unsigned syncs, until;
    unsigned each;   /* random states at each sync */
    unsigned reopen; /* one in so many is opened too */
    bool exhaustive;
    uint64_t work_chance, crash_chance; /* of two threads */
};

static void try_state(struct run *r, const uint8_t *kept, uint64_t seed) {
    struct model *m = &r->model;
    struct simdisk *d = simdisk_crash(r->next, kept, seed);
    model_verify(m, &m->facts, d, r->reopen && m->states % r->reopen == 0);
    simdisk_free(d);
}

/* Every subset of what is loose; with more than 12 things, every subset of the newest 8 with some of the
 * rest. */
static void try_all(struct run *r, struct simdisk *disk) {
    size_t loose = simdisk_loose(disk);
    size_t free_bits = loose <= 12 ? loose : 8, patterns = loose <= 12 ? 1 : 3;
    uint8_t *kept = calloc(loose / 8 + 2, 1);
    for (size_t p = 0; p < patterns; p++) {
        for (size_t i = 0; i < loose; i++)
            if (p == 1 || (p == 2 && draw(&r->crash_chance, 2)))
                kept[i / 8] |= (uint8_t)(1u << i % 8);
        for (uint32_t set = 0; set < 1u << free_bits; set++) {
            for (size_t b = 0; b < free_bits; b++) {
                size_t i = loose - free_bits + b;
                kept[i / 8] = (uint8_t)((kept[i / 8] & ~(1u << i % 8)) | (set >> b & 1) << i % 8);
            }
            try_state(r, kept, set);
        }
    }
    free(kept);
}

static void on_sync(void *arg, struct simdisk *disk) {
    struct run *r = arg;
    struct model *m = &r->model;
    pthread_mutex_lock(&m->lock);
    struct simdisk *before = r->next;
    r->next = disk;
    if (r->exhaustive)
        try_all(r, disk);
    for (unsigned i = 0; i < r->each; i++)
        try_state(r, NULL, draw(&r->crash_chance, UINT64_MAX));
    r->next = before;
    if (++r->syncs == r->until) {
        simdisk_free(r->next);
        r->next = simdisk_crash(disk, NULL, draw(&r->crash_chance, UINT64_MAX));
        r->next_facts = m->facts;
    }
    pthread_mutex_unlock(&m->lock);
}

static struct mail_shape some_shape(struct run *r) {
    static const struct mail_shape shapes[] = {
        {1, 1, 100, 0}, {1, 1, 0, 0}, {1, 2, 3000, 40}, {2, 2, 700, 900}, {1, 1, 9000, 0}, {1, 3, 30000, 0},
    };
    return shapes[draw(&r->work_chance, COUNT(shapes))];
}

/* Mail comes in and goes out; a few old ones stay. */
static void some_work(struct run *r, struct spool *s, unsigned steps) {
    struct model *m = &r->model;
    for (unsigned i = 0; i < steps && m->facts.count < MODEL_MESSAGES; i++) {
        uint64_t what = draw(&r->work_chance, 10);
        if (what < 4) {
            struct mail_shape shape = some_shape(r);
            model_send(m, s, &shape);
        } else if (m->facts.count) {
            uint64_t newest = m->facts.count, span = newest < 12 ? newest : 12;
            uint64_t number = draw(&r->work_chance, 20) ? newest - 1 - draw(&r->work_chance, span)
                                                        : draw(&r->work_chance, newest);
            uint32_t recipient = (uint32_t)draw(&r->work_chance, MODEL_RECIPIENTS);
            if (what < 9)
                model_end(m, s, number, recipient);
            else
                model_defer(m, s, number, recipient);
        }
        model_wait(m, (unsigned)draw(&r->work_chance, 6));
    }
    model_wait(m, 0);
}

static void assert_right(const struct run *r) {
    if (r->model.why[0])
        fail_msg("%s (state %llu)", r->model.why, (unsigned long long)r->model.states);
}

/* Rounds: each starts from a crash in the one before. */
static void play(uint64_t seed, uint64_t disk_limit, unsigned rounds, unsigned steps, unsigned each,
                 unsigned reopen) {
    struct run *r = calloc(1, sizeof *r);
    struct simdisk *disk = simdisk_new();
    model_init(&r->model);
    r->model.disk_limit = disk_limit;
    r->work_chance = r->crash_chance = seed;
    for (unsigned i = 0; i < rounds && !r->model.why[0]; i++) {
        struct spool *s = model_open(&r->model, disk);
        r->each = each;
        r->reopen = reopen;
        r->syncs = 0;
        r->until = 1 + (unsigned)draw(&r->work_chance, steps / 2);
        simdisk_on_sync(disk, on_sync, r);
        some_work(r, s, steps);
        spool_close(s);
        assert_right(r);
        simdisk_on_sync(disk, NULL, NULL);
        model_verify(&r->model, &r->model.facts, disk, false);
        assert_right(r);
        if (r->next) {
            simdisk_free(disk);
            disk = r->next;
            r->next = NULL;
            r->model.facts = r->next_facts;
            model_verify(&r->model, &r->model.facts, disk, false);
        }
    }
    assert_right(r);
    print_message("%llu crash states, %llu messages\n", (unsigned long long)r->model.states,
                  (unsigned long long)r->model.facts.count);
    simdisk_free(disk);
    model_free(&r->model);
    free(r);
}

static void test_random(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++)
        play(seed, seed % 2 ? 0 : 8 * 64 * 1024, 4, 120, 3, 16);
}

static void test_every_subset(void **state) {
    (void)state;
    static const struct mail_shape small = {1, 1, 200, 0}, two = {1, 2, 900, 0};
    struct run *r = calloc(1, sizeof *r);
    struct simdisk *disk = simdisk_new();
    model_init(&r->model);
    r->exhaustive = true;
    struct spool *s = model_open(&r->model, disk);
    simdisk_on_sync(disk, on_sync, r);
    model_send(&r->model, s, &small);
    model_wait(&r->model, 0);
    model_send(&r->model, s, &two);
    model_send(&r->model, s, &small);
    model_wait(&r->model, 0);
    model_defer(&r->model, s, 1, 0);
    model_end(&r->model, s, 0, 0);
    model_wait(&r->model, 0);
    model_end(&r->model, s, 1, 0);
    model_wait(&r->model, 0);
    spool_close(s);
    assert_right(r);
    print_message("%llu crash states\n", (unsigned long long)r->model.states);
    simdisk_free(disk);
    model_free(&r->model);
    free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_subset),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
