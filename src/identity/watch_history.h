/* watch_history.h - what happened to the source addresses: who listed and delisted them, when they rested and
 * were usable again. A line of JSON each in <trace>/sources.jsonl, in the order of time.
 */
#pragma once
#include "base/buf.h"
#include "base/ip.h"

#define WATCH_HISTORY_FILE "sources.jsonl"
enum { WATCH_HISTORY_MOST = 64 << 20 /* bytes; then the older half goes */ };

#define WATCH_EVENTS(X)                                                                                      \
    X(LISTED, "listed")     /* by the list `by` */                                                           \
    X(DELISTED, "delisted") /* the same */                                                                   \
    X(RESTS, "rests")       /* for the cause `by` */                                                         \
    X(USABLE, "usable")     /* that cause is over */

enum watch_event {
#define X(name, word) WATCH_EVENT_##name,
    WATCH_EVENTS(X)
#undef X
        WATCH_EVENT_COUNT,
};
const char *watch_event_word(enum watch_event);

struct watch_change {
    int64_t time; /* wall ms */
    struct ip ip;
    enum watch_event event;
    struct str by, text; /* what is not printable ASCII becomes '?'; `text` may be empty */
};

/* Appends its line. */
void watch_history_line(struct buf *out, const struct watch_change *);
/* SYNTAX. Strings are in the arena. */
[[nodiscard]] int watch_history_parse(struct arena *, struct str line, struct watch_change *ret);

/* All of these block; a negative error. */

[[nodiscard]] int watch_history_append(const char *path, struct str lines);
/* Removes what is older than `since`, and lines that are none. */
[[nodiscard]] int watch_history_prune(const char *path, int64_t since);
/* The latest `most` changes of the address, the latest first, in the arena. No file: none. */
[[nodiscard]] int watch_history_read(struct arena *, const char *path, const struct ip *, size_t most,
                                     struct watch_change **ret, size_t *ret_count);
