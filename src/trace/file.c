#include "trace/file.h"

#include "base/buf.h"
#include "base/error.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int file_error(int sqlite) {
    switch (sqlite & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return 0;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return SLUICE_ECORRUPT;
    case SQLITE_FULL:
        return SLUICE_EFULL;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
        return SLUICE_EDENIED;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return SLUICE_EBUSY;
    case SQLITE_NOMEM:
        return SLUICE_ENOMEM;
    case SQLITE_TOOBIG:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
        return SLUICE_EINVALID;
    default:
        return SLUICE_EIO;
    }
}

int file_make(const char *path, struct stat *ret) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0 && errno != EEXIST)
        return error_from_errno(errno);
    if (fd >= 0)
        close(fd);
    return stat(path, ret) == 0 ? 0 : error_from_errno(errno);
}

/* Without a right to write beside the file SQLite can't share it: then it is read as it lies, which is safe
 * when nobody has left a log. */
static int open_as_it_lies(const char *path, sqlite3 **db) {
    struct buf uri __attribute__((cleanup(buf_free))) = {0};
    char wal[FOLDER_PATH_SIZE + 8];
    struct stat found;
    snprintf(wal, sizeof wal, "%s-wal", path);
    if (stat(wal, &found) == 0 && found.st_size > 0)
        return SQLITE_CANTOPEN;
    buf_str(&uri, STR("file:"));
    for (const char *p = path; *p; p++)
        if (strchr("%?#", *p))
            buf_printf(&uri, "%%%02x", (unsigned char)*p);
        else
            buf_char(&uri, *p);
    buf_str(&uri, STR("?immutable=1"));
    sqlite3_close(*db);
    return sqlite3_open_v2(buf_c(&uri), db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI,
                           NULL);
}

static int schema_of(sqlite3 *db, int *ret_schema) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
        *ret_schema = sqlite3_column_int(statement, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return rc;
}

int file_open_read(const char *path, int schema, sqlite3 **ret_db) {
    int found = 0;
    int rc = sqlite3_open_v2(path, ret_db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(*ret_db, 2000);
        rc = schema_of(*ret_db, &found);
    }
    if ((rc & 0xff) == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_READONLY) {
        rc = open_as_it_lies(path, ret_db);
        if (rc == SQLITE_OK)
            rc = schema_of(*ret_db, &found);
    }
    if (rc == SQLITE_OK && found != schema)
        return found == 0 ? SQLITE_EMPTY : SQLITE_NOTADB;
    return rc;
}

int file_set_aside(const char *path, char ret_name[FOLDER_PATH_SIZE]) {
    static const char *const companions[] = {"-wal", "-shm", ""};
    char from[FOLDER_PATH_SIZE + 8], to[FOLDER_PATH_SIZE + 32];
    unsigned number = 0;
    do
        snprintf(to, sizeof to, "%s.damaged-%u", path, ++number);
    while (access(to, F_OK) == 0);
    for (size_t i = 0; i < sizeof companions / sizeof companions[0]; i++) {
        snprintf(from, sizeof from, "%s%s", path, companions[i]);
        snprintf(to, sizeof to, "%s.damaged-%u%s", path, number, companions[i]);
        if (rename(from, to) != 0 && errno != ENOENT)
            return error_from_errno(errno);
    }
    snprintf(ret_name, FOLDER_PATH_SIZE, "%s", to);
    return 0;
}
