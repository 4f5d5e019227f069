/* vouch.h - our signatures on a message, and our seal on top of them, in one step.
 */
#pragma once
#include "auth/arc.h"

struct vouch {
    struct str header;                /* of the message as it leaves, without what is made here */
    uint8_t digest[DKIM_DIGEST_SIZE]; /* of its body (body_hash.h) */
    struct dkim_signer signers[DKIM_SIGN_MAX];
    size_t signer_count;
    struct dkim_signer sealer;       /* key NULL: no seal */
    const struct arc_verdict *chain; /* that the seal goes on top of */
    struct str results;              /* what it says was found: a value of Authentication-Results */
    int64_t now_s;
};

/* Appends the fields, with CRLF: the seal, which covers our signatures too, then those. A chain that has
 * ended or is full gets no seal (RFC 8617 5.1). Costs an operation of each private key: for an offload
 * thread, which has the arena to itself. SLUICE_ETOOBIG, or an error of the keys: nothing was appended. */
[[nodiscard]] int vouch_write(const struct vouch *, struct arena *, struct buf *out);
