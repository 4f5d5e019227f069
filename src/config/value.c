#include "config/node.h"

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit SIZE_UNITS[] = {
    {"", 1},         {"b", 1},       {"k", 1 << 10},  {"kb", 1 << 10}, {"m", 1 << 20},
    {"mb", 1 << 20}, {"g", 1 << 30}, {"gb", 1 << 30}, {NULL, 0},
};
static const struct unit DURATION_UNITS[] = {
    {"ms", 1}, {"s", 1000}, {"min", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}, {NULL, 0},
};

static bool parse_unit(struct str s, const struct unit *units, int64_t *ret) {
    size_t digits = 0;
    uint64_t n;
    while (digits < s.len && s.at[digits] >= '0' && s.at[digits] <= '9')
        digits++;
    if (!str_to_u64(str_head(s, digits), &n) || n > INT64_MAX)
        return false;
    struct str unit = str_trim(str_from_index(s, digits));
    for (; units->name; units++) {
        if (str_eq_nocase(unit, str_of(units->name)))
            return !__builtin_mul_overflow((int64_t)n, units->factor, ret);
    }
    return false;
}

bool config_parse_size(struct str s, int64_t *ret_bytes) {
    int64_t value;
    if (!parse_unit(s, SIZE_UNITS, &value))
        return false;
    *ret_bytes = value;
    return true;
}

bool config_parse_duration(struct str s, int64_t *ret_ms) {
    int64_t value = 0;
    if (!str_eq(s, STR("0")) && !parse_unit(s, DURATION_UNITS, &value))
        return false;
    *ret_ms = value;
    return true;
}

bool config_parse_bool(struct str s, bool *ret) {
    static const char *const WORDS[] = {"off", "on", "false", "true", "no", "yes"};
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
        if (str_eq_nocase(s, str_of(WORDS[i]))) {
            *ret = i % 2 == 1;
            return true;
        }
    }
    return false;
}

static bool parse_integer(struct str s, int64_t *ret) {
    uint64_t n;
    bool minus = s.len > 0 && *s.at == '-';
    if (!str_to_u64(str_from_index(s, minus), &n) || n > INT64_MAX)
        return false;
    *ret = minus ? -(int64_t)n : (int64_t)n;
    return true;
}

static struct str allowed_words(struct arena *arena, const char *const *words) {
    struct buf b __attribute__((cleanup(buf_free))) = {0};
    for (size_t i = 0; words[i]; i++)
        buf_printf(&b, "%s%s", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
    return str_copy(arena, buf_view(&b));
}

struct str config_number_text(struct arena *arena, const struct config_option *option, int64_t n) {
    const struct unit *units = option->kind == CONFIG_SIZE ? SIZE_UNITS : DURATION_UNITS, *best = NULL;
    if (option->kind == CONFIG_INTEGER || n == 0)
        return str_printf(arena, "%lld", (long long)n);
    for (; units->name; units++)
        if (n % units->factor == 0)
            best = units;
    return str_printf(arena, "%lld%s", (long long)(n / best->factor), best->name);
}

/* `min` and `max` both 0: from 0 up. */
static bool in_bounds(const struct config_option *option, int64_t n, struct arena *arena,
                      struct str *ret_why) {
    bool open = option->min == 0 && option->max == 0;
    if (n >= option->min && (open || n <= option->max))
        return true;
    struct str low = config_number_text(arena, option, option->min);
    struct str high = config_number_text(arena, option, option->max);
    if (open || option->max == INT64_MAX)
        *ret_why = str_printf(arena, "at least %.*s", STR_FMT(low));
    else
        *ret_why = str_printf(arena, "from %.*s to %.*s", STR_FMT(low), STR_FMT(high));
    return false;
}

bool config_value(const struct config_option *option, struct str text, struct arena *arena,
                  int64_t *ret_number, struct str *ret_why) {
    int64_t n = 0;
    bool truth = false;
    switch (option->kind) {
    case CONFIG_BOOL:
        *ret_why = STR("on or off");
        if (!config_parse_bool(text, &truth))
            return false;
        *ret_number = truth;
        return true;
    case CONFIG_INTEGER:
        *ret_why = STR("a whole number");
        if (!parse_integer(text, &n))
            return false;
        break;
    case CONFIG_SIZE:
        *ret_why = STR("a size, such as 512kb, 25mb or 1gb");
        if (!config_parse_size(text, &n))
            return false;
        break;
    case CONFIG_DURATION:
        *ret_why = STR("a time with its unit, such as 500ms, 30s, 5min, 1h or 2d");
        if (!config_parse_duration(text, &n))
            return false;
        break;
    case CONFIG_ENUM:
        for (n = 0; option->words[n]; n++) {
            if (str_eq_nocase(text, str_of(option->words[n]))) {
                *ret_number = n;
                return true;
            }
        }
        *ret_why = allowed_words(arena, option->words);
        return false;
    default:
        *ret_number = 0;
        return true;
    }
    if (!in_bounds(option, n, arena, ret_why))
        return false;
    *ret_number = n;
    return true;
}
