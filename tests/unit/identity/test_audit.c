#include "../auth/zone.h"
#include "configured.h"
#include "identity/audit.h"
#include "identity/names.h"

#define TEXT                                                                                                 \
    "site bl2 { ehlo = out.example.net ptr = \"m{class}{n}.example.net\" }\n"                                \
    "pool normal { class = on addresses = {192.0.2.16/31, 2001:db8::1} }\n"                                  \
    "pool high-risk { class = hn ehlo = ptr addresses = {198.51.100.1} }\n"                                  \
    "pool relay { class = rl addresses = {203.0.113.8} }\n"                                                  \
    "pool high-risk-relay { class = rh spf = hidden ehlo = ptr addresses = {203.0.113.9} }\n"

enum { ZONE_MAX = 128, CHANGES_MAX = 4 };

/* The record as the table of the test's resolver has it. */
static struct zone_record zone_record_of(const struct plan_record *r) {
    struct zone_record z = {str_head(r->name, r->name.len - 1), str_of(r->type), r->data};
    if (strcmp(r->type, "TXT") == 0)
        z.data = str_head(str_from_index(r->data, 1), r->data.len - 2); /* short, nothing escaped */
    else if (str_ends(r->data, STR(".")))
        z.data = str_head(r->data, r->data.len - 1);
    return z;
}

struct change {
    const char *name, *type;
    const char *data; /* NULL: the record is gone; type "TIMEOUT": the name's other types fail */
};

static size_t changed_zone(const struct plan *plan, const struct change *changes,
                           struct zone_record *records) {
    size_t count = 0;
    for (size_t i = 0; i < plan->record_count; i++) {
        struct zone_record r = zone_record_of(&plan->records[i]);
        bool dropped = false;
        for (size_t j = 0; j < CHANGES_MAX && changes[j].name; j++)
            dropped |= str_eq(r.name, str_of(changes[j].name)) &&
                       (str_eq(r.type, str_of(changes[j].type)) || strcmp(changes[j].type, "TIMEOUT") == 0);
        if (!dropped)
            records[count++] = r;
    }
    for (size_t j = 0; j < CHANGES_MAX && changes[j].name; j++)
        if (changes[j].data)
            records[count++] = (struct zone_record){str_of(changes[j].name), str_of(changes[j].type),
                                                    str_of(changes[j].data)};
    assert_true(count <= ZONE_MAX);
    return count;
}

#define REVERSE_16 "16.16-31.2.0.192.in-addr.arpa"
static const struct {
    const char *title;
    struct change changes[CHANGES_MAX];
    const char *ip;
    const char *findings; /* a letter a check, in their order: . OK, ? unknown, ! fault */
    const char *text;     /* part of the text of the first finding that is not OK */
} CASES[] = {
    {"as planned", .ip = "192.0.2.16", .findings = "......"},
    {"as planned, IPv6", .ip = "2001:db8::1", .findings = "......"},
    {"as planned, EHLO is PTR", .ip = "198.51.100.1", .findings = "......"},
    {"as planned, unpublished", .ip = "203.0.113.8", .findings = "......"},
    {"as planned, hidden", .ip = "203.0.113.9", .findings = "......"},
    {"no PTR",
     {{REVERSE_16, "PTR"}},
     "192.0.2.16",
     "!!....",
     "put `16.2.0.192.in-addr.arpa. PTR mon0001.example.net.`"},
    {"PTR fails", {{REVERSE_16, "TIMEOUT", ""}}, "192.0.2.16", "???...", "could not be asked"},
    {"another's PTR",
     {{REVERSE_16, "PTR", "host16.provider.example"}},
     "192.0.2.16",
     "!!!...",
     "its PTR is `host16.provider.example`"},
    {"another PTR that points back",
     {{REVERSE_16, "PTR", "other.example.net"}, {"other.example.net", "A", "192.0.2.16"}},
     "192.0.2.16",
     "!.....",
     "its PTR is `other.example.net`"},
    {"nothing points back",
     {{"mon0001.example.net", "A"}},
     "192.0.2.16",
     ".!....",
     "put `mon0001.example.net. A 192.0.2.16`"},
    {"it points elsewhere",
     {{"mon0001.example.net", "A", "192.0.2.17"}},
     "192.0.2.16",
     ".!....",
     "point back"},
    {"the way back fails",
     {{"mon0001.example.net", "TIMEOUT", ""}},
     "192.0.2.16",
     ".?....",
     "could not be asked"},
    {"EHLO does not resolve",
     {{"out.example.net", "A"}, {"out.example.net", "AAAA"}},
     "192.0.2.16",
     "...!..",
     "does not resolve"},
    {"EHLO has IPv6 only", {{"out.example.net", "A"}}, "192.0.2.16", "......", NULL},
    {"EHLO fails", {{"out.example.net", "TIMEOUT", ""}}, "192.0.2.16", "...??.", "could not be asked"},
    {"no SPF of EHLO", {{"out.example.net", "TXT"}}, "192.0.2.16", "....!.", "is none for it"},
    {"SPF of EHLO without it",
     {{"out.example.net", "TXT", "v=spf1 ip4:192.0.2.17 -all"}},
     "192.0.2.16",
     "....!.",
     "is fail for it"},
    {"two SPF records of EHLO",
     {{"out.example.net", "TXT", "v=spf1 ip4:192.0.2.16 -all"}, {"out.example.net", "TXT", "v=spf1 -all"}},
     "192.0.2.16",
     "....!.",
     "is permerror for it"},
    {"include without it",
     {{"spf.example.net", "TXT", "v=spf1 ip4:192.0.2.17 -all"}},
     "192.0.2.16",
     ".....!",
     "customers' mail from it fails"},
    {"include fails", {{"spf.example.net", "TIMEOUT", ""}}, "192.0.2.16", ".....?", "could not be asked"},
    {"include lets relayed mail through",
     {{"spf.example.net", "TXT", "v=spf1 ip4:203.0.113.0/24 -all"}},
     "203.0.113.8",
     ".....!",
     "pool `relay` is unpublished: take `ip4:203.0.113.0/24` out"},
    {"include lets hidden mail through",
     {{"spf.example.net", "TXT", "v=spf1 +all"}},
     "203.0.113.9",
     ".....!",
     "pool `high-risk-relay` is hidden"},
};

static void test_cases(void **state) {
    (void)state;
    struct configured c = configure_good(STR(TEXT));
    struct plan plan = plan_build(c.arena, &(struct plan_input){.pools = c.pools, .settings = &c.settings});
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct zone_record records[ZONE_MAX];
        struct zone zone;
        struct audit audit;
        struct ip ip;
        char findings[AUDIT_CHECK_COUNT + 1] = "";
        struct str first = STR("");
        zone_open(&zone, records, changed_zone(&plan, CASES[i].changes, records));
        assert_true(ip_parse(str_of(CASES[i].ip), &ip));
        const struct source *source = source_find(c.pools, &ip);
        assert_non_null(source);
        struct audit_query query = {.source = source,
                                    .pool = &c.pools->pools[source->pool],
                                    .include = STR("spf.example.net"),
                                    .deadline = INT64_MAX};
        audit_address(&zone.resolver, &query, c.arena, &audit);
        for (size_t j = 0; j < AUDIT_CHECK_COUNT; j++) {
            findings[j] = ".?!"[audit.findings[j].state];
            first = first.len ? first : audit.findings[j].text;
        }
        if (strcmp(findings, CASES[i].findings) != 0)
            fail_msg("%s: %s, wanted %s (%.*s)", CASES[i].title, findings, CASES[i].findings, STR_FMT(first));
        if (CASES[i].text && str_find(first, str_of(CASES[i].text)) < 0)
            fail_msg("%s: %.*s", CASES[i].title, STR_FMT(first));
        assert_int_equal(audit_worst(&audit), strchr(findings, '!')   ? AUDIT_FAULT
                                              : strchr(findings, '?') ? AUDIT_UNKNOWN
                                                                      : AUDIT_OK);
        assert_int_equal(audit_fcrdns(&audit), audit.findings[AUDIT_FORWARD].state);
    }
    configured_free(&c);
}

static void test_generic(void **state) {
    static const struct {
        const char *name, *ip;
        bool generic;
    } cases[] = {
        {"192-0-2-1.dyn.example.net", "192.0.2.1", true},  {"1.2.0.192.example.net", "192.0.2.1", true},
        {"host-1-2-0-192.example.net", "192.0.2.1", true}, {"192_0_2_1.example.net", "192.0.2.1", true},
        {"mail-on0001.example.net", "192.0.2.1", false},   {"192-0-2-2.example.net", "192.0.2.1", false},
        {"mail.example.net", "2001:db8::1", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip ip;
        ip_parse(str_of(cases[i].ip), &ip);
        assert_int_equal(audit_name_is_generic(str_of(cases[i].name), &ip), cases[i].generic);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_generic)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
