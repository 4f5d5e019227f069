/* align.h - whose domain is it? Organisational domains (RFC 7489 3.2), and what verified mail says of them.
 *
 * By the Public Suffix List as libpsl has it built in: constant, no file is read, any thread may ask.
 */
#pragma once
#include "auth/arrival.h"

/* Relaxed alignment (RFC 7489 3.1): have they the same organisational domain? Any case, U- or A-labels.
 * Public suffixes (co.uk) and domains without one align with themselves only; what is no domain (a literal,
 * "") with nothing. */
bool align_same_organisation(struct str domain_a, struct str domain_b);
/* The organisational domain of `domain`, lower case, A-labels; a public suffix, and what is below none, is
 * its own. "" for what is no domain. */
struct str align_organisation(struct arena *, struct str domain);
/* Is `domain` equal to `parent` or below it? Spelling as above; no suffix list. */
bool align_subdomain_or_same(struct str domain, struct str parent);

/* The first signature that passed, in a domain of the same organisation as `domain`; else NULL. Signatures by
 * a key in test mode don't count (t=y: "MUST NOT treat ... differently from unsigned", RFC 6376 3.6.1),
 * neither do those that leave part of the body unsigned (l=, 8.2). */
const struct dkim_verdict *arrival_aligned_dkim(const struct arrival_result *, struct str domain);

/* Against backscatter: may `reverse_path` get reports? The NULL view when it may; else one sentence why not:
 * SPF of its domain said fail or softfail, or an aligned signature failed, while neither SPF of its domain
 * nor an aligned signature passed. none, neutral, temperror, permerror forbid nothing; neither does mail that
 * was not checked. */
struct str arrival_unverified(const struct arrival_result *, struct str reverse_path, struct arena *);
