/* The bytes of records, and the index of who waits. */
#include "cmocka_setup.h"
#include <pthread.h>

#include "base/crc32c.h"
#include "mail.h"
#include "spool/format.h"
#include "spool/index.h"
#include "spool/scan.h"
#include <stdlib.h>

static const struct mail_shape shapes[] = {{1, 1, 0, 0}, {1, 1, 10, 500}, {4, 30, 99, 7}, {2, 1, 5, 0}};

/* Every field comes back; every shorter text is refused or is whole in itself, and nothing is read past its
 * end. */
static void test_message(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct arena *arena = arena_new(0);
        struct buf head = {0};
        struct spool_message m, made = mail_make(arena, i, &shapes[i]);
        message_encode(&head, &made, shapes[i].size, 3);
        const struct part part = {.generation = 1ull << 35, .place = 77, .length = 262144, .crc = 0xdeadbeef};
        message_set_part((unsigned char *)head.at, 2, &part);
        assert_true(message_decode(buf_view(&head), arena, &m));
        assert_true(mail_equal(&m, &made));
        struct part back;
        assert_true(message_part_decode(buf_view(&head), 2, &back));
        assert_true(back.generation == part.generation && back.place == 77 && back.length == 262144);
        assert_int_equal(back.crc, part.crc);
        assert_false(message_part_decode(buf_view(&head), 3, &back));
        for (size_t len = 0; len < head.len; len++) {
            char *exact = malloc(len ? len : 1);
            memcpy(exact, head.at, len);
            assert_false(message_decode(str_from(exact, len), arena, &m));
            free(exact);
        }
        buf_free(&head);
        arena_free(arena);
    }
}

static void test_unknown_fields(void **state) {
    (void)state;
    static const struct {
        uint16_t tag;
        bool taken;
    } cases[] = {{500, true}, {0x7fff, true}, {0x8000, false}, {0xffff, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct buf head = {0};
        struct spool_message m, made = mail_make(arena, 1, &shapes[0]);
        message_encode(&head, &made, 0, 0);
        buf_u16(&head, cases[i].tag);
        buf_u32(&head, 3);
        buf_add(&head, "new", 3);
        assert_int_equal(message_decode(buf_view(&head), arena, &m), cases[i].taken);
        buf_free(&head);
        arena_free(arena);
    }
}

static void test_outcome(void **state) {
    (void)state;
    char long_reply[3000];
    memset(long_reply, 'r', sizeof long_reply);
    const struct outcome_record records[] = {
        {1, 2, {.fate = SPOOL_DELIVERED, .time = 5, .reply = STR("250 ok")}},
        {UINT64_MAX, UINT32_MAX, {.fate = SPOOL_DEFERRED, .time = -1, .attempts = 9, .due = INT64_MAX}},
        {3, 4, {.fate = SPOOL_RELEASED, .reply = {long_reply, sizeof long_reply}}},
    };
    for (size_t i = 0; i < COUNT(records); i++) {
        struct buf head = {0};
        struct outcome_record back;
        const struct outcome_record *r = &records[i];
        outcome_encode(&head, r);
        assert_true(outcome_decode(buf_view(&head), &back));
        assert_true(back.message == r->message && back.recipient == r->recipient);
        assert_true(back.outcome.fate == r->outcome.fate && back.outcome.due == r->outcome.due);
        assert_int_equal(back.outcome.reply.len, r->outcome.reply.len > 1000 ? 1000 : r->outcome.reply.len);
        for (size_t len = 0; len < head.len; len++)
            assert_false(outcome_decode(str_from(head.at, len), &back));
        head.at[48] = 0;
        assert_false(outcome_decode(buf_view(&head), &back));
        head.at[48] = SPOOL_LET_GO + 1;
        assert_false(outcome_decode(buf_view(&head), &back));
        buf_free(&head);
    }
}

static void test_headers(void **state) {
    (void)state;
    const struct record_header h = {.generation = 1ull << 34,
                                    .key = 0x1234567890abcdef,
                                    .commit = 99,
                                    .place = 1024,
                                    .start = 1023,
                                    .head = 70,
                                    .body = 3,
                                    .type = RECORD_PART,
                                    .flags = RECORD_LAST,
                                    .head_crc = 1,
                                    .body_crc = 2};
    unsigned char bytes[SPOOL_SEGMENT_HEADER], again[SPOOL_SEGMENT_HEADER];
    struct record_header back;
    record_header_encode(&h, bytes);
    assert_true(record_header_decode(bytes, &back));
    record_header_encode(&back, again); /* the structs themselves may differ in their padding */
    assert_memory_equal(bytes, again, SPOOL_HEADER);
    for (size_t i = 0; i < SPOOL_HEADER * 8; i++) {
        bytes[i / 8] ^= (unsigned char)(1u << i % 8);
        assert_false(record_header_decode(bytes, &back));
        bytes[i / 8] ^= (unsigned char)(1u << i % 8);
    }
    const struct segment_header g = {3, 1 << 20, 7, 8, 9, 10, 11};
    struct segment_header g_back;
    uint32_t version;
    segment_header_encode(&g, bytes);
    assert_true(segment_header_decode(bytes, &g_back, &version));
    segment_header_encode(&g_back, again);
    assert_memory_equal(bytes, again, sizeof again);
    for (size_t i = 0; i < SPOOL_SEGMENT_HEADER * 8; i++) {
        bytes[i / 8] ^= (unsigned char)(1u << i % 8);
        assert_false(segment_header_decode(bytes, &g_back, &version));
        assert_int_equal(version, SPOOL_VERSION);
        bytes[i / 8] ^= (unsigned char)(1u << i % 8);
    }
}

/* ---- Scanning: a text of commits, and what is found in it ---- */

enum { SIZE = 64 * 1024, GENERATION = 5, KEY = 77 };

struct writer {
    unsigned char *bytes;
    uint64_t at, start, commit;
};

static uint64_t write_record(struct writer *w, uint32_t head, uint32_t body, enum record_type type,
                             uint8_t flags) {
    static const unsigned char zeros[8192];
    uint64_t at = w->at;
    memset(w->bytes + at, 0, record_size(head, body));
    record_header_encode(&(struct record_header){.generation = GENERATION,
                                                 .key = KEY,
                                                 .commit = w->commit,
                                                 .place = (uint32_t)(at / 8),
                                                 .start = (uint32_t)(w->start / 8),
                                                 .head = head,
                                                 .body = body,
                                                 .type = (uint8_t)type,
                                                 .flags = flags,
                                                 .head_crc = crc32c(0, zeros, head),
                                                 .body_crc = crc32c(0, zeros, body)},
                         w->bytes + at);
    w->at = at + record_size(head, body);
    if (flags & RECORD_LAST) {
        w->at = spool_align(w->at, SPOOL_BLOCK);
        w->start = w->at;
        w->commit++;
    }
    return at;
}

struct scan_case {
    const char *name;
    /* Records of 100+200 bytes: a letter each; '|' ends a commit, 's' is a seal, 'S' a closing one. */
    const char *text;
    const char *destroy;    /* a letter a record: 'h' its header, 'b' its body, '.' nothing */
    uint64_t known_records; /* the state record of a later segment tells the end behind so many records */
    unsigned usable, gaps, bad;
    bool unproven, closed;
};

static const struct scan_case scan_cases[] = {
    {"nothing", "", "", 0, 0, 0, 0, false, false},
    {"one", "a|", "..", 0, 1, 0, 0, true, false},
    {"two commits", "ab|c|", "...", 0, 3, 0, 0, true, false},
    {"sealed", "ab|c|s", "...", 0, 3, 0, 0, false, false},
    {"closed", "ab|c|S", "...", 0, 3, 0, 0, false, true},
    {"last torn: header", "ab|cd|", "..h.", 0, 2, 0, 0, false, false},
    {"last torn: its end", "ab|cd|", "...h", 0, 2, 0, 0, false, false},
    {"last torn: body", "ab|cd|", "..b.", 0, 2, 0, 0, false, false},
    {"sealed, header lost", "ab|cd|s", "..h.", 0, 4, 1, 0, false, false},
    {"sealed, body lost", "ab|cd|s", "...b", 0, 4, 0, 1, false, false},
    {"first of many", "ab|cd|ef|", "h.....", 0, 6, 1, 0, true, false},
    {"whole commit lost", "ab|cd|ef|", "..hh..", 0, 5, 1, 0, true, false},
    {"start of the next lost too", "ab|cd|ef|", "...hh.", 0, 4, 1, 0, false, false},
    {"known end", "ab|cd|ef|", "......", 4, 4, 0, 0, false, false},
    {"known end, lost before it", "ab|cd|ef|", "..hh..", 4, 3, 1, 0, false, false},
    {"known end, torn behind", "ab|cd|ef|", "....h.", 4, 4, 0, 0, false, false},
};

static void scan_one(const struct scan_case *c) {
    struct writer w = {.bytes = calloc(1, SIZE), .at = SPOOL_DATA, .start = SPOOL_DATA, .commit = 1};
    uint64_t places[16], known = 0;
    size_t count = 0;
    for (const char *t = c->text; *t; t++) {
        if (*t == 's' || *t == 'S')
            write_record(&w, 0, 0, RECORD_SEAL,
                         (uint8_t)(*t == 'S' ? RECORD_LAST | RECORD_CLOSED : RECORD_LAST));
        else if (*t != '|')
            places[count++] = write_record(&w, 100, 200, RECORD_OUTCOME, t[1] == '|' ? RECORD_LAST : 0);
        else if (count == c->known_records)
            known = w.at;
    }
    for (size_t i = 0; i < count; i++) {
        if (c->destroy[i] == 'h')
            w.bytes[places[i] + 20] ^= 1;
        if (c->destroy[i] == 'b')
            w.bytes[places[i] + record_size(100, 0) + 50] ^= 1;
    }
    struct scan s;
    scan_segment(w.bytes, SIZE, GENERATION, KEY, known, &s);
    unsigned gaps = 0, bad = 0;
    for (uint32_t i = 0; i < s.usable; i++) {
        gaps += s.items[i].gap;
        bad += !s.items[i].gap && !(s.items[i].head_ok && s.items[i].body_ok);
    }
    if (s.usable != c->usable || gaps != c->gaps || bad != c->bad || s.unproven != c->unproven ||
        s.closed != c->closed)
        fail_msg("%s: %u usable, %u gaps, %u bad, unproven %d, closed %d", c->name, s.usable, gaps, bad,
                 s.unproven, s.closed);
    scan_free(&s);
    scan_segment(w.bytes, SIZE, GENERATION, KEY + 1, 0, &s);
    assert_false(s.any);
    assert_int_equal(s.end, SPOOL_DATA);
    scan_free(&s);
    free(w.bytes);
}

static void test_scan(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(scan_cases); i++)
        scan_one(&scan_cases[i]);
}

/* ---- Index ---- */

static void test_index(void **state) {
    (void)state;
    enum { N = 5000, MOST = 70 };
    struct index x = {0};
    static bool waits[N][MOST];
    static uint32_t left[N];
    srand(3);
    for (uint32_t i = 0; i < N; i++) {
        left[i] = i % 50 == 0 ? MOST : 1 + i % 31;
        for (uint32_t k = 0; k < left[i]; k++)
            waits[i][k] = true;
        index_add(&x, 1024 + i * 40, left[i], NULL, 0);
    }
    for (int n = 0; n < 400000; n++) {
        uint32_t i = (uint32_t)rand() % N, k = (uint32_t)rand() % MOST, place = 1024 + i * 40;
        assert_int_equal(index_has(&x, place), left[i] > 0);
        assert_int_equal(index_waits(&x, place, k), waits[i][k]);
        struct index_end end = index_end(&x, place, k, true);
        assert_int_equal(end.ended, waits[i][k]);
        left[i] -= waits[i][k];
        assert_int_equal(end.last, end.ended && left[i] == 0);
        waits[i][k] = false;
        free(end.wide);
    }
    uint32_t *places = index_places(&x), at = 0;
    for (uint32_t i = 0; i < N; i++)
        if (left[i])
            assert_int_equal(places[at++], 1024 + i * 40);
    assert_int_equal(at, x.count);
    free(places);
    index_free(&x);
}

/* The design's bound: with the queue's 64 bytes a message, 96. */
static void test_index_is_small(void **state) {
    (void)state;
    struct index x = {0};
    for (uint32_t i = 1; i < 20000; i++) {
        index_add(&x, i * 9, 1, NULL, 0);
        if (i > 100)
            assert_true(index_bytes(&x) <= (size_t)i * 32);
    }
    index_free(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message),        cmocka_unit_test(test_unknown_fields),
        cmocka_unit_test(test_outcome),        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_scan),           cmocka_unit_test(test_index),
        cmocka_unit_test(test_index_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
