/* suspicion_answers.h - what receivers answered is told to suspicion/suspicion.h.
 */
#pragma once
#include "delivery/settle.h"

/* What became of recipients, at that server. */
void suspicion_settled(struct flow *, const struct spool_message *, const struct settle_recipient *,
                       size_t count, const struct ip *server);
