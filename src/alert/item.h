/* item.h - a raised alert on its way to the desk: a clean copy. Not for other rooms. */
#pragma once
#include "alert/alert.h"

struct alert_item {
    struct alert_item *next;
    struct alert alert; /* its strings follow it */
    struct str also[ALERT_ALSO_MAX];
    size_t bytes;
    bool only_written; /* for the log and the history alone */
};

/* Copies at most the lengths of alert.h, in UTF-8, control characters (C1 too) and marks of
 * direction made blanks (lines of texts stay).
 * Never NULL; to be freed with free. */
struct alert_item *alert_item_new(const struct alert *);
