/* pool.h - sites, pools and their sources: which addresses may carry which class, and which one goes next.
 *
 * `struct pools` is the immutable configuration, shared by all workers; `struct pool_state` is the health
 * and the counters of its sources, touched only by the pool's owner worker. Everything is pure: the clock
 * (milliseconds, any one clock) and randomness are passed in.
 * Design: invariants 1, 4, 5 and 6. The check before a source is used is in guard.h.
 */
#pragma once
#include "base/ip_range.h"
#include "base/mail_class.h"
#include "config/config.h"

enum { POOL_ADDRESSES_MAX = 65536, POOL_NAME_MAX = 255 };

/* The tables of `site` and `pool`, for the configuration's root. */
extern const struct config_option site_options[];
extern const struct config_option pool_options[];

/* A sending address. Lives as long as its struct pools. */
struct source {
    struct ip ip;
    uint32_t pool;    /* index in pools->pools */
    uint32_t ordinal; /* {n}: from 1, in written order, IPv4 and IPv6 apart */
    const char *ptr;  /* its name from the site's template; NULL when the site has none */
    const char *ehlo; /* the name it says in EHLO; never NULL */
};

struct pool {
    struct str name;
    uint32_t site;      /* index in pools->sites */
    unsigned carries;   /* bit (1u << enum mail_class) each */
    unsigned weight;    /* share among the pools of a class; 0: only for the tenants that name it */
    struct str code;    /* {class} */
    bool spf_published; /* in the SPF that customers include */
    bool spf_hidden;    /* not even in that of the EHLO name */
    bool stays_listed;  /* a blocklist's listing rests none of its addresses */
    int64_t first_retry, max_retry, expire; /* milliseconds; -1: as in delivery { } */
    const struct source *sources;           /* in written order */
    uint32_t source_count;
    uint32_t v4_count, v6_count;
    const struct ip_range *ranges; /* the addresses as written */
    size_t range_count;
};

struct site {
    struct str name;
    struct str ehlo;
    struct str ptr; /* template, or empty */
    bool here;      /* this node stands there */
};

struct pools {
    const struct site *sites;
    size_t site_count;
    const struct pool *pools; /* of all sites */
    size_t pool_count;
    const struct source *sources; /* of all pools, grouped by pool */
    size_t source_count;
    /* fields below belong to pool.c */
    const uint32_t *by_ip; /* open hash of indices + 1 */
    uint32_t by_ip_mask;
};

struct pool_options {
    struct str node; /* this node's name: EHLO when there is no site */
    struct str here; /* the site of this node; may be empty when there is one only */
    int (*bindable)(void *ctx, const struct ip *); /* 0 or SLUICE_E...; NULL: not checked */
    void *bindable_ctx;
    const struct str
        *owned; /* pools that tenants name as their own: without a `weight` they serve nobody else */
    size_t owned_count;
};

/* Reads sites and pools from the configuration's root (tables above under the names "site" and "pool").
 * Problems go to `errors`; the result then lacks what was wrong. Everything lives in the arena. Never NULL.
 */
const struct pools *pools_load(struct arena *, const struct config_node *root, const struct pool_options *,
                               struct config_errors *);

/* A name fit for EHLO and PTR: letters, digits and hyphens in labels of at most 63, 253 in all, no final dot.
 * No address: the last of several labels is no number (RFC 1123 2.1). */
bool pool_host_name_valid(struct str name);

/* "published", "unpublished", "hidden". */
const char *pool_spf_text(const struct pool *);
/* By name at this node's site; NULL when there is none. */
const struct pool *pool_find(const struct pools *, struct str name);
static inline bool pool_carries(const struct pool *p, enum mail_class c) { return (p->carries >> c) & 1u; }
/* The source with this address, at any site; NULL when there is none. O(1). */
const struct source *source_find(const struct pools *, const struct ip *);
/* The EHLO name of a source, where a destination may ask for its PTR name (ehlo = ptr). */
const char *source_ehlo(const struct source *, bool ask_ptr);

/* Step 5: the pool for a message of `class`: the tenant's own (empty: none) when it carries the class, else
 * one of this site's that carry it, by weight; `random` is 64 random bits. NULL: the mail waits. */
const struct pool *pool_for_class(const struct pools *, enum mail_class, struct str own, uint64_t random);
/* Step 9, before a pick: the stored pool when it still carries the class here, else as pool_for_class. */
const struct pool *pool_stored(const struct pools *, enum mail_class, struct str stored, struct str own,
                               uint64_t random);

/* ---- health and choice: the owner worker's ---- */

struct pool_state; /* of the sources of all pools; keyed by address, so it survives a reload */
struct pool_state *pool_state_new(void);
struct pool_state *pool_state_free(struct pool_state *);
/* After a reload: forgets the addresses that are gone. */
void pool_state_reload(struct pool_state *, const struct pools *);

/* Why a source rests. Several may hold at once; it is healthy when none does. */
#define REST_CAUSES(X)                                                                                       \
    X(BIND, "bind")               /* this host does not have the address */                                  \
    X(UNCONFIRMED, "unconfirmed") /* receivers can't confirm its name (identity/gate.h) */                   \
    X(LISTED, "listed")           /* on a blocklist; counts where the pool does not stay (stays_listed) */   \
    X(RECEIVER, "receiver")       /* receivers turn it away */

enum rest_cause {
#define X(name, text) REST_##name,
    REST_CAUSES(X)
#undef X
        REST_CAUSE_COUNT,
};
const char *rest_cause_text(enum rest_cause);

#define REST_UNTIL_WOKEN INT64_MAX

/* Rests a source for one cause until `until`, or REST_UNTIL_WOKEN (of two rests for one cause the later wins,
 * of two that end together the last); `reason` is copied (at most 200 bytes). */
void source_rest(struct pool_state *, const struct ip *, enum rest_cause, int64_t until, struct str reason);
/* Ends its rest for this cause; others stand. */
void source_wake(struct pool_state *, const struct ip *, enum rest_cause);
/* One transaction went out from it / failed there: for `sluice source`. */
void source_count(struct pool_state *, const struct ip *, int64_t now, bool delivered);

struct source_health {
    int64_t resting_until; /* the latest of the rests in force; 0: healthy */
    struct str reason;     /* all reasons, with "; " between */
    unsigned causes;       /* bit (1u << enum rest_cause) of each rest in force */
    uint64_t picked, delivered, failed;
    int64_t last_used; /* 0: never */
};
bool source_rests(const struct pool_state *, const struct pool *, const struct ip *, int64_t now);
/* As this pool sees it; the reason is in the arena. */
struct source_health source_health(const struct pool_state *, const struct pool *, const struct ip *,
                                   int64_t now, struct arena *);

enum { FAMILY_V4 = 1, FAMILY_V6 = 2 };

enum pick_reason {
    PICK_OK,
    PICK_EMPTY,     /* the pool has no address */
    PICK_NO_FAMILY, /* none of the asked family */
    PICK_RESTING,   /* all that would fit rest; see earliest */
};
const char *pick_reason_text(enum pick_reason);

enum { PICK_WHY_SIZE = 320 };

struct pick {
    const struct source *source; /* NULL unless PICK_OK */
    enum pick_reason reason;
    int64_t earliest;        /* PICK_RESTING: when the first of them wakes; REST_UNTIL_WOKEN: not known */
    bool sticky;             /* it is the address asked for */
    char why[PICK_WHY_SIZE]; /* PICK_RESTING: "192.0.2.17: listed by ...; and 3 others rest" */
};

/* The source for the next connection to `receiver`. `families` is what the destination has (FAMILY_ bits).
 * `sticky` (NULL or ip none: first attempt) is the address of the last attempt: the same while healthy, else
 * one of its /24 or /64, else any. Otherwise the healthy sources take turns per receiver. */
struct pick pool_pick(const struct pools *, const struct pool *, unsigned families, struct str receiver,
                      const struct ip *sticky, int64_t now, struct pool_state *);
