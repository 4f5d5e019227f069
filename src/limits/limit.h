/* limit.h - step 2: may this sender, this tenant send this message now? Pure.
 *
 * Counted is per message and recipient, after expansion, by the submitter who authenticated
 * (limit_sender_name); From only selects the policy. Relayed mail counts; a report that this system makes
 * does not. A message over a limit is refused whole and never sent another way. The one exception: messages
 * per minute, whose excess is accepted and held until its turn.
 */
#pragma once
#include "base/outcome.h"
#include "limits/limit_table.h"
#include "policy/attribute.h"

/* Every limit: its name as in the configuration, what it counts. In the order in which they are checked. */
#define LIMITS(X)                                                                                            \
    X(PER_MESSAGE, "per-message", "recipients in one message")                                               \
    X(TENANT_EXTERNAL, "tenant-external-per-day", "external recipients of the tenant in 24 hours")           \
    X(PER_DAY, "per-day", "recipients in 24 hours")                                                          \
    X(EXTERNAL_PER_HOUR, "external-per-hour", "external recipients in an hour")                              \
    X(INTERNAL_PER_HOUR, "internal-per-hour", "internal recipients in an hour")                              \
    X(PER_MINUTE, "per-minute", "messages in a minute")

enum limit_name {
#define X(name, option, words) LIMIT_##name,
    LIMITS(X)
#undef X
        LIMIT_NAMES,
};

const char *limit_option(enum limit_name);
const char *limit_words(enum limit_name);

/* The service's own limits, which no policy exceeds. Recipients an hour: only the day limits them. */
enum {
    SERVICE_PER_DAY = 10000,
    SERVICE_PER_HOUR = 10000,
    SERVICE_PER_MINUTE = 30,
    SERVICE_PER_MESSAGE = 500
};

struct limit_rules {
    struct str policy; /* whose they are: "default"; "" : the service's own */
    struct limit_bounds bounds;
    uint32_t per_message;
    uint32_t tenant_external; /* 0: none */
    enum limit_action action; /* for a sender over a limit of an hour or a day */
};

/* The policy's limits, with the service's where it says 0. NULL: the service's alone (restrict-today).
 * `per_message`, `tenant_external`: 0 is the service's, none. */
struct limit_rules limit_rules_of(const struct sending_policy *, uint32_t per_message,
                                  uint32_t tenant_external);

/* External recipients that a tenant may have in 24 hours: 500 x licences^0.7 + 9500, of that 10 % in its
 * first 30 days and 25 % in the next 30. Rounded down. */
uint32_t limit_tenant_external(uint32_t licences, int64_t age_days);

/* External recipients in 24 hours by the tenant's licences and age; 0: it has no limit. */
uint32_t limit_of_tenant(const struct tenant *, int64_t now);

struct limit_rules limit_rules_for(const struct tenant *, struct str from, int64_t now);

struct limit_facts {
    const struct limit_rules *rules;
    struct limit_standing sender; /* before this message */
    uint32_t tenant_used;         /* likewise */
    struct limit_use use;
    int64_t now;
    bool report;      /* an NDR that this system makes: nothing applies */
    bool tenant_only; /* the sender isn't counted (limit_question): only the tenant's limit applies */
};

enum limit_step { LIMIT_PASS, LIMIT_HOLD, LIMIT_REFUSE };

struct limit_decision {
    enum limit_step step;
    int64_t hold_until;    /* HOLD: wall ms; accept it, release it then */
    enum limit_name limit; /* HOLD, REFUSE: which one */
    uint32_t used, asked, most;
    struct outcome refusal;   /* REFUSE: the reply */
    bool exceeded;            /* REFUSE: a limit of the sender's; do `action` to it */
    enum limit_action action; /* ALERT: tell, no more */
    struct str reason;        /* HOLD, REFUSE: the limit and the counts, for trace and explain */
    unsigned warned;          /* PASS, HOLD: 1 << limit_name of each that this message takes to 80 % */
};

/* Texts are in the arena. Replies: 550 5.5.3 for too many recipients in one message, 550 5.7.233 for the
 * tenant's, 550 5.1.8 for the sender's where the action restricts it, 450 4.7.1 where the action is alert
 * (the window slides on, so later it fits; 550 5.5.3 when it never does). */
struct limit_decision limit_decide(const struct limit_facts *, struct arena *);

/* Why a message waits for its turn, as `reason` of HOLD has it. */
struct str limit_turn_why(const struct limit_facts *, struct arena *);

/* How much of it is used, of how much; most 0: there is no such limit. */
void limit_account(const struct limit_facts *, enum limit_name, uint64_t *ret_used, uint64_t *ret_most);

/* "480 of 500 external recipients in an hour", for warnings, explain and `sender show`. */
struct str limit_standing_text(struct arena *, const struct limit_facts *, enum limit_name);

/* The reply when limit_table_reserve finds no room: FULL 451 4.3.2, LIMIT 450 4.7.1. */
struct outcome limit_no_room(int error);

/* Who is counted and restricted: the user; for mail of a connector "connector/TENANT/NAME/mailbox", so that
 * one compromised mailbox doesn't cost its neighbours their connector ("<>" for a null reverse-path); for the
 * local socket "local/TENANT/mailbox". The mailbox is the reverse-path's, whatever it is written with
 * (sender_fold.h). In the arena. */
struct str limit_sender_name(struct arena *, const struct attribution *, struct str reverse_path);
/* The mailbox of the reverse-path as it is written, where the name has another one: users are called such as
 * returns-24@, too, and restricted by that name. "" else. In the arena. */
struct str limit_sender_written(struct arena *, struct str sender, struct str reverse_path);
/* The user whose mailbox a sender behind a connector or at the local socket writes in the name of; "" of
 * others. A view of the name. */
struct str limit_sender_mailbox(struct str name);
