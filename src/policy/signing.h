/* signing.h - which DKIM keys sign a message, and how one pair of keys follows another.
 *
 * A `dkim` section of a tenant is a struct signing_domain. While a rotation is on record (rotation.h), the
 * section's own selectors only name what is replaced: the old keys sign until the switch, the new ones from
 * then on, by the clock, without a reload.
 */
#pragma once
#include "auth/dkim.h"
#include <stdatomic.h>

struct tenant;
struct policy;
struct rotation;

enum {
    SIGNING_SET_MAX = 2, /* one key of each algorithm */
};

struct signing_key {
    struct str selector;  /* lower case */
    const char *file;     /* absolute */
    struct dkim_key *key; /* NULL: not loaded, an old one that is only kept for the record */
};

struct signing_set {
    struct signing_key keys[SIGNING_SET_MAX];
    size_t count;
};

struct signing_domain {
    struct str domain; /* normalised */
    bool subdomains;   /* signs for those below it, too */
    int64_t rotation_ms;
    struct signing_set configured;   /* as written; keys are loaded only when no rotation applies */
    const struct rotation *rotation; /* NULL: none is on record, or it names other selectors */
    struct signing_set old, next;    /* of the rotation; `old` has no keys when it is over */
    atomic_bool *held;               /* signing_hold */
};

/* The section that signs for a From domain (any spelling): its own, the nearest parent's with `subdomains`,
 * else that of the tenant's default domain found in the same way, else NULL. A NULL tenant has none. */
const struct signing_domain *signing_domain_for(const struct tenant *, struct str from_domain);

/* The section of just this domain, whoever's it is. NULL: none. */
const struct signing_domain *signing_domain_of(const struct policy *, struct str domain);
/* Keeps a rotation's old keys past the switch, as long as the record is to be kept: what the daemon does
 * while the new one's is known not to be in DNS. From any thread. */
void signing_hold(const struct signing_domain *, bool held);
bool signing_held(const struct signing_domain *);
/* The keys that sign at that time. */
const struct signing_set *signing_set_at(const struct signing_domain *, int64_t now_wall_ms);

/* Both together: fills *ret and returns how many keys sign; 0: the message stays unsigned. Keys and views
 * live as long as the configuration. */
size_t signing_keys(const struct tenant *, struct str from_domain, int64_t now_wall_ms,
                    struct dkim_signer ret[DKIM_SIGN_MAX]);
