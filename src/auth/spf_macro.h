/* spf_macro.h - macro strings of SPF (RFC 7208 section 7). */
#pragma once
#include "base/ip.h"

enum spf_macro_use {
    SPF_MACRO_DOMAIN,      /* domain-spec of a mechanism or modifier: must end in a label or macro */
    SPF_MACRO_VALUE,       /* value of an unknown modifier */
    SPF_MACRO_EXPLANATION, /* text of exp=: spaces, and the letters c, r and t */
};

/* What the letters stand for. */
struct spf_macro_values {
    struct ip ip;
    struct str sender;        /* s: local@domain, never without a local part */
    struct str local;         /* l */
    struct str sender_domain; /* o */
    struct str domain;        /* d: of the record that is being evaluated */
    struct str helo;          /* h */
    struct str receiver;      /* r */
    int64_t now;              /* t, wall clock ms */
    /* p: the validated name of the client (5.5), asked for only when it is used; NULL: "unknown". */
    struct str (*validated)(void *context);
    void *context;
};

/* NULL when the syntax is right, else what is wrong. */
const char *spf_macro_fault(struct str text, enum spf_macro_use);

/* Expands; false on a syntax fault, or when an explanation grows over `limit` octets. As a DOMAIN the result
 * loses labels from the left until at most 253 octets are left (7.3), and a final dot. */
[[nodiscard]] bool spf_macro_expand(struct arena *, struct str text, enum spf_macro_use,
                                    const struct spf_macro_values *, size_t limit, struct str *ret);
