/* explain.h - what would happen to a message, step by step, without sending or storing anything. */
#pragma once
#include "acceptance/accept.h"
#include "auth/forecast.h"
#include "rt/dns_once.h"

struct explain_result;

struct explain_request {
    struct str from;        /* reverse-path, wire form; empty: null */
    struct str to;          /* one recipient */
    struct ip client;       /* the connecting address; none: an authenticated user, or the local socket */
    struct str helo;        /* what it said; "" nothing */
    struct str certificate; /* a name in its certificate, taken for verified; "" none */
    struct str tenant;      /* empty: found by client or From; else it counts as its user's (and no client) */
    struct str connector;   /* of that tenant, by name: brings it, whatever the client; "" found by client */
    struct str suspicion;   /* why its sender is suspicious now; "" it isn't */
    struct str message;     /* header at least; CRLF or LF line ends */
    struct dns_once *once;  /* that the flow's resolver asks; NULL: none. Scanners have a time limit of their
                               own, which is added to its deadline */
    /* Told before the DNS is asked what the result most likely will be, going by the sender alone (class,
     * pools, signers, copies without a route), for who wants to ask at once what hangs on it. Must not wait;
     * the guess lives in the arena. May be NULL. */
    void (*ahead)(void *ctx, const struct explain_result *guess);
    void *ctx;
};

/* One of the copies that leave. */
struct explain_copy {
    struct str address, forwarder; /* forwarder "": none */
    struct str return_path;        /* as it leaves; "" null */
    struct str return_why;         /* why it is so; may be "" */
    struct str via;                /* a connector's `deliver`; empty: by MX */
    struct route *route;           /* route_unref it */
    struct route_target *targets;
    size_t target_count;
    unsigned families; /* FAMILY_ bits of the targets; 0: no route is known */
};

struct explain_result {
    struct attribution by;
    bool outside;           /* taken for the recipient's sake */
    struct outcome refusal; /* fate DONE: it would be accepted; else the reply */
    struct original_client original;
    struct arrival_result verified; /* `checked` false: our own mail */
    struct judgement judged;
    struct classify_facts facts;
    struct decision decision;
    const struct pools *all;   /* of the settings */
    const struct pool *pool;   /* that it could leave from (by weight one of `pools`); NULL: it would wait */
    const struct pool **pools; /* all of this site that carry the class and that the tenant uses */
    size_t pool_count;
    struct dkim_signer signers[DKIM_SIGN_MAX]; /* that sign it; valid as long as the settings */
    size_t signer_count;
    struct str from_domain;      /* of From; "" none */
    struct str no_report;        /* why its sender gets no report; "" */
    struct envelope envelope;    /* what the recipient came to */
    struct explain_copy *copies; /* those that leave */
    size_t copy_count;
};

/* Could this address carry the copy: has its route one of its family (or is not known)? */
bool explain_carries(const struct explain_copy *, const struct source *);

/* The name that this source says in EHLO to the destination of the copy. */
struct str explain_ehlo(const struct explain_result *, const struct explain_copy *, const struct source *);
/* Does the configuration want that to be the source's PTR name (pool or destination, ehlo = ptr)? */
bool explain_ehlo_is_ptr(const struct explain_result *, const struct explain_copy *, const struct source *);

/* What to ask of a receiver (auth/forecast.h) for this copy sent from this source. `deadline` is for the
 * caller to set. */
struct forecast_query explain_query(const struct explain_result *, const struct explain_copy *,
                                    const struct source *);

/* Where a copy would go; route_unref it. */
struct route *explain_route(const struct settings *, struct resolver *, const struct explain_copy *,
                            struct arena *);

/* From a fiber of a worker whose data is a struct flow_worker with a resolver; nothing else of the
 * flow is used. Everything in `arena` but the routes. */
void explain(struct flow *, const struct settings *, const struct explain_request *, struct arena *,
             struct explain_result *ret);
