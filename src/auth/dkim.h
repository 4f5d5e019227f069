/* dkim.h - DKIM signatures of a message: verify and make them while it streams (RFC 6376, 8301, 8463).
 *
 * First the header, then the body in chunks cut anywhere, then the end. The header, and the memory that it
 * looks at, must outlive the object. One thread at a time.
 */
#pragma once
#include "auth/dkim_key.h"
#include "mail/header.h"
#include "rt/resolver.h"

enum {
    DKIM_VERIFY_MAX = 16,   /* signatures of a message that are looked at, from the top */
    DKIM_SIGN_MAX = 4,      /* keys that sign one message */
    DKIM_HEADERS_MAX = 256, /* names in an h= */
    DKIM_SKEW_S = 300,      /* what another clock may be ahead */
};

/* Results by their names in Authentication-Results (RFC 8601 2.7.1). */
#define DKIM_RESULTS(X)                                                                                      \
    X(NONE, "none")                                                                                          \
    X(PASS, "pass")                                                                                          \
    X(FAIL, "fail")           /* does not fit the message, or out of its time */                             \
    X(POLICY, "policy")       /* we accept no such key: too short or too long */                             \
    X(TEMPERROR, "temperror") /* the DNS did not answer: may pass later */                                   \
    X(PERMERROR, "permerror") /* malformed, rsa-sha1, no key, revoked */

enum dkim_result {
#define X(name, text) DKIM_##name,
    DKIM_RESULTS(X)
#undef X
};
const char *dkim_result_name(enum dkim_result);

/* One signature. Views are in the arena of the verifier, "" when not known. */
struct dkim_verdict {
    enum dkim_result result;
    struct str reason;       /* for people; "" with pass */
    struct str domain;       /* d=, lower case, A-labels */
    struct str selector;     /* s=, likewise */
    struct str identity;     /* i= decoded, any octets; or @d= */
    struct str algorithm;    /* a= as written */
    struct str b;            /* the first 8 characters of b=, for header.b (RFC 6008) */
    unsigned key_bits;       /* 0: no key was seen */
    bool testing;            /* the key has t=y: a failure says nothing */
    uint64_t unsigned_bytes; /* of the body's canonical form, past l= */
};

struct dkim_verdicts {
    struct dkim_verdict *items; /* in the order of the header */
    size_t count;
    size_t ignored; /* signatures past DKIM_VERIFY_MAX */
};

struct dkim_verify;

/* Reads the signatures of `header`. `now_s`: seconds since the epoch. Never NULL. */
struct dkim_verify *dkim_verify_new(struct arena *, const struct header *, int64_t now_s);
void dkim_verify_body(struct dkim_verify *, struct str chunk);
/* The message is whole: asks for the keys (each name once; waits at most until `deadline`, monotonic ms) and
 * judges. Once. */
struct dkim_verdicts dkim_verify_end(struct dkim_verify *, struct resolver *, int64_t deadline);
/* Accepts NULL, returns NULL. Verdicts stay, in the arena. */
struct dkim_verify *dkim_verify_free(struct dkim_verify *);
/* Is there anything to verify? If not, the body need not be fed. */
bool dkim_verify_wants_body(const struct dkim_verify *);

/* Who signs. Nothing is copied. */
struct dkim_signer {
    const struct dkim_key *key;
    struct str domain; /* A-labels */
    struct str selector;
    struct str identity; /* i=; "" leaves it out */
};

struct dkim_sign_settings {
    const struct dkim_signer *signers; /* each makes a field of its own */
    size_t signer_count;               /* at most DKIM_SIGN_MAX */
    int64_t now_s;
    int64_t expire_s;           /* x= is so many seconds after t=; 0: no x= */
    const char *const *headers; /* names to sign, NULL-terminated; NULL: dkim_sign_headers */
};

/* What is signed by default: what says who wrote to whom and what it is, not what a hop may add or change
 * (5.4.1). */
extern const char *const dkim_sign_headers[];

/* Writes h=: every field present that has one of the names, in that order and as often as it is there, From
 * once more than that, so that none can be added. At most DKIM_HEADERS_MAX. */
void dkim_sign_list(const struct header *, const char *const *names, struct buf *out);

struct dkim_sign;

/* relaxed/relaxed; `body` is what body_hash.h makes of the body. Copies what it needs of the header; the
 * signers' texts and keys outlive the object. Never NULL. */
struct dkim_sign *dkim_sign_new(const struct header *, const uint8_t body[DKIM_DIGEST_SIZE],
                                const struct dkim_sign_settings *);
/* The private keys are used, once. Touches nothing but this object: fit for an offload
 * thread. On an error (dkim_key_sign) nothing may be written. */
[[nodiscard]] int dkim_sign_run(struct dkim_sign *);
/* Appends the fields, with CRLF and folded, to stand in front of the message. */
void dkim_sign_write(const struct dkim_sign *, struct buf *out);
/* Accepts NULL, returns NULL. */
struct dkim_sign *dkim_sign_free(struct dkim_sign *);
