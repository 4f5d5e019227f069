/* row.h - how an event stands in SQLite: both tables have the same columns, in the order of TRACE_FIELDS.
 *
 *   event:  every event, once.           key (trace_id, recipient, event, turn)
 *   latest: each recipient's last state. key (trace_id, recipient)
 *
 * `turn` tells repeats of one event from copies of it; `precedence` orders events, so that
 * the latest state is the same in whatever order they are written.
 */
#pragma once
#include "trace/event.h"
#include <sqlite3.h>

enum { ROW_SCHEMA = 4 };

/* Creates the tables. */
extern const char row_schema[];
/* At i: makes those of schema i + 2 from those of schema i + 1. Columns come last, statements name them. */
extern const char *const row_upgrades[ROW_SCHEMA - 1];
/* Same parameters in all three, set by row_bind. */
extern const char row_insert_event[];
/* The latest state after an event that tells of an attempt, and after one that does not. Changes nothing when
 * a later event was written before. */
extern const char row_update_attempt[], row_update_other[];
/* Only fills the lasting fields that are still null. */
extern const char row_fill[];
/* Column lists for SELECT, as row_read wants them; those of events take what they lack from `latest` (alias
 * l). */
extern const char row_columns_latest[], row_columns_event[];

bool row_is_attempt(enum trace_kind);
/* The status that fits the event; 0 for DSN. */
enum trace_status row_status(enum trace_kind);

/* Binds everything; the event's strings must live until sqlite3_reset. */
int row_bind(sqlite3_stmt *, const struct trace_event *);
/* Views live until the next step. */
void row_read(sqlite3_stmt *, struct trace_event *ret);
