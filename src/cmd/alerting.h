/* alerting.h - alerts in the daemon: opened, configured, asked for. */
#pragma once
#include "cmd/daemon.h"

/* When the trace's folder is there. 0, or *ret_why. */
[[nodiscard]] int alerting_open(struct daemon *, struct str *ret_why);
/* Mail ends here: before the runtime ends. */
void alerting_stop(struct daemon *);
/* When it has ended. */
void alerting_close(struct daemon *);

/* Members of the API's backend. */
int alerting_list(void *daemon, const struct alert_filter *,
                  void (*row)(void *to, const struct alert_record *), void *to, struct buf *ret_why);
int alerting_test(void *daemon, void (*row)(void *to, const struct alerts_said *), void *to,
                  struct buf *ret_why);
void alerting_status(struct daemon *, void (*add)(void *, const char *, const char *, int64_t), void *to);
void alerting_metrics(struct daemon *, void (*add)(void *, const struct api_metric *), void *to);
