/* alerts.h - the desk that alerts go to: opened, configured and closed by the daemon.
 *
 * A thread of its own takes what is raised, keeps the book (book.h), tells the log, mail and webhooks
 * (hooks.h), and writes the history (store.h). What an earlier run left is taken up: open alerts, quiet
 * times, and the calls of webhooks that were not made.
 */
#pragma once
#include "alert/settings.h"
#include "base/log.h"

struct alert_mail {
    struct str from;
    const struct str *to; /* wire form */
    size_t to_count;
    struct str message; /* CRLF line ends; may have 8-bit bytes */
};

struct alerts_options {
    const char *folder; /* of the trace */
    int64_t retain_ms;  /* how long the history remembers what has ended */
    const char *agent;  /* "sluice/0.1.0", of the webhooks' calls */
    struct log *log;    /* must outlive it */
    /* Sends a mail, without waiting; views live until it returns. On the desk's thread. */
    void (*mail)(void *arg, const struct alert_mail *);
    void *mail_arg;
};

/* Once per process. A history that can't be written is no error: it is logged and tried again. LIMIT: no room
 * for a thread; NOMEM. */
[[nodiscard]] int alerts_open(const struct alerts_options *, const struct alerts_config *,
                              struct alerts **ret);
/* From now on this configuration; copies. */
void alerts_configure(struct alerts *, const struct alerts_config *);
/* No more mail: before the runtime ends that sends it. Returns when no call of `mail` is under way. */
void alerts_stop_mail(struct alerts *);
/* No other thread may raise any more. Tells and writes what was raised. NULL is fine. */
struct alerts *alerts_free(struct alerts *);

/* Waits until all that was raised before is told and in the history. Blocks the thread (in a daemon:
 * offload). 0, or IO when the history can't be written at present. */
[[nodiscard]] int alerts_flush(struct alerts *);

struct alerts_counts {
    uint64_t raised[ALERT_KINDS], open[ALERT_KINDS];
    uint64_t told, dropped; /* tellings; alerts that found no room */
    uint64_t mails;
    uint64_t untold; /* found no room in the hour of a channel */
};
void alerts_counts(const struct alerts *, struct alerts_counts *ret);

struct alerts_hook_counts {
    struct str name;
    uint64_t sent, failed, given_up;
    size_t waiting;
};
/* Of each webhook; in the arena. */
size_t alerts_hooks(struct alerts *, struct arena *, struct alerts_hook_counts **ret);

/* ---- a test of the channels ---- */

struct alerts_said {
    struct str channel; /* "log", "history", "webhook pager" */
    bool good;
    struct str said;
};
/* Tells a test alert to the log, the history and each webhook; `said` is called with what came of it. Blocks
 * (in a daemon: offload). */
void alerts_test(struct alerts *, void (*said)(void *arg, const struct alerts_said *), void *arg);
/* The mail that belongs to it, to the operator. In the arena. False: nobody gets mail. */
bool alerts_test_mail(struct alerts *, struct arena *, struct alert_mail *ret);
