/* backend.h - the parts of what the API asks of the daemon; `arg` is the daemon. */
#pragma once
#include "cmd/daemon.h"

/* As the functions of struct api_backend. */
int backend_pools(void *arg, void (*row)(void *, const struct api_pool *), void *to, struct buf *ret_why);
int backend_sources(void *arg, struct str pool, void (*row)(void *, const struct api_source *), void *to,
                    struct buf *ret_why);
int backend_source(void *arg, const struct ip *, struct arena *, struct api_source_detail *ret,
                   struct buf *ret_why);
void backend_pool_metrics(struct daemon *, void (*add)(void *, const struct api_metric *), void *to);
