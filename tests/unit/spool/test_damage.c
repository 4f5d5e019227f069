/* Flipped bits, lost blocks, missing and foreign files: reported with segment and offset, and the rest lives.
 */
#include "cmocka_setup.h"
#include <pthread.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "mail.h"
#include "spool/format.h"
#include "spool/simdisk.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { SEGMENT = 64 * 1024, MESSAGES = 24 };

static const struct mail_shape shapes[] = {{1, 1, 300, 0}, {2, 2, 4000, 100}, {1, 1, 30000, 0}, {1, 3, 0, 0}};

static const struct mail_shape *shape_of(uint64_t number) { return &shapes[number % COUNT(shapes)]; }

struct fixture {
    struct simdisk *disk; /* a closed spool of several segments */
    uint64_t message[MESSAGES];
    bool expected[MESSAGES][4]; /* who waits */
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct arena *arena = arena_new(0);
    struct str why;
    struct spool *s;
    f->disk = simdisk_new();
    const struct spool_options o = {.dir = "/spool", .io = simdisk_io(f->disk), .segment_size = SEGMENT};
    if (spool_open(&o, NULL, NULL, arena, &why, &s))
        return -1;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        if (mail_commit(s, i, shape_of(i), &f->message[i]))
            return -1;
        for (uint32_t k = 0; k < shape_of(i)->groups * shape_of(i)->recipients; k++)
            f->expected[i][k] = true;
        if (i % 4 == 3 && !mail_outcome(s, f->message[i - 1], 0, SPOOL_DELIVERED))
            f->expected[i - 1][0] = false;
    }
    spool_close(s);
    arena_free(arena);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    simdisk_free(f->disk);
    free(f);
    return 0;
}

struct result {
    struct spool_damage damages[64];
    char text[64][160];
    size_t count;
    bool waits[MESSAGES][4], damaged[MESSAGES];
    bool strange; /* something that was never there */
};

static void note_damage(void *arg, const struct spool_damage *d) {
    struct result *r = arg;
    if (r->count == COUNT(r->damages))
        return;
    r->damages[r->count] = *d;
    snprintf(r->text[r->count++], sizeof r->text[0], "%.*s %llu+%llu %.*s", STR_FMT(d->segment),
             (unsigned long long)d->offset, (unsigned long long)d->length, STR_FMT(d->what));
}

static void note_waiting(void *arg, const struct spool_recovered *r) {
    struct result *result = arg;
    uint64_t number = mail_number(r->envelope);
    struct arena *arena = arena_new(0);
    if (number >= MESSAGES || r->recipient >= 4) {
        result->strange = true;
    } else {
        struct spool_message made = mail_make(arena, number, shape_of(number));
        result->strange =
            result->strange || !mail_equal(r->envelope, &made) || result->waits[number][r->recipient];
        result->waits[number][r->recipient] = true;
        result->damaged[number] = r->damaged;
    }
    arena_free(arena);
}

static struct result check(struct simdisk *disk) {
    struct arena *arena = arena_new(0);
    struct result r = {0};
    struct str why = STR_NULL;
    struct spool_check_result counts;
    int error = spool_check("/spool", simdisk_io(disk), note_damage, note_waiting, &r, arena, &why, &counts);
    if (error)
        print_message("%.*s\n", STR_FMT(why));
    assert_int_equal(error, 0);
    arena_free(arena);
    assert_false(r.strange);
    return r;
}

/* How many messages are not as they should be: lost, damaged, or tried again. */
static unsigned harmed(const struct fixture *f, const struct result *r) {
    unsigned count = 0;
    for (uint64_t i = 0; i < MESSAGES; i++)
        count += r->damaged[i] || memcmp(r->waits[i], f->expected[i], sizeof r->waits[i]) != 0;
    return count;
}

static bool names(const struct result *r, const char *path, uint64_t offset) {
    for (size_t i = 0; i < r->count; i++) {
        const struct spool_damage *d = &r->damages[i];
        if (strncmp(r->text[i], strrchr(path, '/') + 1, 16) == 0 && d->offset <= offset &&
            (d->length == 0 || offset < d->offset + d->length))
            return true;
    }
    return false;
}

static void test_nothing_wrong(void **state) {
    struct fixture *f = *state;
    struct result r = check(f->disk);
    assert_int_equal(r.count, 0);
    assert_int_equal(harmed(f, &r), 0);
}

/* One bit anywhere: either it is reported where it is, or it hit nothing that counts. One message suffers at
 * most - and its recipients, when its outcome was hit. */
static void test_a_flipped_bit(void **state) {
    struct fixture *f = *state;
    const char *path;
    unsigned reported = 0, silent = 0;
    for (size_t n = 0; (path = simdisk_name(f->disk, n)); n++) {
        uint64_t size;
        unsigned char *bytes = simdisk_bytes(f->disk, path, &size);
        for (uint64_t at = 0, step = 1; at < size; at += step) {
            /* Every byte of headers; samples of bodies; few of what is empty. */
            step = bytes[at] || (at & 63) == 0 ? 37 : 389;
            unsigned char bit = (unsigned char)(1u << (at / 3) % 8);
            bytes[at] ^= bit;
            struct result r = check(f->disk);
            bytes[at] ^= bit;
            if (harmed(f, &r) > 1)
                fail_msg("%s %llu: %u messages are harmed", path, (unsigned long long)at, harmed(f, &r));
            if (harmed(f, &r) && r.count == 0)
                fail_msg("%s %llu: harm without a report", path, (unsigned long long)at);
            if (r.count && !names(&r, path, at))
                fail_msg("%s %llu: reported as %s", path, (unsigned long long)at, r.text[0]);
            reported += r.count != 0;
            silent += r.count == 0;
        }
    }
    print_message("%u reported, %u without effect\n", reported, silent);
    assert_true(reported > 1000);
}

/* A block that was never written although the disk said so. */
static void test_a_lost_block(void **state) {
    struct fixture *f = *state;
    const char *path;
    for (size_t n = 0; (path = simdisk_name(f->disk, n)); n++) {
        uint64_t size;
        unsigned char *bytes = simdisk_bytes(f->disk, path, &size), kept[SPOOL_BLOCK],
                      zeros[SPOOL_BLOCK] = {0};
        for (uint64_t at = SPOOL_DATA; at < size; at += SPOOL_BLOCK) {
            memcpy(kept, bytes + at, SPOOL_BLOCK);
            if (memcmp(kept, zeros, SPOOL_BLOCK) == 0)
                continue;
            struct record_header h;
            bool seal = record_header_decode(kept, &h) && h.type == RECORD_SEAL;
            memset(bytes + at, 0, SPOOL_BLOCK);
            struct result r = check(f->disk);
            memcpy(bytes + at, kept, SPOOL_BLOCK);
            if (seal ? r.count != 0 : !names(&r, path, at))
                fail_msg("%s %llu: %s", path, (unsigned long long)at, r.count ? r.text[0] : "not reported");
            assert_true(harmed(f, &r) <= 2);
        }
    }
}

/* Without its header a segment is known from its first record, or from what most of its records say. */
static void test_lost_headers(void **state) {
    struct fixture *f = *state;
    const char *path;
    for (size_t n = 0; (path = simdisk_name(f->disk, n)); n++) {
        for (uint64_t lost = SPOOL_DATA; lost <= SPOOL_DATA + SPOOL_BLOCK; lost += SPOOL_BLOCK) {
            struct simdisk *copy = simdisk_clone(f->disk);
            uint64_t size;
            unsigned char *bytes = simdisk_bytes(copy, path, &size);
            memset(bytes, 0, lost);
            struct result r = check(copy);
            assert_true(names(&r, path, 0));
            assert_true(harmed(f, &r) <= (lost > SPOOL_DATA));
            simdisk_free(copy);
        }
    }
}

/* Outcomes of segments in which nobody waits are forgotten, and only the newest state record says so: it may
 * lose its block and nobody gets mail twice. */
static void test_a_lost_state(void **state) {
    (void)state;
    struct simdisk *disk = simdisk_new();
    struct arena *arena = arena_new(0);
    struct str why;
    struct spool *s;
    const struct spool_options o = {.dir = "/spool", .io = simdisk_io(disk), .segment_size = SEGMENT};
    assert_int_equal(spool_open(&o, NULL, NULL, arena, &why, &s), 0);
    enum { LATER = 16, COUNTED = 150 };
    uint64_t message[COUNTED];
    for (uint64_t i = 0; i < COUNTED; i++) {
        const struct mail_shape shape = {1, 1, i % 16 * 300, 0};
        assert_int_equal(mail_commit(s, i % MESSAGES, &shape, &message[i]), 0);
        if (i > LATER) /* never the first one */
            assert_int_equal(mail_outcome(s, message[i - LATER], 0, SPOOL_DELIVERED), 0);
    }
    spool_close(s);
    const char *path;
    for (size_t n = 0; (path = simdisk_name(disk, n)); n++) {
        uint64_t size;
        unsigned char *bytes = simdisk_bytes(disk, path, &size), kept[SPOOL_BLOCK];
        memcpy(kept, bytes + SPOOL_DATA, SPOOL_BLOCK);
        memset(bytes + SPOOL_DATA, 0, SPOOL_BLOCK);
        struct spool_check_result counts;
        assert_int_equal(spool_check("/spool", simdisk_io(disk), NULL, NULL, NULL, arena, &why, &counts), 0);
        memcpy(bytes + SPOOL_DATA, kept, SPOOL_BLOCK);
        assert_in_range(counts.waiting_messages, LATER, LATER + 2);
    }
    arena_free(arena);
    simdisk_free(disk);
}

static void test_missing_and_foreign(void **state) {
    struct fixture *f = *state;
    struct simdisk *copy = simdisk_clone(f->disk);
    simdisk_remove(copy, "/spool/00000001.segment");
    struct result r = check(copy);
    assert_true(r.count >= 1);
    assert_string_equal(r.text[0], "00000001.segment 0+0 the segment is missing");
    assert_true(harmed(f, &r) > 0 && harmed(f, &r) < MESSAGES);
    simdisk_free(copy);

    copy = simdisk_clone(f->disk);
    uint64_t size;
    unsigned char *bytes = simdisk_bytes(copy, "/spool/00000001.segment", &size);
    simdisk_put(copy, "/spool/00000099.segment", bytes, size);
    r = check(copy);
    assert_int_equal(r.count, 1);
    assert_string_equal(r.text[0], "00000099.segment 0+0 the segment is a copy of another one");
    assert_int_equal(harmed(f, &r), 0);
    simdisk_free(copy);

    copy = simdisk_clone(f->disk);
    struct segment_header h = {.slot = 0x99, .size = SEGMENT, .spool = 7, .generation = 9999, .key = 1};
    unsigned char *other = calloc(1, SEGMENT);
    segment_header_encode(&h, other);
    simdisk_put(copy, "/spool/00000099.segment", other, SEGMENT);
    r = check(copy);
    assert_string_equal(r.text[0], "00000099.segment 0+0 the segment belongs to another spool");
    assert_int_equal(harmed(f, &r), 0);
    free(other);
    simdisk_free(copy);
}

static void test_unreadable_sector(void **state) {
    struct fixture *f = *state;
    unsigned reported = 0;
    for (unsigned nth = 1; nth < 30; nth++) {
        simdisk_fail(f->disk, SIMDISK_READ, nth, EIO);
        struct result r = check(f->disk);
        reported += r.count > 0;
        simdisk_fail(f->disk, SIMDISK_READ, 0, 0);
    }
    assert_true(reported > 0);
}

static void test_newer_format(void **state) {
    struct fixture *f = *state;
    struct arena *arena = arena_new(0);
    struct str why;
    struct spool_check_result counts;
    uint64_t size;
    unsigned char *bytes = simdisk_bytes(f->disk, "/spool/00000001.segment", &size);
    bytes[8] = 2;
    uint32_t crc = crc32c(0, bytes, 124);
    for (int i = 0; i < 4; i++)
        bytes[124 + i] = (unsigned char)(crc >> 8 * i);
    assert_int_equal(spool_check("/spool", simdisk_io(f->disk), NULL, NULL, NULL, arena, &why, &counts),
                     SLUICE_EINVALID);
    assert_string_equal(str_c(arena, why),
                        "spool: /spool/00000001.segment has format 2; this program knows 1");
    arena_free(arena);
}

/* A body that came to harm after it was accepted: its recipients come back marked, and it doesn't read. The
 * spool works on, and sets the segment aside when all of it has ended. */
static void test_goes_on_with_damage(void **state) {
    struct fixture *f = *state;
    struct arena *arena = arena_new(0);
    struct result r = {0};
    struct str why;
    struct spool *s;
    struct spool_reader *reader;
    uint64_t size;
    unsigned char *bytes = simdisk_bytes(f->disk, "/spool/00000001.segment", &size);
    uint64_t at = (uint64_t)message_place(f->message[1]) * 8;
    struct record_header h;
    assert_true(record_header_decode(bytes + at, &h));
    bytes[at + record_size(h.head, 0) + 99] ^= 4;
    const struct spool_options o = {.dir = "/spool", .io = simdisk_io(f->disk), .segment_size = SEGMENT};
    assert_int_equal(spool_open(&o, note_waiting, &r, arena, &why, &s), 0);
    assert_true(r.damaged[1]);
    assert_int_equal(harmed(f, &r), 1);
    struct spool_stats stats;
    spool_stats(s, &stats);
    assert_int_equal(stats.damages, 1);
    char buf[8192];
    size_t len;
    assert_int_equal(spool_reader_open(s, f->message[1], SPOOL_WAIT, &reader), 0);
    assert_int_equal(spool_reader_next(reader, SPOOL_WAIT, buf, sizeof buf, &len), SLUICE_ECORRUPT);
    spool_reader_close(reader);
    for (uint64_t i = 0; i < MESSAGES; i++)
        for (uint32_t k = 0; k < 4; k++)
            if (f->expected[i][k])
                assert_int_equal(mail_outcome(s, f->message[i], k, SPOOL_FAILED), 0);
    const struct mail_shape big = {1, 1, 30000, 0};
    uint64_t message;
    for (uint64_t i = 0; i < 12; i++) {
        assert_int_equal(mail_commit(s, i, &big, &message), 0);
        assert_int_equal(mail_outcome(s, message, 0, SPOOL_DELIVERED), 0);
    }
    spool_close(s);
    bool aside = false;
    const char *path;
    for (size_t n = 0; (path = simdisk_name(f->disk, n)); n++)
        aside = aside || strstr(path, "/00000001-1.damaged");
    assert_true(aside);
    struct result after = check(f->disk);
    assert_int_equal(after.count, 0);
    arena_free(arena);
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_nothing_wrong),     CASE(test_a_flipped_bit), CASE(test_a_lost_block),
        CASE(test_lost_headers),      CASE(test_a_lost_state),  CASE(test_missing_and_foreign),
        CASE(test_unreadable_sector), CASE(test_newer_format),  CASE(test_goes_on_with_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
