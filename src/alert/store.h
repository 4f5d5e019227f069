/* store.h - the file of the history, alerts.db, as the desk writes it: SQLite (WAL) in the trace folder.
 *
 * Belongs to the desk's thread. A file that can't be read is set aside (".damaged-1") and a new one begun.
 */
#pragma once
#include "alert/book.h"
#include "base/log.h"
#include <assert.h>

struct alert_store;

/* What is to be written; `entry` and the strings live behind it in the same allocation. */
struct store_write {
    struct store_write *next;
    enum {
        STORE_TOLD,   /* the entry, and what was said */
        STORE_TOUCH,  /* the entry's counts and end */
        STORE_UNSENT, /* a call of a webhook that has not been made */
        STORE_SENT,   /* it was, or has been given up */
    } what;
    struct book_entry entry;
    struct str text, advice, samples;
    struct str hook, call, body;
    int64_t created;
};

struct store_write *alert_write_told(const struct book_entry *, struct str text, struct str advice,
                                     struct str samples);
struct store_write *alert_write_touch(const struct book_entry *);
struct store_write *alert_write_unsent(struct str hook, struct str call, struct str body, int64_t created);
struct store_write *alert_write_sent(struct str hook, struct str call);

/* Never NULL: a folder that can't be written gives errors later. `retain_ms`: how long alerts that have ended
 * are kept. */
struct alert_store *alert_store_new(const char *folder, int64_t retain_ms, struct log *);
struct alert_store *alert_store_free(struct alert_store *);

/* Writes all of the list or nothing. */
[[nodiscard]] int alert_store_apply(struct alert_store *, const struct store_write *first);

/* Ends the open alerts of that kind and subject at `now`; *ret_ended of them. */
[[nodiscard]] int alert_store_end(struct alert_store *, enum alert_kind, struct str subject, int64_t now,
                                  size_t *ret_ended);

/* What an earlier run left: open alerts and those that ended after `since`, the latest first, at most
 * `limit`; the greatest id. */
[[nodiscard]] int alert_store_restore(struct alert_store *, int64_t since, size_t limit,
                                      void (*each)(void *arg, const struct book_entry *), void *arg,
                                      uint64_t *ret_last_id);
/* Calls of webhooks that were not made, the oldest first; older ones than `since` are removed. */
[[nodiscard]] int alert_store_unsent(struct alert_store *, int64_t since,
                                     void (*each)(void *arg, struct str hook, struct str call,
                                                  struct str body, int64_t created),
                                     void *arg);

/* Removes what is too old; looks once a day only. */
void alert_store_expire(struct alert_store *, int64_t now);

/* ---- shared with history.c ---- */

enum { STORE_SCHEMA = 1 };
#define STORE_FILE "alerts.db"
