/* DNS packets, names, the zone file and the cache: all pure. */
#include "cmocka_setup.h"
#include "rt/dns_cache.h"
#include "rt/dns_wire.h"
#include "rt/zone_file.h"
#include <stdio.h>

static void test_names(void **state) {
    (void)state;
    static const struct {
        const char *written, *normal;
    } names[] = {
        {"A.Example.", "a.example"},
        {"a.example", "a.example"},
        {".", "."},
        {"a\\.b.example", "a\\.b.example"},
        {"a\\065.x", "aa.x"},
        {"a\\032b", "a\\032b"},
        {"\\200.x", "\\200.x"},
        {"", NULL},
        {"a..b", NULL},
        {".a", NULL},
        {"a\\", NULL},
        {"a\\25", NULL},
        {"a\\256", NULL},
        {"..", NULL},
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        char memory[DNS_NAME_MAX];
        struct str normal;
        bool ok = dns_name_normal(str_of(names[i].written), memory, &normal);
        if (ok != (names[i].normal != NULL) || (ok && !str_eq(normal, str_of(names[i].normal))))
            fail_msg("%s: %.*s", names[i].written, STR_FMT(normal));
    }
    char label[70], memory[DNS_NAME_MAX], longest[300];
    struct str normal;
    memset(label, 'x', sizeof label);
    assert_true(dns_name_normal(str_from(label, 63), memory, &normal));
    assert_false(dns_name_normal(str_from(label, 64), memory, &normal));
    for (size_t i = 0; i < sizeof longest; i++)
        longest[i] = i % 50 == 49 ? '.' : 'y';
    assert_true(dns_name_normal(str_from(longest, 253), memory, &normal));
    assert_false(dns_name_normal(str_from(longest, 254), memory, &normal));
}

/* ---- packets ---- */

struct packet_case {
    const char *what, *bytes;
    size_t len;
    enum dns_type type;
    enum dns_status status;
    const char *records; /* "10 mx.x; 20 y" */
    bool nxdomain;
    uint32_t ttl;
    bool bare;
};

#define QUESTION "\x01q\x01x\x00\x00\x0f\x00\x01" /* q.x MX IN, at 12 */
#define HEADER(flags, answers, authority)                                                                    \
    "\x00\x00\x81" flags "\x00\x01\x00" answers "\x00" authority "\x00\x00"
#define PACKET(text) text, sizeof(text) - 1

static const struct packet_case packets[] = {
    {"two MX",
     PACKET(HEADER("\x80", "\x02", "\x00") QUESTION
            "\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x06\x00\x0a\x01M\xc0\x0e"
            "\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x1e\x00\x03\x00\x14\x00"),
     DNS_MX, DNS_RECORDS, "10 m.x; 20 .", false, 30},
    {"CNAME, then MX",
     PACKET(HEADER("\x80", "\x02", "\x00") QUESTION
            "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x0a\x00\x04\x01r\xc0\x0e"
            "\x01r\xc0\x0e\x00\x0f\x00\x01\x00\x00\x00\x1e\x00\x05\x00\x07\x01m\x00"),
     DNS_MX, DNS_RECORDS, "7 m", false, 10},
    {"a record of another name",
     PACKET(HEADER("\x80", "\x01", "\x00") QUESTION
            "\x01z\x00\x00\x0f\x00\x01\x00\x00\x00\x1e\x00\x05\x00\x07\x01m\x00"),
     DNS_MX, DNS_NONE, "", false, 60, .bare = true},
    {"NXDOMAIN with SOA",
     PACKET(HEADER("\x83", "\x00", "\x01") QUESTION
            "\xc0\x0e\x00\x06\x00\x01\x00\x00\x00\x78\x00\x16\x00\x00"
            "\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x2d"),
     DNS_MX, DNS_NONE, "", true, 45},
    {"NOERROR, nothing", PACKET(HEADER("\x80", "\x00", "\x00") QUESTION), DNS_MX, DNS_NONE, "", false, 60,
     .bare = true},
    {"NOERROR with SOA",
     PACKET(HEADER("\x80", "\x00", "\x01") QUESTION
            "\xc0\x0e\x00\x06\x00\x01\x00\x00\x00\x78\x00\x16\x00\x00"
            "\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x2d"),
     DNS_MX, DNS_NONE, "", false, 45},
    {"NXDOMAIN, nothing", PACKET(HEADER("\x83", "\x00", "\x00") QUESTION), DNS_MX, DNS_NONE, "", true, 60},
    {"NOERROR, and servers to ask",
     PACKET(HEADER("\x80", "\x00", "\x01") QUESTION "\xc0\x0e\x00\x02\x00\x01\x00\x00\x00\x78\x00\x01\x00"),
     DNS_MX, DNS_NONE, "", false, 60, .bare = true},
    {"SERVFAIL", PACKET(HEADER("\x82", "\x00", "\x00") QUESTION), DNS_MX, DNS_FAILED},
    {"REFUSED", PACKET(HEADER("\x85", "\x00", "\x00") QUESTION), DNS_MX, DNS_FAILED},
    {"half a header", PACKET("\x00\x00\x81\x80\x00"), DNS_MX, DNS_FAILED},
    {"nothing", PACKET(""), DNS_MX, DNS_FAILED},
    {"the record is missing", PACKET(HEADER("\x80", "\x01", "\x00") QUESTION), DNS_MX, DNS_FAILED},
    {"data goes past the end",
     PACKET(HEADER("\x80", "\x01", "\x00") QUESTION
            "\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\xff\x00\x0a\x01m\xc0\x0e"),
     DNS_MX, DNS_FAILED},
    {"data longer than its name",
     PACKET(HEADER("\x80", "\x01", "\x00") QUESTION
            "\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x06\x00\x0a\x01m\x00\x00"),
     DNS_MX, DNS_FAILED},
    {"a pointer to itself",
     PACKET(HEADER("\x80", "\x01", "\x00") QUESTION
            "\xc0\x15\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x05\x00\x0a\x01m\x00"),
     DNS_MX, DNS_FAILED},
    {"a pointer forward",
     PACKET(HEADER("\x80", "\x01", "\x00") QUESTION
            "\xc0\x30\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x05\x00\x0a\x01m\x00"),
     DNS_MX, DNS_FAILED},
    {"CNAME to itself",
     PACKET(HEADER("\x80", "\x01", "\x00") QUESTION
            "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x0a\x00\x02\xc0\x0c"),
     DNS_MX, DNS_FAILED},
    {"an address of five octets",
     PACKET(HEADER("\x80", "\x01", "\x00") QUESTION
            "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x0a\x00\x05\x01\x02\x03\x04\x05"),
     DNS_A, DNS_FAILED},
    {"a text string past its end",
     PACKET(HEADER("\x80", "\x01", "\x00") QUESTION "\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x0a\x00\x03\x05"
                                                    "ab"),
     DNS_TXT, DNS_FAILED},
    {"a TTL with its top bit set is zero",
     PACKET(HEADER("\x80", "\x01", "\x00") QUESTION
            "\xc0\x0c\x00\x0f\x00\x01\x80\x00\x00\x3c\x00\x05\x00\x0a\x01m\x00"),
     DNS_MX, DNS_RECORDS, "10 m", false, 0},
};

static void test_packets(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(packets); i++) {
        const struct packet_case *c = &packets[i];
        struct arena *arena = arena_new(0);
        struct dns_answer answer;
        dns_decode(str_from(c->bytes, c->len), STR("Q.x."), c->type, arena, &answer);
        struct str got = STR("");
        for (size_t j = 0; j < answer.count; j++)
            got = str_printf(arena, "%.*s%s%u %.*s", STR_FMT(got), j ? "; " : "",
                             (unsigned)answer.records[j].preference, STR_FMT(answer.records[j].name));
        bool ok = answer.status == c->status && answer.nxdomain == c->nxdomain && answer.bare == c->bare &&
                  str_eq(got, str_of(c->records ? c->records : ""));
        if (!ok || (c->status != DNS_FAILED && answer.ttl != c->ttl))
            fail_msg("%s: status %d, %.*s, ttl %u", c->what, (int)answer.status, STR_FMT(got), answer.ttl);
        assert_int_equal(answer.why.len > 0, c->status == DNS_FAILED);
        arena_free(arena);
    }
}

/* ---- the zone file ---- */

static const char zone_text[] =
    "; comment\n"
    "\n"
    "example.net.            3600 IN SOA ns.example.net. root.example.net. 1 2 3 4 5\r\n"
    "example.net.            IN NS  ns.example.net.\n"
    "Example.NET.            MX     10 mx1.example.net. ; the first\n"
    "example.net.            60 mx  20 mx2.example.net\n"
    "mx1.example.net.        A      127.0.0.5\n"
    "mx1.example.net.        AAAA   ::1\n"
    "null.example.net.       MX     0 .\n"
    "text.example.net.       TXT    \"v=spf1 ip4:192.0.2.0/24\" \" -all; \\\"quoted\\\"\" bare\n"
    "a.b.deep.example.net.   A      127.0.0.6\n"
    "alias.example.net.      CNAME  mx1.example.net.\n"
    "far.example.net.        CNAME  elsewhere.example.org.\n"
    "round.example.net.      CNAME  round2.example.net.\n"
    "round2.example.net.     CNAME  round.example.net.\n"
    "5.0.0.127.in-addr.arpa. PTR    mx1.example.net.\n"
    "_25._tcp.mx1.example.net. TLSA 3 1 1 0123456789abcdef 00ff\n";

static struct zone_file *parse(const char *text, struct arena *arena, struct str *ret_why) {
    struct zone_file *zone = NULL;
    int error = zone_parse(str_of(text), "demo.zone", arena, ret_why, &zone);
    assert_int_equal(error, zone ? 0 : SLUICE_ESYNTAX);
    return zone;
}

static void test_zone(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum dns_type type;
        enum dns_status status;
        size_t count;
        bool nxdomain;
        const char *canonical, *elsewhere;
    } cases[] = {
        {"example.net", DNS_MX, DNS_RECORDS, 2},
        {"example.net", DNS_SOA, DNS_RECORDS, 1},
        {"example.net", DNS_A, DNS_NONE},
        {"mx1.example.net", DNS_AAAA, DNS_RECORDS, 1},
        {"mx2.example.net", DNS_A, DNS_NONE, .nxdomain = true},
        {"deep.example.net", DNS_A, DNS_NONE}, /* a name below it exists */
        {"b.deep.example.net", DNS_A, DNS_NONE},
        {"c.deep.example.net", DNS_A, DNS_NONE, .nxdomain = true},
        {"alias.example.net", DNS_A, DNS_RECORDS, 1, .canonical = "mx1.example.net"},
        {"alias.example.net", DNS_MX, DNS_NONE, .canonical = "mx1.example.net"},
        {"alias.example.net", DNS_CNAME, DNS_RECORDS, 1},
        {"far.example.net", DNS_A, DNS_NONE, .canonical = "elsewhere.example.org",
         .elsewhere = "elsewhere.example.org"},
        {"round.example.net", DNS_A, DNS_FAILED},
        {"5.0.0.127.in-addr.arpa", DNS_PTR, DNS_RECORDS, 1},
        {"6.0.0.127.in-addr.arpa", DNS_PTR, DNS_NONE, .nxdomain = true},
        {"_25._tcp.mx1.example.net", DNS_TLSA, DNS_RECORDS, 1},
    };
    struct arena *arena = arena_new(0);
    struct str why = STR_NULL;
    struct zone_file *zone = parse(zone_text, arena, &why);
    if (!zone)
        fail_msg("%.*s", STR_FMT(why));
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dns_answer a;
        struct str elsewhere;
        assert_true(zone_covers(zone, str_of(cases[i].name)));
        zone_answer(zone, str_of(cases[i].name), cases[i].type, &a, &elsewhere);
        if (a.status != cases[i].status || a.count != cases[i].count || a.nxdomain != cases[i].nxdomain ||
            !str_eq(elsewhere, str_of(cases[i].elsewhere)) ||
            !str_eq(a.canonical, str_of(cases[i].canonical)))
            fail_msg("%s: status %d, %zu records", cases[i].name, (int)a.status, a.count);
    }
    static const char *const others[] = {"net", "example.org", "1.1.0.127.in-addr.arpa", "badexample.net"};
    for (size_t i = 0; i < COUNT(others); i++)
        assert_false(zone_covers(zone, str_of(others[i])));

    struct dns_answer a;
    struct str elsewhere;
    zone_answer(zone, STR("text.example.net"), DNS_TXT, &a, &elsewhere);
    assert_true(str_eq(a.records[0].text, STR("v=spf1 ip4:192.0.2.0/24 -all; \"quoted\"bare")));
    zone_answer(zone, STR("_25._tcp.mx1.example.net"), DNS_TLSA, &a, &elsewhere);
    assert_int_equal(a.records[0].raw.len, 13);
    assert_memory_equal(a.records[0].raw.at, "\x03\x01\x01\x01\x23\x45\x67\x89\xab\xcd\xef\x00\xff", 13);
    zone_answer(zone, STR("null.example.net"), DNS_MX, &a, &elsewhere);
    assert_true(str_eq(a.records[0].name, STR(".")));
    zone_answer(zone, STR("example.net"), DNS_MX, &a, &elsewhere);
    assert_int_equal(a.ttl, 60);
    zone_free(zone);
    arena_free(arena);
}

static void test_zone_errors(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"a.example. A 127.0.0.1\n$ORIGIN example.\n",
         "demo.zone:2: there are no directives in this file: \"$ORIGIN\""},
        {"*.example. A 127.0.0.1", "demo.zone:1: write names in full"},
        {"@ A 127.0.0.1", "demo.zone:1: write names in full"},
        {" A 127.0.0.1", "demo.zone:1: each line begins with a name"},
        {"a.example.", "demo.zone:1: the type is missing"},
        {"a.example. A", "demo.zone:1: this is no IPv4 address: \"\""},
        {"a.example. A ::1", "demo.zone:1: this is no IPv4 address: \"::1\""},
        {"a.example. AAAA 127.0.0.1", "demo.zone:1: this is no IPv6 address"},
        {"a.example. A 127.0.0.1 127.0.0.2", "demo.zone:1: too much on this line: \"127.0.0.2\""},
        {"a.example. MX mx.example.", "demo.zone:1: this is no number, or too big: \"mx.example.\""},
        {"a.example. MX 70000 mx.example.", "demo.zone:1: this is no number, or too big"},
        {"a.example. MX 10", "demo.zone:1: the host is missing"},
        {"a.example. MX 10 a..b", "demo.zone:1: this is no name: \"a..b\""},
        {"a.example. TXT", "demo.zone:1: the text is missing"},
        {"a.example. TXT \"open", "demo.zone:1: a quote is not closed"},
        {"a.example. SRV 0 0 25 x.", "demo.zone:1: unknown type"},
        {"a.example. CH A 127.0.0.1", "demo.zone:1: unknown type"},
        {"a.example. TLSA 3 1 1 0g", "demo.zone:1: this is not hexadecimal"},
        {"a.example. TLSA 3 1 1 0", "demo.zone:1: TLSA needs"},
        {"a.example. SOA a. b. 1 2 3 4", "demo.zone:1: SOA needs"},
        {". A 127.0.0.1", "demo.zone:1: the root"},
        {"a..b. A 127.0.0.1", "demo.zone:1: this is no name"},
        {"a.example. CNAME b.example.\na.example. A 127.0.0.1", "demo.zone:2: a name with a CNAME"},
        {"a.example. A 127.0.0.1\na.example. CNAME b.example.", "demo.zone:2: a name with a CNAME"},
        {"a.example. CNAME b.example.\na.example. CNAME c.example.", "demo.zone:2: a second CNAME"},
        {"a.example. 9999999999 A 127.0.0.1", "demo.zone:1: this is no TTL"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct str why = STR_NULL;
        struct zone_file *zone = parse(cases[i].text, arena, &why);
        if (zone || !str_starts(why, str_of(cases[i].why)))
            fail_msg("%s: %.*s", cases[i].text, STR_FMT(why));
        arena_free(arena);
    }
}

/* ---- the cache ---- */

static void test_cache(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct dns_cache *cache = dns_cache_new(100, 3600);
    struct dns_record record = {.preference = 10, .name = STR("mx.example")};
    struct dns_answer in = {.status = DNS_RECORDS, .records = &record, .count = 1, .secure = true, .ttl = 60},
                      out;
    dns_cache_put(cache, STR("a.example"), DNS_MX, &in, 1000);
    assert_false(dns_cache_get(cache, STR("a.example"), DNS_A, 1000, arena, &out));
    assert_true(dns_cache_get(cache, STR("a.example"), DNS_MX, 31000, arena, &out));
    assert_true(out.ttl == 30 && out.secure && !out.stale && str_eq(out.records[0].name, STR("mx.example")));
    assert_false(dns_cache_get(cache, STR("a.example"), DNS_MX, 61000, arena, &out));
    assert_true(dns_cache_stale(cache, STR("a.example"), DNS_MX, 61000, arena, &out));
    assert_true(out.stale && !out.secure && out.ttl <= 30);
    assert_true(dns_cache_stale(cache, STR("a.example"), DNS_MX, 3600 * 1000 + 60999, arena, &out));
    assert_false(dns_cache_stale(cache, STR("a.example"), DNS_MX, 3600 * 1000 + 61000, arena, &out));

    struct dns_answer none = {.status = DNS_NONE, .nxdomain = true, .ttl = 999999};
    dns_cache_put(cache, STR("n.example"), DNS_MX, &none, 0);
    assert_true(dns_cache_get(cache, STR("n.example"), DNS_MX, 299000, arena, &out) && out.nxdomain);
    assert_false(dns_cache_get(cache, STR("n.example"), DNS_MX, 300000, arena, &out));
    assert_false(dns_cache_stale(cache, STR("n.example"), DNS_MX, 300000, arena, &out));

    struct dns_answer failed = {.status = DNS_FAILED};
    dns_cache_put(cache, STR("f.example"), DNS_MX, &failed, 0);
    assert_false(dns_cache_get(cache, STR("f.example"), DNS_MX, 0, arena, &out));

    /* The least lately used goes first. */
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%d.example", i);
        dns_cache_put(cache, str_of(name), DNS_MX, &in, 0);
        assert_true(dns_cache_get(cache, STR("0.example"), DNS_MX, 1, arena, &out));
    }
    assert_true(dns_cache_get(cache, STR("999.example"), DNS_MX, 1, arena, &out));
    assert_true(dns_cache_get(cache, STR("901.example"), DNS_MX, 1, arena, &out));
    assert_false(dns_cache_get(cache, STR("900.example"), DNS_MX, 1, arena, &out));
    dns_cache_free(cache);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_packets), cmocka_unit_test(test_zone),
        cmocka_unit_test(test_zone_errors), cmocka_unit_test(test_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
