/* sending.h - step 2 as a service that every worker asks: limits, counts, and who is restricted.
 *
 * One desk (limit_desk.h) for the whole daemon, on a worker that owns it; each call here crosses to it and
 * back (some microseconds) and must come from a fiber of any worker, the API's too. The journal is written by
 * offload threads, one batch at a time: what gathers while one is synced goes with the next (group commit).
 *
 * While the journal can't be written, sending_ask refuses with 451 4.3.0 and it is tried again each second:
 * otherwise a restart would hand out again what was used meanwhile. What was asked before the failure may
 * end; that much is counted in memory only until a write succeeds.
 */
#pragma once
#include "limits/limit_desk.h"
#include "rt/fiber.h"

struct sending;

/* Administrators are to be told: something was exceeded, or somebody is restricted. Views end with the call.
 */
struct sending_note {
    enum sender_kind kind;
    struct str name;   /* a sender (limit_sender_name), a connector "TENANT/NAME", a tenant */
    struct str tenant; /* whose it is */
    struct str policy; /* the policy's name when a limit was exceeded, else "" */
    enum sender_change change;
    struct sender_event event;
};

struct sending_options {
    struct rt *rt;
    struct log *log;
    const char *dir;           /* of the journal */
    const struct spool_io *io; /* NULL: the real disk */
    uint32_t capacity;         /* senders; 125 bytes each when all are active */
    /* Called in the asking fiber after a change other than UNCHANGED. May be NULL. */
    void (*tell)(void *ctx, const struct sending_note *);
    void *ctx;
    int64_t (*clock)(void); /* NULL: clock_wall_ms */
};

/* Before rt_start. Reads the journal: as limit_store_open. Damage is counted in the report and logged, not
 * fatal: what can still be read is used. A folder that can't be read or belongs to another process is an
 * error. */
[[nodiscard]] int sending_open(const struct sending_options *, struct arena *, struct str *ret_why,
                               struct limit_journal_report *ret_report, struct sending **ret);
/* After rt_free: writes what is left. NULL is fine; returns NULL. */
struct sending *sending_close(struct sending *);

/* The service's clock, wall ms. */
int64_t sending_now(const struct sending *);

/* limit_desk_ask; `now` of the question is set here. Who is told, is told before it returns. While the
 * journal fails the answer is REFUSE with limit LIMIT_NAMES and 451 4.3.0. */
void sending_ask(struct sending *, struct limit_question *, struct arena *, struct limit_answer *ret);
/* limit_desk_turn: until when it is held, 0: not at all. LIMIT, FULL: see limit_no_room; then the ticket is
 * to be settled as not committed. */
[[nodiscard]] int sending_turn(struct sending *, struct limit_ticket *, int64_t *ret_hold_until);
/* The same answer as sending_ask without any effect, for explain. */
void sending_look(struct sending *, struct limit_question *, struct arena *, struct limit_answer *ret);
/* Once for each answer whose ticket is open (of another: nothing happens). Committed: returns when the count
 * is durable, 0, or after a failed write its error: the message is counted then, but in memory until it can
 * be written. Not committed: 0 at once. */
int sending_settle(struct sending *, const struct limit_ticket *, bool committed);

/* The same in two steps, so that the journal is synced beside the spool: begun when all that is left is the
 * spool's commit, ended when that is over. *ret stays where it is until then. */
struct sending_count {
    struct sending *sending;
    const struct limit_ticket *ticket;
    struct latch latch;
    struct sending_count *next;
    int error;
};
void sending_count_begin(struct sending *, const struct limit_ticket *, struct sending_count *ret);
/* As sending_settle. Not committed: it is taken off again (limit_desk_undo). */
int sending_count_end(struct sending_count *, bool committed);

/* Who sends, by names as in limit_question, "" for none. */
struct sending_names {
    struct str tenant, connector, sender, mailbox;
};
/* May these send now, whatever their limits? For an early reply: false with the refusal (550 5.1.8, 5.7.711,
 * 5.7.705) and the reason in the arena. Costs nothing while nobody is restricted. */
bool sending_may(struct sending *, const struct sending_names *, struct arena *, struct outcome *ret_refusal,
                 struct str *ret_reason);
/* The same of mail that was taken before: sending_stats count no refusal. */
bool sending_may_go_on(struct sending *, const struct sending_names *, struct arena *,
                       struct outcome *ret_refusal, struct str *ret_reason);

/* What detection found (event.by ""), or an operator wants (CAUSE_OPERATOR, LIMIT_RESTRICT, by whom).
 * `tenant` is whose the sender or connector is. Returns when the change is durable; its error is logged and
 * reported in sending_stats. event.now is set here when it is 0. */
enum sender_change sending_exceed(struct sending *, enum sender_kind, struct str name, struct str tenant,
                                  const struct sender_event *);
/* False: it was not restricted. */
bool sending_release(struct sending *, enum sender_kind, struct str name, struct str by);
/* `until` wall ms, SENDER_ALWAYS, or 0: no longer. */
void sending_allow(struct sending *, enum sender_kind, struct str name, int64_t until, struct str by);

struct sending_entry {
    struct str name;
    struct sender_state state;
};
/* Everybody of whom something is known and not over (restricted, exempt, alerted, allowed); in the arena. */
size_t sending_list(struct sending *, struct arena *, struct sending_entry **ret);
/* False: nothing is known, it may send. */
bool sending_find(struct sending *, enum sender_kind, struct str name, struct sender_state *ret);

struct sending_stats {
    struct limit_table_stats senders;
    struct limit_store_stats journal;
    uint64_t asked, held, refused; /* since the start */
    uint64_t restricted;           /* now */
    int error;                     /* of the journal's last write; while it isn't 0 nothing is taken */
};
void sending_stats(struct sending *, struct sending_stats *ret);
