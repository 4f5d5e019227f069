/* suspicion.h - detection at work in the daemon: what happens to mail is told to detection/pattern.h and
 * detection/surge.h on the worker that owns them; what they find is told to all.
 *
 * Nobody waits: facts are posted, and given up (counted) while 100,000 are on their way (of eight recipients
 * or fewer; else fewer); who is suspicious stands in a list of each worker's own, which changes some
 * microseconds after the finding. Restrictions go to limits/sending.h, alerts to alert/alert.h. What is known
 * is written to `patterns` in the state folder each quarter of an hour and at the end, so that a crash
 * forgets at most that much.
 *
 * Where a `struct suspicion *` is NULL (in explain), nobody is suspicious and facts go nowhere.
 */
#pragma once
#include "detection/pattern.h"
#include "detection/surge.h"
#include "limits/sender_name.h"
#include "limits/sending.h"
#include "rt/worker.h"
#include "settings/settings.h"

struct suspicion;
struct alerts;

struct suspicion_options {
    struct rt *rt;
    struct log *log;
    struct sending *sending; /* restricts */
    struct alerts *alerts;
};

/* Before rt_start, when the workers are there. Reads the snapshot: one that is damaged is logged, and what
 * can be read of it is used. */
struct suspicion *suspicion_open(const struct suspicion_options *, const struct settings *);
void suspicion_reload(struct suspicion *, const struct settings *);
/* After rt_free: writes the snapshot. NULL is fine; returns NULL. */
struct suspicion *suspicion_close(struct suspicion *);

/* ---- Facts ---- */

/* A fact on its way to the owner; everything in its arena. */
struct suspicion_note {
    struct suspicion *suspicion;
    struct arena *arena;
    struct pattern_message message; /* when it has a time */
    struct pattern_answer answers[REPLY_OTHER + 1];
    size_t answer_count;
    struct surge_event *reports;
    size_t report_count;
    const struct str
        *senders; /* for a report that came in: the names under which its recipient may have sent */
    size_t sender_count;
    bool auto_reply; /* it is none of a failed delivery: it counts only for an address that sent nothing */
};

/* Made on any worker, filled and posted. NULL: there is nobody to tell, or too much is on its way. */
struct suspicion_note *suspicion_note_new(struct suspicion *);
void suspicion_note_post(struct suspicion_note *);

/* ---- Asking ---- */

/* Why mail of these is suspicious now (a tenant's name, "TENANT/NAME" of a connector, limit_sender_name; ""
 * for none); "" when it isn't. In the arena. At once, but on a worker. */
struct str suspicion_of_names(struct suspicion *, struct str tenant, struct str connector, struct str sender,
                              int64_t now, struct arena *);

/* From a fiber of any worker. False: nothing is known. *ret_reason (in the arena): why it is suspicious, or
 * "".
 */
bool suspicion_counts(struct suspicion *, enum pattern_kind, struct str name, struct arena *,
                      struct sender_counts *ret, struct str *ret_reason);
struct suspicion_entry {
    enum pattern_kind kind;
    struct str name, reason;
    int64_t since, until;
    struct sender_counts counts;
};
/* Who is suspicious now; in the arena. From a fiber of any worker. */
size_t suspicion_list(struct suspicion *, struct arena *, struct suspicion_entry **ret);
/* An operator released or allowed it: until then (wall ms; 0: the next UTC day) it is only told about. From a
 * fiber. True: something was found of it today, and nobody had said so. */
bool suspicion_release(struct suspicion *, enum pattern_kind, struct str name, int64_t until);

/* The same, from what the last daemon left on disk; "" when nothing can be read. Blocks. */
struct str suspicion_left(const struct settings *, const struct sender_name *, struct arena *);

struct suspicion_stats {
    uint64_t subjects, suspects, found, lost;
};
void suspicion_stats(const struct suspicion *, struct suspicion_stats *ret);
