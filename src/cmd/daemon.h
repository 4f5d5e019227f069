/* daemon.h - the wiring of sluiced: which rooms it opens in which order, reload, drain, and what the API
 * asks. */
#pragma once
#include "api/api.h"
#include "flow/flow.h"
#include "intake/intake.h"
#include "rt/net.h"

enum { DAEMON_LISTENERS_MAX = 64, DAEMON_TLS_MAX = 256 };

struct notices;

struct daemon {
    const char *file; /* of the configuration */
    struct arena *arena;
    struct log *log;
    struct rt *rt;
    struct flow flow;
    struct settings *settings; /* the newest; one reference */
    struct notices *notices;   /* mails of alerts on their way (cmd/alerting.h) */
    const char *trace_dir;     /* as at the start */
    struct api *api;
    struct watch *watch;               /* over the source addresses (watch/watch.h) */
    struct intake_listener *listeners; /* one for each listener */
    size_t listener_count;
    struct net_acceptor **acceptors; /* one for each bound address */
    struct bound {
        int fd;
        size_t listener;
    } * bound;
    size_t bound_count;
    struct tls_context *tls[DAEMON_TLS_MAX]; /* the newest last; older ones may still be in use */
    size_t tls_count;
    struct tls_mark {
        uint64_t node[2];
        int64_t changed[2];
        int64_t asks;                /* for certificates of clients */
    } tls_mark;                      /* of the files of the newest */
    struct domain_watch *domains;    /* watch/watch_domains.h */
    struct identity_watch *identity; /* watch/watch_identity.h */
    bool reloading;
    int64_t started; /* wall ms */
    int done_fd;     /* eventfd: the drain has ended */
};

/* What of the configuration is checked against this host. */
extern const struct settings_checks daemon_checks;

/* From a fiber of the API's worker: the file is read anew and swapped in whole, or the old one stays. Every
 * error and warning goes to *ret_why, a line each. 0, INVALID. */
[[nodiscard]] int daemon_reload(struct daemon *, struct buf *ret_why);

/* The server's certificate, opened anew when its files have changed, or whether clients are asked for one;
 * kept in daemon->tls. NULL with *ret_why when it can't be used. */
struct tls_context *daemon_open_tls(struct daemon *, const struct settings *, struct str *ret_why);

/* For rt_at_end: the resolvers of all workers, retired ones too; `arg` is the daemon. */
void daemon_close_resolvers(void *arg);

/* Of the API's backend: backend_senders.c. */
void daemon_senders_status(struct daemon *, void (*add)(void *, const char *, const char *, int64_t),
                           void *to);
void daemon_senders_metrics(struct daemon *, void (*add)(void *, const struct api_metric *), void *to);
extern const struct api_sender_calls daemon_senders;

/* Rows of the scanners, for the status and the metrics of daemon_backend. */
void daemon_scanner_status(struct daemon *, struct arena *,
                           void (*add)(void *, const char *, const char *, int64_t), void *to);
void daemon_scanner_metrics(struct daemon *, struct arena *, void (*add)(void *, const struct api_metric *),
                            void *to);

/* The same of the milters. */
void daemon_milter_status(struct daemon *, const struct settings *, struct arena *,
                          void (*add)(void *, const char *, const char *, int64_t), void *to);
void daemon_milter_metrics(struct daemon *, const struct settings *, struct arena *,
                           void (*add)(void *, const struct api_metric *), void *to);

/* What detection knows of senders (backend_senders.c). */
void daemon_pattern_metrics(struct daemon *, void (*add)(void *, const struct api_metric *), void *to);

/* The verbs of the API; its `arg` is the daemon. */
extern const struct api_backend daemon_backend;
