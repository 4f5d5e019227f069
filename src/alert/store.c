#include "alert/store.h"

#include "base/clock.h"
#include "base/error.h"
#include "trace/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { ROWS_MAX = 500000, LOG_AGAIN_MS = 60000, DAY_MS = 86400000 };

static const char schema[] =
    "CREATE TABLE alert (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL COLLATE NOCASE,"
    " tenant TEXT NOT NULL COLLATE NOCASE, text TEXT, advice TEXT, samples TEXT, first INTEGER NOT NULL,"
    " last INTEGER NOT NULL, told INTEGER NOT NULL, ended INTEGER NOT NULL, count INTEGER NOT NULL,"
    " unsaid INTEGER NOT NULL, tellings INTEGER NOT NULL, heard INTEGER NOT NULL, until INTEGER NOT NULL);"
    "CREATE INDEX alert_subject ON alert (subject, last);"
    "CREATE INDEX alert_last ON alert (last);"
    "CREATE INDEX alert_open ON alert (kind, subject) WHERE ended = 0;"
    "CREATE TABLE unsent (hook TEXT, call TEXT, body BLOB NOT NULL, created INTEGER NOT NULL,"
    " PRIMARY KEY (hook, call)) WITHOUT ROWID;";

enum { BEGIN, COMMIT, ROLLBACK, PUT, PUT_UNSENT, DROP_UNSENT, END_OPEN, STATEMENTS };

static const char *const sql[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    /* What is only counted has no text: the one that was told stays. */
    [PUT] =
        "INSERT INTO alert (id, kind, subject, tenant, first, last, told, ended, count, unsaid, tellings,"
        " heard, until, text, advice, samples) VALUES "
        "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16)"
        " ON CONFLICT (id) DO UPDATE SET last = ?6, told = ?7, ended = ?8, count = ?9, unsaid = ?10,"
        " tellings = ?11, heard = ?12, until = ?13, text = ifnull(?14, text), advice = ifnull(?15, advice),"
        " samples = ifnull(?16, samples)",
    [PUT_UNSENT] = "INSERT OR REPLACE INTO unsent (hook, call, body, created) VALUES (?, ?, ?, ?)",
    [DROP_UNSENT] = "DELETE FROM unsent WHERE hook = ? AND call = ?",
    [END_OPEN] = "UPDATE alert SET ended = ?3, heard = 0 WHERE kind = ?1 AND subject = ?2 AND ended = 0",
};

struct alert_store {
    char path[FOLDER_PATH_SIZE];
    struct log *log;
    int64_t retain_ms, swept; /* the day of the last sweep */
    int64_t complained_at;    /* monotonic ms */
    sqlite3 *db;              /* NULL: not open at present */
    sqlite3_stmt *statements[STATEMENTS];
    struct stat file;
};

/* ---- what is to be written ---- */

static struct str keep(char **at, struct str s) {
    if (!s.at)
        return STR_NULL;
    char *copy = *at;
    memcpy(copy, s.at, s.len);
    copy[s.len] = 0;
    *at += s.len + 1;
    return str_from(copy, s.len);
}

static struct store_write *new_write(const struct store_write *from) {
    const struct str strings[] = {str_of(from->entry.subject),
                                  str_of(from->entry.tenant),
                                  from->text,
                                  from->advice,
                                  from->samples,
                                  from->hook,
                                  from->call,
                                  from->body};
    size_t bytes = sizeof *from;
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        bytes += strings[i].len + 1;
    struct store_write *w = xmalloc(bytes);
    char *at = (char *)(w + 1);
    *w = *from;
    w->entry.subject = keep(&at, strings[0]).at;
    w->entry.tenant = keep(&at, strings[1]).at;
    w->text = keep(&at, from->text);
    w->advice = keep(&at, from->advice);
    w->samples = keep(&at, from->samples);
    w->hook = keep(&at, from->hook);
    w->call = keep(&at, from->call);
    w->body = keep(&at, from->body);
    return w;
}

static struct str said(struct str s) { return s.at ? s : STR(""); }

struct store_write *alert_write_told(const struct book_entry *entry, struct str text, struct str advice,
                                     struct str samples) {
    return new_write(&(struct store_write){
        .what = STORE_TOLD, .entry = *entry, .text = said(text), .advice = advice, .samples = samples});
}

struct store_write *alert_write_touch(const struct book_entry *entry) {
    return new_write(&(struct store_write){.what = STORE_TOUCH, .entry = *entry});
}

struct store_write *alert_write_unsent(struct str hook, struct str call, struct str body, int64_t created) {
    return new_write(&(struct store_write){
        .what = STORE_UNSENT, .hook = hook, .call = call, .body = body, .created = created});
}

struct store_write *alert_write_sent(struct str hook, struct str call) {
    return new_write(&(struct store_write){.what = STORE_SENT, .hook = hook, .call = call});
}

/* ---- the file ---- */

struct alert_store *alert_store_new(const char *folder, int64_t retain_ms, struct log *log) {
    struct alert_store *store = xcalloc(1, sizeof *store);
    snprintf(store->path, sizeof store->path, "%s/" STORE_FILE, folder);
    store->log = log;
    store->retain_ms = retain_ms;
    store->complained_at = INT64_MIN;
    return store;
}

static void close_file(struct alert_store *store) {
    for (int i = 0; i < STATEMENTS; i++) {
        sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    sqlite3_close(store->db);
    store->db = NULL;
}

struct alert_store *alert_store_free(struct alert_store *store) {
    if (store)
        close_file(store);
    free(store);
    return NULL;
}

static int user_version(sqlite3 *db, int *ret) {
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int(s, 0);
    sqlite3_finalize(s);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int make_tables(sqlite3 *db) {
    int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, schema, NULL, NULL, NULL);
    return rc == SQLITE_OK ? sqlite3_exec(db, "PRAGMA user_version=1; COMMIT", NULL, NULL, NULL) : rc;
}

static_assert(STORE_SCHEMA == 1, "make_tables says the number");

static int prepare(struct alert_store *store) {
    int version = 0;
    sqlite3_busy_timeout(store->db, 2000);
    int rc = sqlite3_exec(store->db,
                          "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA "
                          "journal_size_limit=16777216; PRAGMA cache_size=-4096",
                          NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = user_version(store->db, &version);
    if (rc == SQLITE_OK && version == 0)
        rc = make_tables(store->db);
    else if (rc == SQLITE_OK && version != STORE_SCHEMA)
        rc = SQLITE_NOTADB;
    for (int i = 0; i < STATEMENTS && rc == SQLITE_OK; i++)
        rc =
            sqlite3_prepare_v3(store->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &store->statements[i], NULL);
    return rc;
}

/* At most once a minute. */
static void complain(struct alert_store *store, int error, const char *why) {
    int64_t now = clock_mono_ms();
    if (store->complained_at != INT64_MIN && now < store->complained_at + LOG_AGAIN_MS)
        return;
    store->complained_at = now;
    log_event(store->log, LOG_ERROR, "the history of alerts can't be written, trying again", "file",
              store->path, "error", error_text(error), "why", why, NULL);
}

static int open_once(struct alert_store *store) {
    int bad = file_make(store->path, &store->file);
    if (bad) {
        complain(store, bad, NULL);
        return bad;
    }
    int rc = sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = prepare(store);
    if (rc == SQLITE_OK)
        return 0;
    int error = rc == SQLITE_ERROR ? SLUICE_ECORRUPT : file_error(rc); /* "no such column": a foreign file */
    if (error != SLUICE_ECORRUPT)
        complain(store, error, store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(rc));
    close_file(store);
    return error;
}

static void set_aside(struct alert_store *store) {
    char name[FOLDER_PATH_SIZE] = "";
    close_file(store);
    int bad = file_set_aside(store->path, name);
    log_event(store->log, LOG_WARNING, "the history of alerts is damaged, set aside", "file", store->path,
              "as", name, "error", bad ? error_text(bad) : NULL, NULL);
}

/* Open, and still the file of that name: SQLite would go on writing into one that somebody removed. */
static int ready(struct alert_store *store) {
    struct stat now;
    if (store->db && (stat(store->path, &now) != 0 || now.st_ino != store->file.st_ino ||
                      now.st_dev != store->file.st_dev))
        close_file(store);
    if (store->db)
        return 0;
    int error = open_once(store);
    if (error == SLUICE_ECORRUPT) {
        set_aside(store);
        error = open_once(store);
    }
    return error;
}

static int run(sqlite3_stmt *s) {
    int rc = sqlite3_step(s);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return file_error(rc);
}

static void bind(sqlite3_stmt *s, int at, struct str value) {
    if (value.at)
        sqlite3_bind_text(s, at, value.at, (int)value.len, SQLITE_STATIC);
}

static int put(struct alert_store *store, const struct store_write *w) {
    const struct book_entry *e = &w->entry;
    sqlite3_stmt *s = store->statements[PUT];
    const int64_t numbers[] = {
        e->first, e->last, e->told, e->ended, (int64_t)e->count, (int64_t)e->unsaid, (int64_t)e->tellings,
        e->heard, e->until};
    sqlite3_bind_int64(s, 1, (int64_t)e->id);
    bind(s, 2, alert_word(e->kind));
    bind(s, 3, str_of(e->subject));
    bind(s, 4, str_of(e->tenant));
    for (int i = 0; i < 9; i++)
        sqlite3_bind_int64(s, 5 + i, numbers[i]);
    bind(s, 14, w->text);
    bind(s, 15, w->advice);
    bind(s, 16, w->samples);
    return run(s);
}

static int write_one(struct alert_store *store, const struct store_write *w) {
    if (w->what == STORE_TOLD || w->what == STORE_TOUCH)
        return put(store, w);
    sqlite3_stmt *s = store->statements[w->what == STORE_UNSENT ? PUT_UNSENT : DROP_UNSENT];
    bind(s, 1, w->hook);
    bind(s, 2, w->call);
    if (w->what == STORE_UNSENT) {
        sqlite3_bind_blob(s, 3, w->body.at, (int)w->body.len, SQLITE_STATIC);
        sqlite3_bind_int64(s, 4, w->created);
    }
    return run(s);
}

static int apply_once(struct alert_store *store, const struct store_write *first) {
    int error = ready(store);
    if (error)
        return error;
    error = run(store->statements[BEGIN]);
    for (const struct store_write *w = first; w && !error; w = w->next) {
        error = write_one(store, w);
        if (error == SLUICE_EINVALID) { /* what can never be stored must not keep the others back */
            complain(store, error, sqlite3_errmsg(store->db));
            error = 0;
        }
    }
    if (!error)
        error = run(store->statements[COMMIT]);
    if (error) {
        complain(store, error, sqlite3_errmsg(store->db));
        if (!sqlite3_get_autocommit(store->db))
            (void)run(store->statements[ROLLBACK]);
    }
    return error;
}

int alert_store_apply(struct alert_store *store, const struct store_write *first) {
    int error = apply_once(store, first);
    if (error == SLUICE_ECORRUPT) {
        set_aside(store);
        error = apply_once(store, first);
    }
    if (error && store->db)
        close_file(store);
    if (!error && store->complained_at != INT64_MIN) {
        log_event(store->log, LOG_INFO, "the history of alerts is written again", NULL);
        store->complained_at = INT64_MIN;
    }
    return error;
}

int alert_store_end(struct alert_store *store, enum alert_kind kind, struct str subject, int64_t now,
                    size_t *ret_ended) {
    int error = ready(store);
    if (error)
        return error;
    sqlite3_stmt *s = store->statements[END_OPEN];
    bind(s, 1, alert_word(kind));
    bind(s, 2, subject.at ? subject : STR(""));
    sqlite3_bind_int64(s, 3, now);
    error = run(s);
    *ret_ended = error ? 0 : (size_t)sqlite3_changes(store->db);
    return error;
}

/* ---- what an earlier run left ---- */

static void read_entry(sqlite3_stmt *s, struct book_entry *e) {
    *e = (struct book_entry){
        .id = (uint64_t)sqlite3_column_int64(s, 0),
        .kind = alert_of_word(str_of((const char *)sqlite3_column_text(s, 1))),
        .subject = (const char *)sqlite3_column_text(s, 2),
        .tenant = (const char *)sqlite3_column_text(s, 3),
        .first = sqlite3_column_int64(s, 4),
        .last = sqlite3_column_int64(s, 5),
        .told = sqlite3_column_int64(s, 6),
        .ended = sqlite3_column_int64(s, 7),
        .count = (uint64_t)sqlite3_column_int64(s, 8),
        .unsaid = (uint64_t)sqlite3_column_int64(s, 9),
        .tellings = (unsigned)sqlite3_column_int64(s, 10),
        .heard = sqlite3_column_int(s, 11),
        .until = sqlite3_column_int64(s, 12),
    };
}

static int restore_once(struct alert_store *store, int64_t since, size_t limit,
                        void (*each)(void *, const struct book_entry *), void *arg, uint64_t *ret_last_id) {
    static const char text[] = "SELECT id, kind, subject, tenant, first, last, told, ended, count, unsaid, "
                               "tellings, heard, until FROM alert"
                               " WHERE ended = 0 OR ended > ?1 ORDER BY ended = 0 DESC, last DESC LIMIT ?2";
    sqlite3_stmt *s = NULL, *last = NULL;
    struct book_entry e;
    int rc = sqlite3_prepare_v2(store->db, "SELECT max(id) FROM alert", -1, &last, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(last)) == SQLITE_ROW) {
        *ret_last_id = (uint64_t)sqlite3_column_int64(last, 0);
        rc = sqlite3_prepare_v2(store->db, text, -1, &s, NULL);
    }
    sqlite3_finalize(last);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(s, 1, since);
        sqlite3_bind_int64(s, 2, (int64_t)limit);
        while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
            read_entry(s, &e);
            if (e.kind && e.subject && e.tenant)
                each(arg, &e);
        }
    }
    sqlite3_finalize(s);
    return file_error(rc);
}

int alert_store_restore(struct alert_store *store, int64_t since, size_t limit,
                        void (*each)(void *arg, const struct book_entry *), void *arg,
                        uint64_t *ret_last_id) {
    int error = ready(store);
    *ret_last_id = 0;
    if (!error)
        error = restore_once(store, since, limit, each, arg, ret_last_id);
    if (error == SLUICE_ECORRUPT) {
        set_aside(store);
        error = ready(store);
    }
    return error;
}

int alert_store_unsent(struct alert_store *store, int64_t since,
                       void (*each)(void *arg, struct str hook, struct str call, struct str body,
                                    int64_t created),
                       void *arg) {
    int error = ready(store);
    sqlite3_stmt *s = NULL;
    if (error)
        return error;
    int rc = sqlite3_prepare_v2(store->db, "DELETE FROM unsent WHERE created < ?", -1, &s, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(s, 1, since);
        rc = sqlite3_step(s);
    }
    sqlite3_finalize(s);
    s = NULL;
    if (rc == SQLITE_DONE)
        rc = sqlite3_prepare_v2(store->db, "SELECT hook, call, body, created FROM unsent ORDER BY created",
                                -1, &s, NULL);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(s);
        if (rc == SQLITE_ROW)
            each(arg, str_of((const char *)sqlite3_column_text(s, 0)),
                 str_of((const char *)sqlite3_column_text(s, 1)),
                 str_from(sqlite3_column_blob(s, 2), (size_t)sqlite3_column_bytes(s, 2)),
                 sqlite3_column_int64(s, 3));
    }
    sqlite3_finalize(s);
    return file_error(rc);
}

void alert_store_expire(struct alert_store *store, int64_t now) {
    char text[256];
    if (now / DAY_MS == store->swept || ready(store) != 0)
        return;
    store->swept = now / DAY_MS;
    snprintf(text, sizeof text,
             "DELETE FROM alert WHERE ended <> 0 AND (last < %lld OR id <= (SELECT max(id) FROM alert) - %d)",
             (long long)(now - store->retain_ms), ROWS_MAX);
    if (sqlite3_exec(store->db, text, NULL, NULL, NULL) != SQLITE_OK)
        log_event(store->log, LOG_WARNING, "old alerts can't be removed", "why", sqlite3_errmsg(store->db),
                  NULL);
}
