/* What a strict receiver sees, asked of worlds in which one thing is wrong; and of the mail, as foretold. */
#include "../auth/zone.h"
#include "base/clock.h"
#include "configured.h"
#include "identity/strict.h"

#define TEXT                                                                                                 \
    "site bl2 { ehlo = out.example.net ptr = \"m{class}{n}.example.net\" }\n"                                \
    "pool normal { class = on spf = published addresses = {192.0.2.16/31, \"2001:db8::1\"} }\n"              \
    "pool rest { class = re spf = hidden carries = {high-risk, relay, high-risk-relay} "                     \
    "addresses = {203.0.113.8} }\n"

enum { RECORDS_MAX = 64 };
struct world {
    struct configured c;
    struct plan plan;
    struct plan_index *index;
    struct zone_record records[RECORDS_MAX];
    size_t count;
};

/* Texts of this test have neither quotes nor strings of over 255 octets in them. */
static struct str unquoted(struct str data) {
    return data.len > 2 && data.at[0] == '"' ? str_from(data.at + 1, data.len - 2) : data;
}

static void world_open(struct world *w) {
    *w = (struct world){.c = configure_good(STR(TEXT))};
    struct plan_input input = {.pools = w->c.pools, .settings = &w->c.settings, .ptr_ehlo = true};
    w->plan = plan_build(w->c.arena, &input);
    w->index = plan_index_new(&w->plan);
    for (size_t i = 0; i < w->plan.record_count; i++) {
        const struct plan_record *r = &w->plan.records[i];
        assert_true(w->count < RECORDS_MAX - 2);
        w->records[w->count++] =
            (struct zone_record){str_head(r->name, r->name.len - 1), str_of(r->type), unquoted(r->data)};
    }
}

static void world_close(struct world *w) {
    plan_index_free(w->index);
    configured_free(&w->c);
}

static void change(struct world *w, const char *name, const char *type, const char *data) {
    for (size_t i = w->count; i-- > 0;) {
        if (!str_eq(w->records[i].name, str_of(name)) || !str_eq(w->records[i].type, str_of(type)))
            continue;
        if (data)
            w->records[i].data = str_of(data);
        else
            w->records[i] = w->records[--w->count];
        if (data)
            return;
    }
    if (data)
        w->records[w->count++] = (struct zone_record){str_of(name), str_of(type), str_of(data)};
}

/* "check:verdict " of each that does not pass. */
static const char *said(const struct strict_view *view, struct buf *out, size_t checks) {
    buf_clear(out);
    for (size_t i = 0; i < checks; i++)
        if (view->checks[i].verdict != STRICT_PASS)
            buf_printf(out, "%s:%s ", strict_code_text((enum strict_code)i),
                       strict_verdict_text(view->checks[i].verdict));
    return buf_c(out);
}

static const char REVERSE[] = "16.16-31.2.0.192.in-addr.arpa";
#define PTR "mon0001.example.net"
static const struct {
    const char *title;
    struct zone_record changes[3]; /* data "": that name and type are gone */
    const char *ehlo;              /* NULL: as the pool says */
    const char *ip;                /* NULL: 192.0.2.16 */
    const char *said;
    const char *put; /* part of what the first fault says to put; NULL: not looked at */
} CASES[] = {
    {"all right: only HELO = PTR is not so", .said = "ehlo-ptr:note ", .put = "ehlo = ptr"},
    {"EHLO is the PTR name", .ehlo = PTR, .said = ""},
    {"IPv6", .ip = "2001:db8::1", .ehlo = PTR, .said = ""},
    {"no PTR",
     {{STR("@"), STR("PTR"), STR("")}},
     .said = "ptr:fail fcrdns:void ptr-name:void ehlo-ptr:void organisation:void ",
     .put = "2.0.192.in-addr.arpa. 3600 PTR " PTR ".\n" PTR ". 3600 A 192.0.2.16"},
    {"not confirmed",
     {{STR(PTR), STR("A"), STR("192.0.2.99")}},
     .ehlo = PTR,
     .said = "fcrdns:fail ",
     .put = PTR ". 3600 A 192.0.2.16"},
    {"PTR by CNAME of RFC 2317",
     {{STR("@"), STR("PTR"), STR("")},
      {STR("@"), STR("CNAME"), STR("other.example.org")},
      {STR("other.example.org"), STR("PTR"), STR(PTR)}},
     .ehlo = PTR,
     .said = ""},
    {"a chain to the PTR name's address",
     {{STR(PTR), STR("A"), STR("")},
      {STR(PTR), STR("CNAME"), STR("x.example.net")},
      {STR("x.example.net"), STR("A"), STR("192.0.2.16")}},
     .ehlo = "out.example.net",
     .said = "ptr-name:note ehlo-ptr:note "},
    {"a line's name",
     {{STR("@"), STR("PTR"), STR("dsl-192-0-2-16.example.net")},
      {STR("dsl-192-0-2-16.example.net"), STR("A"), STR("192.0.2.16")}},
     .said = "ptr-name:fail ehlo-ptr:note "},
    {"another's name",
     {{STR("@"), STR("PTR"), STR("host.example.org")},
      {STR("host.example.org"), STR("A"), STR("192.0.2.16")}},
     .said = "ehlo-ptr:note organisation:fail "},
    {"meant to be the PTR name, and is not",
     {{STR("@"), STR("PTR"), STR("other.example.net")},
      {STR("other.example.net"), STR("A"), STR("192.0.2.16")}},
     .ehlo = PTR,
     .said = "ehlo-ptr:fail ",
     .put = "PTR " PTR "."},
    {"EHLO has no address",
     {{STR("out.example.net"), STR("A"), STR("")}, {STR("out.example.net"), STR("AAAA"), STR("")}},
     .said = "ehlo-address:fail ehlo-ptr:note ",
     .put = "out.example.net. 3600 A 192.0.2.16"},
    {"EHLO is a CNAME",
     {{STR("out.example.net"), STR("A"), STR("")},
      {STR("out.example.net"), STR("AAAA"), STR("")},
      {STR("out.example.net"), STR("CNAME"), STR(PTR)}},
     .said = "ehlo-address:note ehlo-ptr:note ",
     .put = "out.example.net. 3600 A 192.0.2.16"},
    {"a literal", .ehlo = "[192.0.2.16]",
     .said = "ehlo-name:fail ehlo-address:fail ehlo-ptr:note organisation:fail ehlo-spf:fail ",
     .put = "site { ehlo"},
    {"no domain", .ehlo = "localhost",
     .said = "ehlo-name:fail ehlo-address:fail ehlo-ptr:note organisation:fail ehlo-spf:fail "},
    {"EHLO of a line", .ehlo = "pool-3.dsl.example.net",
     .said = "ehlo-name:fail ehlo-address:fail ehlo-ptr:note ehlo-spf:fail "},
    {"EHLO without SPF",
     {{STR("out.example.net"), STR("TXT"), STR("")}},
     .said = "ehlo-ptr:note ehlo-spf:fail "},
    {"SPF without the address",
     {{STR("out.example.net"), STR("TXT"), STR("v=spf1 ip4:192.0.2.17 -all")}},
     .said = "ehlo-ptr:note ehlo-spf:fail "},
    {"broken SPF",
     {{STR("out.example.net"), STR("TXT"), STR("v=spf1 include:none.example -all")}},
     .said = "ehlo-ptr:note ehlo-spf:fail "},
    {"hidden on purpose", .ip = "203.0.113.8", .said = "ehlo-ptr:note ehlo-spf:note "},
    {"PTR unanswered",
     {{STR("@"), STR("PTR"), STR("")}, {STR("@"), STR("TIMEOUT"), STR("x")}},
     .said = "ptr:unknown fcrdns:unknown ptr-name:void ehlo-ptr:void organisation:void "},
    {"its name unanswered",
     {{STR(PTR), STR("A"), STR("")}, {STR(PTR), STR("TIMEOUT"), STR("x")}},
     .said = "fcrdns:unknown ehlo-ptr:note "},
    {"EHLO unanswered",
     {{STR("out.example.net"), STR("A"), STR("")},
      {STR("out.example.net"), STR("AAAA"), STR("")},
      {STR("out.example.net"), STR("TIMEOUT"), STR("x")}},
     .said = "ehlo-address:unknown ehlo-ptr:note "},
    {"EHLO's SPF unanswered",
     {{STR("out.example.net"), STR("TXT"), STR("")}, {STR("out.example.net"), STR("TIMEOUT"), STR("x")}},
     .said = "ehlo-ptr:note ehlo-spf:unknown "},
};

static const struct strict_check *first_told(const struct strict_view *view) {
    for (size_t i = 0; i < STRICT_COUNT; i++)
        if (view->checks[i].verdict == STRICT_FAIL || view->checks[i].verdict == STRICT_NOTE)
            return &view->checks[i];
    return NULL;
}

static struct strict_query query_of(struct world *w, const char *address, const char *ehlo) {
    struct ip ip;
    assert_true(ip_parse(str_of(address ? address : "192.0.2.16"), &ip));
    const struct source *source = source_find(w->c.pools, &ip);
    assert_non_null(source);
    struct str says = str_of(ehlo ? ehlo : source->ehlo);
    return (struct strict_query){.source = source,
                                 .pool = &w->c.pools->pools[source->pool],
                                 .ehlo = says,
                                 .ehlo_is_ptr = str_eq(says, str_of(source->ptr)),
                                 .index = w->index,
                                 .timeout_ms = 1000,
                                 .deadline = clock_mono_ms() + 60000};
}

static void test_names(void **state) {
    (void)state;
    struct buf out = {0};
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct world w;
        struct zone zone;
        struct strict_view view;
        world_open(&w);
        const char *reverse = record_find(&w.plan, "16.16-31.2.0.192.in-addr.arpa.", "PTR", NULL)
                                  ? REVERSE
                                  : "16.2.0.192.in-addr.arpa";
        for (size_t j = 0; j < 3 && CASES[i].changes[j].name.len; j++) {
            const struct zone_record *r = &CASES[i].changes[j];
            change(&w, r->name.at[0] == '@' ? reverse : r->name.at, r->type.at,
                   r->data.len ? r->data.at : NULL);
        }
        zone_open(&zone, w.records, w.count);
        struct strict_query query = query_of(&w, CASES[i].ip, CASES[i].ehlo);
        strict_ask(&zone.resolver, &query, w.c.arena, &view);
        if (strcmp(said(&view, &out, STRICT_EHLO_SPF + 1), CASES[i].said) != 0)
            fail_msg("%s: %s", CASES[i].title, buf_c(&out));
        for (size_t j = 0; j <= STRICT_EHLO_SPF; j++) {
            enum strict_verdict v = view.checks[j].verdict;
            assert_int_equal(view.checks[j].why.len > 0, v != STRICT_PASS && v != STRICT_VOID);
        }
        if (CASES[i].put && str_find(first_told(&view)->put, str_of(CASES[i].put)) < 0)
            fail_msg("%s: put %.*s", CASES[i].title, STR_FMT(first_told(&view)->put));
        world_close(&w);
    }
    buf_free(&out);
}

/* After the deadline nothing is asked, and nothing concluded. */
static void test_no_time(void **state) {
    (void)state;
    struct buf out = {0};
    struct world w;
    struct zone zone;
    struct strict_view view;
    world_open(&w);
    zone_open(&zone, w.records, w.count);
    struct strict_query query = query_of(&w, NULL, NULL);
    query.deadline = clock_mono_ms() - 1;
    strict_ask(&zone.resolver, &query, w.c.arena, &view);
    assert_int_equal(zone.asked, 0);
    assert_string_equal(said(&view, &out, STRICT_EHLO_SPF + 1),
                        "ptr:unknown fcrdns:unknown ptr-name:void ehlo-address:unknown ehlo-ptr:void "
                        "organisation:void ehlo-spf:unknown ");
    assert_int_equal(strict_worst(&view), STRICT_UNKNOWN);
    world_close(&w);
    buf_free(&out);
}

static void test_mail(void **state) {
    static const struct {
        enum spf_result spf;
        bool signed_by_us;
        enum dkim_result dkim;
        bool weak;
        enum dmarc_result dmarc;
        const char *said;
    } cases[] = {
        {SPF_PASS, true, DKIM_PASS, false, DMARC_PASS, ""},
        {SPF_FAIL, true, DKIM_PASS, false, DMARC_PASS, "spf:note "},
        {SPF_FAIL, false, DKIM_PASS, false, DMARC_PASS, "spf:note "},
        {SPF_FAIL, false, DKIM_FAIL, false, DMARC_FAIL, "spf:fail dkim:fail dmarc:fail "},
        {SPF_PASS, false, DKIM_FAIL, false, DMARC_PASS, "dkim:note "},
        {SPF_PASS, true, DKIM_PERMERROR, false, DMARC_PASS, "dkim:fail "},
        {SPF_PASS, true, DKIM_PASS, true, DMARC_PASS, "dkim:fail "},
        {SPF_PASS, true, DKIM_TEMPERROR, false, DMARC_PASS, "dkim:unknown "},
        {SPF_TEMPERROR, true, DKIM_TEMPERROR, false, DMARC_TEMPERROR,
         "spf:unknown dkim:unknown dmarc:unknown "},
        {SPF_NONE, true, DKIM_PERMERROR, false, DMARC_NONE, "spf:fail dkim:fail dmarc:note "},
        {SPF_PASS, true, DKIM_PASS, false, DMARC_PERMERROR, "dmarc:fail "},
    };
    (void)state;
    struct buf out = {0};
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct forecast_signature signature = {.domain = STR("contoso.com"),
                                               .selector = STR("s1"),
                                               .ours = cases[i].signed_by_us,
                                               .result = cases[i].dkim,
                                               .weak = cases[i].weak,
                                               .why = STR("because")};
        struct forecast f = {.spf = {.result = cases[i].spf, .reason = STR("so")},
                             .spf_domain = STR("contoso.com"),
                             .signatures = &signature,
                             .count = 1,
                             .dmarc = cases[i].dmarc,
                             .dmarc_why = STR("why")};
        struct strict_view view = {0};
        strict_mail(&f, STR("contoso.com"), NULL, arena, &view);
        if (strcmp(said(&view, &out, STRICT_COUNT), cases[i].said) != 0)
            fail_msg("%zu: %s", i, buf_c(&out));
    }
    arena_free(arena);
    buf_free(&out);
}

/* What is missing is said with the record that mends it. */
static void test_mail_put(void **state) {
    static const struct plan_domain domains[] = {{STR("contoso"), STR("contoso.com"), STR("")}};
    static const struct plan_dkim keys[] = {
        {STR("contoso.com"), STR("s1"), STR("v=DKIM1; k=ed25519; p=abc")}};
    (void)state;
    struct configured c = configure_good(STR(TEXT));
    struct plan_input input = {.pools = c.pools,
                               .settings = &c.settings,
                               .domains = domains,
                               .domain_count = 1,
                               .dkim = keys,
                               .dkim_count = 1};
    struct plan plan = plan_build(c.arena, &input);
    struct plan_index *index = plan_index_new(&plan);
    struct forecast_signature signature = {.domain = STR("contoso.com"),
                                           .selector = STR("s1"),
                                           .ours = true,
                                           .result = DKIM_PERMERROR,
                                           .why = STR("no record")};
    struct forecast f = {.spf = {.result = SPF_NONE, .reason = STR("")},
                         .spf_domain = STR("contoso.com"),
                         .signatures = &signature,
                         .count = 1,
                         .dmarc = DMARC_NONE,
                         .dmarc_why = STR("")};
    struct strict_view view = {0};
    strict_mail(&f, STR("contoso.com"), index, c.arena, &view);
    assert_true(str_starts(view.checks[STRICT_SPF].put, STR("contoso.com. 3600 TXT \"v=spf1 include:")));
    assert_true(str_starts(view.checks[STRICT_DKIM].put, STR("s1._domainkey.contoso.com. 3600 TXT ")));
    assert_true(str_starts(view.checks[STRICT_DMARC].put, STR("_dmarc.contoso.com. 3600 TXT ")));
    /* The record is of no use to an address that the include doesn't have. */
    view.pool = &c.pools->pools[1];
    f.spf.result = SPF_FAIL;
    strict_mail(&f, STR("contoso.com"), index, c.arena, &view);
    assert_true(str_starts(view.checks[STRICT_SPF].put, STR("pool \"rest\" { spf = published }")));
    f.spf.result = SPF_NONE;
    strict_mail(&f, STR("contoso.com"), index, c.arena, &view);
    assert_true(str_starts(view.checks[STRICT_SPF].put, STR("contoso.com. 3600 TXT ")));
    assert_true(str_find(view.checks[STRICT_SPF].put, STR("\npool \"rest\" { spf = published }")) > 0);
    f.count = 0;
    strict_mail(&f, STR("contoso.com"), index, c.arena, &view);
    assert_true(str_find(view.checks[STRICT_DKIM].put, STR("sluice dkim keygen contoso.com")) > 0);
    strict_mail(&f, STR("example.org"), index, c.arena, &view);
    assert_int_equal(view.checks[STRICT_DKIM].put.len, 0);
    plan_index_free(index);
    configured_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_no_time),
                                       cmocka_unit_test(test_mail), cmocka_unit_test(test_mail_put)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
