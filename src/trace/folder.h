/* folder.h - the day files below <state>/trace/: "2026-11-22.db", with SQLite's -wal and -shm beside. */
#pragma once
#include "base/str.h"

enum { FOLDER_PATH_SIZE = 4096 };

/* Days since the epoch of a time. */
static inline int64_t folder_day(int64_t wall_ms) {
    return wall_ms >= 0 ? wall_ms / 86400000 : (wall_ms - 86399999) / 86400000;
}

/* The file of a day, cut when the folder's name is over-long. */
const char *folder_path(const char *folder, int64_t day, char out[FOLDER_PATH_SIZE]);

/* The days that have a file, newest first; *ret_days is to be freed. A negative error. */
[[nodiscard]] int folder_days(const char *folder, int64_t **ret_days, size_t *ret_count);

/* Renames a day's files to *.damaged-N, so that a new one can be begun. */
[[nodiscard]] int folder_set_aside(const char *folder, int64_t day, char ret_name[FOLDER_PATH_SIZE]);

/* Removes everything of days before `first`, what was set aside too; *ret_removed counts files. */
[[nodiscard]] int folder_expire(const char *folder, int64_t first, size_t *ret_removed);
