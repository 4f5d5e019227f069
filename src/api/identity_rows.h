/* identity_rows.h - what the API tells of the DNS: the customers' domains, and the faults of the last survey.
 */
#pragma once
#include "base/buf.h"

/* An accepted domain, or one that may become one (`configured` false). Times are wall ms, 0: none. */
struct api_domain {
    struct str tenant, domain;
    bool configured;
    struct str state;                       /* "unknown", "unverified", "verified" */
    int64_t since, checked, missing, until; /* missing: verified, without its token; until: its end */
    struct str why;                         /* of the last question */
    struct str name, token;                 /* the TXT that shows whose it is */
};

/* What the last survey said. */
struct api_fault {
    struct str status; /* "fault", "warning", "unknown" */
    struct str code, subject, what, put;
    int64_t since, seen; /* wall ms: first and last found */
};

/* The rows as they stand in replies; for the command line where no daemon answers. */
void api_domain_row(struct buf *, const struct api_domain *);
void api_fault_row(struct buf *, const struct api_fault *);
