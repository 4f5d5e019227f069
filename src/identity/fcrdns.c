#include "auth/align.h"
#include "base/clock.h"
#include "identity/names.h"
#include "identity/survey.h"

enum { PTR_NAMES_MAX = 10 };

enum confirmation { CONFIRMED, DENIED, CANT_TELL };

static enum confirmation confirm(struct resolver *resolver, const struct ip *ip, int64_t timeout_ms,
                                 struct arena *arena, struct str name, struct fcrdns *ret) {
    struct dns_answer answer;
    resolver_lookup(resolver, name, ip_is_v4(ip) ? DNS_A : DNS_AAAA, clock_mono_ms() + timeout_ms, arena,
                    &answer);
    if (answer.status == DNS_FAILED) {
        ret->why = str_printf(arena, "%.*s: %.*s", STR_FMT(name), STR_FMT(answer.why));
        return CANT_TELL;
    }
    if (answer.ttl < ret->ttl)
        ret->ttl = answer.ttl;
    ret->stale |= answer.stale;
    for (size_t i = 0; answer.status == DNS_RECORDS && i < answer.count; i++)
        if (ip_eq(&answer.records[i].ip, ip)) {
            ret->alias = answer.canonical;
            return CONFIRMED;
        }
    const char *what = answer.nxdomain             ? "does not exist"
                       : answer.status == DNS_NONE ? "has no address of this family"
                                                   : "has other addresses";
    if (!ret->why.len)
        ret->why = str_printf(arena, "its PTR name %.*s %s", STR_FMT(name), what);
    return DENIED;
}

void fcrdns_ask(struct resolver *resolver, const struct ip *ip, int64_t timeout_ms, struct arena *arena,
                struct fcrdns *ret) {
    struct dns_answer answer;
    bool cant_tell = false;
    resolver_lookup(resolver, reverse_name(arena, ip), DNS_PTR, clock_mono_ms() + timeout_ms, arena, &answer);
    answer_doubt(&answer);
    *ret = (struct fcrdns){.ttl = answer.ttl, .stale = answer.stale};
    if (answer.status != DNS_RECORDS || !answer.count) {
        bool failed = answer.status == DNS_FAILED;
        ret->state = failed ? FCRDNS_UNASKED : FCRDNS_NO_PTR;
        ret->why = failed ? answer.why : STR("it has no PTR record");
        return;
    }
    ret->name = answer.records[0].name;
    for (size_t i = 0; i < answer.count && i < PTR_NAMES_MAX; i++) {
        struct str name = answer.records[i].name;
        enum confirmation found = confirm(resolver, ip, timeout_ms, arena, name, ret);
        cant_tell |= found == CANT_TELL;
        if (found != CONFIRMED)
            continue;
        ret->state = FCRDNS_RIGHT, ret->name = name, ret->why = STR("");
        return;
    }
    ret->state = cant_tell ? FCRDNS_UNASKED : FCRDNS_NOT_CONFIRMED;
}

/* ---- generic names ---- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Four numbers in a row, each an octet, with one dot or hyphen between. */
static bool spells_address(struct str s) {
    unsigned octets = 0;
    for (size_t i = 0; i < s.len;) {
        if (!is_digit(s.at[i])) {
            bool joins = (s.at[i] == '.' || s.at[i] == '-') && i && is_digit(s.at[i - 1]);
            octets = joins ? octets : 0;
            i++;
            continue;
        }
        size_t start = i;
        unsigned value = 0;
        for (; i < s.len && is_digit(s.at[i]); i++)
            value = i - start < 4 ? value * 10 + (unsigned)(s.at[i] - '0') : value;
        octets = i - start <= 3 && value <= 255 ? octets + 1 : 0;
        if (octets == 4)
            return true;
    }
    return false;
}

static bool is_generic_word(struct str word) {
    static const char *const words[] = {"dsl",   "adsl",  "vdsl",  "xdsl",   "dhcp",     "dyn",
                                        "ppp",   "pppoe", "cable", "dialup", "dynamic",  "dynamicip",
                                        "dynip", "cpe",   "modem", "dial",   "broadband"};
    while (word.len && is_digit(word.at[word.len - 1]))
        word.len--;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_eq_nocase(word, str_of(words[i])))
            return true;
    return false;
}

bool name_is_generic(struct arena *arena, struct str name) {
    struct str organisation = align_organisation(arena, name);
    struct str left = str_head(name, name.len > organisation.len ? name.len - organisation.len : 0);
    if (spells_address(left))
        return true;
    for (size_t i = 0, start = 0; i <= left.len; i++) {
        if (i < left.len && left.at[i] != '.' && left.at[i] != '-')
            continue;
        if (is_generic_word(str_from(left.at + start, i - start)))
            return true;
        start = i + 1;
    }
    return false;
}
