/* rspamd.h - Rspamd's HTTP protocol: /checkv2 and its answer in JSON.
 * https://docs.rspamd.com/developers/protocol/
 */
#pragma once
#include "scan/words.h"

/* Rspamd repeats the names and addresses that it finds in a message, 10,240 of each (max_urls): six megabytes
 * at their longest. And its reader of HTTP takes 80 KiB of head. */
enum {
    RSPAMD_ANSWER_MAX = 6 << 20,
    RSPAMD_VALUES_MAX = 50000,
    RSPAMD_RECIPIENTS_MAX = 500,
    RSPAMD_RECIPIENTS_BYTES = 32 * 1024,
};

/* The head of the request; the message of `size` bytes follows. */
void rspamd_request(struct buf *, const struct scanner_settings *, const struct scan_facts *, uint64_t size);
void rspamd_ping(struct buf *, const struct scanner_settings *);

/* The body of an answer to /checkv2. 0 and the verdict with all that belongs to it; SYNTAX, or TOOBIG (more
 * values than we take, which the message may have brought about): *ret_why, in `arena`. `scanner` of the
 * result is set before. */
[[nodiscard]] int rspamd_answer(struct str json, const struct scan_settings *, struct arena *,
                                struct scan_result *ret, struct str *ret_why);
