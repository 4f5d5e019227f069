/* fresh_resolver.h - a resolver without a memory, for who wants to know what stands in the DNS now: the
 * workers' own remember that a record was not there for as long as its zone says.
 */
#pragma once
#include "flow/flow.h"

/* From a fiber of the API's worker. On failure *ret_why is in the arena. */
[[nodiscard]] int fresh_resolver_new(const struct settings *, struct arena *, struct str *ret_why,
                                     struct resolver **ret);
/* When nobody uses it any more; NULL is fine. */
void fresh_resolver_free(struct resolver *);

/* Runs fn(arg) in so many fibers of this worker, the calling one waits; in that one when there is no room for
 * any. */
void fresh_fibers(unsigned count, void (*fn)(void *), void *arg);
