/* filter.h - the milters in the pipeline: what they are told of a session and its messages, and what becomes
 * of their wishes.
 *
 * Milters belong to the operator and are trusted with content and envelope, but every rule of ours is applied
 * to what they made: an added recipient is taken or refused like any other, a changed reverse-path and a
 * changed From are attributed again, the class is that of the changed message. What they ask for and can't
 * have counts as their failure. Signatures of others, SPF and ARC are verified on the message as it came,
 * before any change.
 */
#pragma once
#include "acceptance/accept.h"
#include "acceptance/client_name.h"
#include "smtp/server.h"

struct filter;

/* The milters of one session of this listener, "" for one submission by the API. NULL when none sees it; the
 * other functions take NULL, and pass everything. The settings are kept. */
struct filter *filter_new(struct flow *, struct settings *, struct str listener);
/* Accepts NULL, returns NULL. */
struct filter *filter_free(struct filter *);

/* All from the session's fiber. An outcome of fate DONE lets pass; else it is the reply. */
/* The names live as long as the session: the peer's is asked for. */
struct outcome filter_connect(struct filter *, const struct smtp_session *, struct client_names *);
struct outcome filter_helo(struct filter *, const struct smtp_session *);
/* `a` is the message's until filter_end. */
struct outcome filter_mail(struct filter *, struct acceptance *a, const struct smtp_mail *);
struct outcome filter_rcpt(struct filter *, const struct envelope_rcpt *);
/* The recipient is in the envelope. */
void filter_taken(struct filter *, const struct envelope_rcpt *);
/* We refuse it: milters that asked for such are told. It stays refused, whatever they say; a 421 of theirs
 * takes the place of our reply. */
void filter_refused(struct filter *, const struct envelope_rcpt *, struct outcome *refusal);
struct outcome filter_data(struct filter *);

/* The content has ended, with a copy (content_settings.scan), and was verified: true when the message goes
 * on, perhaps with another content, envelope or reverse-path, or held (a->quarantine). False: *ret is the
 * answer, a refusal or (a discarded message) a 250. */
bool filter_message(struct filter *, struct acceptance *, struct outcome *ret);
/* The message is over. */
void filter_end(struct filter *);

/* All stages at once, for a submission: as filter_message. Its recipients are a->envelope's. */
bool filter_submission(struct filter *, struct acceptance *, struct outcome *ret);
