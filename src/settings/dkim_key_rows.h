/* dkim_key_rows.h - the DKIM keys of a configuration, as rows: those that sign, those of a rotation that
 * will, and those that did.
 */
#pragma once
#include "policy/rotation.h"
#include "policy/tenant.h"
#include "settings/settings.h"

enum dkim_role {
    DKIM_SIGNS,
    DKIM_NEXT, /* signs from the switch on */
    DKIM_KEEP, /* signed until the switch: the record stays for mail under way */
    DKIM_OVER, /* the record may go */
};

#define DKIM_LIVE(X)                                                                                         \
    X(OK, "ok")                                                                                              \
    X(MISSING, "missing")                                                                                    \
    X(DIFFERS, "differs")                                                                                    \
    X(REVOKED, "revoked")                                                                                    \
    X(FAILED, "DNS failed")

enum dkim_live {
#define X(name, text) DKIM_LIVE_##name,
    DKIM_LIVE(X)
#undef X
};

struct dkim_row {
    const struct signing_domain *domain;
    enum dkim_role role;
    struct str selector, name; /* name: SELECTOR._domainkey.DOMAIN */
    const char *file;
    struct dkim_key *key; /* NULL: its file is gone (an old key) */
    bool own;             /* the key is the row's */
    struct str record;    /* what has to be in DNS; "" without a key */
    /* of dkim_ask */
    enum dkim_live live;
    struct str what; /* for people */
};

struct dkim_rows {
    struct dkim_row *rows;
    size_t count;
};

/* Of a normalised domain; "": of all. None is fine. Reads the files of old keys. */
void dkim_rows_collect(struct arena *, const struct settings *, struct str domain, struct dkim_rows *ret);
void dkim_rows_free(struct dkim_rows *);
