/* What the spool does on a disk that fails, is full, or lies. */
#include "cmocka_setup.h"
#include <pthread.h>

#include "base/error.h"
#include "model.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const struct mail_shape small = {1, 2, 500, 0}, big = {1, 1, 30000, 0};

struct play {
    struct model model;
    struct simdisk *disk;
};

static int setup(void **state) {
    struct play *p = calloc(1, sizeof *p);
    p->disk = simdisk_new();
    model_init(&p->model);
    *state = p;
    return 0;
}

static int teardown(void **state) {
    struct play *p = *state;
    simdisk_free(p->disk);
    model_free(&p->model);
    free(p);
    return 0;
}

static void assert_right(struct play *p) {
    if (p->model.why[0])
        fail_msg("%s", p->model.why);
}

/* Messages that were refused are gone for good; so says the model from here on. */
static void bury_failed(struct play *p) {
    for (size_t i = 0; i < p->model.facts.count; i++)
        p->model.facts.messages[i].dead = p->model.facts.messages[i].failed;
}

static void verify(struct play *p) {
    bury_failed(p);
    struct simdisk *now = simdisk_clone(p->disk);
    model_verify(&p->model, &p->model.facts, now, false);
    simdisk_free(now);
    assert_right(p);
    for (uint64_t seed = 0; seed < 8; seed++) {
        struct simdisk *crashed = simdisk_crash(p->disk, NULL, seed);
        model_verify(&p->model, &p->model.facts, crashed, seed % 4 == 0);
        simdisk_free(crashed);
        assert_right(p);
    }
}

static void wait_for_spares(struct spool *s) {
    struct spool_stats stats;
    do {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        spool_stats(s, &stats);
    } while (stats.spare_segments < 2);
}

static void accepted_again(struct play *p, struct spool *s) {
    for (int tries = 0; tries < 6000; tries++) {
        uint64_t n = model_send(&p->model, s, &small);
        model_wait(&p->model, 0);
        if (p->model.facts.messages[n].acked)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fail_msg("no new mail is accepted");
}

/* ---- A call fails once ---- */

static void fails_once(enum simdisk_call call, unsigned nth, int errno_value) {
    struct play *p;
    setup((void **)&p);
    struct spool *s = model_open(&p->model, p->disk);
    for (int i = 0; i < 4; i++)
        model_send(&p->model, s, &small);
    model_wait(&p->model, 0);
    wait_for_spares(s);
    simdisk_fail(p->disk, call, nth, errno_value);
    for (uint64_t i = 0; i < 12; i++) {
        model_send(&p->model, s, i % 5 == 4 ? &big : &small);
        model_end(&p->model, s, i / 2, i % 2);
        if (i % 3 == 0)
            model_wait(&p->model, 0);
    }
    model_wait(&p->model, 0);
    simdisk_fail(p->disk, call, 0, 0);
    accepted_again(p, s);
    verify(p);
    spool_close(s);
    verify(p);
    teardown((void **)&p);
}

static void test_write_fails(void **state) {
    (void)state;
    for (unsigned nth = 1; nth < 14; nth++)
        fails_once(SIMDISK_WRITE, nth, EIO);
}

static void test_sync_fails(void **state) {
    (void)state;
    for (unsigned nth = 1; nth < 14; nth++)
        fails_once(SIMDISK_SYNC, nth, EIO);
}

static void test_write_says_full(void **state) {
    (void)state;
    for (unsigned nth = 1; nth < 6; nth++)
        fails_once(SIMDISK_WRITE, nth, ENOSPC);
}

/* The outcome of a failed commit is told, counts, and is written into the next segment. */
static void test_outcomes_outlive_a_failure(void **state) {
    struct play *p = *state;
    struct spool *s = model_open(&p->model, p->disk);
    model_send(&p->model, s, &small);
    model_wait(&p->model, 0);
    uint64_t message = p->model.facts.messages[0].message;
    wait_for_spares(s);
    simdisk_fail(p->disk, SIMDISK_SYNC, 1, EIO);
    assert_int_equal(mail_outcome(s, message, 0, SPOOL_DELIVERED), SLUICE_EIO);
    assert_int_equal(mail_outcome(s, message, 0, SPOOL_DELIVERED), 0);
    struct spool_stats stats;
    spool_stats(s, &stats);
    assert_int_equal(stats.failed_commits, 1);
    assert_int_equal(stats.last_error, SLUICE_EIO);
    assert_int_equal(stats.recipients, 1);
    p->model.facts.messages[0].recipients[0].end_sent = true;
    p->model.facts.messages[0].recipients[0].ended = true;
    /* By now, or with the next commit, it is on disk. */
    model_send(&p->model, s, &small);
    model_wait(&p->model, 0);
    verify(p);
    spool_close(s);
    verify(p);
}

/* A disk that fails for good: every message is refused, nothing hangs, nothing is lost. */
static void test_broken_for_good(void **state) {
    struct play *p = *state;
    struct spool *s = model_open(&p->model, p->disk);
    model_send(&p->model, s, &small);
    model_wait(&p->model, 0);
    simdisk_fail_all(p->disk, SIMDISK_SYNC, EIO);
    for (int i = 0; i < 30; i++) {
        uint64_t n = model_send(&p->model, s, &small);
        model_wait(&p->model, 0);
        assert_true(p->model.facts.messages[n].failed);
    }
    struct spool_stats stats;
    spool_stats(s, &stats);
    assert_true(stats.segments + stats.spare_segments < 8);
    assert_int_equal(mail_read_back(s, p->model.facts.messages[0].message, 0, &small), 0);
    spool_close(s);
    simdisk_fail_all(p->disk, SIMDISK_SYNC, 0);
    for (size_t i = 0; i < p->model.facts.count; i++)
        p->model.facts.messages[i].failed = false; /* a crash right after IO may bring them back */
    verify(p);
}

/* ---- No room ---- */

static uint64_t fill(struct play *p, struct spool *s, const struct mail_shape *shape) {
    for (;;) {
        uint64_t n = model_send(&p->model, s, shape);
        model_wait(&p->model, 0);
        if (p->model.facts.messages[n].failed)
            return n;
    }
}

static void full_disk(struct play *p, struct spool *s) {
    fill(p, s, &small);
    struct spool_stats stats;
    spool_stats(s, &stats);
    assert_true(stats.full);
    assert_true(spool_full(s));
    verify(p);
    /* Deliveries go on, every outcome is kept, and after a while there is room again. */
    uint64_t count = p->model.facts.count;
    for (uint64_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < 2; k++)
            model_end(&p->model, s, i, k);
    model_wait(&p->model, 0);
    for (uint64_t i = 0; i < count; i++)
        assert_true(!p->model.facts.messages[i].acked || p->model.facts.messages[i].recipients[1].ended);
    verify(p);
    accepted_again(p, s);
    assert_false(spool_full(s));
    verify(p);
}

static void test_disk_full(void **state) {
    struct play *p = *state;
    simdisk_capacity(p->disk, 5 * 64 * 1024 + 1000);
    struct spool *s = model_open(&p->model, p->disk);
    full_disk(p, s);
    spool_close(s);
    verify(p);
}

static void test_limit_reached(void **state) {
    struct play *p = *state;
    struct arena *arena = arena_new(0);
    struct str why;
    struct spool *s;
    const struct spool_options o = {
        .dir = "/spool", .io = simdisk_io(p->disk), .segment_size = 65536, .disk_limit = 4 * 65536};
    assert_int_equal(spool_open(&o, NULL, NULL, arena, &why, &s), 0);
    full_disk(p, s);
    struct spool_stats stats;
    spool_stats(s, &stats);
    assert_true(stats.bytes <= o.disk_limit);
    spool_close(s);
    verify(p);
    arena_free(arena);
}

/* The segments that are there are larger than those that are configured, and too large for the limit. */
static void test_limit_below_what_is_there(void **state) {
    struct play *p = *state;
    struct arena *arena = arena_new(0);
    struct str why;
    struct spool *s;
    struct spool_options o = {.dir = "/spool", .io = simdisk_io(p->disk), .segment_size = 2 * 65536};
    assert_int_equal(spool_open(&o, NULL, NULL, arena, &why, &s), 0);
    spool_close(s);
    o.segment_size = 65536;
    o.disk_limit = 4 * 65536;
    assert_int_equal(spool_open(&o, NULL, NULL, arena, &why, &s), SLUICE_EINVALID);
    assert_string_equal(str_c(arena, why),
                        "spool: a limit of 262144 bytes holds no 4 segments of 131072 bytes");
    arena_free(arena);
}

/* Each segment holds deferrals of the one before. When all but the very first message end, that chain must
 * not hold the full log. */
static void test_one_stays(void **state) {
    struct play *p = *state;
    struct arena *arena = arena_new(0);
    struct str why;
    struct spool *s;
    enum { MOST = 200, A_SEGMENT = 6 };
    const struct mail_shape shape = {1, 1, 3000, 0};
    const struct spool_options o = {
        .dir = "/spool", .io = simdisk_io(p->disk), .segment_size = 65536, .disk_limit = 8 * 65536};
    uint64_t message[MOST], count = 0, one_more;
    assert_int_equal(spool_open(&o, NULL, NULL, arena, &why, &s), 0);
    while (mail_commit(s, count, &shape, &message[count]) == 0) {
        count++;
        assert_true(count < MOST);
        if (count > A_SEGMENT)
            assert_int_equal(mail_outcome(s, message[count - A_SEGMENT], 0, SPOOL_DEFERRED), 0);
    }
    for (uint64_t i = 1; i < count; i++)
        spool_outcome(s, message[i], 0, &(struct spool_outcome){.fate = SPOOL_DELIVERED}, NULL, NULL);
    for (int tries = 0; mail_commit(s, 1000, &shape, &one_more) != 0; tries++) {
        assert_true(tries < 6000);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    assert_int_equal(mail_read_back(s, message[0], 0, &shape), 0);
    spool_close(s);
    struct spool_check_result result;
    assert_int_equal(spool_check("/spool", simdisk_io(p->disk), NULL, NULL, NULL, arena, &why, &result), 0);
    assert_int_equal(result.waiting_messages, 2);
    assert_int_equal(result.damages, 0);
    arena_free(arena);
}

/* A restart on a full disk without a spare segment: the queue is delivered all the same. */
static void test_starts_on_a_full_disk(void **state) {
    struct play *p = *state;
    simdisk_capacity(p->disk, 4 * 64 * 1024);
    struct spool *s = model_open(&p->model, p->disk);
    fill(p, s, &small);
    spool_close(s);
    bury_failed(p);
    for (int round = 0; round < 3; round++) {
        struct simdisk *killed = simdisk_clone(p->disk);
        simdisk_free(p->disk);
        p->disk = killed;
        simdisk_capacity(p->disk, 4 * 64 * 1024);
        s = model_open(&p->model, p->disk);
        assert_right(p);
        assert_true(model_end(&p->model, s, (uint64_t)round, 0));
        model_wait(&p->model, 0);
        assert_true(p->model.facts.messages[round].recipients[0].ended);
        spool_close(s);
        verify(p);
    }
}

static void test_no_room_at_all(void **state) {
    struct play *p = *state;
    struct arena *arena = arena_new(0);
    struct str why;
    struct spool *s;
    simdisk_capacity(p->disk, 10000);
    assert_int_equal(spool_open(&(struct spool_options){.dir = "/spool", .io = simdisk_io(p->disk)}, NULL,
                                NULL, arena, &why, &s),
                     SLUICE_EFULL);
    assert_non_null(strstr(str_c(arena, why), "in /spool: No space left on device"));
    arena_free(arena);
}

static void test_memory_limit(void **state) {
    struct play *p = *state;
    struct arena *arena = arena_new(0);
    struct str why;
    struct spool *s;
    const struct spool_options o = {.dir = "/spool", .io = simdisk_io(p->disk), .memory_limit = 30000};
    assert_int_equal(spool_open(&o, NULL, NULL, arena, &why, &s), 0);
    struct spool_body *bodies[40];
    int error = 0, full = 0;
    for (size_t i = 0; i < COUNT(bodies); i++) {
        bodies[i] = mail_body(s, i, 6000, &error);
        full += error == SLUICE_EFULL;
    }
    assert_true(full > 20);
    for (size_t i = 0; i < COUNT(bodies); i++)
        spool_body_abort(bodies[i]);
    bodies[0] = mail_body(s, 1, 100, &error);
    assert_int_equal(error, 0);
    spool_body_abort(bodies[0]);
    spool_close(s);
    arena_free(arena);
}

/* ---- Reading ---- */

static void test_cold_reads(void **state) {
    struct play *p = *state;
    struct spool *s = model_open(&p->model, p->disk);
    struct arena *arena = arena_new(0);
    struct spool_message m;
    struct spool_reader *r;
    char buf[64];
    size_t len;
    model_send(&p->model, s, &big);
    model_wait(&p->model, 0);
    uint64_t message = p->model.facts.messages[0].message;
    simdisk_cold(p->disk, true);
    assert_int_equal(spool_read(s, message, SPOOL_NOWAIT, arena, &m), SLUICE_EBUSY);
    assert_int_equal(spool_reader_open(s, message, SPOOL_NOWAIT, &r), SLUICE_EBUSY);
    assert_int_equal(spool_reader_open(s, message, SPOOL_WAIT, &r), 0);
    assert_int_equal(spool_reader_next(r, SPOOL_NOWAIT, buf, sizeof buf, &len), SLUICE_EBUSY);
    assert_int_equal(spool_reader_next(r, SPOOL_WAIT, buf, 10, &len), 0);
    assert_int_equal(len, 10);
    assert_int_equal(spool_reader_next(r, SPOOL_NOWAIT, buf, sizeof buf, &len), SLUICE_EBUSY);
    assert_int_equal(spool_reader_next(r, SPOOL_WAIT, buf, 1, &len), 0);
    assert_int_equal(buf[0], mail_byte(0, 10));
    spool_reader_rewind(r);
    assert_int_equal(spool_reader_next(r, SPOOL_WAIT, buf, 1, &len), 0);
    assert_int_equal(buf[0], mail_byte(0, 0));
    simdisk_fail(p->disk, SIMDISK_READ, 1, EIO);
    assert_int_equal(spool_reader_next(r, SPOOL_WAIT, buf, 1, &len), SLUICE_EIO);
    spool_reader_close(r);
    spool_close(s);
    arena_free(arena);
}

/* The segment of an open reader stays, whatever else happens. */
static void test_reader_keeps_its_segment(void **state) {
    struct play *p = *state;
    struct spool *s = model_open(&p->model, p->disk);
    struct spool_reader *r;
    char buf[1024];
    size_t len;
    uint64_t at = 0;
    model_send(&p->model, s, &big);
    model_wait(&p->model, 0);
    assert_int_equal(spool_reader_open(s, p->model.facts.messages[0].message, SPOOL_WAIT, &r), 0);
    model_end(&p->model, s, 0, 0);
    for (uint64_t i = 1; i < 40; i++) {
        model_send(&p->model, s, &big);
        model_wait(&p->model, 0);
        model_end(&p->model, s, i, 0);
        model_wait(&p->model, 0);
        assert_int_equal(spool_reader_next(r, SPOOL_WAIT, buf, 700, &len), 0);
        for (size_t k = 0; k < len; k++, at++)
            assert_int_equal(buf[k], mail_byte(0, at));
    }
    spool_reader_close(r);
    spool_close(s);
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_write_fails),     CASE(test_sync_fails),
        CASE(test_write_says_full), CASE(test_outcomes_outlive_a_failure),
        CASE(test_broken_for_good), CASE(test_disk_full),
        CASE(test_limit_reached),   CASE(test_limit_below_what_is_there),
        CASE(test_one_stays),       CASE(test_starts_on_a_full_disk),
        CASE(test_no_room_at_all),  CASE(test_memory_limit),
        CASE(test_cold_reads),      CASE(test_reader_keeps_its_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
