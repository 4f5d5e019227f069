/* srs.h - the reverse-path of forwarded mail: rewritten so that bounces find back.
 *
 * Open forms, as libsrs2, Mail::SRS and PostSRSd write them:
 *   SRS0=HHHH=TT=domain=local@ours         first forwarder
 *   SRS1=HHHH=first==HHHH=TT=...@ours      each one after it; goes back to the first
 * Microsoft's forms:
 *   user+SRS=HHHHH=TT=domain=local@forwarder
 *   bounces+SRS=HHHHH=TT@ours              too long, or no forwarder: the way back ends here
 * H is the start of a keyed hash in base64, TT base32 of days since 1970 modulo 1024. Nothing is kept:
 * the address is all there is. Pure; the clock is passed in.
 */
#pragma once
#include "base/str.h"

enum srs_style { SRS_STYLE_OPEN, SRS_STYLE_MICROSOFT };
/* What is written; both are read. PostSRSd 2 writes the first, libsrs2 and Mail::SRS the second. */
enum srs_alphabet { SRS_BASE64URL, SRS_BASE64 };

enum { SRS_MAX_AGE_DAYS = 21 };

struct srs_settings {
    enum srs_style style;
    enum srs_alphabet alphabet;
    char separator;            /* after SRS0 and SRS1: '=', '+' or '-'; 0 means '=' */
    struct str domain;         /* of SRS0, SRS1 and bounces+SRS addresses */
    const struct str *secrets; /* the first one signs, each one verifies */
    size_t secret_count;
    unsigned max_age_days; /* 0 means SRS_MAX_AGE_DAYS; at most 1000 */
};

enum srs_form { SRS_UNCHANGED, SRS_SRS0, SRS_SRS1, SRS_USER, SRS_BOUNCES };

struct srs_rewritten {
    struct str address;
    enum srs_form form;
    bool fits; /* the local part has at most 64 octets and the path at most 254: every server takes it */
};

/* Rewrites `sender` (wire form) for mail that goes on in the name of `forwarder` ("" when there is none; only
 * Microsoft's style looks at it). The null path and senders in our domain (or, in Microsoft's style, the
 * forwarder's) stay as they are. Result in `arena`.
 * SLUICE_ESYNTAX: no address, or its local part is "". SLUICE_EINVALID: no secret, no domain, or a bad
 * separator. */
[[nodiscard]] int srs_forward(const struct srs_settings *, struct str sender, struct str forwarder,
                              int64_t now_wall_ms, struct arena *arena, struct srs_rewritten *ret);

#define SRS_VERDICTS(X)                                                                                      \
    X(GOOD, "the rewritten address is genuine")                                                              \
    X(OTHER, "not a rewritten address")                                                                      \
    X(MALFORMED, "the rewritten address is incomplete")                                                      \
    X(FORGED, "the hash of the rewritten address is wrong")                                                  \
    X(EXPIRED, "the rewritten address is too old")

enum srs_verdict {
#define X(name, text) SRS_##name,
    SRS_VERDICTS(X)
#undef X
};
const char *srs_verdict_text(enum srs_verdict);

struct srs_original {
    struct str
        address; /* where a bounce goes on to; "" for SRS_BOUNCES, whose sender is not in the address */
    enum srs_form form;
    size_t secret; /* the index of the secret that verified it */
};

/* Reads an address that mail was sent to. Hash and age are checked without regard to case. Every style and
 * separator is read, whatever the settings write. Whether the domain is ours is the caller's to ask.
 * *ret is set with SRS_GOOD only; GOOD for SRS1 says that we wrote it, not that its first form is genuine:
 * the first forwarder checks that. A day ahead is let through (clocks differ), more is EXPIRED. */
enum srs_verdict srs_reverse(const struct srs_settings *, struct str recipient, int64_t now_wall_ms,
                             struct arena *arena, struct srs_original *ret);
