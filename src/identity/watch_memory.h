/* watch_memory.h - which addresses rest, and why, kept over a restart: what the gate and the blocklists
 * believe, in <state>/watch.json. An address must not send again only because the daemon was started.
 */
#pragma once
#include "base/buf.h"
#include "base/ip.h"

#define WATCH_MEMORY_FILE "watch.json"
enum { WATCH_TEXT_MAX = 250 };

struct watch_note {
    struct ip ip;
    struct str zone;         /* of the list that it is on, lower case; "": it is not forward-confirmed */
    struct str text;         /* the list's words, what is wrong; what is not printable ASCII becomes '?' */
    int64_t since, answered; /* wall ms: when it began, and the last answer that says so */
};

void watch_memory_write(struct buf *out, const struct watch_note *, size_t count);
/* SYNTAX: *ret_why says what; nothing is returned then. */
[[nodiscard]] int watch_memory_parse(struct arena *, struct str json, struct str *ret_why,
                                     const struct watch_note **ret, size_t *ret_count);

/* Of the file that state_file_write wrote; blocks. NOTFOUND: there is none. SYNTAX: it is damaged, and was
 * set aside (".damaged"). IO: it can't be read. With *ret_why for all but NOTFOUND. */
[[nodiscard]] int watch_memory_load(struct arena *, const char *path, struct str *ret_why,
                                    const struct watch_note **ret, size_t *ret_count);
