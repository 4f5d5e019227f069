#include "base/shell.h"
#include "base/buf.h"

static bool is_plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("@%+=:,./-_", c));
}

struct str shell_word(struct arena *arena, struct str name) {
    struct buf word __attribute__((cleanup(buf_free))) = {0};
    size_t plain = 0;
    while (plain < name.len && is_plain(name.at[plain]))
        plain++;
    if (name.len && plain == name.len)
        return str_copy(arena, name);
    buf_char(&word, '\'');
    for (size_t i = 0; i < name.len; i++)
        buf_str(&word, name.at[i] == '\'' ? STR("'\\''") : str_from(name.at + i, 1));
    buf_char(&word, '\'');
    return str_copy(arena, buf_view(&word));
}
