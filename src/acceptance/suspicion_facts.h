/* suspicion_facts.h - a message in hand and suspicion/suspicion.h: what is told of it there, and what is
 * known there of its sender.
 */
#pragma once
#include "acceptance/accept.h"
#include "limits/limit_desk.h"

/* A message was accepted, or refused for good: it counts then when it was judged spam or malware. `counted`:
 * as the limits counted it. */
void suspicion_judged(struct flow *, const struct acceptance *, const struct limit_question *counted,
                      bool accepted);
/* A RCPT was refused. */
void suspicion_refused_rcpt(struct flow *, const struct acceptance *, struct str recipient,
                            const struct outcome *);

/* Why mail of this sender, connector or tenant is suspicious now; "" when it isn't. In the arena. Any worker,
 * at once. */
struct str suspicion_of(struct flow *, const struct acceptance *);
