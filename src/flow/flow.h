/* flow.h - what the steps of the pipeline share: the rooms below, and each worker's own part.
 *
 * The pipeline is intake/intake.c (who, and may they), acceptance/accept.c (up to the 250),
 * delivery/deliver.c (to the receiver), delivery/settle.c and bounce.c (what became of it). No step is here.
 */
#pragma once
#include "base/log.h"
#include "pool/pool.h"
#include "queue/queue.h"
#include "rt/resolver.h"
#include "rt/worker.h"
#include "settings/settings.h"
#include "spool/spool.h"
#include "trace/event.h"

struct trace;
struct alerts;
struct scan_service;
struct ownership;
struct faults;
struct tls_context;

/* What `sluice status` and the metrics count, since start. */
#define FLOW_COUNTERS(X)                                                                                     \
    X(connections, "SMTP connections taken in")                                                              \
    X(accepted, "messages accepted")                                                                         \
    X(recipients, "recipients accepted")                                                                     \
    X(refused, "commands and messages refused")                                                              \
    X(scanned, "messages that a scanner judged")                                                             \
    X(unscanned, "messages that no scanner could judge")                                                     \
    X(spam, "messages judged spam and not refused for it")                                                   \
    X(malware, "messages refused for malware")                                                               \
    X(delivered, "recipients delivered")                                                                     \
    X(deferred, "attempts that ended with later")                                                            \
    X(failed, "recipients failed")                                                                           \
    X(reports, "non-delivery reports sent on their way")                                                     \
    X(sessions, "connections made to receivers")                                                             \
    X(guard_alarms, "mail stopped by the guard of invariant 1")                                              \
    X(trace_lost, "trace events given up because the store did not keep up")

struct flow_counters {
#define X(name, help) _Atomic uint64_t name;
    FLOW_COUNTERS(X)
#undef X
};

/* A worker's own part. `settings` is the configuration of this moment (flow_settings). */
struct flow_worker {
    struct flow *flow;
    struct worker *worker;
    struct settings *settings;
    struct resolver *resolver;
    struct resolver_retired *retired; /* resolvers of earlier configurations (cmd/reload.c) */
    struct pool_state *health;        /* of the pools that this worker owns */
    struct map *clients;              /* connections of the clients that it owns (intake/admission.h) */
    void *intakes;                    /* head of the list of its SMTP sessions (intake/intake.c) */
    struct flow_counters counters;
    int64_t trace_stuck_until; /* monotonic ms: the trace does not keep up, nobody waits for it */
    uint64_t random;           /* state of flow_random */
    size_t copies_held;        /* bytes of scan copies in memory (scan/copy.h) */
};

struct flow {
    struct rt *rt;
    struct log *log;
    struct spool *spool;
    struct trace *trace;
    struct alerts *alerts;       /* alert/alert.h */
    struct ownership *ownership; /* identity/ownership.h */
    struct faults *faults;       /* identity/faults.h; NULL in explain */
    struct queue *queue;
    struct scan_service *scan;      /* scan/scan.h; NULL in explain */
    struct sending *sending;        /* limits/sending.h */
    struct milter_service *milters; /* scan/milter_health.h */
    struct suspicion *suspicion;    /* suspicion/suspicion.h; NULL in explain */
    struct tls_context *client_tls;
    struct flow_worker *workers; /* rt_count() + 1: the last is the API's */
    _Atomic bool stopping;
};

/* The calling thread's part. */
struct flow_worker *flow_here(struct flow *);

/* The configuration of this moment on this worker; a reference that the caller gives back. */
struct settings *flow_settings(struct flow *);

/* Not for secrets. */
uint64_t flow_random(struct flow *);

#define FLOW_COUNT(flow, name, by)                                                                           \
    atomic_fetch_add_explicit(&flow_here(flow)->counters.name, (by), memory_order_relaxed)

/* Emits; when the store's backlog is full, waits for room (in a fiber) for a while, then logs and counts the
 * loss. */
void flow_trace(struct flow *, struct trace_event *);

/* Asks the owner of `pool` for a source for `receiver` (pool_pick); from a fiber. The result's source lives
 * as long as `settings`. */
struct pick flow_pick(struct flow *, const struct settings *, const struct pool *, unsigned families,
                      struct str receiver, const struct ip *sticky);
/* Tells the owner of `pool`: rest this source, or count what happened to it. */
void flow_source_rest(struct flow *, struct str pool, const struct ip *, enum rest_cause, int64_t until,
                      struct str reason);
/* Tells all workers, so that it stays true when a reload gives the address to another pool: rest this source
 * until it is woken. An empty reason wakes it. Also before the workers run: then nothing leaves before they
 * know. */
void flow_source_tell(struct flow *, const struct ip *, enum rest_cause, struct str reason);
/* Does a rest that all workers were told of hold it back in this pool, by the configuration of this moment?
 */
bool flow_source_rests(struct flow *, struct str pool, const struct ip *);
void flow_source_count(struct flow *, struct str pool, const struct ip *, bool delivered);

/* The queue's view of the configuration; in the arena. */
struct queue_settings flow_queue_settings(const struct settings *, struct arena *);

/* The resolver of one worker. */
[[nodiscard]] int flow_resolver(const struct settings *, struct worker *, struct arena *, struct str *ret_why,
                                struct resolver **ret);
