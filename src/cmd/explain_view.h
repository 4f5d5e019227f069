/* explain_view.h - what `sluice explain` found, and its two ways to tell it.
 */
#pragma once
#include "cmd/cli.h"
#include "explain/explain.h"
#include "identity/strict.h"

enum {
    EXPLAIN_ADDRESSES = 12,  /* of a pool and family that are listed in text */
    EXPLAIN_FORECASTS = 64,  /* copies x addresses that receivers are asked about */
    EXPLAIN_MS = 10 * 1000,  /* for all that is asked of the DNS */
    EXPLAIN_QUESTIONS = 256, /* at a time */
    EXPLAIN_UNANSWERED = 8,  /* that are listed in text */
};

/* What the receiver of a copy would see of one address. */
struct explain_seen {
    const struct explain_copy *copy;
    const struct pool *pool;
    const struct source *source;
    struct forecast mail;
    struct strict_view strict;
};

struct explain_view {
    struct cli *cli;
    struct explain_request request;
    struct explain_result result;
    struct explain_seen *seen; /* by copy, pool and address */
    size_t seen_count;
    size_t not_asked;                        /* past EXPLAIN_FORECASTS */
    const struct dns_once_failure *failures; /* questions without an answer */
    size_t failure_count;
    struct str as;       /* the sender whose limits are asked for; "" nobody */
    struct str as_note;  /* what is odd about that name; "" nothing */
    bool no_daemon;      /* none answers: what it left on disk is read */
    struct str standing; /* of it: one JSON object (api_standing_json); "" it is not known */
    struct str standing_why;
    bool over;             /* it would be refused for a limit or a restriction, or there is no such sender */
    bool standing_unknown; /* where it stands could not be found out */
    bool nothing_counted;  /* no daemon has run here yet */
};

/* ---- explain_seen.c ---- */

/* Asks, all side by side, what receivers will see; the resolver ends it. From a fiber. */
void explain_ask(struct explain_view *, const struct settings *, const struct plan_index *,
                 struct resolver *);
/* As tables, with what is wrong and what to put where. */
void explain_seen_text(const struct explain_view *);

/* ---- explain_run.c ---- */

/* Everything that is asked of the DNS, by one deadline (EXPLAIN_MS); sets v->result and what receivers will
 * see. The table may be NULL. Not DONE: said. */
int explain_run(struct explain_view *, struct settings *, const struct plan_index *, struct ownership *);

/* ---- explain_text.c ---- */

/* A line with a name at its left, broken at the terminal's width. */
void explain_line(struct cli *, const char *name, struct str value);
void explain_painted(struct cli *, const char *name, enum cli_paint, struct str value);

/* ---- cmd_explain.c ---- */

/* The copy that stands for all where one is asked for; never NULL. */
const struct explain_copy *explain_first(const struct explain_view *);
/* The reply of a refusal; the NULL view when it would be accepted. */
struct str explain_refusal(const struct explain_view *);
/* Why a copy has no route; the NULL view when it has one. */
struct str explain_no_route(const struct explain_view *, const struct explain_copy *);
/* Why it would be accepted and then wait in this pool, on our own account; the NULL view: it would not. */
struct str explain_waits(const struct explain_view *, const struct pool *);
/* The "IPv4" of a FAMILY_ bit. */
const char *explain_family(unsigned family);

/* "match", "miss"...; "records", "none", "failed". */
const char *explain_spf_end(enum spf_step_end);
const char *explain_dns_status(enum dns_status);

/* Before the message is explained: who --as names is its submitter, where nothing else says who that is. */
void explain_as(struct explain_view *, const struct settings *);
void explain_suspicion(struct explain_view *, const struct settings *);
/* Afterwards: sets what is told of --as. Asks the daemon, or reads what it has left on disk. */
void explain_standing(struct explain_view *, const struct settings *);

void explain_json(const struct explain_view *);
void explain_text(const struct explain_view *);
