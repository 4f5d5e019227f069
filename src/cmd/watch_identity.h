/* watch_identity.h - the daemon's part in what the DNS says of us: it repeats the survey (identity/survey.h)
 * at a polite rate, keeps what it found, and tells what is new and what is over.
 */
#pragma once
#include "cmd/daemon.h"

/* Before the runtime starts: reads what was known, sets flow.faults. What can't be read is only a memory. */
void watch_identity_open(struct daemon *);
void watch_identity_close(struct daemon *); /* after rt_free; NULL is fine */
/* A fiber of the API's worker, from start to end; `arg` is the daemon. */
void watch_identity(void *arg);

/* For struct api_backend, all on the API's worker. */
int watch_identity_rows(void *arg, void (*row)(void *, const struct api_fault *), void *to,
                        struct buf *ret_why);
void watch_identity_status(struct daemon *, struct arena *,
                           void (*add)(void *, const char *, const char *, int64_t), void *to);
void watch_identity_metrics(struct daemon *, void (*add)(void *, const struct api_metric *), void *to);
