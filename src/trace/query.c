#include "base/clock.h"
#include "trace/file.h"
#include "trace/folder.h"
#include "trace/row.h"
#include "trace/store.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* A SELECT being put together: conditions and their values, in the same order. */
struct search {
    struct arena *arena;
    struct buf sql;
    struct value {
        struct str text; /* at == NULL: the number */
        int64_t number;
    } values[32];
    int count;
};

static void condition(struct search *search, const char *sql) {
    buf_str(&search->sql, STR(" AND "));
    buf_str(&search->sql, str_of(sql));
}

static void text(struct search *search, const char *sql, struct str value) {
    condition(search, sql);
    search->values[search->count++] = (struct value){.text = value};
}

static void number(struct search *search, const char *sql, int64_t value) {
    condition(search, sql);
    search->values[search->count++] = (struct value){.number = value};
}

static void text_if(struct search *search, const char *sql, struct str value) {
    if (value.len)
        text(search, sql, value);
}

static void ip_if(struct search *search, const char *sql, struct ip value) {
    char name[IP_TEXT_SIZE];
    if (!ip_is_none(&value))
        text(search, sql, str_copy(search->arena, str_of(ip_text(&value, name))));
}

/* A LIKE pattern: the needle with its wildcards made literal. */
static struct str pattern(struct arena *arena, struct str needle, const char *before, const char *after) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    buf_str(&out, str_of(before));
    for (size_t i = 0; i < needle.len; i++) {
        if (needle.at[i] == '%' || needle.at[i] == '_' || needle.at[i] == '\\')
            buf_char(&out, '\\');
        buf_char(&out, needle.at[i]);
    }
    buf_str(&out, str_of(after));
    return str_copy(arena, buf_view(&out));
}

/* "a@b.c" is one address, "@b.c" a domain. */
static void address_if(struct search *search, struct str value, const char *equal, const char *like) {
    if (value.len && value.at[0] == '@')
        text(search, like, pattern(search->arena, value, "%", ""));
    else
        text_if(search, equal, value);
}

static void message_id_if(struct search *search, struct str value) {
    if (!value.len)
        return;
    if (str_starts(value, STR("<")) && str_ends(value, STR(">")))
        value = str_from(value.at + 1, value.len - 2);
    text(search, "l.message_id IN (?", value);
    buf_str(&search->sql, STR(", '<' || ? || '>')"));
    search->values[search->count++] = (struct value){.text = value};
}

static void subject_if(struct search *search, const struct trace_filter *filter) {
    if (filter->subject.len)
        text(search, "l.subject LIKE ? ESCAPE '\\'",
             pattern(search->arena, filter->subject, filter->subject_match == TRACE_MATCH_STARTS ? "" : "%",
                     filter->subject_match == TRACE_MATCH_ENDS ? "" : "%"));
}

/* The least id that can have been made at this time: ids sort by time. */
static struct str id_at(struct arena *arena, int64_t wall_ms) {
    struct trace_id id = trace_id_new(wall_ms);
    return str_copy(arena, str_from(id.text, 10));
}

static void build(struct search *search, const struct trace_filter *f) {
    buf_printf(&search->sql, "SELECT %s FROM latest AS l WHERE 1", row_columns_latest);
    text_if(search, "l.trace_id = ?", f->trace_id);
    if (f->since > 0)
        text(search, "l.trace_id >= ?", id_at(search->arena, f->since));
    if (f->until > 0)
        text(search, "l.trace_id < ?", id_at(search->arena, f->until));
    if (f->after.len) {
        text(search, "(l.trace_id, l.recipient) < (?", str_head(f->after, TRACE_ID_LEN));
        buf_str(&search->sql, STR(", ?)"));
        search->values[search->count++] = (struct value){.text = str_from_index(f->after, TRACE_ID_LEN + 1)};
    }
    address_if(search, f->sender, "l.sender = ? COLLATE NOCASE", "l.sender LIKE ? ESCAPE '\\'");
    address_if(search, f->recipient, "l.recipient = ? COLLATE NOCASE", "l.recipient LIKE ? ESCAPE '\\'");
    message_id_if(search, f->message_id);
    ip_if(search, "? IN (l.client_ip, l.original_client_ip)", f->from_ip);
    ip_if(search, "l.server_ip = ?", f->to_ip);
    ip_if(search, "l.outbound_ip = ?", f->outbound_ip);
    subject_if(search, f);
    if (f->status)
        number(search, "l.status = ?", f->status);
    if (f->class.known)
        number(search, "l.class = ?", f->class.value);
    text_if(search, "l.rule = ? COLLATE NOCASE", f->rule);
    text_if(search, "l.outbound_ip_pool_name = ? COLLATE NOCASE", f->pool);
    text_if(search, "l.tenant = ? COLLATE NOCASE", f->tenant);
    if (f->event)
        number(search,
               "EXISTS (SELECT 1 FROM event AS e WHERE e.trace_id = l.trace_id AND e.recipient = l.recipient"
               " AND e.event = ?)",
               f->event);
    buf_str(&search->sql, STR(" ORDER BY l.trace_id DESC, l.recipient DESC LIMIT ?"));
    search->values[search->count++] = (struct value){0}; /* what is left of the page */
}

/* Opening a day for reading */

static int out_of_time(void *deadline) { return clock_mono_ms() >= *(int64_t *)deadline; }

/* *ret_db is to be closed whatever the result is. SQLITE_EMPTY: begun, nothing in it yet. */
static int open_day(const struct trace *trace, int64_t day, sqlite3 **ret_db) {
    char path[FOLDER_PATH_SIZE];
    return file_open_read(folder_path(store_folder(trace), day, path), ROW_SCHEMA, ret_db);
}

static int bind_values(sqlite3_stmt *s, const struct search *search, unsigned left) {
    int bad = 0;
    for (int i = 0; i < search->count; i++) {
        const struct value *v = &search->values[i];
        if (i == search->count - 1)
            bad |= sqlite3_bind_int64(s, i + 1, left);
        else if (v->text.at)
            bad |= sqlite3_bind_text(s, i + 1, v->text.at, (int)v->text.len, SQLITE_STATIC);
        else
            bad |= sqlite3_bind_int64(s, i + 1, v->number);
    }
    return bad;
}

/* What a query gives out, and where it stands. */
struct sink {
    void (*row)(void *, const struct trace_event *);
    void *arg;
    size_t rows;
    struct buf last; /* "trace_id/recipient" */
};

static void give(struct sink *sink, const struct trace_event *event) {
    sink->rows++;
    buf_clear(&sink->last);
    buf_printf(&sink->last, "%s/%.*s", event->trace_id.text, STR_FMT(event->recipient));
    sink->row(sink->arg, event);
}

static int search_day(sqlite3 *db, struct search *search, unsigned left, struct sink *sink) {
    sqlite3_stmt *s = NULL;
    struct trace_event event;
    int rc = sqlite3_prepare_v2(db, search->sql.at, (int)search->sql.len, &s, NULL);
    if (rc == SQLITE_OK && bind_values(s, search, left) == 0)
        while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
            row_read(s, &event);
            give(sink, &event);
        }
    sqlite3_finalize(s);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void warn(struct trace_page *page, const struct trace *trace, int64_t day, int rc) {
    char path[FOLDER_PATH_SIZE];
    if (!page->warning[0])
        snprintf(page->warning, sizeof page->warning, "%s can't be read (%s) and is left out",
                 folder_path(store_folder(trace), day, path), sqlite3_errstr(rc));
}

static bool may_hold(const struct trace_filter *f, int64_t day) {
    struct trace_id id = {0};
    if (f->since > 0 && day < folder_day(f->since))
        return false;
    if (f->until > 0 && day > folder_day(f->until - 1))
        return false;
    if (f->trace_id.len == TRACE_ID_LEN) {
        memcpy(id.text, f->trace_id.at, TRACE_ID_LEN);
        return day == folder_day(trace_arrival(&id));
    }
    if (f->after.len) {
        memcpy(id.text, f->after.at, TRACE_ID_LEN);
        return day <= folder_day(trace_arrival(&id));
    }
    return true;
}

static bool cursor_valid(struct str after) {
    return !after.len || (after.len > TRACE_ID_LEN && trace_id_valid(str_head(after, TRACE_ID_LEN)) &&
                          after.at[TRACE_ID_LEN] == '/');
}

static int query_days(struct trace *trace, const struct trace_filter *filter, struct search *search,
                      unsigned limit, struct sink *sink, struct trace_page *page) {
    int64_t *days = NULL, deadline = filter->deadline;
    size_t count = 0;
    int bad = folder_days(store_folder(trace), &days, &count);
    for (size_t i = 0; i < count && !bad && sink->rows < limit; i++) {
        sqlite3 *db = NULL;
        if (!may_hold(filter, days[i]))
            continue;
        int rc = open_day(trace, days[i], &db);
        if (rc == SQLITE_OK) {
            if (deadline)
                sqlite3_progress_handler(db, 20000, out_of_time, &deadline);
            rc = search_day(db, search, limit - (unsigned)sink->rows, sink);
        }
        sqlite3_close(db);
        if (rc == SQLITE_INTERRUPT)
            bad = SLUICE_ETIMEOUT;
        else if (rc != SQLITE_OK && rc != SQLITE_EMPTY)
            warn(page, trace, days[i], rc);
    }
    free(days);
    return bad;
}

int trace_query(struct trace *trace, const struct trace_filter *filter,
                void (*row)(void *arg, const struct trace_event *), void *arg, struct trace_page *ret_page) {
    struct trace_page page = {0};
    struct sink sink = {.row = row, .arg = arg};
    unsigned limit = filter->limit ? filter->limit : TRACE_LIMIT_DEFAULT;
    *ret_page = page;
    if (limit > TRACE_LIMIT_MAX)
        limit = TRACE_LIMIT_MAX;
    if (!cursor_valid(filter->after))
        return SLUICE_EINVALID;
    struct search search = {.arena = arena_new(0)};
    build(&search, filter);
    int bad = query_days(trace, filter, &search, limit, &sink, &page);
    page.rows = sink.rows;
    if (sink.rows >= limit && sink.last.len < sizeof page.next)
        memcpy(page.next, sink.last.at, sink.last.len);
    *ret_page = page;
    buf_free(&search.sql);
    buf_free(&sink.last);
    arena_free(search.arena);
    return bad;
}

int trace_show(struct trace *trace, struct str trace_id, void (*row)(void *arg, const struct trace_event *),
               void *arg) {
    struct trace_id id = {0};
    struct sink sink = {.row = row, .arg = arg};
    char path[FOLDER_PATH_SIZE];
    struct stat found;
    if (trace_id.len != TRACE_ID_LEN)
        return SLUICE_ENOTFOUND;
    memcpy(id.text, trace_id.at, TRACE_ID_LEN);
    int64_t arrival = trace_arrival(&id);
    if (arrival < 0 || stat(folder_path(store_folder(trace), folder_day(arrival), path), &found) != 0)
        return SLUICE_ENOTFOUND;
    struct search search = {.count = 2, .values = {{.text = trace_id}}};
    buf_printf(&search.sql,
               "SELECT %s FROM event AS e LEFT JOIN latest AS l USING (trace_id, recipient)"
               " WHERE e.trace_id = ? ORDER BY e.time, e.precedence & 3, e.recipient LIMIT ?",
               row_columns_event);
    sqlite3 *db = NULL;
    int rc = open_day(trace, folder_day(arrival), &db);
    if (rc == SQLITE_OK)
        rc = search_day(db, &search, 1000000, &sink);
    sqlite3_close(db);
    buf_free(&search.sql);
    buf_free(&sink.last);
    if (rc != SQLITE_OK && rc != SQLITE_EMPTY)
        return SLUICE_EIO;
    return sink.rows ? 0 : SLUICE_ENOTFOUND;
}
