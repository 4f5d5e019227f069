/* watch_domains.h - the daemon's part in whose the tenants' domains are: it keeps what is known, asks again,
 * tells when a token is gone, and serves `sluice domain`.
 */
#pragma once
#include "cmd/daemon.h"

/* Before the runtime starts, as the user that it will have: reads what is known, sets flow.ownership. A
 * missing secret is made; that is a failure only with `tenants { verify }`. On failure *ret_why is in
 * daemon->arena. */
[[nodiscard]] int watch_domains_open(struct daemon *, struct str *ret_why);
/* After rt_free: writes what is new. NULL is fine. */
void watch_domains_close(struct daemon *);
/* From a fiber of the API's worker, before a reload takes effect: with `verify` the secret is read, or made.
 * On failure *ret_why has a line more, and the old one stays. */
[[nodiscard]] int watch_domains_prepare(struct daemon *, const struct settings *next, struct buf *ret_why);
/* A fiber of the API's worker, from start to end; `arg` is the daemon. */
void watch_domains(void *arg);

/* How many of the tenants' domains may send, where that is asked. */
void watch_domains_status(struct daemon *, struct arena *,
                          void (*add)(void *, const char *, const char *, int64_t), void *to);
void watch_domains_metrics(struct daemon *, struct arena *, void (*add)(void *, const struct api_metric *),
                           void *to);

/* For struct api_backend. */
int watch_domains_list(void *arg, void (*row)(void *, const struct api_domain *), void *to,
                       struct buf *ret_why);
int watch_domains_add(void *arg, struct str tenant, struct str domain,
                      void (*row)(void *, const struct api_domain *), void *to, struct buf *ret_why);
int watch_domains_verify(void *arg, const struct str *domains, size_t count,
                         void (*row)(void *, const struct api_domain *), void *to, struct buf *ret_why);

/* Ends the alerts about what this configuration no longer asks the DNS for. In a fiber. */
void watch_end_unasked(struct daemon *, const struct settings *);
