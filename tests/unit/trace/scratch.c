#include "scratch.h"

#include "base/clock.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int64_t set_clock(void *arg) { return *(int64_t *)arg; }

void scratch_begin(struct scratch *s) {
    *s = (struct scratch){.arena = arena_new(0), .now = NOON};
    strcpy(s->folder, "/tmp/test-trace-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
}

void scratch_open(struct scratch *s, const struct trace_settings *given) {
    struct trace_settings settings = given ? *given : (struct trace_settings){0};
    struct str why = STR_NULL;
    settings.folder = s->folder;
    settings.now = set_clock;
    settings.now_arg = &s->now;
    assert_int_equal(trace_open(&settings, NULL, s->arena, &why, &s->trace), 0);
}

void scratch_close(struct scratch *s) { s->trace = trace_free(s->trace); }

void scratch_end(struct scratch *s) {
    char path[512];
    scratch_close(s);
    DIR *folder = opendir(s->folder);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        snprintf(path, sizeof path, "%s/%s", s->folder, entry->d_name);
        unlink(path);
    }
    closedir(folder);
    rmdir(s->folder);
    arena_free(s->arena);
}

struct trace_id scratch_id(int64_t arrival, unsigned seed) {
    struct trace_id id = trace_id_new(arrival);
    snprintf(id.text + 10, 17, "%016u", seed);
    return id;
}

void scratch_emit(struct scratch *s, struct trace_event event) {
    assert_int_equal(trace_emit(s->trace, &event), 0);
}

void scratch_flush(struct scratch *s) { assert_int_equal(trace_flush(s->trace), 0); }

struct rows {
    struct scratch *scratch;
    struct trace_event *events;
    size_t count;
};

static void collect(void *arg, const struct trace_event *event) {
    struct rows *rows = arg;
    struct buf json __attribute__((cleanup(buf_free))) = {0};
    rows->events = realloc(rows->events, (rows->count + 1) * sizeof *rows->events);
    trace_event_json(&json, event);
    assert_int_equal(trace_event_parse(buf_view(&json), rows->scratch->arena, &rows->events[rows->count++]),
                     0);
}

static struct trace_event *keep(struct rows *rows) {
    struct trace_event *copy = arena_array(rows->scratch->arena, struct trace_event, rows->count + 1);
    if (rows->count)
        memcpy(copy, rows->events, rows->count * sizeof *copy);
    free(rows->events);
    return copy;
}

struct trace_event *scratch_query(struct scratch *s, struct trace_filter filter,
                                  struct trace_page *ret_page) {
    struct rows rows = {.scratch = s};
    assert_int_equal(trace_query(s->trace, &filter, collect, &rows, ret_page), 0);
    assert_int_equal(rows.count, ret_page->rows);
    return keep(&rows);
}

struct trace_event *scratch_show(struct scratch *s, const struct trace_id *id, size_t *ret_count) {
    struct rows rows = {.scratch = s};
    int bad = trace_show(s->trace, trace_id_str(id), collect, &rows);
    assert_true(bad == 0 || bad == SLUICE_ENOTFOUND);
    *ret_count = rows.count;
    return keep(&rows);
}

const char *scratch_file(struct scratch *s, int64_t time) {
    char day[CLOCK_RFC3339_SIZE];
    return str_printf(s->arena, "%s/%.10s.db", s->folder, clock_rfc3339(time, day)).at;
}

size_t scratch_files(const struct scratch *s, const char *containing) {
    size_t count = 0;
    DIR *folder = opendir(s->folder);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        count += strstr(entry->d_name, containing) != NULL;
    closedir(folder);
    return count;
}
