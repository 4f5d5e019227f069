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
    struct str domain, selector; /* lower case, A-labels */
    struct str identity;         /* decoded, or @d= */
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
