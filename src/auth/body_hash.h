/* body_hash.h - the digest of a body that our signatures and our seal share: SHA-256 of its relaxed form (RFC
 * 6376 3.4.4).
 *
 * The body is hashed once, while it streams; whether and with which keys it is signed may be decided later.
 */
#pragma once
#include "auth/dkim_key.h"

struct body_hash;

/* Never NULL. */
struct body_hash *body_hash_new(void);
/* The next octets of the body, cut anywhere. */
void body_hash_feed(struct body_hash *, struct str);
/* The body is whole. Once. */
void body_hash_end(struct body_hash *, uint8_t out[DKIM_DIGEST_SIZE]);
/* Accepts NULL, returns NULL. */
struct body_hash *body_hash_free(struct body_hash *);
