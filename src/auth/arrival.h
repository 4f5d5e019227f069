/* arrival.h - everything that is verified of a message that came in: SPF, DKIM, ARC.
 *
 * First the header, then the body in chunks cut anywhere, then the end, which asks the DNS. The header, and
 * the memory that it looks at, must outlive the object. One fiber at a time; results are in the arena.
 * Bounds whatever comes in: 16 signatures and one chain of 50 sets are looked at, two hashes of the body for
 * each of DKIM and ARC, one DNS answer in memory for each question that is open.
 */
#pragma once
#include "auth/arc.h"
#include "auth/dkim.h"
#include "auth/spf.h"

enum { ARRIVAL_DEADLINE_MS = SPF_DEADLINE_MS }; /* the longest that arrival_end takes */

struct arrival_client {
    struct ip ip;            /* the true client; none (ip_is_none): SPF says none */
    struct str helo;         /* as given, may be anything */
    struct str reverse_path; /* wire form; "" for <> */
    struct str receiver;     /* our name, for %{r} of SPF; "" gives "unknown" */
};

struct arrival_result {
    bool checked; /* false: our own mail, not looked at; all else is empty */
    struct spf_check spf;
    struct dkim_verdicts dkim;
    struct arc_verdict arc;
};

struct arrival;

/* Reads the signatures of `header`. Never NULL. */
struct arrival *arrival_new(struct arena *, const struct header *, int64_t now_wall_ms);
void arrival_body(struct arrival *, struct str chunk);
/* The message is whole. SPF, DKIM and ARC each go on a fiber of their own, and the keys of one message are
 * asked for side by side, so that one silent server starves nothing else; signatures are computed on offload
 * threads. All end by `deadline` (monotonic ms; at most ARRIVAL_DEADLINE_MS from now), or when the fiber is
 * cancelled: what is not known then is temperror. Always sets *ret, `checked` with it. Outside fibers, one
 * after the other. Once. The client's texts need not outlive the call. */
void arrival_end(struct arrival *, const struct arrival_client *, struct resolver *, int64_t deadline,
                 struct arrival_result *ret);
/* Accepts NULL, returns NULL. The result stays. */
struct arrival *arrival_free(struct arrival *);
