/* scratch.h - a store in a folder of its own, with a clock that the test sets. */
#pragma once
#include "cmocka_setup.h"
#include "trace/trace.h"

struct scratch {
    char folder[64];
    struct arena *arena;
    struct trace *trace;
    int64_t now;
};

/* 2026-11-22T12:00:00Z */
#define NOON INT64_C(1795348800000)
#define DAY INT64_C(86400000)
#define HOUR INT64_C(3600000)

void scratch_begin(struct scratch *);
void scratch_open(struct scratch *, const struct trace_settings *); /* NULL: defaults */
void scratch_close(struct scratch *);
void scratch_end(struct scratch *); /* removes the folder */

/* An event of the message that arrived at `arrival`; the same `seed` gives the same id. */
struct trace_id scratch_id(int64_t arrival, unsigned seed);
void scratch_emit(struct scratch *, struct trace_event);
void scratch_flush(struct scratch *);
/* Runs the query; rows are copied into the arena. */
struct trace_event *scratch_query(struct scratch *, struct trace_filter, struct trace_page *ret_page);
struct trace_event *scratch_show(struct scratch *, const struct trace_id *, size_t *ret_count);
/* The path of the file of a day. */
const char *scratch_file(struct scratch *, int64_t time);
size_t scratch_files(const struct scratch *, const char *containing);
