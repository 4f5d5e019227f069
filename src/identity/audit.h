/* audit.h - one sending address as a strict receiver sees it.
 *
 * Waits in the resolver (a fiber), never past the deadline. What could not be asked
 * is unknown, never a fault (invariant 7).
 */
#pragma once
#include "identity/plan.h"
#include "rt/resolver.h"

#define AUDIT_CHECKS(X)                                                                                      \
    X(PTR, "ptr")         /* it has the PTR name that is planned */                                          \
    X(FORWARD, "forward") /* a PTR name of it points back (FCrDNS) */                                        \
    X(DOMAIN, "domain")   /* PTR and EHLO name are of one organisation */                                    \
    X(EHLO, "ehlo")       /* the EHLO name resolves, and looks like that of a mail server */                 \
    X(EHLO_SPF, "spf")    /* SPF of the EHLO name passes, as for a null reverse-path (RFC 7208 2.4) */       \
    X(INCLUDE, "include") /* the customers' include passes for a published address and for no other */

enum audit_check {
#define X(name, text) AUDIT_##name,
    AUDIT_CHECKS(X)
#undef X
        AUDIT_CHECK_COUNT
};
const char *audit_check_name(enum audit_check);

enum audit_state {
    AUDIT_OK,
    AUDIT_UNKNOWN, /* the DNS could not be asked */
    AUDIT_FAULT,
};

struct audit_finding {
    enum audit_state state;
    struct str text; /* what is wrong and what to put where; "" when it is OK */
};

struct audit_query {
    const struct source *source;
    const struct pool *pool;
    struct str include; /* "spf.example.net"; empty: not checked */
    int64_t now;        /* wall clock ms */
    int64_t deadline;   /* monotonic ms */
};

/* All in the arena. */
struct audit {
    struct str ptr; /* the name that was confirmed, else the first that was found, else "" */
    struct audit_finding findings[AUDIT_CHECK_COUNT];
};

void audit_address(struct resolver *, const struct audit_query *, struct arena *, struct audit *ret);
/* The worst of all findings. */
enum audit_state audit_worst(const struct audit *);
/* What the gate asks: PTR there, and it points back. */
enum audit_state audit_fcrdns(const struct audit *);
/* Does a name carry the address, as providers name what they rent out ("192-0-2-1.dyn.example.net")? */
bool audit_name_is_generic(struct str name, const struct ip *);
