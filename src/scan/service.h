/* service.h - health and connections of the scanners (inside the room only).
 *
 * A state's numbers and health are shared, under the service's lock or atomic; its links belong to one worker
 * each. Three failures in a row trip a scanner: nobody asks it then, a fiber pings it, and the first
 * message that fails after it came back trips it again, for longer.
 */
#pragma once
#include "rt/fiber.h"
#include "rt/stream.h"
#include "scan/scan.h"
#include "scan/settings.h"
#include <pthread.h>

enum { SCAN_WHY_MAX = 240 };

struct scan_link {
    struct stream *stream;
    int64_t since; /* it is idle; monotonic ms */
    struct scan_link *next;
};

/* One worker's part of a scanner. */
struct scan_desk {
    struct scan_link *idle;
    unsigned busy;
    struct waiters waiting; /* for `busy` to fall */
    struct worker_timer *reaper;
};

struct scanner_state {
    struct scan_service *service;
    struct scanner_state *next;
    struct arena *arena;
    struct scanner_settings settings; /* a copy: name, kind, place */
    struct scan_desk *desks;
    _Atomic uint64_t requests, failures, time_ms, spam, malware, connections;
    /* Under the lock. */
    bool configured, down, probing;
    size_t order;
    unsigned failures_in_row;
    int64_t since, rest_ms;
    char why[SCAN_WHY_MAX];
};

struct scan_service {
    pthread_mutex_t lock;
    unsigned workers;
    struct scan_watcher watcher;
    struct scanner_state *states;
};

struct scanner_state *scan_state_of(struct scan_service *, const struct scanner_settings *);
/* False: it rests; *ret_why says since when and why, in `arena`. */
bool scan_state_up(struct scanner_state *, struct arena *, struct str *ret_why);
/* Tells how a message went. */
void scan_state_good(struct scanner_state *);
void scan_state_bad(struct scanner_state *, struct str why);

/* The calling worker's. */
struct scan_desk *scan_desk_of(struct scanner_state *);
/* An idle connection that is still open, or NULL. */
struct stream *scan_desk_take(struct scan_desk *);
void scan_desk_keep(struct scanner_state *, struct stream *);

/* The fiber that pings a scanner that rests; arg is its state, `probing` is set. */
void scan_probe(void *state);
