#include "flow/carried.h"

#include "flow/allowance.h"
#include "flow/suspicion.h"
#include "policy/sending.h"
#include "seeded_bug.h"

static bool is_high_risk(enum mail_class class) {
    return class == CLASS_HIGH_RISK || class == CLASS_HIGH_RISK_RELAY;
}

bool carried_may_leave(struct flow *flow, const struct spool_message *m, enum mail_class class,
                       struct arena *arena, struct str *ret_why) {
    struct str sender = spool_attribute_get(m->attributes, m->attribute_count, ACCEPT_SUBMITTER);
    struct outcome refusal;
    struct str reason;
#ifdef SLUICE_SEEDED_BUG_CARRIED_MAIL_UNASKED
    return true;
#endif
    if (!sender.len || !allowance_not_before(m))
        return true;
    struct str connector = m->connector.len
                               ? str_printf(arena, "%.*s/%.*s", STR_FMT(m->tenant), STR_FMT(m->connector))
                               : STR("");
    if (!sending_may(flow->sending, m->tenant, connector, sender, arena, &refusal, &reason) &&
        refusal.fate == OUTCOME_NEVER) { /* not when the counts are unsure */
        *ret_why = reason;
        return false;
    }
    reason = is_high_risk(class) ? STR("") : suspicion_of_names(flow, m->tenant, connector, sender, arena);
    *ret_why = reason.len ? str_printf(arena, "%.*s: %.*s", STR_FMT(sender), STR_FMT(reason)) : STR("");
    return !reason.len;
}
