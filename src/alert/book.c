#include "alert/book.h"

#include "base/map.h"
#include <stdio.h>
#include <stdlib.h>

enum { ENTRIES = 10000, HOUR_MS = 3600 * 1000, DAY_MS = 24 * HOUR_MS };

struct book {
    struct book_options options;
    struct map *by_key; /* struct book_entry */
    struct book_entry **entries;
    size_t count, room;
    size_t at; /* of the walk of book_due */
    size_t open[ALERT_KINDS];
};

/* ---- entries ---- */

static void key_of(struct buf *key, enum alert_kind kind, struct str subject) {
    buf_printf(key, "%d ", (int)kind);
    for (size_t i = 0; i < subject.len; i++)
        buf_char(key, ascii_lower(subject.at[i]));
}

static void set_open(struct book *book, struct book_entry *e, int64_t ended) {
    if (!e->ended != !ended)
        book->open[e->kind] += ended ? (size_t)-1 : 1;
    e->ended = ended;
    e->dirty = true;
}

static void keep_text(struct book_entry *e, struct str text) {
    free(e->text);
    e->text = text.at ? strndup(text.at, text.len) : NULL;
}

static struct book_entry *insert(struct book *book, enum alert_kind kind, struct str subject,
                                 struct str tenant) {
    struct buf key __attribute__((cleanup(buf_free))) = {0};
    struct book_entry *e = xcalloc(1, sizeof *e);
    key_of(&key, kind, subject);
    e->kind = kind;
    e->key = strdup(buf_c(&key));
    e->subject = strndup(subject.len ? subject.at : "", subject.len);
    e->tenant = strndup(tenant.len ? tenant.at : "", tenant.len);
    e->ended = 1;
    if (book->count == book->room)
        book->entries = xrealloc(book->entries, (book->room = book->room ? 2 * book->room : 64) * sizeof e);
    book->entries[book->count++] = e;
    map_put(book->by_key, str_of(e->key), e);
    return e;
}

static void free_entry(struct book_entry *e) {
    free((char *)e->subject);
    free((char *)e->tenant);
    free(e->text);
    free(e->key);
    free(e);
}

static void forget(struct book *book, size_t at) {
    struct book_entry *e = book->entries[at];
    if ((e->dirty || !e->ended) && book->options.gone)
        book->options.gone(book->options.gone_arg, e);
    if (!e->ended)
        book->open[e->kind]--;
    map_remove(book->by_key, str_of(e->key));
    book->entries[at] = book->entries[--book->count];
    free_entry(e);
}

/* What has ended goes first, then events, then what lasts; of each the one that was raised the longest ago.
 */
static bool goes_before(const struct book_entry *a, const struct book_entry *b) {
    int x = a->ended ? 0 : alert_lasts(a->kind) ? 2 : 1, y = b->ended ? 0 : alert_lasts(b->kind) ? 2 : 1;
    return x != y ? x < y : a->last < b->last;
}

static void make_room(struct book *book) {
    size_t worst = 0;
    if (book->count < book->options.entries)
        return;
    for (size_t i = 1; i < book->count; i++)
        if (goes_before(book->entries[i], book->entries[worst]))
            worst = i;
    forget(book, worst);
}

static struct book_entry *find(const struct book *book, enum alert_kind kind, struct str subject) {
    struct buf key __attribute__((cleanup(buf_free))) = {0};
    key_of(&key, kind, subject);
    return map_get(book->by_key, buf_view(&key));
}

/* ---- the book ---- */

struct book *book_new(const struct book_options *options) {
    struct book *book = xcalloc(1, sizeof *book);
    book->options = *options;
    if (!book->options.entries)
        book->options.entries = ENTRIES;
    if (!book->options.next_id)
        book->options.next_id = 1;
    book->by_key = map_new(false);
    return book;
}

struct book *book_free(struct book *book) {
    if (!book)
        return NULL;
    for (size_t i = 0; i < book->count; i++)
        free_entry(book->entries[i]);
    free(book->entries);
    map_free(book->by_key);
    free(book);
    return NULL;
}

void book_set_quiet(struct book *book, int64_t quiet_ms) { book->options.quiet_ms = quiet_ms; }
uint64_t book_next_id(struct book *book) { return book->options.next_id++; }
void book_ids_after(struct book *book, uint64_t id) {
    if (id >= book->options.next_id)
        book->options.next_id = id + 1;
}
size_t book_open_count(const struct book *book, enum alert_kind kind) { return book->open[kind]; }

/* When it may be told again. A clock that was set back must not make it wait for longer than that. */
static int64_t quiet_until(const struct book *book, struct book_entry *e, int64_t now) {
    e->told = e->told > now ? now : e->told;
    int64_t quiet = book->options.quiet_ms, most = quiet > DAY_MS ? quiet : DAY_MS;
    for (unsigned i = 1; i < e->tellings && quiet < most; i++)
        quiet *= 2;
    return e->told + (quiet < most ? quiet : most);
}

static enum book_say end(struct book *book, struct book_entry *e, int64_t now) {
    if (e->ended)
        return BOOK_QUIET;
    set_open(book, e, now);
    keep_text(e, STR_NULL);
    return e->heard ? BOOK_OVER : BOOK_CLOSED;
}

enum book_say book_raise(struct book *book, const struct alert *a, int64_t now,
                         const struct book_entry **ret_entry) {
    struct book_entry *e = find(book, a->kind, a->subject);
    if (!e && a->over)
        return BOOK_NOTHING;
    bool new = !e;
    if (new) {
        make_room(book);
        e = insert(book, a->kind, a->subject, a->tenant);
        e->id = book->options.next_id++;
        e->first = now;
    }
    *ret_entry = e;
    if (a->over)
        return end(book, e, now);
    if (e->ended)
        set_open(book, e, 0);
    e->last = now;
    e->until = a->until;
    e->restored = 0;
    e->count++;
    e->unsaid++;
    e->dirty = true;
    if (new)
        return BOOK_FIRST;
    if (now >= quiet_until(book, e, now))
        return BOOK_AGAIN;
    if (!e->heard)
        keep_text(e, a->text);
    return BOOK_QUIET;
}

void book_told(struct book *book, const struct book_entry *entry, int64_t now) {
    struct book_entry *e = find(book, entry->kind, str_of(entry->subject));
    if (!e)
        return;
    e->heard = !e->ended;
    if (!e->ended) { /* the quiet time runs from the telling that it is open */
        e->told = now;
        e->tellings++;
    }
    e->unsaid = 0;
    e->dirty = true;
    keep_text(e, STR_NULL);
}

/* When it ended by itself; 0: it hasn't. */
static int64_t faded(const struct book_entry *e, int64_t now) {
    int64_t seen = e->restored > e->last ? e->restored : e->last;
    if (e->until && now >= e->until)
        return e->until;
    if (e->kind == ALERT_TEST)
        return e->last;
    if ((alert_lasts(e->kind) && !e->restored) || now < seen + DAY_MS)
        return 0;
    return e->last > 0 ? e->last : 1;
}

const struct book_entry *book_due(struct book *book, int64_t now) {
    while (book->at < book->count) {
        struct book_entry *e = book->entries[book->at];
        int64_t until = quiet_until(book, e, now);
        int64_t end_at = e->ended ? 0 : faded(e, now);
        if (end_at)
            set_open(book, e, end_at);
        if (e->ended && now >= until) {
            forget(book, book->at); /* another takes its place */
            continue;
        }
        book->at++;
        if (!e->ended && !e->heard && now >= until)
            return e;
    }
    book->at = 0;
    return NULL;
}

void book_restore(struct book *book, const struct book_entry *from, int64_t now) {
    if (find(book, from->kind, str_of(from->subject)) || book->count == book->options.entries)
        return;
    struct book_entry *e = insert(book, from->kind, str_of(from->subject), str_of(from->tenant));
    set_open(book, e, from->ended);
    e->id = from->id;
    e->first = from->first;
    e->last = from->last;
    e->told = from->told;
    e->count = from->count;
    e->unsaid = from->unsaid;
    e->tellings = from->tellings;
    e->heard = from->heard;
    e->until = from->until;
    e->restored = alert_watched(from->kind) ? now : 0;
    e->dirty = false;
    book_ids_after(book, from->id);
}

void book_clean(struct book *book, void (*each)(void *, const struct book_entry *), void *arg) {
    for (size_t i = 0; i < book->count; i++)
        if (book->entries[i]->dirty) {
            each(arg, book->entries[i]);
            book->entries[i]->dirty = false;
        }
}

/* ---- budgets ---- */

static void turn(struct budget *b, int64_t now) {
    if (b->since && now < b->since + HOUR_MS && now >= b->since)
        return;
    *b = (struct budget){.since = now, .over = b->over};
}

bool budget_take(struct budget *b, unsigned per_hour, enum alert_kind kind, int64_t now) {
    unsigned quarter = per_hour / 4;
    turn(b, now);
    bool kept = b->used >= per_hour - quarter; /* from here on for alarms, and not more of the same */
    if (b->used >= per_hour || (kept && (alert_level(kind) < ALERT_ALARM || b->used_of[kind] >= quarter))) {
        b->over++;
        return false;
    }
    b->used++;
    b->used_of[kind]++;
    return true;
}

unsigned budget_summary(struct budget *b, int64_t now) {
    if (!b->over || (now >= b->since && now < b->since + HOUR_MS))
        return 0;
    unsigned over = b->over;
    *b = (struct budget){.since = now, .used = 1};
    return over;
}
