/* trace.h - the store of what happened to every recipient.
 *
 * One SQLite file (WAL) per UTC day of arrival below <state>/trace/: all events of
 * a message are in the file of the day on which it arrived, whenever they happen,
 * so a recipient has one row, its latest state. One thread writes, in batches.
 * A file that can't be read is set aside (".damaged"), logged, and never stops mail.
 */
#pragma once
#include "base/error.h"
#include "base/log.h"
#include "trace/event.h"

struct trace;

struct trace_settings {
    const char *folder;        /* made when missing (0750) */
    unsigned retention_days;   /* 0: 90. Older files are removed at start and once a day */
    size_t backlog_events;     /* bound of what is emitted and not yet written; 0: 200,000 */
    size_t backlog_bytes;      /* 0: 256 MiB */
    int64_t (*now)(void *arg); /* wall clock in ms for tests; NULL: clock_wall_ms */
    void *now_arg;
};

/* Opens the store for writing and starts its thread. IO, DENIED, NOMEM, BUSY (another daemon writes there).
 * On failure *ret_why is in `arena`. `log` must outlive it. */
[[nodiscard]] int trace_open(const struct trace_settings *, struct log *, struct arena *, struct str *ret_why,
                             struct trace **ret_trace);

/* Opens a folder for queries only: for the command line while no daemon runs. NOTFOUND: no such folder. */
[[nodiscard]] int trace_open_read(const char *folder, struct trace **ret_trace);

/* Writes what was emitted, stops the thread, frees. No other thread may use it any more. NULL is fine. */
struct trace *trace_free(struct trace *);

/* Takes a copy and returns at once: any thread, no wait on the disk. The same event twice (trace id,
 * recipient, event, attempts; for REFUSE, HOLD and RELEASE also the time) counts once, so recovery may emit
 * again what may have been lost; `time` of such a repeat should be the original's. FULL: the backlog is at
 * its bound, the event was not taken (and is counted): wait or defer, then emit again. INVALID: the trace id
 * carries no time. */
[[nodiscard]] int trace_emit(struct trace *, const struct trace_event *);

/* Waits until all that was emitted before the call is written, or has been given up. Blocks the thread (in a
 * daemon: offload). 0, or IO when the store can't be written at present. */
[[nodiscard]] int trace_flush(struct trace *);

struct trace_counts {
    uint64_t emitted; /* taken by trace_emit */
    uint64_t written; /* events numbered up to here (in order of emission) are in the store */
    uint64_t refused; /* trace_emit said FULL */
    uint64_t failed;  /* writes that failed and were, or will be, tried again */
    size_t backlog;   /* events waiting */
};
/* Any thread, cheap. */
void trace_counts(const struct trace *, struct trace_counts *ret);

enum trace_match { TRACE_MATCH_CONTAINS, TRACE_MATCH_STARTS, TRACE_MATCH_ENDS };

/* What to look for; zero or empty fields do not restrict. Addresses, names and subjects compare without case
 * (ASCII). */
struct trace_filter {
    struct str trace_id;
    struct str sender;     /* "a@b.c", or "@b.c" for all of a domain */
    struct str recipient;  /* same */
    struct str message_id; /* with or without <> */
    struct ip from_ip;     /* client_ip or original_client_ip */
    struct ip to_ip;       /* server_ip */
    struct ip outbound_ip;
    struct str subject;
    enum trace_match subject_match;
    enum trace_status status;
    struct trace_class class;
    struct str rule, pool, tenant;
    enum trace_kind event; /* recipients to whom this ever happened */
    int64_t since, until;  /* arrival in [since, until), ms since the epoch */
    unsigned limit;        /* rows; 0: 1000; at most TRACE_LIMIT_MAX */
    struct str after;      /* the cursor that the page before ended with */
    int64_t deadline;      /* monotonic ms; 0: none */
};

enum { TRACE_LIMIT_DEFAULT = 1000, TRACE_LIMIT_MAX = 5000, TRACE_CURSOR_SIZE = 512 };

struct trace_page {
    size_t rows;
    char next[TRACE_CURSOR_SIZE]; /* cursor of the next page; "" at the end */
    char warning[200];            /* files that could not be read; "" when none */
};

/* Calls row(arg, event) for each recipient's latest state, newest arrival first (then by trace id and
 * recipient). Views live until row returns. Blocks (in a daemon: offload). `ret_page` is always set. TIMEOUT:
 * the deadline passed, what was found before it was given. INVALID: a broken cursor. */
[[nodiscard]] int trace_query(struct trace *, const struct trace_filter *,
                              void (*row)(void *arg, const struct trace_event *), void *arg,
                              struct trace_page *ret_page);

/* Every event of one message in order of time. NOTFOUND: none. IO: its file can't be read. */
[[nodiscard]] int trace_show(struct trace *, struct str trace_id,
                             void (*row)(void *arg, const struct trace_event *), void *arg);
