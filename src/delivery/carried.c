#include "delivery/carried.h"

#include "acceptance/allowance.h"
#include "base/clock.h"
#include "limits/sending.h"
#include "seeded_bug.h"
#include "suspicion/suspicion.h"

static bool is_high_risk(enum mail_class class) {
    return class == CLASS_HIGH_RISK || class == CLASS_HIGH_RISK_RELAY;
}

/* Over a limit he was not over when this mail was taken. */
static bool by_limits_only(struct flow *flow, const struct sending_names *n) {
    const struct {
        enum sender_kind kind;
        struct str name;
    } whom[] = {{SENDER_TENANT, n->tenant},
                {SENDER_CONNECTOR, n->connector},
                {SENDER_USER, n->sender},
                {SENDER_USER, limit_sender_mailbox(n->sender)},
                {SENDER_USER, n->mailbox}};
    int64_t now = sending_now(flow->sending);
    struct sender_state state;
    for (size_t i = 0; i < sizeof whom / sizeof *whom; i++)
        if (whom[i].name.len && sending_find(flow->sending, whom[i].kind, whom[i].name, &state) &&
            sender_is_restricted(&state, now) &&
            (state.cause < CAUSE_PER_DAY || state.cause > CAUSE_TENANT_EXTERNAL))
            return false;
    return true;
}

/* A refusal that may pass says nothing of the sender: the counts are unsure. */
static bool is_restricted(struct flow *flow, const struct sending_names *n, bool waited, struct arena *arena,
                          struct str *ret_why) {
    struct outcome refusal;
    return !sending_may_go_on(flow->sending, n, arena, &refusal, ret_why) && refusal.fate == OUTCOME_NEVER &&
           (waited || !by_limits_only(flow, n));
}

bool carried_may_leave(struct flow *flow, const struct spool_message *m, enum mail_class class,
                       struct arena *arena, struct str *ret_why) {
    struct sending_names n = {
        .tenant = m->tenant,
        .connector = m->connector.len
                         ? str_printf(arena, "%.*s/%.*s", STR_FMT(m->tenant), STR_FMT(m->connector))
                         : STR(""),
        .sender = spool_attribute_get(m->attributes, m->attribute_count, ACCEPT_SUBMITTER),
    };
    n.mailbox = limit_sender_written(arena, n.sender, m->return_path);
    bool waited = allowance_not_before(m) > 0;
#ifdef SLUICE_SEEDED_BUG_CARRIED_MAIL_UNASKED
    return true;
#endif
    *ret_why = STR("");
    if (!n.sender.len)
        return true;
    if (is_restricted(flow, &n, waited, arena, ret_why))
        return false;
    struct str reason = STR("");
    if (waited && !is_high_risk(class))
        reason = suspicion_of_names(flow->suspicion, n.tenant, n.connector, n.sender, clock_wall_ms(), arena);
    *ret_why = reason.len ? str_printf(arena, "%.*s: %.*s", STR_FMT(n.sender), STR_FMT(reason)) : STR("");
    return !reason.len;
}
