#include "trace/event.h"

#define NAMES(list, type)                                                                                    \
    static const struct {                                                                                    \
        type value;                                                                                          \
        const char *name;                                                                                    \
    } list[]

NAMES(kinds, enum trace_kind) = {
#define X(name, value) {TRACE_##name, #name},
    TRACE_EVENTS(X)
#undef X
};
NAMES(statuses, enum trace_status) = {
#define X(name, value, text) {TRACE_STATUS_##name, text},
    TRACE_STATUSES(X)
#undef X
};
NAMES(directions, enum trace_direction) = {
#define X(name, value, text) {TRACE_DIRECTION_##name, text},
    TRACE_DIRECTIONS(X)
#undef X
};

#define LOOKUPS(list, type, name_function, parse_function)                                                   \
    const char *name_function(type value) {                                                                  \
        for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)                                            \
            if (list[i].value == value)                                                                      \
                return list[i].name;                                                                         \
        return NULL;                                                                                         \
    }                                                                                                        \
    bool parse_function(struct str text, type *ret) {                                                        \
        for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)                                            \
            if (str_eq_nocase(str_of(list[i].name), text))                                                   \
                return *ret = list[i].value, true;                                                           \
        return false;                                                                                        \
    }

LOOKUPS(kinds, enum trace_kind, trace_kind_name, trace_kind_parse)
LOOKUPS(statuses, enum trace_status, trace_status_name, trace_status_parse)
LOOKUPS(directions, enum trace_direction, trace_direction_name, trace_direction_parse)

int64_t trace_arrival(const struct trace_id *id) {
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; /* as trace_id.c writes them */
    int64_t ms = 0;
    if (!trace_id_valid(str_of(id->text)))
        return -1;
    for (int i = 0; i < 10; i++) {
        const char *digit = strchr(digits, id->text[i]);
        if (!digit)
            return -1;
        ms = ms << 5 | (digit - digits);
    }
    const int64_t end_of_9999 = 253402300799999;
    return ms <= end_of_9999 ? ms : -1;
}
