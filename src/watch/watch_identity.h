/* watch_identity.h - the daemon's part in what the DNS says of us: it repeats the survey (identity/survey.h)
 * at a polite rate, keeps what it found, and tells what is new and what is over.
 */
#pragma once
#include "api/api.h"
#include "flow/flow.h"

struct identity_watch;

/* Before the runtime starts: reads what was known, sets flow->faults. What can't be read is only a memory.
 * The arena lives as long as the watch. */
struct identity_watch *watch_identity_open(struct flow *, const struct settings *, struct arena *);
/* After rt_free. NULL is fine; returns NULL. */
struct identity_watch *watch_identity_close(struct identity_watch *);
/* A fiber of the API's worker, from start to end; `arg` is the watch. */
void watch_identity(void *arg);

/* As the functions of struct api_backend, all on the API's worker. */
int watch_identity_rows(struct identity_watch *, void (*row)(void *, const struct api_fault *), void *to,
                        struct buf *ret_why);
void watch_identity_status(struct identity_watch *, struct arena *,
                           void (*add)(void *, const char *, const char *, int64_t), void *to);
void watch_identity_metrics(const struct identity_watch *, void (*add)(void *, const struct api_metric *),
                            void *to);
