#include "base/outcome.h"

struct outcome outcome_copy(struct arena *arena, struct outcome o) {
    o.enhanced = str_copy(arena, o.enhanced);
    o.text = str_copy(arena, o.text);
    return o;
}

struct str outcome_line(struct arena *arena, const struct outcome *o) {
    const char *gap = o->enhanced.len ? " " : "";
    if (!o->code)
        return str_printf(arena, "%.*s%s%.*s", STR_FMT(o->enhanced), gap, STR_FMT(o->text));
    return str_printf(arena, "%d %.*s%s%.*s", o->code, STR_FMT(o->enhanced), gap, STR_FMT(o->text));
}
