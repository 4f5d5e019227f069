/* results.h - what was verified, in words: Authentication-Results (RFC 8601) and lines for the trace.
 *
 * Total: whatever the sender put into names, identities and reasons is quoted, cut or left out, so that it
 * can neither end a field nor add a result.
 */
#pragma once
#include "auth/arrival.h"
#include "base/buf.h"

enum { RESULTS_TEXT_MAX = 500 };

/* Appends the whole field, folded, with CRLF. A message that was not checked gets "id; none". */
void results_write(struct buf *, struct str authserv_id, const struct arrival_client *,
                   const struct arrival_result *);
/* Its value on one line, as arc_seal_settings.results wants it: "id; spf=pass ...; dkim=pass ...; arc=none
 * ...". */
struct str results_value(struct arena *, struct str authserv_id, const struct arrival_client *,
                         const struct arrival_result *);

/* Is this an Authentication-Results field that speaks in the name of `authserv_id`? RFC 8601 section 5 has
 * such fields removed from mail from outside. Case, spelling (U- or A-labels, final dot), quotes, comments
 * and versions don't matter; a malformed field is taken for one that does, when the name stands anywhere
 * before its first result. */
bool results_claims(struct arena *, const struct header_field *, struct str authserv_id);

/* For the trace: one line of printable ASCII, at most RESULTS_TEXT_MAX octets, the result word first. The
 * NULL view when the message was not checked.
 *   pass sender.test (192.0.2.1 is in ip4:192.0.2.0/24)
 *   pass d=sender.test s=s1; fail d=other.test s=x (the body hash does not match)
 *   pass i=2 d=lists.test */
struct str results_spf_text(struct arena *, const struct arrival_result *);
struct str results_dkim_text(struct arena *, const struct arrival_result *);
struct str results_arc_text(struct arena *, const struct arrival_result *);
