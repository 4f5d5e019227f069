/* arc.h - the Authenticated Received Chain (RFC 8617): judge one that comes in, add our seal.
 *
 * As in dkim.h: first the header, then the body in chunks, then the end; the header outlives the object.
 */
#pragma once
#include "auth/dkim.h"

enum { ARC_INSTANCES_MAX = 50 };

enum arc_result { ARC_NONE, ARC_PASS, ARC_FAIL };
/* "none", "pass", "fail". */
const char *arc_result_name(enum arc_result);

struct arc_verdict {
    enum arc_result result;
    unsigned instances;   /* the highest i= that was found, 0 to 50 */
    bool ended;           /* the newest seal says cv=fail: nobody may seal on top */
    unsigned oldest_pass; /* with pass: the oldest instance from which on the message is unchanged; 0: all
                             (RFC 8617 5.2) */
    bool temporary;       /* fail only because the DNS did not answer */
    struct str reason;    /* for people; "" with none and pass */
    struct str domain;    /* d= of the newest seal; "" when not known */
    struct str results;   /* what the newest set's ARC-Authentication-Results says after i=; unfolded */
};

struct arc_verify;

struct arc_verify *arc_verify_new(struct arena *, const struct header *);
bool arc_verify_wants_body(const struct arc_verify *);
void arc_verify_body(struct arc_verify *, struct str chunk);
/* RFC 8617 5.2: the newest message signature and every seal. Each key is asked for once, at most until
 * `deadline`. */
struct arc_verdict arc_verify_end(struct arc_verify *, struct resolver *, int64_t deadline);
/* Accepts NULL, returns NULL. */
struct arc_verify *arc_verify_free(struct arc_verify *);

/* The results of all Authentication-Results fields that carry `authserv_id`, joined in the header's order as
 * one value: "id; spf=pass ...; dkim=pass ...". "" when there is none. */
struct str arc_results_of(struct arena *, const struct header *, struct str authserv_id);

struct arc_seal_settings {
    struct dkim_signer signer; /* identity is not used */
    struct str results;        /* a value of Authentication-Results, authserv-id first (RFC 8601 2.2) */
    int64_t now_s;
    const char *const *headers; /* as in dkim_sign_settings */
    bool only_headers;          /* h= is just `headers`, each once */
};

struct arc_seal;

/* A seal on top of the chain that `verdict` is about; `body` is what body_hash.h makes of the body. NULL when
 * there can be none: the chain has ended or is full. */
struct arc_seal *arc_seal_new(const struct header *, const uint8_t body[DKIM_DIGEST_SIZE],
                              const struct arc_verdict *, const struct arc_seal_settings *);
/* Two operations with the private key. Touches nothing but this object and the header:
 * fit for an offload thread. */
[[nodiscard]] int arc_seal_run(struct arc_seal *);
/* Appends the three fields, with CRLF, to stand in front of the message. */
void arc_seal_write(const struct arc_seal *, struct buf *out);
/* Accepts NULL, returns NULL. */
struct arc_seal *arc_seal_free(struct arc_seal *);
