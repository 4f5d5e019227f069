/* watch_domains.h - the daemon's part in whose the tenants' domains are: it keeps what is known, asks again,
 * tells when a token is gone, and serves `sluice domain`.
 */
#pragma once
#include "api/api.h"
#include "flow/flow.h"

struct domain_watch;

/* Before the runtime starts, as the user that it will have: reads what is known, sets flow->ownership. A
 * missing secret is made; that is a failure only with `tenants { verify }`. The arena lives as long as the
 * watch, and has *ret_why on failure. */
[[nodiscard]] int watch_domains_open(struct flow *, const struct settings *, struct arena *,
                                     struct str *ret_why, struct domain_watch **ret);
/* After rt_free: writes what is new. NULL is fine; returns NULL. */
struct domain_watch *watch_domains_close(struct domain_watch *);
/* From a fiber of the API's worker, before a reload takes effect: with `verify` the secret is read, or made.
 * On failure *ret_why has a line more, and the old one stays. */
[[nodiscard]] int watch_domains_prepare(struct domain_watch *, const struct settings *next,
                                        struct buf *ret_why);
/* A fiber of the API's worker, from start to end; `arg` is the watch. */
void watch_domains(void *arg);

/* How many of the tenants' domains may send, where that is asked. */
void watch_domains_status(const struct domain_watch *, struct arena *,
                          void (*add)(void *, const char *, const char *, int64_t), void *to);
void watch_domains_metrics(const struct domain_watch *, struct arena *,
                           void (*add)(void *, const struct api_metric *), void *to);

/* As the functions of struct api_backend. */
int watch_domains_list(struct domain_watch *, void (*row)(void *, const struct api_domain *), void *to,
                       struct buf *ret_why);
int watch_domains_add(struct domain_watch *, struct str tenant, struct str domain,
                      void (*row)(void *, const struct api_domain *), void *to, struct buf *ret_why);
int watch_domains_verify(struct domain_watch *, const struct str *domains, size_t count,
                         void (*row)(void *, const struct api_domain *), void *to, struct buf *ret_why);

/* Ends the alerts about what this configuration no longer asks the DNS for. In a fiber. */
void watch_end_unasked(struct flow *, const struct settings *);
