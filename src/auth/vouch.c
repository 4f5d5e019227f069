#include "auth/vouch.h"

enum { HEADER_ROOM = 2 * HEADER_BYTES_MAX }; /* what came, and what we add to it */

static int sign(const struct vouch *v, struct arena *arena, struct buf *out) {
    struct header header;
    struct dkim_sign_settings settings = {
        .signers = v->signers, .signer_count = v->signer_count, .now_s = v->now_s};
    int error = header_parse(arena, v->header, HEADER_ROOM, &header);
    if (error)
        return error;
    struct dkim_sign *sign = dkim_sign_new(&header, v->digest, &settings);
    error = dkim_sign_run(sign);
    if (!error)
        dkim_sign_write(sign, out);
    dkim_sign_free(sign);
    return error;
}

static int seal(const struct vouch *v, struct str signatures, struct arena *arena, struct buf *out) {
    struct header header;
    struct arc_seal_settings settings = {.signer = v->sealer, .results = v->results, .now_s = v->now_s};
    struct str all = str_printf(arena, "%.*s%.*s", STR_FMT(signatures), STR_FMT(v->header));
    int error = header_parse(arena, all, HEADER_ROOM, &header);
    struct arc_seal *seal = error ? NULL : arc_seal_new(&header, v->digest, v->chain, &settings);
    if (!seal)
        return error;
    error = arc_seal_run(seal);
    if (!error)
        arc_seal_write(seal, out);
    arc_seal_free(seal);
    return error;
}

int vouch_write(const struct vouch *v, struct arena *arena, struct buf *out) {
    struct buf signatures __attribute__((cleanup(buf_free))) = {0};
    int error = v->signer_count ? sign(v, arena, &signatures) : 0;
    if (!error && v->sealer.key)
        error = seal(v, buf_view(&signatures), arena, out);
    if (!error)
        buf_str(out, buf_view(&signatures));
    return error;
}
