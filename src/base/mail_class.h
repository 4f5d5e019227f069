/* mail_class.h - the four kinds of mail: risk x origin (design, step 5). The numbers are stored in the spool
 * and never change. */
#pragma once
#include "base/str.h"

#define MAIL_CLASSES(X)                                                                                      \
    X(NORMAL, 0, "normal")                                                                                   \
    X(HIGH_RISK, 1, "high-risk")                                                                             \
    X(RELAY, 2, "relay")                                                                                     \
    X(HIGH_RISK_RELAY, 3, "high-risk-relay")

enum mail_class {
#define X(name, value, text) CLASS_##name = (value),
    MAIL_CLASSES(X)
#undef X
};
enum { MAIL_CLASS_COUNT = 4 };

/* "normal", ...; NULL for a number that is no class. */
const char *mail_class_name(enum mail_class);
bool mail_class_parse(struct str name, enum mail_class *ret_class);
/* Of mail whose sender nobody could verify? */
bool mail_class_is_relay(enum mail_class);
