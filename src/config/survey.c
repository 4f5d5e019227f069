#include "config/survey.h"
#include "config/token.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* One text being read: the file itself or an included one. */
struct text {
    struct survey *survey;
    struct scanner scanner;
    struct token next;
    const struct text *includer; /* NULL: the file itself */
    int depth;                   /* of includes */
};

static void complain(struct text *t, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void complain(struct text *t, int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    config_error_vadd(t->survey->errors, (struct config_place){t->scanner.file, line}, false, format, args);
    va_end(args);
    t->survey->failed = true;
}

static void advance(struct text *t) {
    if (t->next.kind == TOKEN_BAD)
        return;
    t->next = scanner_next(&t->scanner);
    if (t->next.kind == TOKEN_BAD)
        t->survey->failed = true;
}

/* Passes the token on to libConfuse, and goes to the next. */
static struct token take(struct text *t) {
    struct survey *s = t->survey;
    struct token token = t->next;
    if (token.kind != TOKEN_END && token.kind != TOKEN_BAD) {
        if (s->place_count == s->place_cap) {
            s->place_cap = s->place_cap ? s->place_cap * 2 : 256;
            s->places = xrealloc(s->places, s->place_cap * sizeof *s->places);
        }
        s->places[s->place_count++] = (struct config_place){t->scanner.file, token.line};
        buf_str(&s->flat, token.text);
        buf_char(&s->flat, '\n');
    }
    advance(t);
    return token;
}

static bool at_sign(const struct text *t, char sign) {
    return t->next.kind == TOKEN_SIGN && t->next.sign == sign;
}

static bool at_value(const struct text *t) {
    return t->next.kind == TOKEN_WORD || t->next.kind == TOKEN_QUOTED;
}

static bool at_end(const struct text *t) { return t->next.kind == TOKEN_END || t->next.kind == TOKEN_BAD; }

/* What stands at a place, for messages. */
static struct str token_words(struct text *t) {
    if (t->next.kind == TOKEN_END)
        return STR("the end of the file");
    return str_printf(t->survey->arena, "`%.*s`", STR_FMT(str_head(t->next.text, 60)));
}

/* Goes past a block whose opening brace is next. */
static void skip_block(struct text *t) {
    int open = 0;
    do {
        open += at_sign(t, '{') ? 1 : at_sign(t, '}') ? -1 : 0;
        advance(t);
    } while (open > 0 && !at_end(t));
}

/* Does this sign come after the token that is next? */
static bool sign_follows(const struct text *t, char sign) {
    struct scanner look = t->scanner;
    look.errors = NULL;
    struct token after = scanner_next(&look);
    return after.kind == TOKEN_SIGN && after.sign == sign;
}

/* After an error behind a name: goes past what looks like its value or block. */
static void skip_value(struct text *t) {
    if (at_sign(t, '=') || at_sign(t, '+')) {
        advance(t);
        if (at_value(t))
            advance(t);
    } else if (t->next.kind == TOKEN_QUOTED || (at_value(t) && sign_follows(t, '{'))) {
        advance(t);
    }
    if (at_sign(t, '{'))
        skip_block(t);
}

/* ---- names ---- */

static size_t option_index(const struct config_option *table, struct str name) {
    size_t i = 0;
    while (table[i].kind != CONFIG_END && !str_eq(name, str_of(table[i].name)))
        i++;
    return i;
}

static const char *nearest(const struct config_option *table, struct str name) {
    size_t best = name.len < 4 ? 1 : name.len < 8 ? 2 : 3;
    const char *found = NULL;
    for (; table->kind != CONFIG_END; table++) {
        size_t distance = str_distance(name, str_of(table->name));
        if (distance < best || (distance == best && !found))
            best = distance, found = table->name;
    }
    return found;
}

static void unknown(struct text *t, const struct config_option *table) {
    struct token name = t->next;
    struct str text = str_head(name.text, 60);
    advance(t);
    bool block = at_sign(t, '{') || (at_value(t) && sign_follows(t, '{'));
    const char *what = block ? "section" : "option", *known = nearest(table, name.text);
    if (known)
        complain(t, name.line, "unknown %s `%.*s`, did you mean `%s`?", what, STR_FMT(text), known);
    else
        complain(t, name.line, "unknown %s `%.*s`", what, STR_FMT(text));
    skip_value(t);
}

/* ---- name = value ---- */

static void doubled(struct text *t, int line, const char *what, struct config_place first) {
    if (strcmp(first.file, t->scanner.file) == 0)
        complain(t, line, "%s is there twice: first at line %d", what, first.line);
    else
        complain(t, line, "%s is there twice: first at %s:%d", what, first.file, first.line);
}

static void read_list(struct text *t, const char *name) {
    struct token open = take(t);
    for (;;) {
        if (at_sign(t, '}')) {
            take(t);
            return;
        }
        if (at_value(t)) {
            take(t);
            if (at_sign(t, ',')) {
                take(t);
                continue;
            }
            if (at_sign(t, '}'))
                continue;
        }
        if (t->next.kind == TOKEN_BAD)
            return;
        complain(t, t->next.line, "expected `,` or `}` in the list `%s` opened at line %d, found %.*s", name,
                 open.line, STR_FMT(token_words(t)));
        t->next.kind = TOKEN_BAD; /* where it should have ended is anybody's guess */
        return;
    }
}

static void read_option(struct text *t, const struct config_option *option, struct config_entry *entry) {
    struct token name = take(t);
    bool list = option->kind == CONFIG_LIST;
    if (at_sign(t, '{')) {
        complain(t, name.line, "`%s` is not a section: write %s = %s", option->name, option->name,
                 list ? "{...}" : "value");
        skip_block(t);
        return;
    }
    if (!at_sign(t, '=') && !at_sign(t, '+')) {
        complain(t, name.line, "missing `=` after `%s`", option->name);
        skip_value(t);
        return;
    }
    if (at_sign(t, '+') && !list)
        complain(t, name.line, "`+=` is for lists, and `%s` takes one value", option->name);
    else if (at_sign(t, '=') && entry->written)
        doubled(t, name.line, str_printf(t->survey->arena, "option `%s`", option->name).at, entry->place);
    take(t);
    if (!entry->written) {
        entry->written = true;
        entry->place = (struct config_place){t->scanner.file, name.line};
    }
    if (at_sign(t, '{') && list) {
        read_list(t, option->name);
    } else if (at_sign(t, '{')) {
        complain(t, name.line, "`%s` takes one value, not a list", option->name);
        skip_block(t);
    } else if (at_value(t) && !(t->next.kind == TOKEN_WORD && sign_follows(t, '='))) {
        take(t);
    } else if (t->next.kind != TOKEN_BAD) {
        complain(t, name.line, "`%s` has no value", option->name);
    }
}

/* ---- name { ... }, name "title" { ... } ---- */

static void read_body(struct text *t, struct config_node *node, const char *what);

static struct config_node *section_add(struct arena *arena, const struct config_option *option,
                                       struct config_entry *entry, struct config_place place) {
    struct config_node *child = config_node_new(arena, option->options, option->name, place);
    if (entry->section_count == entry->section_cap) {
        size_t cap = entry->section_cap ? entry->section_cap * 2 : CONFIG_SECTIONS_FIRST;
        struct config_node **grown = arena_array(arena, struct config_node *, cap);
        if (entry->section_count)
            memcpy(grown, entry->sections, entry->section_count * sizeof *grown);
        entry->sections = grown;
        entry->section_cap = cap;
    }
    entry->sections[entry->section_count++] = child;
    if (!entry->written)
        entry->place = place;
    entry->written = true;
    return child;
}

/* Takes the title, or says what is wrong with it. */
static bool read_title(struct text *t, const struct config_option *option, struct token name,
                       struct str *ret_title) {
    bool titled = option->kind == CONFIG_TITLED;
    *ret_title = STR_NULL;
    if (!titled && !at_value(t))
        return true;
    if (!titled) {
        complain(t, name.line, "`%s` has no title: write %s { ... }", option->name, option->name);
    } else if (!at_value(t)) {
        complain(t, name.line, "`%s` needs a title: write %s \"%s\" { ... }", option->name, option->name,
                 option->title_doc ? option->title_doc : "name");
    } else if (!token_plain(&t->next, ret_title)) {
        complain(t, name.line, "the title of a section can't hold a backslash or `${`");
    } else if (ret_title->len == 0) {
        complain(t, name.line, "the title of `%s` is empty", option->name);
    } else {
        *ret_title = str_copy(t->survey->arena, *ret_title);
        take(t);
        return true;
    }
    skip_value(t);
    return false;
}

static void read_section(struct text *t, const struct config_option *option, struct config_entry *entry) {
    struct arena *arena = t->survey->arena;
    struct token name = take(t);
    struct str title, what;
    if (at_sign(t, '=') || at_sign(t, '+')) {
        complain(t, name.line, "`%s` is a section: write %s%s { ... }", option->name, option->name,
                 option->kind == CONFIG_TITLED ? " \"title\"" : "");
        skip_value(t);
        return;
    }
    if (!read_title(t, option, name, &title))
        return;
    what = title.len ? str_printf(arena, "section `%s \"%.*s\"`", option->name, STR_FMT(title))
                     : str_printf(arena, "section `%s`", option->name);
    if (!at_sign(t, '{')) {
        complain(t, name.line, "missing `{` after %.*s", STR_FMT(what));
        return;
    }
    for (size_t i = 0; i < entry->section_count; i++) {
        if (str_eq(entry->sections[i]->title, title)) {
            doubled(t, name.line, what.at, entry->sections[i]->place);
            break;
        }
    }
    struct config_node *child =
        section_add(arena, option, entry, (struct config_place){t->scanner.file, name.line});
    child->title = title;
    take(t);
    read_body(t, child, what.at);
}

/* ---- include ---- */

static void read_text(struct survey *, const char *file, struct str content, const struct text *includer,
                      struct config_node *node);
static bool read_file(struct survey *, const char *path, struct str *ret_content, const char **ret_why);

/* Is it one of those that are being read? */
static bool is_open(const struct text *t, const char *path) {
    struct stat a, b;
    for (; t; t = t->includer)
        if (stat(path, &a) == 0 && stat(t->scanner.file, &b) == 0 && a.st_dev == b.st_dev &&
            a.st_ino == b.st_ino)
            return true;
    return false;
}

static void read_include(struct text *t, struct config_node *node) {
    struct arena *arena = t->survey->arena;
    struct str path, content;
    const char *why = NULL;
    int line = t->next.line;
    advance(t);
    bool opened = at_sign(t, '(');
    if (opened)
        advance(t);
    if (!opened || !token_plain(&t->next, &path) || !sign_follows(t, ')')) {
        complain(t, line, "write include(\"file\")");
        t->next.kind = TOKEN_BAD;
        return;
    }
    path = str_copy(arena, path);
    ptrdiff_t slash = str_rindex(str_of(t->scanner.file), '/');
    if (slash >= 0 && !str_starts(path, STR("/")))
        path = str_printf(arena, "%.*s/%.*s", (int)slash, t->scanner.file, STR_FMT(path));
    advance(t);
    if (is_open(t, path.at))
        complain(t, line, "%s includes itself", path.at);
    else if (t->depth >= CONFIG_INCLUDES_DEEP)
        complain(t, line, "includes are nested more than %d deep", CONFIG_INCLUDES_DEEP);
    else if (read_file(t->survey, path.at, &content, &why))
        read_text(t->survey, path.at, content, t, node);
    else
        complain(t, line, "can't include %s: %s", path.at, why);
    advance(t);
}

/* ---- the whole ---- */

static void read_statement(struct text *t, struct config_node *node) {
    if (t->next.kind != TOKEN_WORD) {
        complain(t, t->next.line, "expected the name of an option, found %.*s", STR_FMT(token_words(t)));
        if (at_sign(t, '{'))
            skip_block(t);
        else
            advance(t);
        return;
    }
    size_t i = option_index(node->table, t->next.text);
    if (str_eq(t->next.text, STR("include")))
        read_include(t, node);
    else if (node->table[i].kind == CONFIG_END)
        unknown(t, node->table);
    else if (node->table[i].options)
        read_section(t, &node->table[i], &node->entries[i]);
    else
        read_option(t, &node->table[i], &node->entries[i]);
}

static void read_body(struct text *t, struct config_node *node, const char *what) {
    while (!at_end(t) && !at_sign(t, '}'))
        read_statement(t, node);
    if (t->next.kind == TOKEN_END) {
        complain(t, node->place.line, "%s is opened here and not closed at the end of the file", what);
        t->next.kind = TOKEN_BAD; /* the sections around it are open too: once is enough */
    }
    if (at_sign(t, '}'))
        take(t);
}

static void read_text(struct survey *s, const char *file, struct str content, const struct text *includer,
                      struct config_node *node) {
    config_error_file(s->errors, file);
    const char *nul = content.len ? memchr(content.at, '\0', content.len) : NULL;
    if (nul) {
        int line = 1;
        for (const char *p = content.at; p < nul; p++)
            line += *p == '\n';
        config_error_add(s->errors, (struct config_place){file, line}, false,
                         "a NUL byte: this is not a text file");
        s->failed = true;
        return;
    }
    if (str_starts(content, STR("\xef\xbb\xbf")))
        content = str_from_index(content, 3);
    struct text t = {.survey = s,
                     .scanner = {.rest = content, .file = file, .line = 1, .errors = s->errors},
                     .includer = includer,
                     .depth = includer ? includer->depth + 1 : 0};
    advance(&t);
    while (!at_end(&t)) {
        if (at_sign(&t, '}')) {
            complain(&t, t.next.line, "unexpected `}`: no section is open here");
            advance(&t);
        } else {
            read_statement(&t, node);
        }
    }
}

static bool read_file(struct survey *s, const char *path, struct str *ret_content, const char **ret_why) {
    struct buf all = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : 0;
    while (fd >= 0 && all.len <= CONFIG_FILE_MAX) {
        buf_reserve(&all, 65536);
        got = read(fd, all.at + all.len, 65536);
        if (got > 0)
            all.len += (size_t)got;
        else if (got == 0 || errno != EINTR)
            break;
    }
    *ret_why = got < 0 ? strerror(errno) : "it is larger than 16mb";
    if (fd >= 0)
        close(fd);
    bool ok = got >= 0 && all.len <= CONFIG_FILE_MAX;
    if (ok)
        *ret_content = str_copy(s->arena, buf_view(&all));
    buf_free(&all);
    return ok;
}

struct config_node *survey_read(struct survey *s, const char *file, struct str text,
                                const struct config_option *options) {
    const char *path = str_c(s->arena, str_of(file)), *why;
    struct config_node *root = config_node_new(s->arena, options, NULL, (struct config_place){path, 0});
    if (text.at || read_file(s, path, &text, &why)) {
        read_text(s, path, text, NULL, root);
    } else {
        config_error_add(s->errors, root->place, false, "can't read it: %s", why);
        s->failed = true;
    }
    return s->failed ? NULL : root;
}
