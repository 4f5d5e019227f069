/* suspicion.h - detection in the pipeline: what happens to mail is told to detection/pattern.h and
 * detection/surge.h on the worker that owns them; what they find is told to all.
 *
 * Nobody waits: facts are posted, and given up (counted) while 100,000 are on their way; who is suspicious
 * stands in a list of each worker's own, which changes some microseconds after the finding. Restrictions go
 * to limits/sending.h, alerts to alert/alert.h. What is known is written to `patterns` in the state folder
 * each quarter of an hour and at the end, so that a crash forgets at most that much.
 */
#pragma once
#include "detection/pattern.h"
#include "flow/accept.h"
#include "flow/settle.h"
#include "limits/limit_desk.h"
#include "limits/sender_name.h"

struct suspicion;

/* flow->suspicion, from the settings; before rt_start, when the workers' parts are there. Reads the snapshot:
 * one that is damaged is logged, and what can be read of it is used. */
void suspicion_open(struct flow *, const struct settings *);
void suspicion_reload(struct flow *, const struct settings *);
/* After rt_free: writes the snapshot. */
void suspicion_close(struct flow *);

/* ---- Facts; flow->suspicion NULL is fine ---- */

/* A message was accepted, or refused for good: it counts then when it was judged spam or malware. `counted`:
 * as the limits counted it. */
void suspicion_judged(struct flow *, const struct acceptance *, const struct limit_question *counted,
                      bool accepted);
/* A RCPT was refused. */
void suspicion_refused_rcpt(struct flow *, const struct acceptance *, struct str recipient,
                            const struct outcome *);
/* What became of recipients, at that server. */
void suspicion_settled(struct flow *, const struct spool_message *, const struct settle_recipient *,
                       size_t count, const struct ip *server);

/* The message attribute that says who sent it (limit_sender_name). */
#define ACCEPT_SUBMITTER STR("submitter")

/* ---- Asking ---- */

/* Why mail of this sender, connector or tenant is suspicious now; "" when it isn't. In the arena. Any worker,
 * at once. */
struct str suspicion_of(struct flow *, const struct acceptance *);
/* The same of names: a tenant's, "TENANT/NAME" of a connector, limit_sender_name; "" for none. On a worker.
 */
struct str suspicion_of_names(struct flow *, struct str tenant, struct str connector, struct str sender,
                              struct arena *);

/* From a fiber of any worker. False: nothing is known. *ret_reason (in the arena): why it is suspicious, or
 * "".
 */
bool suspicion_counts(struct flow *, enum pattern_kind, struct str name, struct arena *,
                      struct sender_counts *ret, struct str *ret_reason);
struct suspicion_entry {
    enum pattern_kind kind;
    struct str name, reason;
    int64_t since, until;
    struct sender_counts counts;
};
/* Who is suspicious now; in the arena. From a fiber of any worker. */
size_t suspicion_list(struct flow *, struct arena *, struct suspicion_entry **ret);
/* An operator released or allowed it: until then (wall ms; 0: the next UTC day) it is only told about. From a
 * fiber. True: something was found of it today, and nobody had said so. */
bool suspicion_release(struct flow *, enum pattern_kind, struct str name, int64_t until);

/* The same as suspicion_of, from what the last daemon left on disk; "" when nothing can be read. Blocks. */
struct str suspicion_left(const struct settings *, const struct sender_name *, struct arena *);

struct suspicion_stats {
    uint64_t subjects, suspects, found, lost;
};
void suspicion_stats(const struct flow *, struct suspicion_stats *ret);
