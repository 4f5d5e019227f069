/* outcome.h - what became of mail: the answer of a step, apart from programming errors.
 *
 * Scope says whom the answer concerns, so the caller knows what else to stop.
 * Permanence says whether to try again. The texts are views into the memory of
 * whoever made the outcome; copy to keep (outcome_copy).
 */
#pragma once
#include "base/str.h"

enum outcome_scope {
    OUTCOME_RECIPIENT, /* this recipient only */
    OUTCOME_MESSAGE,   /* this message at this receiver */
    OUTCOME_SESSION,   /* this connection: another may do better */
    OUTCOME_HOST,      /* this host: the next MX may do better */
    OUTCOME_RECEIVER,  /* everything for this receiver */
};

enum outcome_fate { OUTCOME_DONE, OUTCOME_LATER, OUTCOME_NEVER };

struct outcome {
    enum outcome_scope scope;
    enum outcome_fate fate;
    int code;            /* SMTP reply code; 0 when none was given */
    struct str enhanced; /* "5.1.1" (RFC 3463); empty when none */
    struct str text;     /* the receiver's words, or ours */
    bool remote;         /* the text is the receiver's reply */
};

struct outcome outcome_copy(struct arena *, struct outcome);

/* "550 5.1.1 text", for DSN, trace and logs. */
struct str outcome_line(struct arena *, const struct outcome *);
