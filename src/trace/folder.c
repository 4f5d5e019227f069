#include "trace/folder.h"

#include "base/clock.h"
#include "base/error.h"
#include "trace/file.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *folder_path(const char *folder, int64_t day, char out[FOLDER_PATH_SIZE]) {
    char time[CLOCK_RFC3339_SIZE];
    snprintf(out, FOLDER_PATH_SIZE, "%s/%.10s.db", folder, clock_rfc3339(day * 86400000, time));
    return out;
}

/* "2026-11-22.db..." → its day. */
static bool day_of(const char *name, int64_t *ret_day) {
    int64_t time;
    if (strlen(name) < 13 || strncmp(name + 10, ".db", 3) != 0 ||
        !clock_parse_rfc3339(str_from(name, 10), &time))
        return false;
    *ret_day = folder_day(time);
    return true;
}

static void close_folder(DIR **folder) {
    if (*folder)
        closedir(*folder);
}

static int newest_first(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

int folder_days(const char *folder, int64_t **ret_days, size_t *ret_count) {
    DIR *open __attribute__((cleanup(close_folder))) = opendir(folder);
    if (!open)
        return errno == ENOENT ? SLUICE_ENOTFOUND : error_from_errno(errno);
    int64_t *days = NULL, day;
    size_t count = 0, room = 0;
    for (struct dirent *entry; (entry = readdir(open));) {
        if (strlen(entry->d_name) != 13 || !day_of(entry->d_name, &day))
            continue;
        if (count == room)
            days = xrealloc(days, (room = room ? 2 * room : 128) * sizeof *days);
        days[count++] = day;
    }
    if (count)
        qsort(days, count, sizeof *days, newest_first);
    *ret_days = days;
    *ret_count = count;
    return 0;
}

int folder_set_aside(const char *folder, int64_t day, char ret_name[FOLDER_PATH_SIZE]) {
    char path[FOLDER_PATH_SIZE];
    return file_set_aside(folder_path(folder, day, path), ret_name);
}

int folder_expire(const char *folder, int64_t first, size_t *ret_removed) {
    DIR *open __attribute__((cleanup(close_folder))) = opendir(folder);
    int bad = 0;
    int64_t day;
    *ret_removed = 0;
    if (!open)
        return error_from_errno(errno);
    for (struct dirent *entry; (entry = readdir(open));) {
        if (!day_of(entry->d_name, &day) || day >= first)
            continue;
        if (unlinkat(dirfd(open), entry->d_name, 0) == 0)
            ++*ret_removed;
        else if (errno != ENOENT)
            bad = error_from_errno(errno);
    }
    return bad;
}
