#include "rt/proxy.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "rt_run.h"
#include "tls_files.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4                                                                                                   \
    "\xc0\x00\x02\x01"                                                                                       \
    "\x7f\x00\x00\x01"                                                                                       \
    "\x30\x39\x00\x19"
#define V6                                                                                                   \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"                                                             \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"                                                             \
    "\x30\x39\x00\x19"
#define MAPPED                                                                                               \
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"                                                           \
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01"                                                               \
    "\x30\x39\x00\x19"
#define NOBODY                                                                                               \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"                                                                       \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"                                                             \
    "\x30\x39\x00\x19"
#define UNIX_9 "abcdefghi"
#define UNIX_108 UNIX_9 UNIX_9 UNIX_9 UNIX_9 UNIX_9 UNIX_9 UNIX_9 UNIX_9 UNIX_9 UNIX_9 UNIX_9 UNIX_9
#define X_20 "xxxxxxxxxxxxxxxxxxxx"

/* `from` NULL: the connection's own address. */
static const struct row {
    const char *name;
    struct str bytes;
    const char *why, *from;
    uint16_t port;
    bool more;
} rows[] = {
    {"v1 TCP4", STR("PROXY TCP4 192.0.2.1 127.0.0.1 12345 25\r\n"), NULL, "192.0.2.1", 12345},
    {"v1 TCP6", STR("PROXY TCP6 2001:db8::1 2001:db8::2 12345 25\r\n"), NULL, "2001:db8::1", 12345},
    {"v1 mapped", STR("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:127.0.0.1 0 65535\r\n"), NULL, "192.0.2.1", 0},
    {"v1 the longest",
     STR("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
         "65535\r\n"),
     NULL, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535},
    {"v1 UNKNOWN", STR("PROXY UNKNOWN\r\n"), NULL, NULL, 0},
    {"v1 UNKNOWN with more",
     STR("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "65535 65535\r\n"),
     NULL, NULL, 0},
    {"v1 other protocol", STR("PROXY UDP4 192.0.2.1 127.0.0.1 1 2\r\n"), "TCP4, TCP6 or UNKNOWN"},
    {"v1 lower case", STR("PROXY tcp4 192.0.2.1 127.0.0.1 1 2\r\n"), "TCP4, TCP6 or UNKNOWN"},
    {"v1 no protocol", STR("PROXY \r\n"), "TCP4, TCP6 or UNKNOWN"},
    {"v1 UNKNOWN run on", STR("PROXY UNKNOWNS\r\n"), "TCP4, TCP6 or UNKNOWN"},
    {"v1 families crossed", STR("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n"), "address can't be read"},
    {"v1 families crossed 6", STR("PROXY TCP6 192.0.2.1 127.0.0.1 1 2\r\n"), "address can't be read"},
    {"v1 destination of the other family", STR("PROXY TCP4 192.0.2.1 ::1 1 2\r\n"), "address can't be read"},
    {"v1 not an address", STR("PROXY TCP4 192.0.2.256 127.0.0.1 1 2\r\n"), "address can't be read"},
    {"v1 leading zero", STR("PROXY TCP4 192.0.02.1 127.0.0.1 1 2\r\n"), "address can't be read"},
    {"v1 a name", STR("PROXY TCP4 localhost 127.0.0.1 1 2\r\n"), "address can't be read"},
    {"v1 NUL", STR("PROXY TCP4 192.0.2.1\0 127.0.0.1 1 2\r\n"), "address can't be read"},
    {"v1 port too big", STR("PROXY TCP4 192.0.2.1 127.0.0.1 65536 2\r\n"), "port can't be read"},
    {"v1 port with zero", STR("PROXY TCP4 192.0.2.1 127.0.0.1 01 2\r\n"), "port can't be read"},
    {"v1 port negative", STR("PROXY TCP4 192.0.2.1 127.0.0.1 -1 2\r\n"), "port can't be read"},
    {"v1 port empty", STR("PROXY TCP4 192.0.2.1 127.0.0.1  2\r\n"), "port can't be read"},
    {"v1 no ports", STR("PROXY TCP4 192.0.2.1 127.0.0.1\r\n"), "lacks"},
    {"v1 too much", STR("PROXY TCP4 192.0.2.1 127.0.0.1 1 2 3\r\n"), "goes on"},
    {"v1 space behind", STR("PROXY TCP4 192.0.2.1 127.0.0.1 1 2 \r\n"), "goes on"},
    {"v1 two spaces", STR("PROXY TCP4  192.0.2.1 127.0.0.1 1 2\r\n"), "goes on"},
    {"v1 LF", STR("PROXY TCP4 192.0.2.1 127.0.0.1 1 2\n"), "CRLF"},
    {"v1 LF at once", STR("PROXY \n"), "CRLF"},
    {"v1 endless", STR("PROXY UNKNOWN " X_20 X_20 X_20 X_20 X_20), "doesn't end"},
    {"v1 longer than a line", STR("PROXY UNKNOWN " X_20 X_20 X_20 X_20 X_20 "\r\n"), "doesn't end"},
    {"v1 client 0.0.0.0", STR("PROXY TCP4 0.0.0.0 127.0.0.1 1 2\r\n"), "unspecified"},
    {"v1 client ::", STR("PROXY TCP6 :: ::1 1 2\r\n"), "unspecified"},
    {"v1 client mapped zero", STR("PROXY TCP6 ::ffff:0.0.0.0 ::1 1 2\r\n"), "unspecified"},

    {"v2 TCP4", STR(SIGNATURE "\x21\x11\x00\x0c" V4), NULL, "192.0.2.1", 12345},
    {"v2 TCP6", STR(SIGNATURE "\x21\x21\x00\x24" V6), NULL, "2001:db8::1", 12345},
    {"v2 mapped", STR(SIGNATURE "\x21\x21\x00\x24" MAPPED), NULL, "192.0.2.1", 12345},
    {"v2 LOCAL", STR(SIGNATURE "\x20\x00\x00\x00"), NULL, NULL, 0},
    {"v2 LOCAL with anything", STR(SIGNATURE "\x20\xff\x00\x05\x03\xff\xff\xff\xff"), NULL, NULL, 0},
    {"v2 LOCAL with addresses", STR(SIGNATURE "\x20\x11\x00\x0c" V4), NULL, NULL, 0},
    {"v2 UNSPEC", STR(SIGNATURE "\x21\x00\x00\x00"), NULL, NULL, 0},
    {"v2 UNIX", STR(SIGNATURE "\x21\x31\x00\xd8" UNIX_108 UNIX_108), NULL, NULL, 0},
    {"v2 extensions",
     STR(SIGNATURE "\x21\x11\x00\x17" V4 "\x04\x00\x02\xff\xff"
                   "\x02\x00\x03"
                   "a.b"),
     NULL, "192.0.2.1", 12345},
    {"v2 empty extension", STR(SIGNATURE "\x21\x11\x00\x0f" V4 "\x04\x00\x00"), NULL, "192.0.2.1", 12345},
    {"v2 checksum",
     STR(SIGNATURE "\x21\x11\x00\x13" V4 "\x03\x00\x04"
                   "CCCC"),
     NULL, "192.0.2.1", 12345},
    {"v2 checksum in the middle",
     STR(SIGNATURE "\x21\x21\x00\x2e" V6 "\x03\x00\x04"
                   "CCCC"
                   "\x04\x00\x00"),
     NULL, "2001:db8::1", 12345},
    {"v2 checksum wrong",
     STR(SIGNATURE "\x21\x11\x00\x13" V4 "\x03\x00\x04"
                   "\1\2\3\4"),
     "checksum is wrong"},
    {"v2 checksum short",
     STR(SIGNATURE "\x21\x11\x00\x12" V4 "\x03\x00\x03"
                   "\1\2\3"),
     "four bytes"},
    {"v2 checksum twice",
     STR(SIGNATURE "\x21\x11\x00\x1a" V4 "\x03\x00\x04"
                   "CCCC"
                   "\x03\x00\x04"
                   "\0\0\0\0"),
     "checksum"},
    {"v2 extension too long", STR(SIGNATURE "\x21\x11\x00\x0f" V4 "\x04\x00\x01"), "past the end"},
    {"v2 half an extension", STR(SIGNATURE "\x21\x11\x00\x0e" V4 "\x04\x00"), "past the end"},
    {"v2 short for TCP4", STR(SIGNATURE "\x21\x11\x00\x0b" V4), "too short"},
    {"v2 short for TCP6", STR(SIGNATURE "\x21\x21\x00\x0c" V4), "too short"},
    {"v2 short for UNIX", STR(SIGNATURE "\x21\x31\x00\x0c" V4), "too short"},
    {"v2 nothing for TCP4", STR(SIGNATURE "\x21\x11\x00\x00"), "too short"},
    {"v2 UDP", STR(SIGNATURE "\x21\x12\x00\x0c" V4), "TCP"},
    {"v2 UDP6", STR(SIGNATURE "\x21\x22\x00\x24" V6), "TCP"},
    {"v2 family 4", STR(SIGNATURE "\x21\x41\x00\x0c" V4), "family"},
    {"v2 transport 3", STR(SIGNATURE "\x21\x13\x00\x0c" V4), "family"},
    {"v2 family without transport", STR(SIGNATURE "\x21\x10\x00\x0c" V4), "family"},
    {"v2 transport without family", STR(SIGNATURE "\x21\x01\x00\x0c" V4), "family"},
    {"v2 command 2", STR(SIGNATURE "\x22\x11\x00\x0c" V4), "version or the command"},
    {"v2 version 1", STR(SIGNATURE "\x11\x11\x00\x0c" V4), "version or the command"},
    {"v2 version 3, early", STR(SIGNATURE "\x31"), "version or the command"},
    {"v2 too long, early", STR(SIGNATURE "\x21\x11\x3f\xf1"), "16 KB"},
    {"v2 LOCAL too long", STR(SIGNATURE "\x20\x00\xff\xff"), "16 KB"},
    {"v2 as long as may be", STR(SIGNATURE "\x21\x11\x3f\xf0" V4), .more = true},
    {"v2 client ::", STR(SIGNATURE "\x21\x21\x00\x24" NOBODY), "unspecified"},
    {"v2 client 0.0.0.0", STR(SIGNATURE "\x21\x11\x00\x0c\0\0\0\0\x7f\0\0\x01\0\1\0\2"), "unspecified"},

    {"nothing", STR(""), .more = true},
    {"SMTP", STR("EHLO client.example\r\n"), "doesn't begin"},
    {"TLS", STR("\x16\x03\x01\x02\x00\x01"), "doesn't begin"},
    {"a space before", STR(" PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n"), "doesn't begin"},
    {"lower case", STR("proxy TCP4 192.0.2.1 127.0.0.1 1 2\r\n"), "doesn't begin"},
    {"PROXY without a space", STR("PROXYTCP4 192.0.2.1 127.0.0.1 1 2\r\n"), "doesn't begin"},
    {"signature damaged", STR("\r\n\r\n\0\r\nQUIT\r"), "doesn't begin"},
    {"blank lines", STR("\r\n\r\n\r\n"), "doesn't begin"},
};

/* The first "CCCC" becomes the checksum of the header. */
static struct str with_checksum(struct arena *arena, struct str bytes) {
    ptrdiff_t at = str_find(bytes, STR("CCCC"));
    if (at < 0)
        return bytes;
    char *copy = arena_alloc(arena, bytes.len);
    memcpy(copy, bytes.at, bytes.len);
    memset(copy + at, 0, 4);
    uint32_t crc = crc32c(0, copy, bytes.len);
    for (int i = 0; i < 4; i++)
        copy[at + i] = (char)(crc >> (24 - 8 * i));
    return str_from(copy, bytes.len);
}

static void check_row(const struct row *row, struct str bytes, size_t len) {
    struct proxy_header h;
    char text[IP_TEXT_SIZE];
    enum proxy_result result = proxy_header_parse(bytes, &h);
    if (result != (row->why ? PROXY_BAD : row->more ? PROXY_MORE : PROXY_DONE))
        fail_msg("%s: %d (%s)", row->name, result, h.why ? h.why : "");
    if (row->why && !strstr(h.why, row->why))
        fail_msg("%s: %s", row->name, h.why);
    if (result != PROXY_DONE)
        return;
    assert_int_equal(h.len, len);
    assert_int_equal(h.own, !row->from);
    if (row->from) {
        assert_string_equal(ip_text(&h.source, text), row->from);
        assert_int_equal(h.source_port, row->port);
    }
}

static void headers(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct str bytes = with_checksum(arena, rows[i].bytes);
        check_row(&rows[i], bytes, bytes.len);
    }
    arena_free(arena);
}

/* A good header waits for its last byte, and takes none behind it. */
static void truncated(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct str bytes = with_checksum(arena, rows[i].bytes);
        struct proxy_header h;
        if (rows[i].why || rows[i].more)
            continue;
        for (size_t n = 0; n < bytes.len; n++)
            if (proxy_header_parse(str_head(bytes, n), &h) != PROXY_MORE)
                fail_msg("%s: decided after %zu bytes", rows[i].name, n);
        struct buf longer __attribute__((cleanup(buf_free))) = {0};
        buf_str(&longer, bytes);
        buf_str(&longer, STR("\r\nEHLO x\r\n"));
        check_row(&rows[i], buf_view(&longer), bytes.len);
    }
    arena_free(arena);
}

/* Any one byte of the header changed: the checksum, or what it stands before, tells. */
static void flipped(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct str good = with_checksum(arena, STR(SIGNATURE "\x21\x11\x00\x13" V4 "\x03\x00\x04"
                                                         "CCCC"));
    for (size_t i = 0; i < good.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            char copy[64];
            struct proxy_header h;
            memcpy(copy, good.at, good.len);
            copy[i] = (char)(copy[i] ^ 1 << bit);
            enum proxy_result r = proxy_header_parse(str_from(copy, good.len), &h);
            /* A LOCAL, or another type of extension, carries no checksum that is looked at. */
            if (r == PROXY_DONE && !h.own && i != 28)
                fail_msg("byte %zu, bit %d", i, bit);
        }
    arena_free(arena);
}

/* ---- on streams ---- */

static int64_t soon(void) { return clock_mono_ms() + 30000; }

/* In one packet with the first command, or cut anywhere. */
static void before_commands(void *arg) {
    (void)arg;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf all = {0};
        buf_str(&all, rows[i].bytes);
        buf_str(&all, STR("EHLO client.example\r\n"));
        if (rows[i].why || rows[i].more || str_find(rows[i].bytes, STR("CCCC")) >= 0) {
            buf_free(&all);
            continue;
        }
        for (size_t piece = 0; piece < all.len + 2; piece++) {
            struct stream *s =
                stream_faulty(stream_memory(buf_view(&all), NULL), SIZE_MAX, SIZE_MAX, piece, 0);
            struct ip ip, proxy;
            uint16_t port;
            char text[IP_TEXT_SIZE];
            const char *why = "";
            CHECK(proxy_read(s, soon(), &why) == 0);
            CHECK(stream_proxied(s, &proxy) == (rows[i].from != NULL));
            CHECK(stream_peer(s, &ip, &port) == (rows[i].from != NULL));
            CHECK(!rows[i].from || (strcmp(ip_text(&ip, text), rows[i].from) == 0 && port == rows[i].port));
            CHECK(!rows[i].from || ip_is_none(&proxy));
            while (stream_input(s).len < 21)
                CHECK(stream_fill(s, soon()) == 0);
            CHECK(str_eq(stream_input(s), STR("EHLO client.example\r\n")));
            stream_free(s);
        }
        buf_free(&all);
    }
}

static void refused(void *arg) {
    (void)arg;
    const char *why = NULL;
    struct stream *s = stream_memory(STR("EHLO client.example\r\n"), NULL);
    CHECK(proxy_read(s, soon(), &why) == SLUICE_ESYNTAX && strstr(why, "doesn't begin"));
    stream_free(s);
    s = stream_memory(STR("PROXY TCP4 192.0"), NULL);
    CHECK(proxy_read(s, soon(), &why) == SLUICE_ECLOSED && why);
    stream_free(s);
    struct stream *a, *b;
    stream_pair(&a, &b);
    CHECK(stream_write(b, STR("PROXY TCP4 192.0"), soon()) == 0 && stream_flush(b, soon()) == 0);
    CHECK(proxy_read(a, clock_mono_ms() + 20, &why) == SLUICE_ETIMEOUT);
    stream_free(a);
    stream_free(b);
}

struct hello {
    struct stream *stream;
    struct tls_context *context;
    size_t piece;
    struct latch done;
};

/* Sends the header and its ClientHello. */
static void tls_client(void *arg) {
    struct hello *h = arg;
    int error = stream_write(h->stream, STR(SIGNATURE "\x21\x11\x00\x0c" V4), soon());
    if (!error)
        error = stream_start_tls(h->stream, h->context, STR_NULL, soon(), NULL, NULL);
    if (!error)
        error = stream_write(h->stream, STR("EHLO x\r\n"), soon());
    if (!error)
        error = stream_flush(h->stream, soon());
    if (error)
        rt_run_failed(__FILE__, __LINE__, error_text(error));
    latch_set(&h->done);
}

static void before_tls(void *arg) {
    struct tls_context **contexts = arg;
    static const size_t pieces[] = {0, 1, 2, 7, 27, 28, 29, 100, 1000};
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct stream *a, *b;
        struct ip ip;
        const char *why;
        stream_pair(&a, &b);
        a = stream_faulty(a, SIZE_MAX, SIZE_MAX, pieces[i], 0);
        struct hello h = {.stream = b, .context = contexts[1]};
        latch_init(&h.done);
        CHECK(fiber_start(tls_client, &h) == 0);
        CHECK(proxy_read(a, soon(), &why) == 0);
        CHECK(stream_start_tls(a, contexts[0], STR_NULL, soon(), NULL, NULL) == 0);
        CHECK(stream_peer(a, &ip, NULL) && ip_is_v4(&ip));
        while (stream_input(a).len < 8)
            CHECK(stream_fill(a, soon()) == 0);
        CHECK(str_eq(stream_input(a), STR("EHLO x\r\n")));
        latch_wait(&h.done);
        stream_free(a);
        stream_free(b);
    }
}

RT_RUN_TEST(before_commands)
RT_RUN_TEST(refused)

static void run_before_tls(void **state) {
    (void)state;
    struct tls_files files;
    struct tls_context *contexts[2];
    struct arena *arena = arena_new(0);
    struct str why;
    tls_files_make(&files);
    assert_int_equal(tls_server_context(files.certificate, files.key, arena, &why, &contexts[0]), 0);
    assert_int_equal(tls_client_context(&contexts[1]), 0);
    rt_run(1, before_tls, contexts);
    tls_context_free(contexts[0]);
    tls_context_free(contexts[1]);
    tls_files_remove(&files);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),     cmocka_unit_test(truncated),
        cmocka_unit_test(flipped),     cmocka_unit_test(run_before_commands),
        cmocka_unit_test(run_refused), cmocka_unit_test(run_before_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
