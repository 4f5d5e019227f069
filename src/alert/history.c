#include "alert/history.h"

#include "alert/json.h"
#include "alert/store.h"
#include "base/clock.h"
#include "base/error.h"
#include "trace/file.h"
#include "trace/filter.h"
#include <stdio.h>
#include <sys/stat.h>

enum { ROWS = 1000 };

static struct str column(sqlite3_stmt *s, int at) {
    const void *text = sqlite3_column_text(s, at);
    return text ? str_from(text, (size_t)sqlite3_column_bytes(s, at)) : STR("");
}

static int search(sqlite3 *db, const struct alert_filter *f,
                  void (*row)(void *arg, const struct alert_record *), void *arg) {
    static const char text[] =
        "SELECT id, kind, subject, tenant, text, advice, samples, first, last, ended, count FROM alert"
        " WHERE (?1 = 0 OR id = ?1) AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR subject = ?3)"
        " AND (?4 IS NULL OR tenant = ?4) AND last >= ?5 AND (?6 = 0 OR ended = 0)"
        " ORDER BY last DESC, id DESC LIMIT ?7";
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, text, -1, &s, NULL);
    if (rc == SQLITE_OK) {
        const struct str strings[] = {alert_word(f->kind), f->subject, f->tenant};
        sqlite3_bind_int64(s, 1, (int64_t)f->id);
        for (int i = 0; i < 3; i++)
            if (strings[i].len)
                sqlite3_bind_text(s, 2 + i, strings[i].at, (int)strings[i].len, SQLITE_STATIC);
        sqlite3_bind_int64(s, 5, f->since);
        sqlite3_bind_int(s, 6, f->open);
        sqlite3_bind_int64(s, 7, f->limit ? (int64_t)f->limit : ROWS);
        while ((rc = sqlite3_step(s)) == SQLITE_ROW)
            row(arg, &(struct alert_record){
                         .id = (uint64_t)sqlite3_column_int64(s, 0),
                         .kind = alert_of_word(column(s, 1)),
                         .subject = column(s, 2),
                         .tenant = column(s, 3),
                         .text = column(s, 4),
                         .advice = column(s, 5),
                         .samples = column(s, 6),
                         .first = sqlite3_column_int64(s, 7),
                         .last = sqlite3_column_int64(s, 8),
                         .ended = sqlite3_column_int64(s, 9),
                         .count = (uint64_t)sqlite3_column_int64(s, 10),
                     });
    }
    sqlite3_finalize(s);
    return file_error(rc);
}

int alert_history(const char *trace_dir, const struct alert_filter *filter,
                  void (*row)(void *arg, const struct alert_record *), void *arg) {
    char path[FOLDER_PATH_SIZE];
    struct stat found;
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/" STORE_FILE, trace_dir);
    if (stat(path, &found) != 0)
        return SLUICE_ENOTFOUND;
    int rc = file_open_read(path, STORE_SCHEMA, &db);
    int error = rc == SQLITE_EMPTY ? SLUICE_ENOTFOUND : file_error(rc);
    if (!error)
        error = search(db, filter, row, arg);
    sqlite3_close(db);
    return error;
}

/* ---- words in, rows out ---- */

static int refuse(struct buf *why, const char *what) {
    buf_str(why, str_of(what));
    return SLUICE_ESYNTAX;
}

static int set_kind(struct alert_filter *f, struct str value, struct buf *why) {
    f->kind = alert_of_word(value);
    if (f->kind)
        return 0;
    buf_str(why, STR("one of these is wanted: "));
    for (enum alert_kind kind = ALERT_NONE + 1; kind < ALERT_KINDS; kind++)
        buf_printf(why, "%s%.*s", kind > 1 ? ", " : "", STR_FMT(alert_word(kind)));
    return SLUICE_ESYNTAX;
}

static int set_number(uint64_t *number, struct str value, uint64_t most, struct buf *why) {
    if (str_to_u64(value, number) && *number > 0 && *number <= most)
        return 0;
    return refuse(why, "a number from 1 on is wanted (limit: 5000 at most)");
}

int alert_filter_set(struct alert_filter *f, struct str name, struct str value, int64_t now,
                     struct buf *ret_why) {
    uint64_t limit;
    if (str_eq(name, STR("id")))
        return set_number(&f->id, value, INT64_MAX, ret_why);
    if (str_eq(name, STR("kind")))
        return set_kind(f, value, ret_why);
    if (str_eq(name, STR("subject")))
        return value.len ? (f->subject = value, 0) : refuse(ret_why, "a value is wanted");
    if (str_eq(name, STR("tenant")))
        return value.len ? (f->tenant = value, 0) : refuse(ret_why, "a value is wanted");
    if (str_eq(name, STR("open")))
        return str_eq(value, STR("1")) ? (f->open = true, 0) : refuse(ret_why, "1 is wanted");
    if (str_eq(name, STR("limit"))) {
        int bad = set_number(&limit, value, 5000, ret_why);
        f->limit = bad ? 0 : (size_t)limit;
        return bad;
    }
    if (!str_eq(name, STR("since")))
        return SLUICE_ENOTFOUND;
    if (trace_time_parse(value, now, &f->since) == 0 && f->since > 0)
        return 0;
    return refuse(ret_why,
                  "a time (2026-11-22T10:00:00Z), a date (2026-11-22) or an age (90min, 2d) is wanted");
}

void alert_record_json(struct buf *out, const struct alert_record *r) {
    buf_printf(out, "{\"id\":%llu", (unsigned long long)r->id);
    alert_json_text(out, "state", r->ended ? STR("over") : STR("open"));
    alert_json_text(out, "kind", alert_word(r->kind));
    alert_json_text(out, "level", alert_level_word(alert_level(r->kind)));
    alert_json_text(out, "title", alert_title(r->kind));
    alert_json_text(out, "subject", r->subject);
    alert_json_text(out, "tenant", r->tenant);
    buf_printf(out, ",\"count\":%llu", (unsigned long long)r->count);
    alert_json_time(out, "first", r->first);
    alert_json_time(out, "last", r->last);
    alert_json_time(out, "ended", r->ended);
    alert_json_text(out, "text", r->text);
    alert_json_text(out, "advice", r->advice);
    alert_json_text(out, "samples", r->samples);
    buf_str(out, STR("}\n"));
}
