/* Lists, their names and the meaning of their answers. */
#include "identity/blocklist.h"
#include "base/buf.h"
#include "identity/names.h"

#define CODES(table) table, sizeof table / sizeof *table

static const struct blocklist_code SPAMHAUS[] = {
    {STR("127.0.0.2"), STR("127.0.0.2"), BLOCKLIST_LISTS, STR("SBL: a source of spam")},
    {STR("127.0.0.3"), STR("127.0.0.3"), BLOCKLIST_LISTS, STR("CSS: low reputation, found by machine")},
    {STR("127.0.0.4"), STR("127.0.0.7"), BLOCKLIST_LISTS, STR("XBL: a hijacked or infected host")},
    {STR("127.0.0.9"), STR("127.0.0.9"), BLOCKLIST_LISTS, STR("DROP: a network of criminals")},
    {STR("127.0.0.10"), STR("127.0.0.11"), BLOCKLIST_LISTS,
     STR("PBL: not to send mail by its owner's policy")},
};
static const struct blocklist_code ONE[] = {
    {STR("127.0.0.2"), STR("127.0.0.2"), BLOCKLIST_LISTS, STR("listed")},
};
static const struct blocklist_code MAILSPIKE[] = {
    {STR("127.0.0.2"), STR("127.0.0.2"), BLOCKLIST_LISTS, STR("listed")},
    {STR("127.0.0.10"), STR("127.0.0.12"), BLOCKLIST_LISTS, STR("a bad reputation")},
    {STR("127.0.0.13"), STR("127.0.0.20"), BLOCKLIST_NOTHING, STR("a fair or good reputation")},
};

const struct blocklist blocklist_defaults[] = {
    {STR("Spamhaus ZEN"), STR("zen.spamhaus.org"), true, true, CODES(SPAMHAUS),
     STR("https://check.spamhaus.org/results?query=%")},
    {STR("SpamCop"), STR("bl.spamcop.net"), true, false, CODES(ONE),
     STR("https://www.spamcop.net/bl.shtml?%")},
    {STR("Barracuda"), STR("b.barracudacentral.org"), true, false, CODES(ONE),
     STR("https://www.barracudacentral.org/rbl/removal-request/%")},
    {STR("PSBL"), STR("psbl.surriel.com"), true, false, CODES(ONE), STR("https://psbl.org/remove?ip=%")},
    {STR("Mailspike"), STR("bl.mailspike.net"), true, false, CODES(MAILSPIKE),
     STR("https://mailspike.io/ip_verify?ip=%")},
};
const size_t blocklist_default_count = sizeof blocklist_defaults / sizeof *blocklist_defaults;

bool blocklist_covers(const struct blocklist *list, const struct ip *ip) {
    return (ip_is_v4(ip) ? list->v4 : list->v6) && (list->own || !ip_is_private(ip));
}

/* ---- names ---- */

struct str blocklist_query(struct arena *arena, const struct blocklist *list, const struct ip *ip) {
    struct str reverse = reverse_name(arena, ip);
    reverse.len -= ip_is_v4(ip) ? sizeof ".in-addr.arpa" - 1 : sizeof ".ip6.arpa" - 1;
    return str_printf(arena, "%.*s.%.*s", STR_FMT(reverse), STR_FMT(list->zone));
}

struct str blocklist_test_query(struct arena *arena, const struct blocklist *list, bool v6, bool listed) {
    int last = listed ? 2 : 1;
    if (!v6)
        return str_printf(arena, "%d.0.0.127.%.*s", last, STR_FMT(list->zone));
    /* ::FFFF:7F00:2, which struct ip takes for IPv4. */
    return str_printf(arena, "%d.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.%.*s", last,
                      STR_FMT(list->zone));
}

struct ip blocklist_stranger(bool v6, size_t number) {
    static const struct str texts[2][BLOCKLIST_STRANGERS] = {
        {STR("193.0.14.129"), STR("192.5.5.241"), STR("199.7.83.42")},
        {STR("2001:7fd::1"), STR("2001:500:2f::f"), STR("2001:500:9f::42")},
    };
    struct ip ip;
    (void)ip_parse(texts[v6][number], &ip);
    return ip;
}

struct str blocklist_removal(struct arena *arena, const struct blocklist *list, const struct ip *ip) {
    ptrdiff_t at = str_index(list->removal, '%');
    char text[IP_TEXT_SIZE];
    if (at < 0)
        return list->removal;
    return str_printf(arena, "%.*s%s%.*s", STR_FMT(str_head(list->removal, (size_t)at)), ip_text(ip, text),
                      STR_FMT(str_from_index(list->removal, (size_t)at + 1)));
}

/* ---- answers ---- */

static bool between(const struct ip *ip, struct str first, struct str last) {
    struct ip from, to;
    return ip_parse(first, &from) && ip_parse(last, &to) && memcmp(&from, ip, sizeof from) <= 0 &&
           memcmp(ip, &to, sizeof to) <= 0;
}

static struct blocklist_reading read_code(const struct blocklist *list, const struct ip *ip) {
    if (!between(ip, STR("127.0.0.0"), STR("127.255.255.255")))
        return (struct blocklist_reading){BLOCKLIST_BROKEN,
                                          STR("it answers with an address of the Internet")};
    if (between(ip, STR("127.255.255.252"), STR("127.255.255.252")))
        return (struct blocklist_reading){BLOCKLIST_REFUSED, STR("the list does not know this name of it")};
    if (between(ip, STR("127.255.255.254"), STR("127.255.255.254")))
        return (struct blocklist_reading){BLOCKLIST_REFUSED, STR("it does not answer public resolvers")};
    if (between(ip, STR("127.255.255.255"), STR("127.255.255.255")))
        return (struct blocklist_reading){BLOCKLIST_REFUSED, STR("it was asked too much")};
    /* 127.0.0.1 is no code that a list may use (RFC 5782 2.1): some refuse with it. */
    if (between(ip, STR("127.255.255.0"), STR("127.255.255.255")) ||
        between(ip, STR("127.0.0.0"), STR("127.0.0.1")))
        return (struct blocklist_reading){BLOCKLIST_REFUSED, STR("it refuses to answer")};
    for (size_t i = 0; i < list->code_count; i++) {
        const struct blocklist_code *code = &list->codes[i];
        if (!between(ip, code->first, code->last))
            continue;
        static const enum blocklist_state states[] = {[BLOCKLIST_LISTS] = BLOCKLIST_LISTED,
                                                      [BLOCKLIST_REFUSES] = BLOCKLIST_REFUSED,
                                                      [BLOCKLIST_NOTHING] = BLOCKLIST_CLEAR};
        enum blocklist_state state = states[code->meaning];
        return (struct blocklist_reading){state, state == BLOCKLIST_CLEAR ? STR("") : code->text};
    }
    if (!list->code_count && between(ip, STR("127.0.0.2"), STR("127.0.0.255")))
        return (struct blocklist_reading){BLOCKLIST_LISTED, STR("listed")};
    return (struct blocklist_reading){BLOCKLIST_CLEAR, STR("")};
}

void blocklist_read(const struct blocklist *list, const struct dns_answer *answer,
                    struct blocklist_reading *ret) {
    static const int weights[] = {[BLOCKLIST_CLEAR] = 0,
                                  [BLOCKLIST_LISTED] = 1,
                                  [BLOCKLIST_REFUSED] = 2,
                                  [BLOCKLIST_BROKEN] = 3,
                                  [BLOCKLIST_UNASKED] = 4};
    *ret = (struct blocklist_reading){BLOCKLIST_CLEAR, STR("")};
    if (answer->stale) {
        *ret = (struct blocklist_reading){BLOCKLIST_UNASKED, STR("no answer but an expired one")};
        return;
    }
    if (answer->status == DNS_FAILED) {
        *ret =
            (struct blocklist_reading){BLOCKLIST_UNASKED, answer->why.len ? answer->why : STR("no answer")};
        return;
    }
    for (size_t i = 0; answer->status == DNS_RECORDS && i < answer->count; i++) {
        struct blocklist_reading one = read_code(list, &answer->records[i].ip);
        if (weights[one.state] > weights[ret->state])
            *ret = one;
    }
}
