/* content.h - a message's bytes on their way in: the header is held back until it is whole, freed of what
 * speaks falsely in our name, and goes with the body to the spool, to the digest of our signatures and to
 * who verifies the signatures of others.
 */
#pragma once
#include "auth/arrival.h"
#include "auth/body_hash.h"
#include "flow/flow.h"
#include "mail/header.h"
#include "policy/verdict.h"
#include "scan/copy.h"

struct content_settings {
    struct str authserv_id; /* Authentication-Results of this name are forged (RFC 8601 5) */
    bool verify;            /* look at the signatures that it carries */
    bool digest;            /* it may get a signature of ours */
    int64_t now;            /* wall ms */
    bool trusted;           /* nothing in it is forged: a milter of ours wrote it */
    /* Keep a copy for scanners and milters there; NULL: nobody will look. It must outlive the content. */
    const struct scan_copy_place *scan;
};

struct content {
    struct content_settings settings;
    struct arena *arena;
    struct spool_body *body; /* NULL once content_take has given it away */
    struct buf head;         /* as it came, until the header is whole */
    size_t head_len;         /* that it had then: the header, and what came along of the body */
    struct header_end head_end;
    struct header original; /* as it came; once `whole` */
    struct header header;   /* as it goes on; once `whole` */
    uint64_t body_at;       /* in what goes on: header, empty line, body */
    bool whole;             /* the header's end was seen */
    bool header_too_long;
    unsigned forged; /* fields that were taken out */
    struct gtube_finder gtube;
    struct eicar_finder eicar;
    struct arrival *arrival; /* NULL: nothing is verified */
    struct body_hash *hash;  /* NULL: no digest is wanted */
    struct scan_copy *copy;  /* what goes to the spool, once more; NULL: nobody will look */
    int error;               /* of the spool, or of the copy, or TOOBIG with header_too_long */
};

/* In the arena, which must outlive it. Never NULL. */
struct content *content_new(struct flow *, struct arena *, const struct content_settings *);
/* From a fiber. Not 0: no more is wanted (`error` stays). */
[[nodiscard]] int content_add(struct content *, struct str bytes);
/* The message is whole. Not 0: `error`. */
[[nodiscard]] int content_end(struct content *);
/* The body's digest as our signatures want it; only with `digest`, after content_end. */
void content_digest(struct content *, uint8_t out[DKIM_DIGEST_SIZE]);
/* Gives the body away, to spool_commit. */
struct spool_body *content_take(struct content *);
/* Gives up what is left. Accepts NULL, returns NULL. */
struct content *content_free(struct content *);
