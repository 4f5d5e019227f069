/* scan.h - what the scanners say of a message: Rspamd by HTTP (/checkv2), SpamAssassin by spamd's protocol.
 *
 * A message is scanned once, for all its recipients. The scanners of a configuration are alternatives, in
 * written order: the first one that is well is asked, the next one where it fails. One that fails several
 * times in a row rests and is probed until it answers; nobody waits for it meanwhile. Asking all of them
 * together takes at most the configured time.
 *
 * The room knows no tenants and no classes: facts come in as text, the result goes out as a verdict.
 */
#pragma once
#include "base/ip.h"
#include "base/outcome.h"
#include "scan/copy.h"

struct resolver;
struct scan_settings; /* scan/settings.h */

enum { SCAN_SUBJECT_MAX = 4000 };

/* What a scanner would do to the header, in this order. */
struct scan_change {
    bool remove;            /* else: add */
    struct str name, value; /* a field name; the value may have line ends, for folds */
    int index; /* remove: the n-th of that name, from 1; 0 all; negative from the end. add: from 0; -1 at the
                  end */
};

enum scan_verdict { SCAN_CLEAN, SCAN_SPAM, SCAN_MALWARE };

/* What the envelope and the session say. Views; empty: not known. Values are made safe for the wire here. */
struct scan_facts {
    struct str trace_id;
    struct str node; /* this server's name */
    struct ip client;
    struct str helo;
    struct str
        hostname; /* verified by its PTR; "unknown": nobody could ask; empty: it has none, or nobody asked */
    struct str user; /* who logged in */
    struct str tenant;
    struct str reverse_path; /* empty: null */
    const struct str *recipients;
    size_t recipient_count;
    struct str tls_version, tls_cipher;
    struct str received; /* our Received field and what else we put on top, with line ends: sent first */
    int64_t spent_ms;    /* of the configured time, before the scanners are asked */
};

struct scan_result {
    bool failed;    /* no scanner gave an answer: `why` says which said what; the rest is not set */
    bool too_large; /* nor was one asked: the message is too long for all of them */
    bool cancelled; /* with failed: the daemon is stopping */
    struct str why;
    enum scan_verdict verdict;
    struct str scanner; /* its name */
    struct str action;  /* the scanner's word: "add header", "no action", "spam" */
    double score, required;
    struct str symbols; /* "NAME(1.50), OTHER(-0.20)", the weightiest first, 1,000 bytes at most */
    struct str reason;  /* a sentence; "" when clean */
    bool refuse;        /* configured so: `refusal` is the reply */
    struct outcome refusal;
    const struct scan_change *changes; /* as the settings want them */
    size_t change_count;
    struct str changes_why; /* why all of them are left out; "" */
    struct str subject;     /* the new one; "": it stays */
    int64_t took_ms;
};

/* ---- the service: health and connections, one for the daemon ---- */

struct scan_service;

/* One scanner's state, for status and metrics. Times are wall clock. */
struct scan_health {
    struct str name, kind, where;
    bool up;
    struct str why;    /* what went wrong last */
    int64_t since;     /* it is up or down; 0: since the start */
    uint64_t requests; /* messages that it was asked for */
    uint64_t failures;
    uint64_t time_ms; /* that the requests took together */
    uint64_t spam, malware;
    uint64_t connections; /* made to it */
};

struct scan_watcher {
    /* The calling worker's resolver, for probes. */
    struct resolver *(*resolver)(void *arg);
    /* A scanner went down or came back. Any worker, from a fiber or not; views are valid during the call. */
    void (*changed)(void *arg, const struct scan_health *);
    void *arg;
};

/* `workers`: how many there are, the API's included (rt_count() + 1). The watcher may be NULL; it is copied.
 */
struct scan_service *scan_service_new(unsigned workers, const struct scan_watcher *);
/* When no fiber uses it any more, and the loops still exist (rt_at_end), or from the only worker that used
 * it. Accepts NULL, returns NULL. */
struct scan_service *scan_service_free(struct scan_service *);

/* Tells which scanners there are now: at the start and after a reload. State is kept by name and place. Any
 * thread. */
void scan_service_configure(struct scan_service *, const struct scan_settings *);

/* In `arena`; the scanners that are configured, in written order. Any thread. */
void scan_service_health(struct scan_service *, struct arena *, struct scan_health **ret, size_t *ret_count);

/* Asks. From a fiber of a worker (or the API's). Everything in `arena`. */
void scan_message(struct scan_service *, const struct scan_settings *, struct resolver *,
                  const struct scan_facts *, struct scan_copy *, struct arena *, struct scan_result *ret);
