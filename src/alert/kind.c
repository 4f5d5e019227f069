#include "alert/alert.h"

static const struct {
    struct str word, title;
    enum alert_level level;
} kinds[ALERT_KINDS] = {[ALERT_NONE] = {{"", 0}, {"", 0}, ALERT_INFO},
#define X(name, word, level, title)                                                                          \
    [ALERT_##name] = {{(word), sizeof(word) - 1}, {(title), sizeof(title) - 1}, ALERT_##level},
                        ALERTS(X)
#undef X
};

static bool known(enum alert_kind kind) { return kind > ALERT_NONE && kind < ALERT_KINDS; }

struct str alert_word(enum alert_kind kind) {
    return kinds[known(kind) ? kind : ALERT_NONE].word;
}
struct str alert_title(enum alert_kind kind) {
    return kinds[known(kind) ? kind : ALERT_NONE].title;
}
enum alert_level alert_level(enum alert_kind kind) { return kinds[known(kind) ? kind : ALERT_NONE].level; }

bool alert_watched(enum alert_kind kind) {
    return kind == ALERT_SOURCE_LISTED || kind == ALERT_SOURCE_UNCONFIRMED || kind == ALERT_IDENTITY_FAULT ||
           kind == ALERT_SCANNER_DOWN;
}

bool alert_lasts(enum alert_kind kind) {
    return alert_watched(kind) || kind == ALERT_SENDER_RESTRICTED || kind == ALERT_TENANT_RESTRICTED;
}

bool alert_for_tenants(enum alert_kind kind) {
    switch (kind) {
    case ALERT_NONE:
    case ALERT_KINDS:
    case ALERT_SOURCE_LISTED:
    case ALERT_SOURCE_UNCONFIRMED:
    case ALERT_SOURCE_UNBINDABLE:
    case ALERT_SCANNER_DOWN:
    case ALERT_GUARD:
    case ALERT_TEST:
        return false;
    default:
        return true;
    }
}

enum alert_kind alert_of_word(struct str word) {
    for (enum alert_kind kind = ALERT_NONE + 1; kind < ALERT_KINDS; kind++)
        if (str_eq_nocase(kinds[kind].word, word))
            return kind;
    return ALERT_NONE;
}

struct str alert_level_word(enum alert_level level) {
    return level == ALERT_ALARM ? STR("alarm") : level == ALERT_WARNING ? STR("warning") : STR("info");
}
