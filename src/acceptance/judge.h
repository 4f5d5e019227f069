/* judge.h - step 4: what the scanners and the header of a trusted connector make of a message.
 *
 * The worse verdict wins: malware, spam, not scanned, clean. Of two that say the same the scanner's
 * reason is told. Malware is refused, whoever says so, and there is no way around it.
 */
#pragma once
#include "acceptance/client_name.h"
#include "flow/flow.h"
#include "policy/verdict.h"
#include "scan/scan.h"

struct acceptance;

struct judgement {
    enum verdict verdict;
    struct str why;         /* of the verdict; "" when clean */
    bool unscanned_is_risk; /* with UNSCANNED */
    struct str not_scanned; /* why it was not, where it should have been; "" */
    bool scanned;           /* a scanner gave its answer: `scan` */
    struct scan_result scan;
    struct str score, symbols; /* for the trace: "7.30/15.00"; absent when not scanned */
};

/* Will anybody look at a copy of the messages that come in? */
bool judge_looks(const struct settings *);
/* Where the copies of this worker go (content_settings, scan), for who will look at one; in `arena`. */
const struct scan_copy_place *judge_copy_place(struct flow *, const struct settings *, struct arena *);

/* From a fiber, after accept_verify: what the true client is called, when a scanner will judge by it. The
 * time that this takes is the scanners'. Nobody asks for users and for private addresses, and a trusted peer
 * may have told it. Sets acceptance.client_name. */
void judge_client(struct flow *, struct acceptance *, struct client_names *);

/* From a fiber, once the content has ended and `prefix` is made. Sets acceptance.judged. False: *ret_refusal.
 * A report of our own is not judged. */
bool judge(struct flow *, struct acceptance *, struct outcome *ret_refusal);

/* Opens flow->scan, once the workers are there, and tells it of new settings. */
void judge_open(struct flow *, const struct settings *);
void judge_reload(struct flow *, const struct settings *);
