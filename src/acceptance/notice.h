/* notice.h - the mails of alerts: our own messages, accepted like any other.
 *
 * They are not judged and count against no limit. From an accepted domain they are that tenant's own mail:
 * class normal by the rule `own`, signed with its key. From any other domain they are foreign, and leave as
 * class relay, unsigned. Nobody gets a report about one (NOTIFY=NEVER), and one that fails raises no alert:
 * it is in the log, and the alert in its history.
 */
#pragma once
#include "alert/alerts.h"
#include "flow/flow.h"

struct notices;

/* Never NULL. `flow` must outlive it. */
struct notices *notices_open(struct flow *);
/* When the runtime has ended. NULL is fine. */
struct notices *notices_free(struct notices *);

/* alerts_options.mail; `notices` is that. Any thread, no wait: the mail is copied, accepted on the API's
 * worker, and tried again for some minutes when that fails for the time being. */
void notice_mail(void *notices, const struct alert_mail *);

/* One try, from a fiber. DONE: *ret_id is its trace id, and it is durable. */
struct outcome notice_send(struct flow *, const struct alert_mail *, struct arena *, struct trace_id *ret_id);
