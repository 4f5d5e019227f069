#include "auth/spf_inside.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "cmocka_setup.h"
#include "zone.h"

#define TXT(owner, text)                                                                                     \
    { STR(owner), STR("TXT"), STR(text) }
#define A(owner, text)                                                                                       \
    { STR(owner), STR("A"), STR(text) }
#define MX(owner, text)                                                                                      \
    { STR(owner), STR("MX"), STR(text) }
#define PTR(owner, text)                                                                                     \
    { STR(owner), STR("PTR"), STR(text) }
#define TIMEOUT(owner)                                                                                       \
    { STR(owner), STR("TIMEOUT"), STR("") }

static void test_terms(void **state) {
    (void)state;
    static const struct {
        const char *record;
        enum spf_term_kind kind; /* of the last term */
        char qualifier;
        const char *domain;
        unsigned bits4, bits6;
        const char *fault;
    } cases[] = {
        {"v=spf1 -all", SPF_TERM_ALL, '-', "", 32, 128},
        {"V=SPF1   ?ALL  ", SPF_TERM_ALL, '?', "", 32, 128},
        {"v=spf1 a/24//64", SPF_TERM_A, '+', "", 24, 64},
        {"v=spf1 a//0", SPF_TERM_A, '+', "", 32, 0},
        {"v=spf1 ~mx:%{d2}/0", SPF_TERM_MX, '~', "%{d2}", 0, 128},
        {"v=spf1 mx:a/b.example/20//40", SPF_TERM_MX, '+', "a/b.example", 20, 40},
        {"v=spf1 ip4:192.0.2.0/24", SPF_TERM_IP4, '+', "", 24, 128},
        {"v=spf1 ip6:2001:db8::/32", SPF_TERM_IP6, '+', "", 32, 32},
        {"v=spf1 ip6:::1.2.3.4", SPF_TERM_IP6, '+', "", 32, 128},
        {"v=spf1 exists:%{ir}.%{l1r+-}._spf.%{d}", SPF_TERM_EXISTS, '+', "%{ir}.%{l1r+-}._spf.%{d}", 32, 128},
        {"v=spf1 ptr:b.example.", SPF_TERM_PTR, '+', "b.example.", 32, 128},
        {"v=spf1 redirect=%{d}.r.example", SPF_TERM_REDIRECT, 0, "%{d}.r.example", 32, 128},
        {"v=spf1 EXP=e.example", SPF_TERM_EXP, 0, "e.example", 32, 128},
        {"v=spf1 x-1_2.y=/:=%{t}", SPF_TERM_UNKNOWN, 0, "/:=%{t}", 32, 128},
        {"v=spf1 x=", SPF_TERM_UNKNOWN, 0, "", 32, 128},
        {"v=spf1 a/024", .fault = "a prefix length that is too long"},
        {"v=spf1 a/", .fault = "a malformed argument"},
        {"v=spf1 a/24/24", .fault = "a malformed argument"},
        {"v=spf1 a/99999999999999999999999", .fault = "a prefix length that is too long"},
        {"v=spf1 ip4:192.0.2.0/33", .fault = "a prefix length that is too long"},
        {"v=spf1 ip4:192.0.2.0//24", .fault = "no IPv4 address"},
        {"v=spf1 ip4:192.0.2", .fault = "no IPv4 address"},
        {"v=spf1 ip4:192.0.2.010", .fault = "no IPv4 address"},
        {"v=spf1 ip4:::ffff:192.0.2.1", .fault = "no IPv4 address"},
        {"v=spf1 ip4", .fault = "no argument"},
        {"v=spf1 ip6:192.0.2.1", .fault = "no IPv6 address"},
        {"v=spf1 ip6:2001:db8::/129", .fault = "a prefix length that is too long"},
        {"v=spf1 include", .fault = "no argument"},
        {"v=spf1 include:", .fault = "an empty domain"},
        {"v=spf1 include:b.example/24",
         .fault = "a domain that does not end in a top-level label or a macro"},
        {"v=spf1 all:x.example", .fault = "an argument where none may be"},
        {"v=spf1 +", .fault = "an unknown mechanism"},
        {"v=spf1 --all", .fault = "an unknown mechanism"},
        {"v=spf1 al", .fault = "an unknown mechanism"},
        {"v=spf1 -redirect=b.example", .fault = "an unknown mechanism"},
        {"v=spf1 a\tmx", .fault = "a character that is not printable ASCII"},
        {"v=spf1 a:\xc3\xa4.example", .fault = "a character that is not printable ASCII"},
        {"v=spf1 redirect=", .fault = "an empty domain"},
        {"v=spf1 redirect=a.example redirect=a.example", .fault = "a modifier that stands twice"},
        {"v=spf1 exp=a.example exp=a.example", .fault = "a modifier that stands twice"},
        {"v=spf1 exp=%{c}.example", .fault = "an unknown macro letter"},
        {"v=spf1 exists:%{i", .fault = "a macro without its closing brace"},
        {"v=spf1 exists:%{i0}", .fault = "a macro with an impossible number of parts"},
        {"v=spf1 exists:%{ir;}", .fault = "a macro with an unknown delimiter"},
        {"v=spf1 exists:a.example%", .fault = "a % that begins no macro"},
        {"v=spf1 x=%", .fault = "a % that begins no macro"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct spf_record record;
        struct spf_term term, last = {0};
        struct str at, rest = spf_record_terms(str_of(cases[i].record));
        const char *why = NULL;
        int error = spf_record_check(str_of(cases[i].record), &record, &at, &why);
        assert_int_equal(error, cases[i].fault ? SLUICE_ESYNTAX : 0);
        if (cases[i].fault) {
            assert_string_equal(why, cases[i].fault);
            continue;
        }
        while (spf_term_next(&rest, &term, &why) == 1)
            last = term;
        assert_int_equal(last.kind, cases[i].kind);
        assert_int_equal(last.qualifier, cases[i].qualifier);
        assert_true(str_eq(last.domain, str_of(cases[i].domain)));
        assert_int_equal(last.bits4, cases[i].bits4);
        assert_int_equal(last.bits6, cases[i].bits6);
    }
}

static void test_versions(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is;
    } cases[] = {{"v=spf1", true},   {"V=sPf1 -all", true}, {"v=spf1\t-all", false},
                 {"v=spf10", false}, {" v=spf1", false},    {"v=spf2.0/pra", false},
                 {"", false}};
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(spf_is_record(str_of(cases[i].text)), cases[i].is);
}

static const struct zone_record zone_records[] = {
    TXT("ip.example", "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all exp=why.example"),
    TXT("why.example", "%{i} may not send for %{o}, see %{U}"),
    TXT("why2.example", "%{c} may not send for %{o}; %{S} at %{r}"),
    TXT("exp.example", "v=spf1 -all exp=why2.example"),
    TXT("tab.example", "v=spf1 -all exp=tabbed.example"),
    TXT("tabbed.example", "two\r\nlines"),
    TXT("long.example", "v=spf1 -all exp=longer.example"),
    TXT("longer.example",
        "%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}"
        "%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}"),
    TXT("include.example", "v=spf1 include:ip.example ?all exp=why.example"),
    TXT("redirect.example", "v=spf1 redirect=exp.example exp=nowhere.example"),
    TXT("nowhere.example", "no"),
    TXT("lost.example", "v=spf1 redirect=nothing.example"),
    TXT("slow.example", "v=spf1 include:dead.example -all"),
    TIMEOUT("dead.example"),
    TXT("dead-a.example", "v=spf1 a:dead.example -all"),
    TXT("dead-ptr.example", "v=spf1 ptr ~all"),
    TIMEOUT("66.2.0.192.in-addr.arpa"),
    TXT("two.example", "v=spf1 -all"),
    TXT("two.example", "v=spf1 +all"),
    TXT("voids.example", "v=spf1 a:n1.example mx:n2.example exists:n3.example -all"),
    TXT("void2.example", "v=spf1 a:n1.example mx:n2.example -all"),
    TXT("ptr.example", "v=spf1 ptr -all"),
    PTR("65.2.0.192.in-addr.arpa", "host.ptr.example"),
    PTR("65.2.0.192.in-addr.arpa", "liar.example"),
    A("host.ptr.example", "192.0.2.65"),
    A("liar.example", "192.0.2.1"),
    TXT("p.example", "v=spf1 exists:%{p}.ok.example -all"),
    A("host.ptr.example.ok.example", "127.0.0.2"),
    A("unknown.ok.example", "127.0.0.2"),
    TXT("mx.example", "v=spf1 mx/30 -all"),
    MX("mx.example", "10 host.ptr.example"),
    MX("mx.example", "0 ."),
    TXT("utf.example", "v=spf1 exists:%{l}.u.example -all"),
    TXT("xn--bcher-kva.example", "v=spf1 ip4:192.0.2.65 -all"),
    TXT("helo.example", "v=spf1 exists:%{l}.%{h} -all"),
    A("postmaster.helo.example", "127.0.0.2"),
    TXT("back.example", "v=spf1 exists:%{l}.back.example -all"),
    TXT("sub.c.example", "v=spf1 include:%{d1}.c.example include:none.example"),
    TXT("example.c.example", "v=spf1 -all"),
};

static void test_checks(void **state) {
    (void)state;
    static const struct {
        const char *ip, *from;
        enum spf_result result;
        const char *mechanism, *reason, *explanation;
        unsigned terms, voids;
    } cases[] = {
        {"192.0.2.9", "a@ip.example", SPF_PASS, "ip4:192.0.2.0/24", "192.0.2.9 is in ip4:192.0.2.0/24", ""},
        {"::ffff:192.0.2.9", "a@ip.example", SPF_PASS, "ip4:192.0.2.0/24"},
        {"2001:db8:1::1", "a@IP.Example", SPF_PASS, "ip6:2001:db8::/32"},
        {"198.51.100.1", "a@ip.example", SPF_FAIL, "-all", "198.51.100.1 matches -all", ""},
        {"198.51.100.1", "a b@exp.example", SPF_FAIL, "-all", NULL,
         "198.51.100.1 may not send for exp.example; a%20b%40exp.example at mx.here.example"},
        {"198.51.100.1", "a@tab.example", SPF_FAIL, "-all", NULL, ""},
        {"198.51.100.1", "aaaaaaaa@long.example", SPF_FAIL, "-all", NULL, ""},
        {"198.51.100.1", "a@include.example", SPF_NEUTRAL, "?all", NULL, "", 1},
        {"192.0.2.9", "a@include.example", SPF_PASS, "include:ip.example", NULL, "", 1},
        {"192.0.2.9", "@redirect.example", SPF_FAIL, "-all", "192.0.2.9 matches -all of exp.example",
         "192.0.2.9 may not send for redirect.example; postmaster%40redirect.example at mx.here.example", 1},
        {"192.0.2.9", "a@lost.example", SPF_PERMERROR, "",
         "\"redirect=nothing.example\" of lost.example: it names no SPF record", "", 1},
        {"192.0.2.9", "a@slow.example", SPF_TEMPERROR, "", "dead.example: the DNS did not answer", "", 1},
        {"192.0.2.9", "a@dead-a.example", SPF_TEMPERROR, "",
         "\"a:dead.example\" of dead-a.example: the DNS did not answer", "", 1},
        {"192.0.2.66", "a@dead-ptr.example", SPF_SOFTFAIL, "~all", NULL, "", 1},
        {"192.0.2.9", "a@two.example", SPF_PERMERROR, "", "two.example: more than one SPF record"},
        {"192.0.2.9", "a@none.example", SPF_NONE, "", "none.example: no SPF record"},
        {"192.0.2.9", "a@[192.0.2.9]", SPF_NONE, "", "\"[192.0.2.9]\" is no domain"},
        {"192.0.2.9", "a@localhost", SPF_NONE, "", "\"localhost\" is no domain"},
        {"192.0.2.9", "nobody", SPF_NONE, "", "\"\" is no domain"},
        {"192.0.2.9", "a@voids.example", SPF_PERMERROR, "",
         "\"exists:n3.example\" of voids.example: a third term whose look-up has no answer", "", 3, 3},
        {"192.0.2.9", "a@void2.example", SPF_FAIL, "-all", NULL, "", 2, 2},
        {"192.0.2.65", "a@ptr.example", SPF_PASS, "ptr", NULL, "", 1},
        {"192.0.2.64", "a@ptr.example", SPF_FAIL, "-all", NULL, "", 1, 1},
        {"192.0.2.65", "a@p.example", SPF_PASS, "exists:%{p}.ok.example", NULL, "", 1},
        {"192.0.2.64", "a@p.example", SPF_PASS, "exists:%{p}.ok.example", NULL, "", 1},
        {"192.0.2.66", "a@mx.example", SPF_PASS, "mx/30", NULL, "", 1},
        {"2001:db8::66", "a@mx.example", SPF_FAIL, "-all", NULL, "", 1},
        {"192.0.2.65", "\xc3\xa4@utf.example", SPF_FAIL, "-all", NULL, "", 1},
        {"192.0.2.65",
         "a@b\xc3\xbc"
         "cher.example",
         SPF_PASS, "ip4:192.0.2.65"},
        {"192.0.2.65", "", SPF_PASS, "exists:%{l}.%{h}", NULL, "", 1},
        {"192.0.2.65", "\"a\\b\"@back.example", SPF_FAIL, "-all", NULL, "", 1, 1},
        {"192.0.2.65", "a@sub.c.example", SPF_PERMERROR, "",
         "\"include:none.example\" of sub.c.example: it names no SPF record", "", 2},
    };
    struct zone zone;
    zone_open(&zone, zone_records, COUNT(zone_records));
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct spf_query query = {.helo = STR("helo.example"),
                                  .mail_from = str_of(cases[i].from),
                                  .receiver = STR("mx.here.example"),
                                  .deadline = clock_mono_ms() + SPF_DEADLINE_MS};
        struct spf_check check;
        assert_true(ip_parse(str_of(cases[i].ip), &query.ip));
        spf_check(&zone.resolver, &query, arena, &check);
        assert_string_equal(spf_result_text(check.result), spf_result_text(cases[i].result));
        assert_true(str_eq(check.mechanism, str_of(cases[i].mechanism)));
        if (cases[i].reason)
            assert_string_equal(str_c(arena, check.reason), cases[i].reason);
        if (cases[i].explanation)
            assert_string_equal(str_c(arena, check.explanation), cases[i].explanation);
        assert_int_equal(check.terms, cases[i].terms);
        assert_int_equal(check.voids, cases[i].voids);
        assert_int_equal(check.identity, *cases[i].from ? SPF_MAIL_FROM : SPF_HELO);
        arena_free(arena);
    }
}

static void test_helo(void **state) {
    (void)state;
    struct zone zone;
    zone_open(&zone, zone_records, COUNT(zone_records));
    struct arena *arena = arena_new(0);
    struct spf_query query = {.helo = STR("ip.example."),
                              .mail_from = STR("a@none.example"),
                              .which = SPF_HELO,
                              .deadline = clock_mono_ms() + SPF_DEADLINE_MS};
    struct spf_check check;
    assert_true(ip_parse(STR("192.0.2.9"), &query.ip));
    spf_check(&zone.resolver, &query, arena, &check);
    assert_int_equal(check.result, SPF_PASS);
    assert_int_equal(check.identity, SPF_HELO);
    assert_true(str_eq(check.domain, STR("ip.example")));
    query.helo = STR("[192.0.2.9]");
    spf_check(&zone.resolver, &query, arena, &check);
    assert_int_equal(check.result, SPF_NONE);
    assert_int_equal(check.domain.len, 0);
    arena_free(arena);
}

static void put_step(struct buf *out, const struct spf_step *s) {
    static const char *const ends[] = {"record", "miss", "match", "follow", "modifier", "error"};
    buf_printf(out, "%u %.*s %s \"%.*s\"", s->depth, STR_FMT(s->domain), ends[s->end], STR_FMT(s->term));
    if (s->target.len)
        buf_printf(out, " = %.*s", STR_FMT(s->target));
    if (s->note.len)
        buf_printf(out, " (%.*s)", STR_FMT(s->note));
    for (const struct spf_lookup *l = s->lookups; l; l = l->next)
        buf_printf(out, " [%.*s %d: %zu %.*s]", STR_FMT(l->name), (int)l->type, l->count,
                   STR_FMT(str_head(l->answers, 20)));
    buf_char(out, '\n');
}

static void test_steps(void **state) {
    (void)state;
    static const struct zone_record records[] = {
        TXT("s.example", "v=spf1 a:%{o1}.a.example include:i.example redirect=r.example"),
        A("example.a.example", "192.0.2.1"),
        A("example.a.example", "192.0.2.2"),
        TXT("i.example", "v=spf1 mx -all"),
        MX("i.example", "10 m.example"),
        A("m.example", "192.0.2.3"),
        TXT("r.example", "v=spf1 ~all"),
    };
    static const char wanted[] =
        "0 s.example record \"v=spf1 a:%{o1}.a.example include:i.example redirect=r.example\" "
        "[s.example 16: 1 v=spf1 a:%{o1}.a.exa]\n"
        "0 s.example miss \"a:%{o1}.a.example\" = example.a.example [example.a.example 1: 2 192.0.2.1, "
        "192.0.2.2]\n"
        "0 s.example follow \"include:i.example\" = i.example\n"
        "1 i.example record \"v=spf1 mx -all\" [i.example 16: 1 v=spf1 mx -all]\n"
        "1 i.example miss \"mx\" [i.example 15: 1 m.example] [m.example 1: 1 192.0.2.3]\n"
        "1 i.example match \"-all\"\n"
        "0 s.example miss \"include:i.example\" = i.example (fail)\n"
        "0 s.example follow \"redirect=r.example\" = r.example\n"
        "1 r.example record \"v=spf1 ~all\" [r.example 16: 1 v=spf1 ~all]\n"
        "1 r.example match \"~all\"\n";
    struct zone zone;
    zone_open(&zone, records, COUNT(records));
    struct arena *arena = arena_new(0);
    struct spf_query query = {.mail_from = STR("a@s.example"), .deadline = clock_mono_ms() + SPF_DEADLINE_MS};
    struct spf_check check;
    assert_true(ip_parse(STR("198.51.100.1"), &query.ip));
    spf_check(&zone.resolver, &query, arena, &check);
    assert_int_equal(check.result, SPF_SOFTFAIL);
    assert_true(str_eq(check.mechanism_domain, STR("r.example")));
    struct buf out = {0};
    for (const struct spf_step *s = check.steps; s; s = s->next)
        put_step(&out, s);
    assert_string_equal(buf_c(&out), wanted);
    buf_free(&out);
    arena_free(arena);
}

/* Answers every question of a type with the same, however often. */
struct flood {
    struct resolver resolver;
    struct str txt;
    struct ip address;
    size_t addresses, names; /* records of A and AAAA; of MX and PTR */
    size_t asked;
};

static void flood_lookup(struct resolver *resolver, struct str name, enum dns_type type, int64_t deadline,
                         struct arena *arena, struct dns_answer *ret) {
    (void)deadline;
    struct flood *f = (struct flood *)resolver;
    f->asked++;
    assert_true(name.len <= 253);
    *ret = (struct dns_answer){.status = DNS_RECORDS};
    ret->count = type == DNS_TXT ? 1 : type == DNS_MX || type == DNS_PTR ? f->names : f->addresses;
    ret->records = arena_array(arena, struct dns_record, ret->count + 1);
    for (size_t i = 0; i < ret->count; i++) {
        if (type == DNS_TXT)
            ret->records[i].text = str_copy(arena, f->txt);
        else if (type == DNS_MX || type == DNS_PTR)
            ret->records[i].name = str_printf(arena, "n%zu.example", i);
        else
            ret->records[i].ip = f->address;
    }
    if (!ret->count)
        ret->status = DNS_NONE;
}

static struct str repeat(struct arena *arena, const char *head, const char *part, size_t times,
                         const char *tail) {
    struct buf out = {0};
    buf_str(&out, str_of(head));
    for (size_t i = 0; i < times; i++)
        buf_str(&out, str_of(part));
    buf_str(&out, str_of(tail));
    struct str copy = str_copy(arena, buf_view(&out));
    buf_free(&out);
    return copy;
}

static void test_hostile(void **state) {
    (void)state;
    static const struct {
        const char *head, *part, *tail;
        size_t times, addresses, names, asked; /* asked: at most */
        enum spf_result result;
        bool cut;
    } cases[] = {
        {"v=spf1", " include:b.example", " -all", 500, .asked = 11, .result = SPF_PERMERROR},
        {"v=spf1 redirect=a.example", "", "", 0, .asked = 11, .result = SPF_PERMERROR},
        {"v=spf1 include:%{d}.a", "", "", 0, .asked = 11, .result = SPF_PERMERROR},
        {"v=spf1", " ip4:192.0.2.1", " ?all", 4600, .asked = 1, .result = SPF_NEUTRAL, .cut = true},
        {"v=spf1", " mx", " ?all", 20000, 4000, 10, 111, SPF_PERMERROR},
        {"v=spf1", " mx", "", 1, 1, 4000, 2, SPF_PERMERROR},
        {"v=spf1", " ptr", "", 10, 4000, 4000, 12, SPF_NEUTRAL},
        {"v=spf1", " a", " ?all", 10, 8000, 0, 11, SPF_NEUTRAL},
        {"v=spf1 exists:", "%{i}", "", 16000, .asked = 2, .result = SPF_NEUTRAL},
        {"v=spf1 exists:", "%{p}.", "x.example", 12000, 1, 4000, 13, SPF_PASS},
        {"v=spf1 exists:", "a", ".%{d}", 65000, 1, .asked = 2, .result = SPF_PASS},
        {"v=spf1 ?all exp=", "x", "", 65000, .asked = 1, .result = SPF_PERMERROR},
        {"v=spf1 -all exp=e.example ", "%", "", 65000, .asked = 1, .result = SPF_PERMERROR},
        {"v=spf1 ", " ", "", 65000, .asked = 1, .result = SPF_NEUTRAL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0), *own = arena_new(0);
        struct flood flood = {.resolver = {.lookup = flood_lookup},
                              .addresses = cases[i].addresses,
                              .names = cases[i].names,
                              .txt =
                                  repeat(own, cases[i].head, cases[i].part, cases[i].times, cases[i].tail)};
        struct spf_query query = {.mail_from = STR("a@a.example"),
                                  .deadline = clock_mono_ms() + SPF_DEADLINE_MS};
        struct spf_check check;
        assert_true(ip_parse(STR("203.0.113.1"), &flood.address));
        assert_true(ip_parse(STR("198.51.100.1"), &query.ip));
        spf_check(&flood.resolver, &query, arena, &check);
        assert_string_equal(spf_result_text(check.result), spf_result_text(cases[i].result));
        assert_true(flood.asked <= cases[i].asked);
        assert_int_equal(check.steps_cut, cases[i].cut);
        assert_true(arena_size(arena) < 400000);
        arena_free(arena);
        arena_free(own);
    }
}

/* A DNS that never answers ends each look-up at the deadline; one after it asks no more. */
static void test_deadline(void **state) {
    (void)state;
    struct flood flood = {.resolver = {.lookup = flood_lookup}, .txt = STR("v=spf1 +all")};
    struct arena *arena = arena_new(0);
    struct spf_query query = {.mail_from = STR("a@a.example"), .deadline = clock_mono_ms() - 1};
    struct spf_check check;
    spf_check(&flood.resolver, &query, arena, &check);
    assert_int_equal(check.result, SPF_TEMPERROR);
    assert_int_equal(flood.asked, 0);
    assert_true(str_eq(check.steps->lookups->answers, STR("the time for the check is up")));
    arena_free(arena);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terms),    cmocka_unit_test(test_versions), cmocka_unit_test(test_checks),
        cmocka_unit_test(test_helo),     cmocka_unit_test(test_steps),    cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
