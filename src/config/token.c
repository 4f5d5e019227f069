#include "config/token.h"

static struct token bad(struct scanner *s, int line, const char *message) {
    if (s->errors)
        config_error_add(s->errors, (struct config_place){s->file, line}, false, "%s", message);
    return (struct token){.kind = TOKEN_BAD, .line = line};
}

static bool ends_word(char c) {
    return (unsigned char)c <= ' ' || c == 127 || strchr("#\"'={}()+,*", c) != NULL;
}

/* libConfuse closes a comment only where it says so; one that is never closed would hide the rest. */
static bool skip_blanks(struct scanner *s, struct token *ret_bad) {
    while (s->rest.len > 0) {
        char c = *s->rest.at;
        if (c == '\n') {
            s->line++;
            s->rest = str_from_index(s->rest, 1);
        } else if (c == ' ' || c == '\t' || c == '\r') {
            s->rest = str_from_index(s->rest, 1);
        } else if (c == '#' || str_starts(s->rest, STR("//"))) {
            ptrdiff_t end = str_index(s->rest, '\n');
            s->rest = str_from_index(s->rest, end < 0 ? s->rest.len : (size_t)end);
        } else if (str_starts(s->rest, STR("/*"))) {
            ptrdiff_t end = str_find(str_from_index(s->rest, 2), STR("*/"));
            if (end < 0) {
                *ret_bad = bad(s, s->line, "the comment that starts here is never closed");
                return false;
            }
            for (ptrdiff_t i = 0; i < end; i++)
                s->line += s->rest.at[2 + i] == '\n';
            s->rest = str_from_index(s->rest, (size_t)end + 4);
        } else {
            return true;
        }
    }
    return true;
}

static bool is_octal(char c) { return c >= '0' && c <= '7'; }

static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f');
}

static unsigned hex(char c) { return (unsigned)(c <= '9' ? c - '0' : ascii_lower(c) - 'a' + 10); }

/* The length of the escape at `at` (which starts with a backslash); 0: one that libConfuse reads wrongly, a
 * NUL included. */
static size_t escape_length(struct str at) {
    if (at.len < 2 || at.at[1] == '\n')
        return 0;
    unsigned value = 0;
    size_t n = 1;
    if (at.at[1] == 'x' && at.len > 2 && is_hex(at.at[2])) {
        for (n = 2; n < 4 && n < at.len && is_hex(at.at[n]); n++)
            value = value * 16 + hex(at.at[n]);
        return value ? n : 0;
    }
    if (at.at[1] < '0' || at.at[1] > '9')
        return 2;
    for (; n < 4 && n < at.len && is_octal(at.at[n]); n++)
        value = value * 8 + (unsigned)(at.at[n] - '0');
    bool more_digits = n < at.len && at.at[n] >= '0' && at.at[n] <= '9';
    return value > 0 && value < 256 && !more_digits ? n : 0;
}

/* "...", '...': closed on the same line. `${` in double quotes needs its `}`. */
static struct token quoted(struct scanner *s) {
    char quote = *s->rest.at;
    size_t n = 1;
    while (n < s->rest.len && s->rest.at[n] != quote) {
        char c = s->rest.at[n];
        if (c == '\n')
            break;
        if (c == '\\') {
            size_t escape = quote == '"' ? escape_length(str_from_index(s->rest, n)) : 2;
            if (escape == 0 || n + escape > s->rest.len || s->rest.at[n + 1] == '\n')
                return bad(s, s->line, "a backslash that escapes nothing: write \\\\ for a backslash itself");
            n += escape;
        } else if (c == '$' && quote == '"' && n + 1 < s->rest.len && s->rest.at[n + 1] == '{') {
            struct str tail = str_from_index(s->rest, n);
            ptrdiff_t close = str_index(tail, '}'), line_end = str_index(tail, '\n');
            if (close < 0 || (line_end >= 0 && line_end < close))
                return bad(s, s->line, "`${` without its `}`; write \\$ for a dollar sign itself");
            n += (size_t)close + 1;
        } else {
            n++;
        }
    }
    if (n >= s->rest.len || s->rest.at[n] != quote)
        return bad(s, s->line, "the string that starts here has no closing quote on its line");
    struct token t = {.kind = TOKEN_QUOTED, .text = str_head(s->rest, n + 1), .line = s->line};
    s->rest = str_from_index(s->rest, n + 1);
    return t;
}

/* An unquoted value; ${NAME} only as the whole of it. */
static struct token word(struct scanner *s) {
    size_t n = 0;
    if (str_starts(s->rest, STR("${"))) {
        while (n < s->rest.len && s->rest.at[n] != '}' && s->rest.at[n] != '\n')
            n++;
        if (n == s->rest.len || s->rest.at[n] != '}')
            return bad(s, s->line, "`${` without its `}`");
        n++;
    } else {
        while (n < s->rest.len && !ends_word(s->rest.at[n]))
            n++;
        if (n > 0 && n < s->rest.len && s->rest.at[n - 1] == '$' && s->rest.at[n] == '{')
            return bad(s, s->line, "a value with `${` inside must stand in double quotes");
    }
    struct token t = {.kind = TOKEN_WORD, .text = str_head(s->rest, n), .line = s->line};
    s->rest = str_from_index(s->rest, n);
    bool glued =
        s->rest.len > 0 && (strchr("*+'\"", *s->rest.at) || (t.text.at[0] == '$' && !ends_word(*s->rest.at)));
    if (glued && !str_starts(s->rest, STR("+=")))
        return bad(s, s->line, "a value with such characters must stand in double quotes");
    return t;
}

struct token scanner_next(struct scanner *s) {
    struct token problem;
    if (!skip_blanks(s, &problem))
        return problem;
    if (s->rest.len == 0)
        return (struct token){.kind = TOKEN_END, .line = s->line};
    char c = *s->rest.at;
    if (c == '"' || c == '\'')
        return quoted(s);
    size_t n = str_starts(s->rest, STR("+=")) ? 2 : 1;
    if (n == 2 || strchr("{}()=,", c)) {
        struct token t = {.kind = TOKEN_SIGN, .sign = c, .text = str_head(s->rest, n), .line = s->line};
        s->rest = str_from_index(s->rest, n);
        return t;
    }
    if (!ends_word(c))
        return word(s);
    if ((unsigned char)c > ' ' && c != 127)
        return bad(s, s->line, "a value that starts with `*` or `+` must stand in double quotes");
    return bad(s, s->line, "a control character: this is not a text file");
}

bool token_plain(const struct token *t, struct str *ret_text) {
    if (t->kind != TOKEN_WORD && t->kind != TOKEN_QUOTED)
        return false;
    struct str inner = t->text;
    if (t->kind == TOKEN_QUOTED)
        inner = str_from(inner.at + 1, inner.len - 2);
    if (str_index(inner, '\\') >= 0 || str_find(inner, STR("${")) >= 0)
        return false;
    *ret_text = inner;
    return true;
}
