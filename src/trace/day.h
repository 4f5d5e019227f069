/* day.h - one day's file, open for writing. Owned by the trace thread. */
#pragma once
#include "trace/event.h"

struct day;

enum { DAY_WHY_SIZE = 200 };

/* Opens or begins the file. CORRUPT: not ours or damaged. Otherwise IO, DENIED, FULL. `why` says more. */
[[nodiscard]] int day_open(const char *folder, int64_t number, char why[DAY_WHY_SIZE], struct day **ret_day);
/* Rolls back what is open. Accepts NULL, returns NULL. */
struct day *day_close(struct day *);

/* A batch is day_begin, day_write..., day_commit; after an error of any of them day_rollback, and write it
 * again: CORRUPT and system errors as above. INVALID: this event can never be stored; the batch goes on
 * without it. CLOSED: the file was removed or replaced; open it anew. */
[[nodiscard]] int day_begin(struct day *);
[[nodiscard]] int day_write(struct day *, const struct trace_event *);
[[nodiscard]] int day_commit(struct day *);
void day_rollback(struct day *);
/* What the last error was; valid until the next call. */
const char *day_why(struct day *);
