/* verdict.h - step 4: what the message is judged to be.
 */
#pragma once
#include "mail/header.h"
#include "policy/tenant.h"

enum verdict { VERDICT_CLEAN, VERDICT_SPAM, VERDICT_MALWARE };

/* "clean", "spam", "malware". */
const char *verdict_name(enum verdict);

/* The GTUBE test string, found while the message streams in. Zero-initialise. */
struct gtube_finder {
    unsigned matched;
    bool found;
};
/* True once it was found. */
bool gtube_feed(struct gtube_finder *, struct str chunk);

/* The verdict of the header of a connector that is trusted (trust-verdict), and of GTUBE from anybody.
 * *ret_why is a short sentence, static or in `arena`; "" when clean. `connector` may be NULL. */
enum verdict verdict_of(struct arena *, const struct policy *, const struct connector *,
                        const struct header *, bool gtube, struct str *ret_why);
