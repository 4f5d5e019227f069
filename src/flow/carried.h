/* carried.h - mail of more than its sender's messages a minute, when its turn comes.
 *
 * It was accepted hours ago perhaps, in the class that it had then. Whoever is restricted since, or found
 * suspicious, would go on sending all that he handed in within the first minutes: it is held instead, for an
 * operator to release or to cancel. Mail whose turn was at once isn't asked about again.
 */
#pragma once
#include "base/mail_class.h"
#include "flow/flow.h"
#include "spool/spool.h"

/* From a fiber. False: it is to be held, *ret_why says why (in the arena). */
bool carried_may_leave(struct flow *, const struct spool_message *, enum mail_class, struct arena *,
                       struct str *ret_why);
