/* book.h - which alerts are open, and what of what is raised is told. Pure, the clock is passed in.
 *
 * An alert is known by kind and subject (ASCII case does not count). The first time it is told; then it is
 * quiet for a time, which doubles with each telling up to a day. What is raised meanwhile is counted. What
 * ends and comes back within that time is told at its end, if it then still lasts (book_due): an address that
 * flaps is no flood, and one that stays is not forgotten. Alerts of events, which nobody ends, end when they
 * have not been raised for a day. Belongs to one thread.
 */
#pragma once
#include "alert/alert.h"
#include "base/buf.h"

enum book_say {
    BOOK_NOTHING, /* it ended, but was never known: the history may know it */
    BOOK_QUIET,   /* counted */
    BOOK_FIRST,
    BOOK_AGAIN,  /* told before; entry->unsaid were raised since */
    BOOK_OVER,   /* it has ended, and its beginning was told */
    BOOK_CLOSED, /* it has ended; nobody heard of it since it last ended, so nobody is told */
};

struct book_entry {
    uint64_t id;
    enum alert_kind kind;
    const char *subject, *tenant; /* NUL-terminated */
    int64_t first, last, told;    /* raised first, last; told last */
    int64_t ended;                /* 0: open */
    int64_t until;                /* ends by itself; 0: no */
    uint64_t count;               /* raised, all in all */
    uint64_t unsaid;              /* of these since the last telling */
    unsigned tellings;
    int64_t restored; /* of an earlier run, and not raised in this one: since then; else 0 */
    bool heard;       /* that it is open was told */
    bool dirty;       /* changed since book_clean */
    char *text;       /* of the last raise, when that was not told and has to be; else NULL */
    char *key;        /* the map's */
};

struct book;

struct book_options {
    int64_t quiet_ms;
    size_t entries;   /* the most that are kept; 0: 10,000 */
    uint64_t next_id; /* of the next new alert; 0: 1 */
    /* An entry that goes while it is open or dirty, to be written down; NULL: nobody. */
    void (*gone)(void *arg, const struct book_entry *);
    void *gone_arg;
};

struct book *book_new(const struct book_options *);
struct book *book_free(struct book *);
void book_set_quiet(struct book *, int64_t quiet_ms);
/* Another id for what is not an entry. */
uint64_t book_next_id(struct book *);
/* From now on ids are greater than this one. */
void book_ids_after(struct book *, uint64_t id);

/* Takes an alert at `now`. *ret_entry (not with NOTHING) is valid until the next call. With BOOK_AGAIN
 * entry->unsaid counts what is told now, this one included; book_told resets it. */
enum book_say book_raise(struct book *, const struct alert *, int64_t now,
                         const struct book_entry **ret_entry);

/* The next entry whose telling has become due, or NULL: tell it as BOOK_AGAIN with entry->text, then
 * book_told. Ends, silently, events that have faded, and forgets what has ended and whose quiet time is over.
 */
const struct book_entry *book_due(struct book *, int64_t now);

/* It was told at `now`. For FIRST, AGAIN and OVER. */
void book_told(struct book *, const struct book_entry *, int64_t now);

/* An entry of an earlier run. Strings are copied; `id` must be new to the book. A state that is watched
 * (alert_watched) fades as an event does until it is raised again. */
void book_restore(struct book *, const struct book_entry *, int64_t now);

/* Walks the dirty entries, and cleans them. */
void book_clean(struct book *, void (*each)(void *arg, const struct book_entry *), void *arg);

/* Entries that are open, of one kind. */
size_t book_open_count(const struct book *, enum alert_kind);

/* ---- what one channel may tell in an hour ---- */

struct budget {
    int64_t since; /* of this hour; 0: none yet */
    unsigned used;
    unsigned over; /* that found no room in it */
    unsigned used_of[ALERT_KINDS];
};

/* May this one be told? The last quarter of the hour's number is for alarms of which there was less than a
 * quarter: who makes many of one kind doesn't hide the others. */
bool budget_take(struct budget *, unsigned per_hour, enum alert_kind, int64_t now);
/* The hour is over: how many found no room, to be told as a number; 0: none, or it is not over. Begins a new
 * hour, from which that summary takes one. */
unsigned budget_summary(struct budget *, int64_t now);
