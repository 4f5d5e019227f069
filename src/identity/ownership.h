/* ownership.h - whose a tenant's domain is: who can put a token into its DNS.
 *
 * The token is an HMAC of tenant and domain, so it is always the same, nobody guesses another's, and nodes
 * that share the secret ask for the same one. The owner publishes it as TXT at _sluice.DOMAIN and leaves it
 * there. A domain is verified by an answer that has the token, and is so until the answers have been without
 * it for a grace time. No answer changes nothing (invariant 7): a domain that was never answered for is
 * unknown, which is neither verified nor refused for good.
 */
#pragma once
#include "config/config.h"
#include "rt/resolver.h"

#define OWNERSHIP_LABEL "_sluice."

/* ---- `tenants { }` ---- */

struct ownership_settings {
    bool verify;        /* unverified domains may not send */
    int64_t check_ms;   /* between two questions for a token */
    int64_t grace_ms;   /* how long a verified domain stays so without its token */
    const char *secret; /* absolute */
    bool secret_given;  /* by the configuration: then it is never made here */
};

extern const struct config_option ownership_options[];
/* A secret's file that is there is read, to check it; one that is given has to be there. `keys`: the folder
 * of the one that is not given. In the arena. */
struct ownership_settings ownership_load(struct arena *, const struct config_node *root, const char *state,
                                         const char *keys, struct config_errors *);

/* ---- the secret and the tokens ---- */

enum { OWNERSHIP_SECRET_SIZE = 32 };
struct ownership_secret {
    unsigned char bytes[OWNERSHIP_SECRET_SIZE];
};

/* A file of 64 hexadecimal digits that nobody but its owner may read. NOTFOUND; DENIED: others may read it,
 * or this user may not; SYNTAX; IO. *ret_why names the file and what to do. */
[[nodiscard]] int ownership_secret_read(const char *path, struct arena *, struct str *ret_why,
                                        struct ownership_secret *ret);
/* The same, where it is missing with a new one, which is on disk when this returns. Of several that make it
 * at once all get the same. */
[[nodiscard]] int ownership_secret_make(const char *path, struct arena *, struct str *ret_why,
                                        struct ownership_secret *ret);

/* "sluice-domain-verification=" and 40 hexadecimal digits. `domain` is normalised. */
struct str ownership_token(struct arena *, const struct ownership_secret *, struct str tenant,
                           struct str domain);
/* "_sluice.DOMAIN" */
struct str ownership_name(struct arena *, struct str domain);

/* ---- what is known of a domain ---- */

enum ownership_state { OWNERSHIP_UNKNOWN, OWNERSHIP_UNVERIFIED, OWNERSHIP_VERIFIED };
/* "unknown", "unverified", "verified" */
const char *ownership_state_text(enum ownership_state);

struct ownership_fact {
    struct str tenant, domain; /* the domain is normalised */
    enum ownership_state state;
    int64_t since;   /* wall ms, of the state */
    int64_t checked; /* the last answer; 0: none yet */
    int64_t missing; /* it was verified, and since then the token is not there; 0: it is, or never was */
    unsigned misses; /* answers without it, in a row, while it was verified */
    struct str why;  /* of the last question; "" when the token is there */
};

enum ownership_finding { OWNERSHIP_FOUND, OWNERSHIP_ABSENT, OWNERSHIP_UNANSWERED };

/* One question. *ret_why: a sentence, unless FOUND; in the arena. */
enum ownership_finding ownership_ask(struct resolver *, struct str domain, struct str token, int64_t deadline,
                                     struct arena *, struct str *ret_why);
/* What follows from it; `why` is kept as it is (a view). Pure. True: the state is another one now. */
bool ownership_apply(struct ownership_fact *, enum ownership_finding, struct str why, int64_t grace_ms,
                     int64_t now);

/* ---- of all domains: a table for any thread ---- */

struct ownership;
struct ownership *ownership_new(void);
struct ownership *ownership_free(struct ownership *); /* NULL is fine */

void ownership_use(struct ownership *, const struct ownership_secret *); /* NULL: there is none */
/* The token of a domain; the empty view while there is no secret. */
struct str ownership_token_of(struct ownership *, struct arena *, struct str tenant, struct str domain);

/* What is known, copied into the arena; nothing yet: UNKNOWN with no times. */
struct ownership_fact ownership_get(struct ownership *, struct arena *, struct str tenant, struct str domain);
enum ownership_state ownership_state_of(struct ownership *, struct str tenant, struct str domain);
/* Not so soon after a question that nobody answered. */
bool ownership_may_ask(struct ownership *, struct str tenant, struct str domain, int64_t now);
/* The table's own entry after ownership_apply, copied into the arena. */
struct ownership_fact ownership_note(struct ownership *, struct str tenant, struct str domain,
                                     enum ownership_finding, struct str why, int64_t grace_ms, int64_t now,
                                     struct arena *, bool *ret_changed);
/* Keeps these and forgets all others. */
void ownership_keep(struct ownership *, const struct ownership_fact *, size_t count);
/* Of which nobody has told the disk: true once after a change. */
bool ownership_take_changes(struct ownership *);

/* The file's text. Parsing: 0 or CORRUPT with *ret_why, and nothing was taken. Writing: for free(); NULL when
 * a name is no UTF-8. */
[[nodiscard]] int ownership_parse(struct ownership *, struct str text, struct arena *, struct str *ret_why);
char *ownership_text(struct ownership *);
/* The file, whole or not at all; blocks. Reading: 0; NOTFOUND; CORRUPT, IO, DENIED with *ret_why, and nothing
 * was taken from it. */
[[nodiscard]] int ownership_read(struct ownership *, const char *path, struct arena *, struct str *ret_why);
[[nodiscard]] int ownership_write(struct ownership *, const char *path, struct arena *, struct str *ret_why);
