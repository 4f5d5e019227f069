/* reply.h - SMTP replies, written and read (RFC 5321 4.2, RFC 2034).
 *
 * The lines of a reply are separated by '\n' in its text; the enhanced code stands
 * before each line on the wire and never in the text. What is read is made
 * safe to log: control bytes and broken UTF-8 become '?'.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/outcome.h"

struct smtp_reply {
    int code;            /* 200 to 599; 0: none (a hook: the usual answer) */
    struct str enhanced; /* "5.7.1"; empty when none */
    struct str text;
};

#define SMTP_REPLY(reply_code, reply_enhanced, reply_text)                                                   \
    ((struct smtp_reply){(reply_code), STR(reply_enhanced), STR(reply_text)})

enum { SMTP_REPLY_LINES_MAX = 64, SMTP_REPLY_BYTES_MAX = 8192, SMTP_REPLY_LINE_MAX = 512 };

/* Appends the reply as it goes over the wire. A line that would be longer than 512 octets is broken
 * into several (4.5.3.1.5). Control bytes in the text are written as '?', so a text can't forge a reply. */
void smtp_reply_write(struct buf *, const struct smtp_reply *);

/* Takes one reply off the front of `input`. 1: it is complete, *ret and *ret_used (octets) are set, the texts
 * copied into `arena`. 0: more input is needed. SYNTAX: no SMTP reply (no code, codes that differ, NUL).
 * TOOBIG: over 64 lines or 8 KiB. LF alone ends a line too: nothing hangs on it, and such servers exist.
 * An enhanced code whose class contradicts the reply code stays in the text. */
[[nodiscard]] int smtp_reply_read(struct str input, struct arena *, struct smtp_reply *ret, size_t *ret_used);

/* The text in one line, for trace, DSN and logs: its lines joined by a space. */
struct str smtp_reply_joined(struct arena *, const struct smtp_reply *);

/* The fate that a reply gives: 2xx and 3xx done, 4xx later, 5xx never; 421 concerns at least the session. */
struct outcome smtp_reply_outcome(struct arena *, const struct smtp_reply *, enum outcome_scope);

static inline bool smtp_reply_positive(const struct smtp_reply *r) { return r->code >= 200 && r->code < 400; }
