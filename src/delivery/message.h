/* message.h - the bytes of a stored message as they go out: header prefix, body, 8-bit made 7-bit where
 * needed. */
#pragma once
#include "base/outcome.h"
#include "flow/flow.h"
#include "smtp/grammar.h"

struct message_source;

/* Opens a group's message for one transaction, in a fiber; sets size (and body, when converted) in *mail.
 * `to_7bit`: the receiver lacks 8BITMIME; what we signed is then signed anew. Not 0: *ret_why says what
 * becomes of the recipients (LATER: can't be read now; NEVER 5.6.3: what is signed or damaged can't be
 * converted). */
[[nodiscard]] int message_open(struct flow *, const struct delivery *, const struct spool_message *,
                               bool to_7bit, struct smtp_mail *mail, struct arena *,
                               struct message_source **ret, struct outcome *ret_why);
/* The next piece; empty at the end. Negative: it can't be read, or its checksum is wrong. */
[[nodiscard]] int message_read(struct message_source *, struct str *ret_chunk);
/* What becomes of recipients whose message can't be read back from the spool, ever. */
struct outcome message_damaged(void);
/* NULL is fine. */
void message_close(struct message_source *);
