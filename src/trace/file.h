/* file.h - what files of SQLite have in common: of a day of the trace, and others beside them. */
#pragma once
#include "trace/folder.h"
#include <sqlite3.h>
#include <sys/stat.h>

/* The SLUICE error of a result code; 0 for OK, ROW and DONE. */
int file_error(int sqlite);

/* Makes the file with mode 0640 when there is none (SQLite would make it 0644; its -wal and -shm take the
 * mode of the file), and tells which file it is. One that is there is not opened: SQLite's locks are POSIX
 * locks, which are a process's, and to close any descriptor of the file would drop those of its readers in
 * this process. */
[[nodiscard]] int file_make(const char *path, struct stat *ret);

/* Opens it for reading, also where nobody may write beside it. *ret_db is to be closed whatever the result
 * is. A code of SQLite: NOTADB when its user_version is another than `schema`; EMPTY: begun, nothing in it
 * yet. */
int file_open_read(const char *path, int schema, sqlite3 **ret_db);

/* Renames the file and its companions to *.damaged-N, so that a new one can be begun. */
[[nodiscard]] int file_set_aside(const char *path, char ret_name[FOLDER_PATH_SIZE]);
