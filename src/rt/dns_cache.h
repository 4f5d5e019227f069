/* dns_cache.h - decoded answers by (name, type): fresh ones for the hot path, expired ones for when the
 * network fails. Of one worker; the clock (monotonic ms) is passed in. */
#pragma once
#include "rt/resolver.h"

struct dns_cache;

/* Keeps at most `limit` answers, the most lately used; expired records for `stale_s` seconds more. */
struct dns_cache *dns_cache_new(size_t limit, uint32_t stale_s);
struct dns_cache *dns_cache_free(struct dns_cache *);

/* Keeps a copy of an answer that didn't fail. Of "none" no expired one is served: it could end mail that the
 * next answer would let pass. */
void dns_cache_put(struct dns_cache *, struct str name, enum dns_type, const struct dns_answer *,
                   int64_t now);

/* A copy in the arena, its ttl what is left. False: there is none. */
bool dns_cache_get(struct dns_cache *, struct str name, enum dns_type, int64_t now, struct arena *,
                   struct dns_answer *ret);
/* The same for expired records; ret->stale is set. */
bool dns_cache_stale(struct dns_cache *, struct str name, enum dns_type, int64_t now, struct arena *,
                     struct dns_answer *ret);

void dns_answer_copy(struct arena *, const struct dns_answer *, struct dns_answer *ret);
