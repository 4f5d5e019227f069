/* hooks.h - webhooks: each alert POSTed as JSON, signed, tried again until it is taken or too old.
 *
 * A thread of its own calls them, each webhook one call at a time, so a dead one keeps nobody waiting. A call
 * has the headers
 *   X-Sluice-Id: names it, the same at each try
 *   X-Sluice-Timestamp: seconds since the epoch, of this try
 *   X-Sluice-Signature: sha256=HEX, the HMAC-SHA256 of `timestamp.body` with the webhook's secret
 * Taken is an answer of 200 to 299. Redirects are not followed, proxies of the environment not used.
 */
#pragma once
#include "alert/settings.h"
#include "base/log.h"

enum {
    HOOK_QUEUE_MAX = 500, /* calls that wait for one webhook; then the oldest is given up */
    HOOK_TRIES_MAX = 320, /* what fits into the longest `expire`, a day; bounds a clock that goes back */
    HOOK_SAID_SIZE = 200,
    HOOK_MAX_RETRY_MS = 5 * 60 * 1000,
};

struct hooks;

struct hooks_options {
    const char *agent; /* "sluice/0.1.0" */
    struct log *log;
    /* A call has ended: taken, or given up. On the thread of the webhooks; may not call hooks_ functions. */
    void (*settled)(void *arg, struct str hook, struct str call, bool taken);
    void *arg;
};

/* Before the program has other threads (curl_global_init). LIMIT: no thread; NOMEM. */
[[nodiscard]] int hooks_open(const struct hooks_options *, struct hooks **ret);
/* What is under way has two seconds to end; the rest is left. NULL is fine. */
struct hooks *hooks_free(struct hooks *);

/* From now on these; copies. Calls that wait for one that is gone are given up. */
void hooks_configure(struct hooks *, const struct alert_hook *, size_t count);

/* Any thread, no wait. `created` is wall ms. A webhook of an unknown name: settled as given up at once. */
void hooks_call(struct hooks *, struct str hook, struct str call, struct str body, int64_t created);

struct hook_counts {
    uint64_t sent, failed, given_up; /* calls taken; tries that failed; calls that ended so */
    size_t waiting;
};
/* Of the webhook at `at` of the configured ones; false past the last. */
bool hooks_counts(struct hooks *, size_t at, struct arena *, struct str *ret_name, struct hook_counts *ret);

/* One call at once, in this thread: true, when it was taken. `said` is what came of it. */
bool hooks_try(const struct alert_hook *, const char *agent, struct str call, struct str body,
               char said[HOOK_SAID_SIZE]);
