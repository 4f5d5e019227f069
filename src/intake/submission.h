/* submission.h - what a local program hands in by the API is under the rules of what comes by SMTP: the
 * grammar of its addresses, its lines, and what its header alone decides.
 */
#pragma once
#include "acceptance/accept.h"

/* An address that is none (553 5.1.7, 5.1.3), NUL bytes (550 5.6.0), CR or LF alone (550 5.6.11). True: it is
 * well; else *ret_refusal. */
bool submission_check(struct str sender, const struct str *recipients, size_t count, struct str message,
                      struct outcome *ret_refusal);

/* Too many Received fields (554 5.4.6): a program that passes on what it gets by mail. True: *ret_refusal. */
bool submission_loops(const struct content *, struct outcome *ret_refusal);
