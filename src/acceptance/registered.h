/* registered.h - may the tenant send in these domains? (`tenants { verify }`, identity/ownership.h)
 *
 * Asked where mail comes in, as soon as it is known: of the reverse-path at MAIL, of From at the end of data.
 * It is about the attributed tenant's own accepted domains; a foreign sender's domain is for the relay rules,
 * mail from outside is nobody's, and our own reports don't come this way.
 */
#pragma once
#include "acceptance/accept.h"
#include "mail/header.h"
#include "policy/attribute.h"

/* From a fiber. A domain that nothing is known of is asked for at once. False: *ret_refusal is 550 5.7.750,
 * or 451 when it can't be told: the DNS does not answer, or there is no secret. The header may be NULL.
 * *ret_why then names the domain, for log and trace. */
bool registered_check(struct flow *, const struct settings *, const struct attribution *,
                      struct str reverse_path, const struct header *, struct arena *,
                      struct outcome *ret_refusal, struct str *ret_why);

/* From a fiber, when the class is known: what is forwarded may leave under a rewritten reverse-path (SRS), in
 * a domain of a tenant that has to be verified like any other. Copies whose domain is not don't leave; false:
 * a recipient has no other, *ret_refusal is 550 5.7.750 (for a stranger: whose mail is forwarded did nothing
 * wrong), or it can't be told now, 451. */
bool registered_copies(struct flow *, struct acceptance *, const struct decision *,
                       struct outcome *ret_refusal);
