#include "config/config.h"
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

/* The folder of a file, absolute; "" when it can't be found out. */
static struct str folder_of(struct arena *arena, const char *file) {
    char real[PATH_MAX];
    ptrdiff_t slash = str_rindex(str_of(file), '/');
    struct str folder = slash < 0 ? STR(".") : slash == 0 ? STR("/") : str_from(file, (size_t)slash);
    return realpath(str_c(arena, folder), real) ? str_copy(arena, str_of(real)) : STR("");
}

/* "/a/./b/../c" as "/a/c": by words only, so `path` must come from realpath as far as it exists. */
static struct str resolve_dots(struct arena *arena, struct str path) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    struct str part;
    while (str_cut(&path, '/', &part)) {
        if (part.len == 0 || str_eq(part, STR(".")))
            continue;
        if (!str_eq(part, STR(".."))) {
            buf_char(&out, '/');
            buf_str(&out, part);
            continue;
        }
        ptrdiff_t slash = str_rindex(buf_view(&out), '/');
        out.len = slash < 0 ? 0 : (size_t)slash;
    }
    if (out.len == 0)
        buf_char(&out, '/');
    return str_copy(arena, buf_view(&out));
}

struct str config_beside(struct arena *arena, const char *file, struct str path) {
    if (str_starts(path, STR("/")))
        return str_copy(arena, path);
    return resolve_dots(arena,
                        str_printf(arena, "%.*s/%.*s", STR_FMT(folder_of(arena, file)), STR_FMT(path)));
}

const char *config_path(struct arena *arena, const struct config_node *node, const char *name,
                        const char *start) {
    struct str path = config_string(node, name);
    if (!path.len)
        return NULL;
    if (str_starts(path, STR("/")))
        return str_c(arena, path);
    struct str first = str_printf(arena, "%s/%.*s", start ? start : "", STR_FMT(path));
    struct str second = config_beside(arena, config_file(node, name), path);
    return start && (access(first.at, F_OK) == 0 || access(second.at, F_OK) != 0) ? first.at : second.at;
}
