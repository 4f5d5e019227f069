#include "dsn/dsn.h"

bool dsn_due(const struct dsn_question *q, struct str *ret_why) {
    /* RFC 3461 4.1: without NOTIFY a failure is reported, a delay need not be. */
    unsigned notify = q->notify ? q->notify : DSN_NOTIFY_FAILURE;
    unsigned wanted = q->action == DSN_FAILED ? DSN_NOTIFY_FAILURE : DSN_NOTIFY_DELAY;
    if (!q->reverse_path.len)
        *ret_why = STR("the reverse-path is null: nobody can be told (double bounce)");
    else if (q->judged_spam)
        *ret_why = STR("the message was judged spam: a report could hit a forged sender");
    else if (notify & DSN_NOTIFY_NEVER)
        *ret_why = STR("NOTIFY=NEVER was asked");
    else if (!(notify & wanted))
        *ret_why = q->action == DSN_FAILED ? STR("NOTIFY was given without FAILURE")
                                           : STR("NOTIFY=DELAY was not asked");
    else
        return true;
    return false;
}
