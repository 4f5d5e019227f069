/* Counters and restrictions over restart, power loss at every sync, disks that fail, and damage. */
#include "base/crc32c.h"
#include "base/error.h"
#include "limit_model.h"
#include "limits/limit_store.h"
#include "spool/simdisk.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define START INT64_C(1790000000000)
enum { SENDERS = 40 };

static const struct limit_bounds bounds = {{10000, 10000, 10000, 10000}};
static const uint32_t tenant_limit = 1000000;

/* What a store keeps, and the store. */
struct house {
    struct limit_kept kept;
    struct limit_store *store;
    struct limit_journal_report report;
};

static int house_open(struct house *h, const struct spool_io *io, const char *dir, uint64_t segment,
                      uint64_t slack, int64_t now) {
    struct arena *arena = arena_new(0);
    struct str why = STR("");
    h->kept = (struct limit_kept){limit_table_new(1000), limit_tenants_new(), sender_book_new()};
    h->store = NULL;
    const struct limit_store_options options = {dir, io, h->kept, segment, slack, slack ? 7 : 0, now};
    int error = limit_store_open(&options, arena, &why, &h->report, &h->store);
    assert_true(!error == !why.len);
    arena_free(arena);
    return error;
}

static void house_close(struct house *h) {
    limit_store_close(h->store);
    limit_table_free(h->kept.senders);
    limit_tenants_free(h->kept.tenants);
    sender_book_free(h->kept.book);
}

/* What was done, and what of it came back from the disk. Of a restriction the version is its `since`. */
struct facts {
    uint64_t done[SENDERS], safe[SENDERS];
    uint64_t tenant_done, tenant_safe;
    int64_t version_done[SENDERS], version_safe[SENDERS];
};

struct run {
    struct house house;
    struct facts facts;
    int64_t now;
    uint64_t work, crash, states;
    unsigned each;
    struct simdisk *next; /* one of the crashes */
    struct facts next_facts;
    unsigned syncs, until;
};

static struct str sender_name(char text[32], uint64_t n) {
    int len = snprintf(text, 32, "user%llu@contoso.com", (unsigned long long)n);
    return str_from(text, (size_t)len);
}

static uint32_t used(const struct house *h, uint64_t n, int64_t now) {
    char text[32];
    struct limit_standing s;
    limit_table_look(h->kept.senders, limit_key(limit_store_seed(h->store), sender_name(text, n)), now,
                     &bounds, &s);
    return s.used[LIMIT_EXTERNAL_HOUR];
}

static void message(struct run *r, uint64_t n, uint32_t external) {
    struct house *h = &r->house;
    char text[32];
    uint64_t key = limit_key(limit_store_seed(h->store), sender_name(text, n));
    const struct limit_use use = {external, 0};
    int64_t turn;
    assert_int_equal(limit_table_reserve(h->kept.senders, key, r->now, &bounds, &use, &turn), 0);
    limit_table_settle(h->kept.senders, key, r->now, &bounds, &use, true);
    limit_store_message(h->store, key, r->now, turn, &bounds, &use);
    limit_tenants_settle(h->kept.tenants, STR("contoso"), r->now, tenant_limit, external, true);
    limit_store_tenant(h->store, STR("contoso"), r->now, tenant_limit, external);
    r->facts.done[n] += external;
    r->facts.tenant_done += external;
}

/* Restricts, or releases and forgets: each is a version of its own. */
static void restriction(struct run *r, uint64_t n) {
    struct house *h = &r->house;
    char text[32];
    struct sender_state *s = sender_book_of(h->kept.book, SENDER_USER, sender_name(text, n));
    struct sender_state was = *s;
    *s = (struct sender_state){.kind = SENDER_USER, .cause = CAUSE_OPERATOR, .since = was.since + 1};
    s->restriction = was.restriction ? SENDER_FREE : SENDER_RESTRICTED;
    s->allowed_until = SENDER_ALWAYS; /* never blank, so that its version can be seen */
    limit_store_restriction(h->store, sender_name(text, n), s);
    r->facts.version_done[n] = s->since;
}

/* No new allowance, none taken that was not used, no restriction lost. */
static void verify(struct run *r, const struct facts *done, const struct facts *safe, struct simdisk *disk) {
    struct house h;
    assert_int_equal(house_open(&h, simdisk_io(disk), "/limits", 4096, 2000, r->now), 0);
    assert_true(limit_store_seed(h.store) == limit_store_seed(r->house.store) || !safe->tenant_safe);
    for (uint64_t n = 0; n < SENDERS; n++) {
        char text[32];
        uint64_t have = used(&h, n, r->now);
        const struct sender_state *s = sender_book_find(h.kept.book, SENDER_USER, sender_name(text, n));
        int64_t version = s ? s->since : 0;
        if (have < safe->safe[n] || have > done->done[n])
            fail_msg("sender %llu: %llu, safe %llu, done %llu", (unsigned long long)n,
                     (unsigned long long)have, (unsigned long long)safe->safe[n],
                     (unsigned long long)done->done[n]);
        assert_true(version >= safe->version_safe[n] && version <= done->version_done[n]);
        if (version)
            assert_int_equal(s->restriction, version % 2 ? SENDER_RESTRICTED : SENDER_FREE);
    }
    uint64_t tenant = limit_tenants_used(h.kept.tenants, STR("contoso"), r->now, tenant_limit);
    uint64_t unit = limit_unit(tenant_limit);
    assert_true(tenant >= safe->tenant_safe && tenant <= done->tenant_done + unit);
    house_close(&h);
    r->states++;
}

static void on_sync(void *arg, struct simdisk *disk) {
    struct run *r = arg;
    for (unsigned i = 0; i < r->each; i++) {
        struct simdisk *d = simdisk_crash(disk, NULL, chance(&r->crash, UINT64_MAX));
        verify(r, &r->facts, &r->facts, d);
        simdisk_free(d);
    }
    if (++r->syncs == r->until) {
        r->next = simdisk_crash(disk, NULL, chance(&r->crash, UINT64_MAX));
        r->next_facts = r->facts;
    }
}

static void some_work(struct run *r) {
    for (uint64_t i = 1 + chance(&r->work, 12); i; i--) {
        r->now += (int64_t)chance(&r->work, 50);
        if (chance(&r->work, 6))
            message(r, chance(&r->work, SENDERS), 1 + (uint32_t)chance(&r->work, 5));
        else
            restriction(r, chance(&r->work, SENDERS));
    }
}

/* A batch of what is done so far, with more being done while it is written. */
static int one_batch(struct run *r) {
    some_work(r);
    struct facts taken = r->facts;
    struct limit_batch *b = limit_store_take(r->house.store);
    if (!b)
        return 0;
    int error = limit_batch_write(b);
    some_work(r);
    limit_store_settle(r->house.store, b, error);
    if (!error) {
        memcpy(r->facts.safe, taken.done, sizeof taken.done);
        memcpy(r->facts.version_safe, taken.version_done, sizeof taken.version_done);
        r->facts.tenant_safe = taken.tenant_done;
    }
    return error;
}

/* After a crash what is known is what was read back. */
static void take_up(struct run *r) {
    for (uint64_t n = 0; n < SENDERS; n++) {
        char text[32];
        const struct sender_state *s =
            sender_book_find(r->house.kept.book, SENDER_USER, sender_name(text, n));
        r->facts.done[n] = r->facts.safe[n] = used(&r->house, n, r->now);
        r->facts.version_done[n] = r->facts.version_safe[n] = s ? s->since : 0;
    }
    r->facts.tenant_done = r->facts.tenant_safe =
        limit_tenants_used(r->house.kept.tenants, STR("contoso"), r->now, tenant_limit);
}

/* Power loss at every sync, also in the middle of sweeps; each round starts from a crash in the one before.
 */
static void test_crash(void **unused) {
    (void)unused;
    uint64_t states = 0, sweeps = 0;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct run r = {.now = START, .work = seed, .crash = seed * 77, .each = 3};
        struct simdisk *disk = simdisk_new();
        for (unsigned round = 0; round < 4; round++) {
            assert_int_equal(house_open(&r.house, simdisk_io(disk), "/limits", 4096, 2000, r.now), 0);
            take_up(&r);
            r.syncs = 0;
            r.until = 5 + (unsigned)chance(&r.work, 60);
            simdisk_on_sync(disk, on_sync, &r);
            for (unsigned i = 0; i < 80; i++)
                assert_int_equal(one_batch(&r), 0);
            assert_int_equal(limit_store_flush(r.house.store), 0);
            simdisk_on_sync(disk, NULL, NULL);
            struct limit_store_stats stats;
            limit_store_stats(r.house.store, &stats);
            sweeps += stats.sweeps;
            /* What there is to know is about 7 KiB; the segments stay in proportion to it. */
            assert_true(stats.bytes < 64 * 1024 && stats.segments < 20);
            house_close(&r.house);
            simdisk_free(disk);
            disk = r.next;
            assert_non_null(disk);
        }
        states += r.states;
        simdisk_free(disk);
    }
    print_message("%llu crash states, %llu sweeps\n", (unsigned long long)states, (unsigned long long)sweeps);
    assert_true(sweeps > 20);
}

/* Every write and every sync may fail: the store goes on, and forgets nothing. */
static void test_faults(void **unused) {
    (void)unused;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct run r = {.now = START, .work = seed, .crash = seed};
        struct simdisk *disk = simdisk_new();
        unsigned failed = 0;
        assert_int_equal(house_open(&r.house, simdisk_io(disk), "/limits", 4096, 2000, r.now), 0);
        for (unsigned i = 0; i < 150; i++) {
            if (chance(&r.work, 6) == 0)
                simdisk_fail(disk, chance(&r.work, 2) ? SIMDISK_WRITE : SIMDISK_SYNC,
                             1 + (unsigned)chance(&r.work, 2), EIO);
            if (i == 50)
                simdisk_fail_all(disk, SIMDISK_WRITE, ENOSPC);
            if (i == 70)
                simdisk_fail_all(disk, SIMDISK_WRITE, 0);
            failed += one_batch(&r) != 0;
            /* Requeued entries may be there twice, so only too little is wrong. */
            struct simdisk *d = simdisk_crash(disk, NULL, chance(&r.crash, UINT64_MAX));
            struct facts any = r.facts;
            for (unsigned n = 0; n < SENDERS; n++)
                any.done[n] = UINT64_MAX;
            any.tenant_done = UINT32_MAX;
            verify(&r, &any, &r.facts, d);
            simdisk_free(d);
        }
        assert_true(failed >= 20);
        struct limit_store_stats stats;
        limit_store_stats(r.house.store, &stats);
        assert_int_equal(stats.failed, failed);
        house_close(&r.house);
        simdisk_free(disk);
    }
}

/* When failures last so long that entries are given up, a sweep makes up for it. */
static void test_dropped(void **unused) {
    (void)unused;
    struct run r = {.now = START, .work = 3};
    struct simdisk *disk = simdisk_new();
    struct limit_store_stats stats;
    assert_int_equal(house_open(&r.house, simdisk_io(disk), "/limits", 0, 0, r.now), 0);
    simdisk_fail_all(disk, SIMDISK_WRITE, EIO);
    for (uint64_t n = 0; n < SENDERS; n++)
        message(&r, n, 7 + (uint32_t)n);
    struct sender_state *s = sender_book_of(r.house.kept.book, SENDER_USER, STR("eve"));
    *s = (struct sender_state){.restriction = SENDER_RESTRICTED, .cause = CAUSE_OPERATOR};
    for (unsigned i = 0; i < 200000; i++)
        limit_store_restriction(r.house.store, STR("eve"), s);
    assert_int_equal(limit_store_flush(r.house.store), SLUICE_EIO);
    limit_store_stats(r.house.store, &stats);
    assert_int_equal(stats.dropped, 1);
    simdisk_fail_all(disk, SIMDISK_WRITE, 0);
    assert_int_equal(limit_store_flush(r.house.store), 0);
    struct simdisk *d = simdisk_clone(disk);
    struct house h;
    assert_int_equal(house_open(&h, simdisk_io(d), "/limits", 0, 0, r.now), 0);
    for (uint64_t n = 0; n < SENDERS; n++)
        assert_int_equal(used(&h, n, r.now), r.facts.done[n]);
    assert_true(sender_is_restricted(sender_book_find(h.kept.book, SENDER_USER, STR("eve")), r.now));
    house_close(&h);
    house_close(&r.house);
    simdisk_free(d);
    simdisk_free(disk);
}

/* A disk that is full for a night leaves no file for each second of it. */
static void test_full_for_long(void **unused) {
    (void)unused;
    static const enum simdisk_call calls[] = {SIMDISK_WRITE, SIMDISK_SYNC};
    for (unsigned i = 0; i < 2; i++) {
        struct run r = {.now = START, .work = 3};
        struct simdisk *disk = simdisk_new();
        size_t files = 0;
        assert_int_equal(house_open(&r.house, simdisk_io(disk), "/limits", 0, 0, r.now), 0);
        message(&r, 1, 5);
        simdisk_fail_all(disk, calls[i], ENOSPC);
        for (unsigned n = 0; n < 50; n++)
            assert_int_equal(limit_store_flush(r.house.store), SLUICE_EFULL);
        while (simdisk_name(disk, files))
            files++;
        assert_true(files <= 2); /* the lock */
        simdisk_fail_all(disk, calls[i], 0);
        assert_int_equal(limit_store_flush(r.house.store), 0);
        house_close(&r.house);
        simdisk_free(disk);
    }
}

/* One flipped byte costs one entry, is counted, and stops nothing. */
static void test_damage(void **unused) {
    (void)unused;
    struct run r = {.now = START, .work = 5};
    struct simdisk *disk = simdisk_new();
    assert_int_equal(house_open(&r.house, simdisk_io(disk), "/limits", 0, 0, r.now), 0);
    uint64_t seed = limit_store_seed(r.house.store);
    for (unsigned i = 0; i < 100; i++)
        message(&r, i % SENDERS, 1);
    assert_int_equal(limit_store_flush(r.house.store), 0);
    house_close(&r.house);
    static const char path[] = "/limits/0000000000000001.limits";
    uint64_t size;
    assert_non_null(simdisk_bytes(disk, path, &size));
    for (uint64_t at = 0; at < size; at += 7) {
        struct simdisk *d = simdisk_clone(disk);
        struct house h;
        simdisk_bytes(d, path, &size)[at] ^= 0x10;
        int error = house_open(&h, simdisk_io(d), "/limits", 0, 0, r.now);
        assert_int_equal(error, 0);
        if (at < LIMIT_SEGMENT_HEADER) {
            assert_int_equal(h.report.gaps, 1);
            assert_int_equal(h.report.entries, 200);
        } else {
            assert_int_equal(limit_store_seed(h.store), seed);
            assert_int_equal(h.report.entries + h.report.unusable, 199);
            assert_true(h.report.gaps == 1 || at + 60 > size);
        }
        house_close(&h);
        simdisk_free(d);
    }
    simdisk_free(disk);
}

static void test_refused(void **unused) {
    (void)unused;
    struct simdisk *disk = simdisk_new();
    struct house one, two;
    assert_int_equal(house_open(&one, simdisk_io(disk), "/limits", 0, 0, START), 0);
    assert_int_equal(house_open(&two, simdisk_io(disk), "/limits", 0, 0, START), SLUICE_EBUSY);
    house_close(&two);
    house_close(&one);
    struct buf b = {0};
    limit_segment_encode(&b, &(struct limit_segment){3, 9});
    b.at[8] = 2;
    uint32_t crc = crc32c(0, b.at, LIMIT_SEGMENT_HEADER - 4);
    memcpy(b.at + LIMIT_SEGMENT_HEADER - 4, &crc, 4);
    simdisk_put(disk, "/limits/0000000000000003.limits", b.at, b.len);
    assert_int_equal(house_open(&two, simdisk_io(disk), "/limits", 0, 0, START), SLUICE_EINVALID);
    house_close(&two);
    buf_free(&b);
    simdisk_free(disk);
}

/* The real disk: several lives, one after the other. */
static void test_real(void **unused) {
    (void)unused;
    char dir[] = "/tmp/sluice-limits-XXXXXX", command[80];
    struct run r = {.now = START, .work = 8};
    assert_non_null(mkdtemp(dir));
    for (unsigned life = 0; life < 4; life++) {
        struct facts before = r.facts;
        assert_int_equal(house_open(&r.house, NULL, dir, 8192, 4096, r.now), 0);
        assert_int_equal(r.house.report.gaps + r.house.report.unusable, 0);
        take_up(&r);
        assert_memory_equal(r.facts.done, before.done, sizeof before.done);
        assert_memory_equal(r.facts.version_done, before.version_done, sizeof before.version_done);
        for (unsigned i = 0; i < 60; i++)
            assert_int_equal(one_batch(&r), 0);
        assert_int_equal(limit_store_flush(r.house.store), 0);
        house_close(&r.house);
    }
    snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash),         cmocka_unit_test(test_faults), cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_full_for_long), cmocka_unit_test(test_damage), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_real),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
