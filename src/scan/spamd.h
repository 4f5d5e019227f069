/* spamd.h - the protocol of SpamAssassin's daemon (spamd/PROTOCOL, version 1.5). */
#pragma once
#include "rt/stream.h"
#include "scan/words.h"

enum { SPAMD_ANSWER_MAX = 64 * 1024 };

/* The head of a SYMBOLS request; the message of `size` bytes follows. */
void spamd_request(struct buf *, const struct scanner_settings *, uint64_t size);
void spamd_ping(struct buf *);

/* Reads the answer to SYMBOLS. 0 and the verdict with all that belongs to it; TIMEOUT, CANCELLED, CLOSED, IO;
 * SYNTAX, TOOBIG: *ret_why says what is wrong, in `arena`. `scanner` of the result is set before. */
[[nodiscard]] int spamd_read(struct stream *, int64_t deadline, const struct scan_settings *, struct arena *,
                             struct scan_result *ret, struct str *ret_why);
/* Reads the answer to PING. */
[[nodiscard]] int spamd_read_pong(struct stream *, int64_t deadline, struct str *ret_why);
