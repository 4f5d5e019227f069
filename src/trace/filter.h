/* filter.h - a trace filter from names and words, for the API's parameters and the command line's options.
 *
 * Names: trace-id, sender, recipient, message-id, from-ip, to-ip, outbound-ip, subject, subject-match,
 * status, class, rule, pool, tenant, event, since, until, limit, after.
 */
#pragma once
#include "trace/trace.h"

/* The names with a line for people each, ended by a NULL name. */
struct trace_filter_name {
    const char *name, *value, *doc;
};
extern const struct trace_filter_name trace_filter_names[];

/* Sets one; the value must live as long as the filter. NOTFOUND: no such name. SYNTAX: `*ret_why` says what
 * is allowed. Times: RFC 3339, a date, "2026-11-22 10:30" (UTC), or an age before `now` ("90min", "2d"). */
[[nodiscard]] int trace_filter_set(struct trace_filter *, struct str name, struct str value, int64_t now,
                                   struct buf *ret_why);

/* A time as above. */
[[nodiscard]] int trace_time_parse(struct str, int64_t now, int64_t *ret_wall_ms);
