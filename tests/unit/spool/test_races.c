/* What happens at the same time as something else, or between a restart and the power loss after it. */
#include "cmocka_setup.h"
#include <pthread.h>

#include "base/clock.h"
#include "base/error.h"
#include "mail.h"
#include "spool/simdisk.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { SEGMENT = 64 * 1024 };
static const struct mail_shape small = {1, 1, 500, 0}, big = {1, 1, 30000, 0};

/* A simulated disk whose calls a test may look into. */
struct place {
    struct spool_io io; /* the disk's own, but for what a test replaces */
    const struct spool_io *disk_io;
    struct simdisk *disk;
    struct arena *arena;
    struct spool *spool;
    uint64_t ending;                /* a message that ends behind the next read */
    atomic_uint headers_until_kill; /* 0: never */
    atomic_bool killed;
};

static struct place *here; /* the calls' context is the disk */

static void nap(void) { nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }

static int setup(void **state) {
    here = calloc(1, sizeof *here);
    here->disk = simdisk_new();
    here->disk_io = simdisk_io(here->disk);
    here->io = *here->disk_io;
    here->arena = arena_new(0);
    *state = here;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_free(here->arena);
    simdisk_free(here->disk);
    free(here);
    return 0;
}

static void note_waiting(void *arg, const struct spool_recovered *r) {
    (void)r;
    if (arg)
        ++*(unsigned *)arg;
}

static struct spool *open_spool(const struct spool_io *io, unsigned *ret_waiting) {
    struct spool *s = NULL;
    struct str why = STR_NULL;
    const struct spool_options o = {.dir = "/spool", .io = io, .segment_size = SEGMENT};
    if (ret_waiting)
        *ret_waiting = 0;
    if (spool_open(&o, note_waiting, ret_waiting, here->arena, &why, &s))
        fail_msg("%s", str_c(here->arena, why));
    return s;
}

/* ---- A reader, and the end of its message ---- */

static ssize_t read_then_end(void *ctx, int handle, void *buf, size_t len, uint64_t offset, bool nowait) {
    ssize_t got = here->disk_io->read(ctx, handle, buf, len, offset, nowait);
    uint64_t message = here->ending;
    here->ending = 0;
    if (message)
        assert_int_equal(mail_outcome(here->spool, message, 0, SPOOL_CANCELLED), 0);
    return got;
}

/* Its parts may be recycled already: it isn't there any more. */
static void test_message_ends_while_it_is_opened(void **state) {
    (void)state;
    here->io.read = read_then_end;
    here->spool = open_spool(&here->io, NULL);
    uint64_t message;
    struct spool_reader *r = NULL;
    assert_int_equal(mail_commit(here->spool, 1, &big, &message), 0);
    here->ending = message;
    assert_int_equal(spool_reader_open(here->spool, message, SPOOL_WAIT, &r), SLUICE_ENOTFOUND);
    assert_null(r);
    spool_close(here->spool);
}

/* ---- No room, and then room ---- */

static bool is_full_until(struct spool *s, int64_t ms) {
    int64_t until = clock_mono_ms() + ms;
    while (spool_full(s) && clock_mono_ms() < until)
        nap();
    return spool_full(s);
}

static size_t fill(struct spool *s, uint64_t *messages, size_t cap) {
    size_t count = 0;
    while (count < cap && mail_commit(s, count, &small, &messages[count]) == 0)
        count++;
    assert_true(count < cap);
    assert_true(spool_full(s));
    return count;
}

/* Somebody made room on the disk. Clients are refused while the spool is full, so nothing comes that would
 * make it look. */
static void test_full_ends_by_itself(void **state) {
    (void)state;
    uint64_t messages[100];
    simdisk_capacity(here->disk, 2 * SEGMENT + 1000);
    struct spool *s = open_spool(here->disk_io, NULL);
    fill(s, messages, COUNT(messages));
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    simdisk_capacity(here->disk, 0);
    assert_false(is_full_until(s, 60000));
    assert_int_equal(mail_commit(s, 1, &small, &messages[0]), 0);
    spool_close(s);
}

/* Room for two segments, and all messages end: the one in use holds nothing that anybody needs. */
static void test_full_ends_with_the_last_message(void **state) {
    (void)state;
    uint64_t messages[100];
    simdisk_capacity(here->disk, 2 * SEGMENT + 1000);
    struct spool *s = open_spool(here->disk_io, NULL);
    for (int round = 0; round < 4; round++) {
        size_t count = fill(s, messages, COUNT(messages));
        for (size_t i = 0; i < count; i++)
            mail_outcome(s, messages[i], 0, SPOOL_CANCELLED); /* counts, even when there is no room for it */
        int64_t until = clock_mono_ms() + 10000;
        while (is_full_until(s, 5000) || mail_commit(s, 1, &small, &messages[0]) != 0)
            assert_true(clock_mono_ms() < until);
        assert_int_equal(mail_outcome(s, messages[0], 0, SPOOL_CANCELLED), 0);
    }
    spool_close(s);
    unsigned waiting;
    spool_close(open_spool(here->disk_io, &waiting));
    assert_int_equal(waiting, 0);
}

/* ---- Killed, and then the power fails ---- */

/* The process is dead before the sync of a new header: whoever calls the disk then never comes back, so all
 * that follows fails instead. */
static int sync_or_die(void *ctx, int handle) {
    if (here->killed)
        return -EIO;
    if (here->headers_until_kill == 1) {
        here->killed = true;
        here->headers_until_kill = 0;
        return -EIO;
    }
    return here->disk_io->sync(ctx, handle);
}

static int write_and_count(void *ctx, int handle, struct iovec *vectors, size_t count, uint64_t offset) {
    if (here->killed)
        return -EIO;
    if (count == 1 && offset < 8192 && vectors[0].iov_len == 4096 && *(char *)vectors[0].iov_base &&
        here->headers_until_kill > 1)
        here->headers_until_kill--;
    return here->disk_io->write(ctx, handle, vectors, count, offset);
}

static unsigned waiting_after_power_loss(uint64_t seed) {
    struct simdisk *after = simdisk_crash(here->disk, NULL, seed);
    struct spool_check_result result;
    struct str why;
    assert_int_equal(spool_check("/spool", simdisk_io(after), NULL, NULL, NULL, here->arena, &why, &result),
                     0);
    simdisk_free(after);
    return (unsigned)result.waiting_messages;
}

/* A segment was being recycled. Its new header stands in the page cache and survives the kill; the restart
 * believes it, so outcomes of what it held are needed no more. When the power fails later, the old header
 * must not bring those messages back. */
static void test_killed_while_recycling(void **state) {
    (void)state;
    here->io.sync = sync_or_die;
    here->io.write = write_and_count;
    enum { BURST = 24, BEHIND = 3, MOST = 400 };
    uint64_t messages[MOST];
    struct spool *s = open_spool(&here->io, NULL);
    size_t sent = 0, ended = 0;
    const struct mail_shape shape = {1, 1, 9000, 0};
    /* Many segments at once: a dead one waits for long before its turn to be recycled. */
    for (; sent < BURST; sent++)
        assert_int_equal(mail_commit(s, sent, &shape, &messages[sent]), 0);
    for (; ended < BURST; ended++)
        assert_int_equal(mail_outcome(s, messages[ended], 0, SPOOL_DELIVERED), 0);
    for (; !here->killed && sent < MOST; sent++) {
        if (sent == 100)
            here->headers_until_kill = 4;
        if (mail_commit(s, sent, &shape, &messages[sent]))
            break;
        if (sent >= ended + BEHIND && mail_outcome(s, messages[ended], 0, SPOOL_DELIVERED) == 0)
            ended++;
        nap();
    }
    assert_true(here->killed);
    spool_close(s);
    unsigned waiting;
    s = open_spool(here->disk_io, &waiting);
    assert_in_range(waiting, 1, BEHIND + 2);
    unsigned live = waiting;
    for (uint64_t i = 0; i < 40; i++) {
        assert_int_equal(mail_commit(s, i, &shape, &messages[0]), 0);
        assert_int_equal(mail_outcome(s, messages[0], 0, SPOOL_DELIVERED), 0);
        for (int k = 0; k < 5; k++)
            nap();
        for (uint64_t seed = 0; seed < 4; seed++)
            assert_in_range(waiting_after_power_loss(seed * 2), 0, live + 1);
    }
    spool_close(s);
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_message_ends_while_it_is_opened),
        CASE(test_full_ends_by_itself),
        CASE(test_full_ends_with_the_last_message),
        CASE(test_killed_while_recycling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
