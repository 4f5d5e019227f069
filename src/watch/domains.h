/* domains.h - whose the tenants' domains are, as `sluice domain` shows and changes it: for the daemon, and
 * for the command line when there is none. identity/ownership.h has the rules.
 */
#pragma once
#include "api/api.h"
#include "identity/ownership.h"
#include "rt/dns_patience.h"
#include "settings/settings.h"
#include <stdatomic.h>

/* So many at a time, where somebody waits. */
enum { DOMAINS_WAVE = 64 };

struct domains {
    struct ownership *table;
    const char *file; /* STATE/identity/domains.json */
    int lock;         /* on its folder, of the one who may write; -1: only looks */
};

/* `keep`: makes the folder and locks it; BUSY when another process has. A damaged file is set aside,
 * *ret_damage says so, and nothing is known then. Else 0, or an error and *ret_why. Blocks. */
[[nodiscard]] int domains_open(const struct settings *, bool keep, struct arena *, struct str *ret_damage,
                               struct str *ret_why, struct domains *ret);
void domains_close(struct domains *);
/* Reads the secret anew; `make`: one that is missing is made, unless the configuration names it. On an
 * error the one that was in use stays; without any there are no tokens. Blocks. */
[[nodiscard]] int domains_secret(const struct domains *, const struct settings *, bool make, struct arena *,
                                 struct str *ret_why);

/* The tenant's accepted domains among `names` (any spelling), or all of them with none. NOTFOUND: *ret_why
 * names one that no tenant has. In the arena. */
struct domains_one {
    struct str tenant, domain;
};
[[nodiscard]] int domains_select(const struct settings *, const struct str *names, size_t count,
                                 struct arena *, struct str *ret_why, struct domains_one **ret,
                                 size_t *ret_count);
/* For `add`: INVALID: no domain, or another tenant's. *ret_configured: the tenant's already. */
[[nodiscard]] int domains_addable(const struct settings *, struct str tenant, struct str written,
                                  struct arena *, struct str *ret_why, struct domains_one *ret,
                                  bool *ret_configured);

/* Views into the arena. */
struct api_domain domains_row(const struct domains *, const struct settings *, const struct domains_one *,
                              struct arena *);

/* Questions for tokens, by any number of fibers of one worker. */
struct domains_round {
    const struct settings *settings;
    struct ownership *table;
    const struct domains_one *at;
    size_t count, next;
    struct dns_patience patience; /* set by domains_ask */
    atomic_size_t done;           /* any thread may look */
    int64_t pause_ms;             /* of each fiber, after each question */
    void (*noted)(void *ctx, const struct ownership_fact *, enum ownership_finding,
                  bool changed); /* or NULL */
    void *ctx;
};
/* Puts them into any order: of a round of which none of the first is answered the rest is not asked, and what
 * is dead must not come first each time. */
void domains_shuffle(struct domains_one *, size_t count, uint64_t seed);
/* Takes one after the other until none is left; each of the fibers calls it once. */
void domains_ask(struct domains_round *, struct resolver *);
