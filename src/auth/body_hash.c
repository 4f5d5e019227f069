#include "auth/body_hash.h"
#include "auth/dkim_check.h"

#include <stdlib.h>

struct body_hash {
    struct dkim_body_hash hash;
};

struct body_hash *body_hash_new(void) {
    struct body_hash *body = xcalloc(1, sizeof *body);
    dkim_body_hash_start(&body->hash, CANON_RELAXED);
    return body;
}

void body_hash_feed(struct body_hash *body, struct str bytes) { dkim_body_hash_feed(&body->hash, bytes); }

void body_hash_end(struct body_hash *body, uint8_t out[DKIM_DIGEST_SIZE]) {
    dkim_body_hash_end(&body->hash);
    memcpy(out, body->hash.digest, DKIM_DIGEST_SIZE);
}

struct body_hash *body_hash_free(struct body_hash *body) {
    if (body)
        dkim_body_hash_free(&body->hash);
    free(body);
    return NULL;
}
