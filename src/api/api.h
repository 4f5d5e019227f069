/* api.h - the HTTP/JSON interface: a Unix socket for the command line, TCP for monitors.
 *
 * Runs on the API's worker (rt_api); every request has a fiber. What the daemon
 * is made of stays behind struct api_backend: plain rows in, plain verbs out.
 * The Unix socket serves everything. TCP, where nothing authenticates, only what
 * changes nothing and names no sender, recipient or subject: health, metrics,
 * status, pools, sources. Routes: docs/api.md.
 */
#pragma once
#include "api/identity_rows.h"
#include "api/senders.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/ip.h"
#include "base/log.h"
#include "base/mail_class.h"
#include "base/trace_id.h"
#include "settings/settings.h"

struct rt;
struct trace;
struct alert_filter; /* alert/history.h */
struct alert_record;
struct alerts_said; /* alert/alerts.h */
struct api;

/* Selects recipients that wait; empty or zero fields do not restrict. `all` must be set when nothing else is.
 */
struct api_queue_filter {
    bool all;
    struct str trace_id;
    struct str sender; /* "a@b.c", "@b.c", "<>" */
    struct str recipient;
    struct str domain; /* of the recipient */
    struct str pool;
    int64_t older_ms, younger_ms; /* time since arrival: at least, less than */
    bool held_only;
    size_t limit; /* rows; 0: all */
};

/* Sets one from words: id, sender, recipient, domain, pool, older, younger (durations), held (1), all (1),
 * limit. The value must live as long as the filter. NOTFOUND: no such name. SYNTAX: `*ret_why` says what is
 * allowed. */
[[nodiscard]] int api_queue_filter_set(struct api_queue_filter *, struct str name, struct str value,
                                       struct buf *ret_why);
/* Nothing but `limit` is set: it would select everything. */
bool api_queue_filter_empty(const struct api_queue_filter *);

/* Does the filter select this recipient? Pure; for those who walk the queue. */
struct api_queue_entry;
bool api_queue_match(const struct api_queue_filter *, const struct api_queue_entry *, int64_t now);

/* One recipient that waits. Absent strings are empty, absent times 0 (wall ms). */
struct api_queue_entry {
    struct str trace_id, sender, recipient, tenant;
    enum mail_class class;
    struct str rule, pool;
    struct str receiver; /* the destination after the MX roll-up */
    struct str state;    /* "waiting", "sending", "held", "parked" */
    struct str why;      /* the last reply or reason; empty: the API takes it from the trace */
    struct ip source;    /* the last address */
    int64_t arrived, next, expires;
    int64_t attempts, size;
};

struct api_pool {
    struct str name, site, class_tag, carries; /* carries: "normal, relay" */
    struct str spf;
    int64_t sources, usable;        /* addresses: configured; healthy now, 0 at another site */
    int64_t waiting, held, sending; /* recipients on this node */
    int64_t delivered, failed;      /* transactions since start */
};

struct api_source {
    struct ip ip;
    struct str pool, ptr, ehlo;
    struct str state;         /* "healthy", "resting", "elsewhere": at another site */
    struct str why;           /* it rests, or is on a blocklist and stays */
    int64_t listed;           /* the number of blocklists that have it */
    int64_t until, last_used; /* wall ms: end of the rest; 0: none, never */
    int64_t connections, delivered, failed;
};

/* What a blocklist says of an address. */
struct api_source_list {
    struct str list, zone;
    struct str state;        /* "listed", "clear", "lapsed": listed, and not confirmed for a day;
                                "not asked yet", "not believed", "other family" */
    struct str text;         /* listed: the list's own words */
    struct str why;          /* the list is not believed at present */
    struct str removal;      /* page to go to; empty: none */
    bool rests;              /* a listing there rests it, unless its pool stays listed */
    int64_t since, answered; /* wall ms; 0: none, never */
};

/* What happened to it. */
struct api_source_change {
    int64_t time;
    struct str event; /* "listed", "delisted", "rests", "usable" */
    struct str by;    /* the list; the cause: "listed", "unconfirmed" */
    struct str text;
};

/* An alert about it, from beginning to end. */
struct api_source_event {
    struct str alert, text; /* "source-listed" */
    int64_t began, ended;   /* wall ms; 0: not yet */
    int64_t count;          /* how many times it was found so */
};

struct api_source_detail {
    struct api_source source;
    struct str site, carries;
    bool stays_listed; /* its pool does */
    struct str causes; /* why it rests, as words: "listed, unconfirmed" */
    struct {
        struct str state; /* "confirmed", "denied", "doubted": once, and not yet believed; "unknown", "not
                             required" */
        struct str name, why;
        int64_t since, answered, next;
    } fcrdns;
    const struct api_source_list *lists; /* none: it is not watched */
    size_t list_count;
    const struct api_source_change *changes; /* the latest first */
    size_t change_count;
    const struct api_source_event *events; /* the same */
    size_t event_count;
};

/* One number. The name follows Prometheus ("sluice_accepted_total"); those of one name follow each
 * other. */
struct api_metric {
    const char *name, *help;
    bool counter;      /* else a gauge */
    const char *label; /* NULL: none */
    struct str label_value;
    double value;
};

enum api_verb { API_RETRY, API_HOLD, API_RELEASE, API_CANCEL };

struct api_submission {
    struct str sender; /* reverse-path without <>; empty: null */
    const struct str *recipients;
    size_t recipient_count;
    struct str message; /* bytes; line ends CRLF */
    struct str user;    /* name of the local user whom the socket's peer runs as */
};

/* What the daemon does for the API. Each is called in a fiber on the API's worker, may wait, and may use
 * worker_call and offload. A missing (NULL) function gives 501. Rows are given to `row(to, ...)`, whose views
 * are used before it returns.
 * `*ret_why` (empty buffer) takes a text for people when the result is not 0. */
struct api_backend {
    void *arg;
    /* Adds members to the object of GET /v1/status: counters, versions, limits. `add(to, name, text,
     * number)`: text NULL means the number. */
    void (*status)(void *arg, void (*add)(void *to, const char *name, const char *text, int64_t number),
                   void *to);
    int (*queue_list)(void *arg, const struct api_queue_filter *,
                      void (*row)(void *to, const struct api_queue_entry *), void *to, struct buf *ret_why);
    /* *ret_count recipients were changed; with 0, *ret_why may say what was left alone. */
    int (*queue_operate)(void *arg, enum api_verb, const struct api_queue_filter *, size_t *ret_count,
                         struct buf *ret_why);
    int (*pools)(void *arg, void (*row)(void *to, const struct api_pool *), void *to, struct buf *ret_why);
    int (*sources)(void *arg, struct str pool, void (*row)(void *to, const struct api_source *), void *to,
                   struct buf *ret_why);
    /* One address and all that is known of it, in the arena. NOTFOUND: none of ours. */
    int (*source)(void *arg, const struct ip *, struct arena *, struct api_source_detail *ret,
                  struct buf *ret_why);
    /* Loads the configuration anew; on an error the old one stays and *ret_why has every message, a line
     * each. With 0 it may have warnings. */
    int (*reload)(void *arg, struct buf *ret_why);
    /* Accepts a message as a submission. 0: *ret_id is its trace id, and it is durable. DENIED, INVALID:
     * refused for good; FULL, BUSY, IO: try later; *ret_why is the SMTP reply ("550 5.7.1 ..."). */
    int (*send)(void *arg, const struct api_submission *, struct trace_id *ret_id, struct buf *ret_why);
    const struct api_sender_calls *senders; /* senders.h */
    /* The history of alerts, the latest raised first. */
    int (*alerts)(void *arg, const struct alert_filter *, void (*row)(void *to, const struct alert_record *),
                  void *to, struct buf *ret_why);
    /* Sends a test alert through all channels. */
    int (*alert_test)(void *arg, void (*row)(void *to, const struct alerts_said *), void *to,
                      struct buf *ret_why);
    void (*metrics)(void *arg, void (*add)(void *to, const struct api_metric *), void *to);
    /* Whose the tenants' domains are. verify: asks now, of none: all; NOTFOUND: one is nobody's. add: the
     * one, with its token; changes nothing but that the secret is made. INVALID: no domain, or another
     * tenant's. */
    int (*domains)(void *arg, void (*row)(void *to, const struct api_domain *), void *to,
                   struct buf *ret_why);
    int (*domain_add)(void *arg, struct str tenant, struct str domain,
                      void (*row)(void *to, const struct api_domain *), void *to, struct buf *ret_why);
    int (*domain_verify)(void *arg, const struct str *domains, size_t count,
                         void (*row)(void *to, const struct api_domain *), void *to, struct buf *ret_why);
    /* The faults of the last survey, and what it had no answer for. NOTFOUND: there was none yet. */
    int (*identity)(void *arg, void (*row)(void *to, const struct api_fault *), void *to,
                    struct buf *ret_why);
};

struct api_settings {
    const char *socket;          /* path; NULL: none. Made with mode 0660 */
    const struct endpoint *bind; /* TCP; what is not loopback gives a warning in the log */
    size_t bind_count;
    size_t max_message; /* bytes of POST /v1/send; 0: 64 MiB */
};

/* Opens the sockets: before privileges are dropped and before rt_start. A stale Unix socket is replaced; one
 * that answers is BUSY. `trace` may be NULL. On failure *ret_why is in `arena`. All arguments but `settings`
 * must outlive the API. */
[[nodiscard]] int api_open(struct rt *, const struct api_settings *, const struct api_backend *,
                           struct trace *, struct log *, struct arena *, struct str *ret_why,
                           struct api **ret_api);

/* Begins to serve; after rt_start. */
void api_start(struct api *);

/* Takes no more requests, removes the socket, waits for those in work (at most 5 s). Not from a worker's
 * thread; before rt_free. */
void api_stop(struct api *);

/* After rt_free (or when rt never started). NULL is fine. */
struct api *api_free(struct api *);
