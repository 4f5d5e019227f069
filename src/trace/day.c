#include "trace/day.h"

#include "base/error.h"
#include "trace/file.h"
#include "trace/folder.h"
#include "trace/row.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { BEGIN, COMMIT, ROLLBACK, INSERT_EVENT, UPDATE_ATTEMPT, UPDATE_OTHER, FILL, STATEMENTS };

struct day {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
    char path[FOLDER_PATH_SIZE];
    struct stat file;
};

static const char *const sql[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [INSERT_EVENT] = row_insert_event,
    [UPDATE_ATTEMPT] = row_update_attempt,
    [UPDATE_OTHER] = row_update_other,
    [FILL] = row_fill,
};

struct day *day_close(struct day *day) {
    if (!day)
        return NULL;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(day->statements[i]);
    sqlite3_close(day->db);
    free(day);
    return NULL;
}

const char *day_why(struct day *day) { return sqlite3_errmsg(day->db); }

static int version_of(sqlite3 *db, int *ret_version) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *ret_version = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* One transaction makes or changes the tables, so that a crash leaves none or all. */
static int make_tables(sqlite3 *db, const char *statements, int schema) {
    char version[64];
    snprintf(version, sizeof version, "PRAGMA user_version=%d; COMMIT", schema);
    int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, statements, NULL, NULL, NULL);
    return rc == SQLITE_OK ? sqlite3_exec(db, version, NULL, NULL, NULL) : rc;
}

static int prepare(struct day *day) {
    int version = 0;
    sqlite3_busy_timeout(day->db, 2000);
    int rc = sqlite3_exec(day->db,
                          "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                          "PRAGMA wal_autocheckpoint=2000; PRAGMA journal_size_limit=67108864;"
                          "PRAGMA cache_size=-16384",
                          NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = version_of(day->db, &version);
    if (rc == SQLITE_OK && version == 0)
        rc = make_tables(day->db, row_schema, ROW_SCHEMA), version = ROW_SCHEMA;
    for (; rc == SQLITE_OK && version > 0 && version < ROW_SCHEMA; version++)
        rc = make_tables(day->db, row_upgrades[version - 1], version + 1);
    if (rc == SQLITE_OK && version != ROW_SCHEMA)
        rc = SQLITE_NOTADB;
    for (int i = 0; i < STATEMENTS && rc == SQLITE_OK; i++)
        rc = sqlite3_prepare_v3(day->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &day->statements[i], NULL);
    return rc;
}

int day_open(const char *folder, int64_t number, char why[DAY_WHY_SIZE], struct day **ret_day) {
    struct day *day = xcalloc(1, sizeof *day);
    folder_path(folder, number, day->path);
    int error = file_make(day->path, &day->file);
    if (error) {
        snprintf(why, DAY_WHY_SIZE, "%s", error_text(error));
        free(day);
        return error;
    }
    int rc = sqlite3_open_v2(day->path, &day->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = prepare(day);
    if (rc == SQLITE_OK) {
        *ret_day = day;
        return 0;
    }
    snprintf(why, DAY_WHY_SIZE, "%s", day->db ? sqlite3_errmsg(day->db) : sqlite3_errstr(rc));
    day_close(day);
    return rc == SQLITE_ERROR ? SLUICE_ECORRUPT : file_error(rc); /* "no such column": a foreign file */
}

static int run(sqlite3_stmt *statement) {
    int rc = sqlite3_step(statement);
    sqlite3_reset(statement);
    return file_error(rc);
}

/* SQLite would go on writing into a file that somebody removed. */
static bool moved(const struct day *day) {
    struct stat now;
    return stat(day->path, &now) != 0 || now.st_ino != day->file.st_ino || now.st_dev != day->file.st_dev;
}

int day_begin(struct day *day) { return moved(day) ? SLUICE_ECLOSED : run(day->statements[BEGIN]); }
int day_commit(struct day *day) { return run(day->statements[COMMIT]); }

void day_rollback(struct day *day) {
    if (!sqlite3_get_autocommit(day->db))
        (void)run(day->statements[ROLLBACK]);
}

static int store(struct day *day, int statement, const struct trace_event *event, int *ret_changes) {
    sqlite3_stmt *s = day->statements[statement];
    int bad = row_bind(s, event);
    if (!bad)
        bad = run(s);
    *ret_changes = sqlite3_changes(day->db);
    return bad;
}

int day_write(struct day *day, const struct trace_event *event) {
    int changes;
    int bad = store(day, INSERT_EVENT, event, &changes);
    if (bad || changes == 0) /* told before */
        return bad;
    int update = event->event == TRACE_DSN      ? FILL
                 : row_is_attempt(event->event) ? UPDATE_ATTEMPT
                                                : UPDATE_OTHER;
    bad = store(day, update, event, &changes);
    if (!bad && changes == 0)
        bad = store(day, FILL, event, &changes);
    return bad;
}
