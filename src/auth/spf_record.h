/* spf_record.h - the text of an SPF record, term by term (RFC 7208 sections 4.6.1, 5, 6, 7.1).
 *
 * Views into the record; nothing is allocated. Whoever evaluates or audits a
 * record checks it whole first (spf_record_check), then walks its terms.
 */
#pragma once
#include "base/ip.h"

#define SPF_TERM_KINDS(X)                                                                                    \
    X(ALL, "all")                                                                                            \
    X(INCLUDE, "include")                                                                                    \
    X(A, "a")                                                                                                \
    X(MX, "mx")                                                                                              \
    X(PTR, "ptr")                                                                                            \
    X(IP4, "ip4")                                                                                            \
    X(IP6, "ip6")                                                                                            \
    X(EXISTS, "exists")                                                                                      \
    X(REDIRECT, "redirect")                                                                                  \
    X(EXP, "exp")                                                                                            \
    X(UNKNOWN, "")

enum spf_term_kind {
#define X(name, text) SPF_TERM_##name,
    SPF_TERM_KINDS(X)
#undef X
};

struct spf_term {
    struct str text; /* as written, qualifier included */
    enum spf_term_kind kind;
    char qualifier;        /* '+', '-', '~', '?'; '+' when not written; 0 for modifiers */
    struct str domain;     /* domain-spec with its macros; "" when not written. UNKNOWN: the value */
    struct ip network;     /* IP4, IP6 */
    unsigned bits4, bits6; /* prefix lengths; 32 and 128 when not written */
};

/* "v=spf1" alone or before a space, in any case? Other TXT records are not ours to judge (4.5). */
bool spf_is_record(struct str text);

/* What follows the version of a record, for spf_term_next. */
struct str spf_record_terms(struct str record);

/* Takes the next term off *rest. 1: *ret is set. 0: the end. SLUICE_ESYNTAX: *ret->text is the term, *ret_why
 * says what is wrong with it. */
[[nodiscard]] int spf_term_next(struct str *rest, struct spf_term *ret, const char **ret_why);

/* The record as a whole: every term, and at most one redirect and one exp (section 6), whose domain-specs
 * are given (empty views when absent). SLUICE_ESYNTAX as above. */
struct spf_record {
    struct spf_term redirect, exp; /* text.len is 0 when absent */
    size_t terms;
    bool has_all;
};
[[nodiscard]] int spf_record_check(struct str record, struct spf_record *ret, struct str *ret_term,
                                   const char **ret_why);

/* Does this term ask the DNS, and so count against the ten of section 4.6.4? */
bool spf_term_asks(enum spf_term_kind);
