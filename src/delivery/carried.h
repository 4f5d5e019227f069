/* carried.h - accepted mail whose sender is restricted or suspicious by the time that it is about to leave.
 *
 * Mail of more than its sender's messages a minute was accepted hours ago perhaps, in the class that it had
 * then. Whoever is restricted since, or found suspicious, would go on sending all that he handed in within
 * the first minutes: it is held instead, for an operator to release or to cancel. So is all other mail, tried
 * before, of who is restricted for what he sends, or by an operator; over a limit, what was within it goes
 * on.
 */
#pragma once
#include "base/mail_class.h"
#include "flow/flow.h"
#include "spool/spool.h"

/* From a fiber. False: it is to be held, *ret_why says why (in the arena). */
bool carried_may_leave(struct flow *, const struct spool_message *, enum mail_class, struct arena *,
                       struct str *ret_why);
