/* file.h - what files of SQLite have in common: of a day of the trace, and others beside them. */
#pragma once
#include "trace/folder.h"
#include <sqlite3.h>

/* The SLUICE error of a result code; 0 for OK, ROW and DONE. */
int file_error(int sqlite);

/* Opens it for reading, also where nobody may write beside it. *ret_db is to be closed whatever the result
 * is. A code of SQLite: NOTADB when its user_version is another than `schema`; EMPTY: begun, nothing in it
 * yet. */
int file_open_read(const char *path, int schema, sqlite3 **ret_db);

/* Renames the file and its companions to *.damaged-N, so that a new one can be begun. */
[[nodiscard]] int file_set_aside(const char *path, char ret_name[FOLDER_PATH_SIZE]);
