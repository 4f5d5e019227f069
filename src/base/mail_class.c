#include "base/mail_class.h"

static const char *const names[MAIL_CLASS_COUNT] = {
#define X(name, value, text) [value] = (text),
    MAIL_CLASSES(X)
#undef X
};

const char *mail_class_name(enum mail_class class) {
    return (unsigned)class < MAIL_CLASS_COUNT ? names[class] : NULL;
}

bool mail_class_parse(struct str name, enum mail_class *ret_class) {
    for (unsigned i = 0; i < MAIL_CLASS_COUNT; i++)
        if (str_eq(name, str_of(names[i]))) {
            *ret_class = (enum mail_class)i;
            return true;
        }
    return false;
}

bool mail_class_is_relay(enum mail_class class) {
    return class == CLASS_RELAY || class == CLASS_HIGH_RISK_RELAY;
}
