/* verdict.h - step 4: what the message is judged to be.
 */
#pragma once
#include "mail/header.h"
#include "policy/tenant.h"

/* From the best to the worst. UNSCANNED: it should have been scanned, and no scanner could. */
enum verdict { VERDICT_CLEAN, VERDICT_UNSCANNED, VERDICT_SPAM, VERDICT_MALWARE };

/* "clean", "unscanned", "spam", "malware". */
const char *verdict_name(enum verdict);

/* The GTUBE test string, found while the message streams in. Zero-initialise. */
struct gtube_finder {
    unsigned matched;
    bool found;
};
/* True once it was found. */
bool gtube_feed(struct gtube_finder *, struct str chunk);

/* The EICAR test string at the start of a line, likewise: in plain text only, not inside base64. */
struct eicar_finder {
    unsigned matched;
    bool elsewhere; /* in a line that began otherwise */
    bool found;
};
bool eicar_feed(struct eicar_finder *, struct str chunk);

/* The test strings that were found in a message. */
struct verdict_marks {
    bool gtube, eicar;
};

/* The verdict of the headers of a connector that is trusted (trust-verdict), and of the test strings from
 * anybody: the worst that applies. *ret_why is a short sentence, static or in `arena`; "" when clean.
 * `connector` may be NULL. */
enum verdict verdict_of(struct arena *, const struct policy *, const struct connector *,
                        const struct header *, struct verdict_marks, struct str *ret_why);
