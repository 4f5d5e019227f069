/* dkim_check.h - what checking signatures costs, paid once for all those of a message: body, keys, computing.
 */
#pragma once
#include "auth/dkim_signature.h"

/* Ends the process when OpenSSL could not even hash: its configuration is then broken. */
void dkim_must(bool done);

/* The digest of a body that streams: of all of it, and of its first octets. Does not move;
 * dkim_body_hash_free it. */
enum { DKIM_CUTS_MAX = 50, DKIM_HELD_SIZE = 1024 };
struct dkim_body_cut {
    uint64_t length; /* of the canonical form */
    bool reached;
    uint8_t digest[DKIM_DIGEST_SIZE];
};
struct dkim_body_hash {
    struct canon_body canon;
    void *context; /* EVP_MD_CTX */
    uint64_t total, next_cut;
    uint8_t held[DKIM_HELD_SIZE]; /* the canonical form comes in small pieces: they are hashed together */
    size_t held_len;
    struct dkim_body_cut cuts[DKIM_CUTS_MAX];
    size_t cut_count;
    uint8_t digest[DKIM_DIGEST_SIZE]; /* at the end */
};
void dkim_body_hash_start(struct dkim_body_hash *, enum canon);
/* Before the first feed: the digest of the first `length` octets (l=) is wanted too. Past DKIM_CUTS_MAX they
 * are never reached. */
void dkim_body_hash_cut(struct dkim_body_hash *, uint64_t length);
void dkim_body_hash_feed(struct dkim_body_hash *, struct str chunk);
void dkim_body_hash_end(struct dkim_body_hash *);
/* After the end; NULL when the body is shorter. */
const uint8_t *dkim_body_hash_at(const struct dkim_body_hash *, uint64_t length);
void dkim_body_hash_free(struct dkim_body_hash *);

/* The body for any number of signatures: one pass for each canonical form that one of them has.
 * Zero-initialise. */
struct dkim_bodies {
    struct dkim_body_hash forms[CANON_RELAXED + 1];
    bool used[CANON_RELAXED + 1];
};
void dkim_bodies_want(struct dkim_bodies *, const struct dkim_signature *);
bool dkim_bodies_wanted(const struct dkim_bodies *);
void dkim_bodies_feed(struct dkim_bodies *, struct str chunk);
void dkim_bodies_end(struct dkim_bodies *);
/* After the end: is it the body that was signed? DKIM_PASS and how much of it was not covered, or the result
 * and why not. */
enum dkim_result dkim_bodies_check(const struct dkim_bodies *, const struct dkim_signature *,
                                   struct str *ret_why, uint64_t *ret_unsigned);
void dkim_bodies_free(struct dkim_bodies *);

/* The key records that one message asks for, each once. */
struct dkim_lookup {
    struct str name;
    enum dkim_result result; /* DKIM_PASS: the record is there and is of use */
    struct str why;
    struct dkim_record record;
};
struct dkim_lookups {
    struct arena *arena;
    struct resolver *resolver;
    int64_t deadline;
    struct dkim_lookup *items;
    size_t count, cap;
    size_t next; /* the first that nobody has asked for */
};
/* Notes that the signature's record is wanted. */
void dkim_lookups_want(struct dkim_lookups *, const struct dkim_signature *);
/* Asks for all that are wanted, some at a time, side by side. */
void dkim_lookups_run(struct dkim_lookups *);
/* After that. NULL when it was never wanted. */
const struct dkim_lookup *dkim_lookups_find(struct dkim_lookups *, const struct dkim_signature *);
void dkim_lookups_free(struct dkim_lookups *);

/* May that record have made that signature? DKIM_PASS, or the result and why not. */
enum dkim_result dkim_key_allowed(const struct dkim_record *, const struct dkim_signature *,
                                  struct str *ret_why);
/* Did that key sign those fields? Computes on an offload thread. */
bool dkim_signature_fits(struct dkim_fields *, const struct dkim_signature *, const struct dkim_record *);
