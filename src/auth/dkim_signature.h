/* dkim_signature.h - one signature as a header field has it: read, its header digest, its body digest.
 *
 * DKIM-Signature (RFC 6376 3.5), ARC-Message-Signature and ARC-Seal (RFC 8617 4.1) differ in a few tags only.
 */
#pragma once
#include "auth/canon.h"
#include "auth/dkim.h"
#include "auth/dkim_tags.h"

enum dkim_kind { DKIM_MESSAGE, DKIM_ARC_MESSAGE, DKIM_ARC_SEAL };

struct dkim_signature {
    const struct header_field *field;
    enum dkim_kind kind;
    enum dkim_algorithm algorithm;
    enum canon header_mode, body_mode;
    struct str domain, selector; /* lower case */
    struct str identity;         /* as written, or @d= */
    struct str algorithm_text;   /* a= as written */
    struct str headers;          /* h= as written */
    struct str b, b_text;        /* decoded; as written */
    struct str b_hole;           /* for canon_signature_field */
    struct str body_hash;        /* decoded */
    struct str cv;               /* of a seal */
    bool has_length, has_time, has_expiry;
    uint64_t length, time, expiry;
    unsigned instance; /* of ARC, 1 to 50 */
};

/* Reads a field's value. DKIM_PASS: well-formed and of an algorithm that is allowed. Else DKIM_PERMERROR and
 * *ret_why; what could be read until then is in *ret. */
enum dkim_result dkim_signature_parse(struct arena *, enum dkim_kind, const struct header_field *,
                                      struct dkim_signature *ret, struct str *ret_why);

/* Finds fields by name from the bottom up, each once (RFC 6376 5.4.2). */
struct dkim_fields {
    const struct header *header;
    uint64_t *hashes; /* of the names */
    uint8_t *used;
};
struct dkim_fields dkim_fields_of(struct arena *, const struct header *);
/* Every field may be taken anew. */
void dkim_fields_reset(struct dkim_fields *);
/* The lowest field of that name that was not taken yet, or NULL. */
const struct header_field *dkim_fields_take(struct dkim_fields *, struct str name);
/* Appends the fields that `list` (an h=) names. */
void dkim_fields_canon(struct dkim_fields *, struct str list, enum canon, struct buf *out);

void dkim_sha256(struct str bytes, uint8_t out[DKIM_DIGEST_SIZE]);

/* The digest of a body that streams. dkim_body_hash_free it. */
struct dkim_body_hash {
    struct canon_body canon;
    void *context; /* EVP_MD_CTX */
    bool limited;
    uint64_t limit; /* hashed at most, when limited */
    uint64_t total; /* of the canonical form */
};
void dkim_body_hash_start(struct dkim_body_hash *, enum canon, bool limited, uint64_t limit);
void dkim_body_hash_feed(struct dkim_body_hash *, struct str chunk);
void dkim_body_hash_end(struct dkim_body_hash *, uint8_t out[DKIM_DIGEST_SIZE]);
void dkim_body_hash_free(struct dkim_body_hash *);

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
};
/* The record of `signature`. Never NULL; valid until the next call. */
const struct dkim_lookup *dkim_lookup_key(struct dkim_lookups *, const struct dkim_signature *);
void dkim_lookups_free(struct dkim_lookups *);
/* May that record have made that signature? DKIM_PASS, or the result and why not. */
enum dkim_result dkim_key_allowed(const struct dkim_record *, const struct dkim_signature *,
                                  struct str *ret_why);
