/* log.h - one line per event on a file descriptor, as key=value.
 *
 * 2026-11-22T01:02:03.456Z info delivered trace_id=01J... recipient=a@b
 * A line is one write(2), so lines of several threads never mix. Values with
 * spaces, quotes or control bytes are quoted and escaped. The pointer is shared
 * by all threads; level changes are atomic.
 */
#pragma once
#include "base/str.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

struct log;

/* Writes to `fd`, which stays the caller's. */
struct log *log_new(int fd, enum log_level);
struct log *log_free(struct log *);
void log_set_level(struct log *, enum log_level);
bool log_wants(const struct log *, enum log_level);

/* `event` is a short fixed word or phrase; then pairs of name and value, ended by NULL:
 *   log_event(log, LOG_INFO, "connected", "client", ip, "listener", name, NULL)
 * A pair whose value is NULL is left out. A NULL log writes nothing. */
void log_event(struct log *, enum log_level, const char *event, ...) __attribute__((sentinel));
