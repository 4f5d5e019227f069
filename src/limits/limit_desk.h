/* limit_desk.h - step 2 as one question and one answer: restrictions, limits, counting, and their journal.
 *
 * One desk for the whole daemon, on one worker that owns it: a question takes some microseconds. Sessions ask
 * it by message before the spool's commit, and settle after it; a batch of the journal is written by an
 * offload thread (limit_desk_store) while the spool syncs. Nothing here waits.
 */
#pragma once
#include "limits/limit.h"
#include "limits/limit_store.h"

struct limit_desk;

struct limit_desk_options {
    const char *dir;           /* of the journal */
    const struct spool_io *io; /* NULL: the real disk */
    uint32_t capacity;         /* senders; 125 bytes each when all are active */
    int64_t now;
    bool read_only; /* as limit_store_options */
};

/* As limit_store_open. */
[[nodiscard]] int limit_desk_open(const struct limit_desk_options *, struct arena *, struct str *ret_why,
                                  struct limit_journal_report *ret_report, struct limit_desk **ret);
/* As limit_store_close. NULL is fine; returns NULL. */
struct limit_desk *limit_desk_close(struct limit_desk *);

struct limit_question {
    struct str tenant;
    struct str connector; /* "TENANT/NAME" of the connector that it came by; "" : none */
    struct str sender;    /* limit_sender_name */
    struct str mailbox;   /* limit_sender_written: who is restricted by it doesn't hide behind the fold */
    struct limit_rules rules;
    struct limit_use use;
    bool report; /* an NDR that this system makes: passes, and counts nowhere */
    /* The sender isn't counted, only the tenant: mail from outside for a forward, of a connector without
     * limits. Who is restricted is refused all the same. */
    bool tenant_only;
    int64_t now;
};

/* What a session keeps between ask and settle. Its tenant is the question's view. */
struct limit_ticket {
    bool open;    /* false: there is nothing to settle */
    uint64_t key; /* 0: the tenant is counted only */
    struct str tenant;
    uint32_t tenant_limit;
    struct limit_bounds bounds;
    struct limit_use use;
    int64_t turn; /* of limit_desk_turn */
};

struct limit_answer {
    struct limit_decision decision; /* of a restricted sender REFUSE with limit LIMIT_NAMES */
    struct limit_facts facts;       /* for limit_standing_text; its rules are the question's */
    struct limit_ticket ticket;
    /* Whom to tell the administrators about, beside decision.warned; UNCHANGED: nobody. */
    enum sender_change change;
    enum sender_kind kind;
    enum sender_cause cause;
};

/* May it go? When it may, its recipients are reserved until limit_desk_settle; hold_until is then a forecast.
 * When it goes over a limit of its sender's, that is restricted as the policy says. Texts are in the arena.
 */
void limit_desk_ask(struct limit_desk *, const struct limit_question *, struct arena *,
                    struct limit_answer *ret);
/* Its turn among its sender's messages of a minute: once nothing else can refuse it, for a turn can't be
 * given back. The ticket's `turn` is `now` when it may leave at once. LIMIT, FULL: none, see limit_no_room.
 */
[[nodiscard]] int limit_desk_turn(struct limit_desk *, struct limit_ticket *, int64_t now);
/* The same answer as limit_desk_ask without any effect, for explain. The ticket is not open. */
void limit_desk_look(const struct limit_desk *, const struct limit_question *, struct arena *,
                     struct limit_answer *ret);
/* Once for each answer whose ticket is open: the message was committed, or not. */
void limit_desk_settle(struct limit_desk *, const struct limit_ticket *, int64_t now, bool committed);

/* After a settle with `committed`: it was not, in the end (the spool's disk refused it while the journal's
 * took it). From now on it isn't held against its sender, until a restart; its turn is spent. Where so much
 * was undone that the sender's window can't tell any more, answers are 451 4.3.0 until it can. */
void limit_desk_undo(struct limit_desk *, const struct limit_ticket *, int64_t now);

/* What detection found, or an operator wants; the change is in the journal. Of senders behind connectors and
 * at the local socket so many are remembered, some 50 MB, and one more only for an operator: UNCHANGED. */
enum { LIMIT_DESK_PATHS_MOST = 100000 };
enum sender_change limit_desk_exceed(struct limit_desk *, enum sender_kind, struct str name,
                                     const struct sender_event *);
bool limit_desk_release(struct limit_desk *, enum sender_kind, struct str name, struct str by, int64_t now);
void limit_desk_allow(struct limit_desk *, enum sender_kind, struct str name, int64_t until, struct str by,
                      int64_t now);
/* For lists; and to forget who is blank, some times a day. */
const struct sender_book *limit_desk_book(const struct limit_desk *);
void limit_desk_tidy(struct limit_desk *, int64_t now);

/* For limit_store_take, limit_store_settle and its numbers. */
struct limit_store *limit_desk_store(struct limit_desk *);
void limit_desk_stats(const struct limit_desk *, struct limit_table_stats *ret);
