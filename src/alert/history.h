/* history.h - what was told, kept in <state>/trace/alerts.db.
 *
 * Written by the daemon's alert desk; read by anybody, also while no daemon runs.
 */
#pragma once
#include "alert/alert.h"
#include "base/buf.h"

/* One alert from its beginning to its end. */
struct alert_record {
    uint64_t id; /* in order of beginning */
    enum alert_kind kind;
    struct str subject, tenant, text, advice, samples; /* as last told */
    int64_t first, last;                               /* raised, ms since the epoch */
    int64_t ended;                                     /* 0: open */
    uint64_t count;                                    /* how many times it was raised */
};

/* Zero or empty fields do not restrict; subject and tenant compare without case (ASCII). */
struct alert_filter {
    uint64_t id;
    enum alert_kind kind;
    struct str subject, tenant;
    int64_t since; /* raised at or after this */
    bool open;     /* only what has not ended */
    size_t limit;  /* 0: 1000 */
};

/* Calls row(arg, record) for each, the latest raised first. Views live until row returns. Blocks (in a
 * daemon: offload). `trace_dir` is settings->trace_dir. 0; NOTFOUND: no alert was ever stored there; else a
 * negative error. */
[[nodiscard]] int alert_history(const char *trace_dir, const struct alert_filter *,
                                void (*row)(void *arg, const struct alert_record *), void *arg);

/* Sets one by name (id, kind, subject, tenant, since, open, limit) from words, for the API's parameters and
 * the command line. The value must live as long as the filter. NOTFOUND: no such name. SYNTAX: `*ret_why`
 * says what is allowed. Times as trace_time_parse. */
[[nodiscard]] int alert_filter_set(struct alert_filter *, struct str name, struct str value, int64_t now,
                                   struct buf *ret_why);

/* One line of JSON. */
void alert_record_json(struct buf *, const struct alert_record *);
