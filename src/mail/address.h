/* address.h - mail addresses: the paths of SMTP and the address lists of headers.
 *
 * SMTP paths are strict (RFC 5321 4.1.2, RFC 6531 3.3), address lists take what
 * RFC 5322 4 still allows to be read. Views look at the input unless an arena is
 * passed. The wire form `local@domain` is what envelopes, spool and trace carry.
 */
#pragma once
#include "base/str.h"

enum {
    ADDRESS_LOCAL_MAX = 64,   /* octets, RFC 5321 4.5.3.1.1 */
    ADDRESS_DOMAIN_MAX = 255, /* 4.5.3.1.2 */
    ADDRESS_PATH_MAX = 256,   /* with the angle brackets, 4.5.3.1.3 */
};

struct address {
    struct str whole;  /* local@domain as written, no brackets, no source route; "" for <> */
    struct str local;  /* as written, quotes included */
    struct str domain; /* as written; "[192.0.2.1]" for a literal; "" for <> and a bare postmaster */
    bool utf8;         /* has a byte over 127: needs SMTPUTF8 */
};

enum address_flags {
    ADDRESS_ALLOW_NULL = 1,       /* <> (MAIL) */
    ADDRESS_ALLOW_POSTMASTER = 2, /* <Postmaster> without a domain (RCPT) */
    ADDRESS_ALLOW_UTF8 = 4,       /* SMTPUTF8 was given */
};

/* Reads the path at the front of `s`, which starts with '<'; a source route (@a,@b:) is checked and dropped.
 * *ret_rest is what follows '>'. 0; SLUICE_ESYNTAX; SLUICE_ETOOBIG for a part over its length (501 5.1.7 or
 * 5.1.3); SLUICE_EDENIED for UTF-8 that is not allowed (553 5.6.7). */
[[nodiscard]] int address_path(struct str s, unsigned flags, struct address *ret, struct str *ret_rest);

/* Reads a bare addr-spec (all of `s`), as address_path does what stands between the brackets. An empty view
 * is the null path. The way back from the wire form of spool, ORCPT and configuration. */
[[nodiscard]] int address_parse(struct str s, unsigned flags, struct address *ret);

/* Splits a wire form that is known to be valid: at the last '@'. Never fails; no '@': all is the local part.
 */
struct address address_split(struct str whole);

/* A host name or domain of an address: labels of letters, digits, hyphens (underscores are let through, as in
 * real host names), U-labels when `utf8`. At most 255 octets, labels at most 63. No final dot, no literal. */
bool domain_valid(struct str domain, bool utf8);
/* "[192.0.2.1]", "[IPv6:2001:db8::1]": RFC 5321 4.1.3. */
bool domain_is_literal(struct str domain);

/* The form in which domains are compared and asked for: lower case, A-labels (UTS 46 non-transitional through
 * libidn2), no final dot; literals in lower case. SLUICE_ESYNTAX when it is no domain. */
[[nodiscard]] int domain_normal(struct arena *, struct str domain, struct str *ret);
/* Equal as domains; spelling of case and U- or A-labels is ignored. Invalid ones compare byte for byte. */
bool domain_same(struct str a, struct str b);

/* The local part without its quoting: `"a\@b"` gives `a@b`. */
struct str local_plain(struct arena *, struct str local);
/* The wire form of a plain local part: quoted only when it must be. */
struct str local_quoted(struct arena *, struct str plain);

/* Local parts equal byte for byte after unquoting (RFC 5321 2.4), domains as domain_same. */
bool address_same(struct str whole_a, struct str whole_b);
/* Wire form with the domain normalised and needless quoting removed; NULL view when it is no address. */
struct str address_normal(struct arena *, struct str whole);

/* The mailbox that an address in wire form leads to: address_normal, without what stands behind a "+" (RFC
 * 5233). What can't be read, and "" or "<>", stays as it is. */
struct str address_mailbox(struct arena *, struct str whole);

/* One mailbox of an address list. The address is rebuilt in wire form: comments and white space gone. */
struct mailbox {
    struct str display; /* decoded from quotes, encoded words left alone; "" when none */
    struct address address;
};

struct address_list {
    struct mailbox *items;
    size_t count;
};

/* Reads the value of From, To, Cc, Bcc, Reply-To or Sender (RFC 5322 3.4 and 4.4): groups are flattened,
 * comments dropped, UTF-8 allowed. SLUICE_ESYNTAX when some part is no address: *ret then holds the ones that
 * could be read. At most 10,000 (SLUICE_ETOOBIG). */
[[nodiscard]] int address_list_parse(struct arena *, struct str value, struct address_list *ret);
