#include "trace/filter.h"

#include "base/clock.h"
#include "config/config.h"

const struct trace_filter_name trace_filter_names[] = {
    {"trace-id", "ID", "one message"},
    {"sender", "ADDRESS", "reverse-path; @domain for all of a domain, <> for reports"},
    {"recipient", "ADDRESS", "recipient; @domain for all of a domain"},
    {"message-id", "ID", "Message-ID, with or without <>"},
    {"from-ip", "IP", "the client that brought it (the first outside one, too)"},
    {"to-ip", "IP", "the receiver's address"},
    {"outbound-ip", "IP", "the address it left from"},
    {"subject", "TEXT", "subject contains"},
    {"subject-match", "HOW", "contains, starts or ends"},
    {"status", "STATUS", "Pending, Delivered, Failed, Expanded, FilteredAsSpam or Cancelled"},
    {"class", "CLASS", "normal, high-risk, relay or high-risk-relay"},
    {"rule", "RULE", "the rule that chose the class"},
    {"pool", "POOL", "the pool it leaves from"},
    {"tenant", "TENANT", "whose mail it is"},
    {"event", "EVENT", "recipients to whom this ever happened (DEFER, HOLD, ...)"},
    {"since", "TIME", "arrived at or after: 2026-11-22T10:00Z, a date, or an age as 2h"},
    {"until", "TIME", "arrived before; same forms"},
    {"limit", "N", "rows, 1000 by default, 5000 at most"},
    {"after", "CURSOR", "the next page: what the page before ended with"},
    {NULL, NULL, NULL},
};

static int refuse(struct buf *why, const char *what) {
    buf_str(why, str_of(what));
    return SLUICE_ESYNTAX;
}

static int set_ip(struct ip *ip, struct str value, struct buf *why) {
    return ip_parse(value, ip) ? 0 : refuse(why, "an IP address is wanted");
}

static int set_match(struct trace_filter *f, struct str value, struct buf *why) {
    static const char *const names[] = {
        [TRACE_MATCH_CONTAINS] = "contains", [TRACE_MATCH_STARTS] = "starts", [TRACE_MATCH_ENDS] = "ends"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_eq_nocase(value, str_of(names[i])))
            return f->subject_match = (enum trace_match)i, 0;
    return refuse(why, "contains, starts or ends is wanted");
}

static int set_class(struct trace_filter *f, struct str value, struct buf *why) {
    f->class.known = mail_class_parse(value, &f->class.value);
    return f->class.known ? 0 : refuse(why, "normal, high-risk, relay or high-risk-relay is wanted");
}

static int set_status(struct trace_filter *f, struct str value, struct buf *why) {
    if (trace_status_parse(value, &f->status))
        return 0;
    return refuse(why, "Pending, Delivered, Failed, Expanded, FilteredAsSpam or Cancelled is wanted");
}

static int set_event(struct trace_filter *f, struct str value, struct buf *why) {
    if (trace_kind_parse(value, &f->event))
        return 0;
    return refuse(why, "RECEIVE, REFUSE, SEND, DEFER, FAIL, DSN, DROP, HOLD, RELEASE or CANCEL is wanted");
}

int trace_time_parse(struct str text, int64_t now, int64_t *ret_wall_ms) {
    int64_t age;
    if (clock_parse_rfc3339(text, ret_wall_ms))
        return 0;
    if (text.len && text.len < 30) { /* "2026-11-22 10:30": seconds are often left out */
        char full[40];
        memcpy(full, text.at, text.len);
        bool zulu = full[text.len - 1] == 'Z';
        size_t len = text.len - zulu;
        memcpy(full + len, ":00Z", 5);
        if (len == 16 && clock_parse_rfc3339(str_of(full), ret_wall_ms))
            return 0;
    }
    if (!config_parse_duration(text, &age))
        return SLUICE_ESYNTAX;
    *ret_wall_ms = now - age;
    return 0;
}

static int set_time(int64_t *time, struct str value, int64_t now, struct buf *why) {
    if (trace_time_parse(value, now, time) == 0 && *time > 0)
        return 0;
    return refuse(why, "a time (2026-11-22T10:00:00Z), a date (2026-11-22) or an age (90min, 2d) is wanted");
}

static int set_id(struct trace_filter *f, struct str value, struct buf *why) {
    f->trace_id = value;
    return trace_id_valid(value) ? 0 : refuse(why, "a trace id is wanted: 26 characters of 0-9 and A-Z");
}

static int set_limit(struct trace_filter *f, struct str value, struct buf *why) {
    uint64_t limit;
    if (!str_to_u64(value, &limit) || limit < 1 || limit > TRACE_LIMIT_MAX)
        return refuse(why, "a number from 1 to 5000 is wanted");
    f->limit = (unsigned)limit;
    return 0;
}

int trace_filter_set(struct trace_filter *f, struct str name, struct str value, int64_t now,
                     struct buf *why) {
#define IF(text) if (str_eq(name, STR(text)))
#define PLAIN(text, member)                                                                                  \
    IF(text) return value.len ? (f->member = value, 0) : refuse(why, "a value is wanted")
    IF("trace-id") return set_id(f, value, why);
    PLAIN("sender", sender);
    PLAIN("recipient", recipient);
    PLAIN("message-id", message_id);
    IF("from-ip") return set_ip(&f->from_ip, value, why);
    IF("to-ip") return set_ip(&f->to_ip, value, why);
    IF("outbound-ip") return set_ip(&f->outbound_ip, value, why);
    PLAIN("subject", subject);
    IF("subject-match") return set_match(f, value, why);
    IF("status") return set_status(f, value, why);
    IF("class") return set_class(f, value, why);
    PLAIN("rule", rule);
    PLAIN("pool", pool);
    PLAIN("tenant", tenant);
    IF("event") return set_event(f, value, why);
    IF("since") return set_time(&f->since, value, now, why);
    IF("until") return set_time(&f->until, value, now, why);
    IF("limit") return set_limit(f, value, why);
    PLAIN("after", after);
    return SLUICE_ENOTFOUND;
#undef PLAIN
#undef IF
}
