#include "config/node.h"

static const char *const KIND_NAMES[] = {
    [CONFIG_STRING] = "text", [CONFIG_BOOL] = "on or off", [CONFIG_INTEGER] = "number",
    [CONFIG_SIZE] = "size",   [CONFIG_DURATION] = "time",  [CONFIG_LIST] = "list",
};

/* "text", "number, 1 to 64", "one of none, optional, required" */
static void kind_text(struct buf *b, const struct config_option *option) {
    if (option->kind == CONFIG_ENUM) {
        for (size_t i = 0; option->words[i]; i++)
            buf_printf(b, "%s%s", i ? " | " : "", option->words[i]);
        return;
    }
    buf_printf(b, "%s", KIND_NAMES[option->kind]);
    if (option->kind == CONFIG_LIST || (option->min == 0 && option->max == 0))
        return;
    struct arena *arena = arena_new(0);
    struct str low = config_number_text(arena, option, option->min);
    if (option->max == INT64_MAX)
        buf_printf(b, ", from %.*s", STR_FMT(low));
    else
        buf_printf(b, ", %.*s to %.*s", STR_FMT(low),
                   STR_FMT(config_number_text(arena, option, option->max)));
    arena_free(arena);
}

static const char *preset_text(const struct config_option *option) {
    return option->preset_doc ? option->preset_doc : option->preset ? option->preset : "";
}

/* `site "name" { pool "name" { } }` */
static struct str path_of(struct arena *arena, struct str parent, const struct config_option *option) {
    struct str title = option->kind == CONFIG_TITLED
                           ? str_printf(arena, " \"%s\"", option->title_doc ? option->title_doc : "name")
                           : STR("");
    if (parent.len == 0)
        return str_printf(arena, "%s%.*s", option->name, STR_FMT(title));
    return str_printf(arena, "%.*s / %s%.*s", STR_FMT(parent), option->name, STR_FMT(title));
}

static void notes(struct buf *b, const struct config_option *option) {
    if (option->required)
        buf_printf(b, " Required.");
    if (option->reload == CONFIG_RESTART)
        buf_printf(b, " Takes effect at the next start.");
    if (option->inactive)
        buf_printf(b, " Accepted, not active in this version.");
}

/* A cell of a table: a bar would end it. */
static void cell(struct buf *b, struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '|')
            buf_char(b, '\\');
        buf_char(b, text.at[i]);
    }
}

static void markdown_row(struct buf *b, const struct config_option *option) {
    struct buf kind __attribute__((cleanup(buf_free))) = {0};
    kind_text(&kind, option);
    buf_printf(b, "| `%s` | ", option->name);
    cell(b, buf_view(&kind));
    buf_printf(b, " | ");
    if (option->preset && !option->preset_doc)
        buf_printf(b, "`%s`", option->preset);
    else
        cell(b, str_of(preset_text(option)));
    buf_printf(b, " | ");
    cell(b, str_of(option->doc));
    notes(b, option);
    buf_printf(b, " |\n");
}

static void markdown_table(struct buf *b, struct arena *arena, struct str path,
                           const struct config_option *table) {
    bool any = false;
    for (const struct config_option *o = table; o->kind != CONFIG_END; o++) {
        if (o->options)
            continue;
        if (!any)
            buf_printf(b, "| option | takes | default | meaning |\n|---|---|---|---|\n");
        any = true;
        markdown_row(b, o);
    }
    if (any)
        buf_char(b, '\n');
    for (const struct config_option *o = table; o->kind != CONFIG_END; o++) {
        if (!o->options)
            continue;
        struct str inner = path_of(arena, path, o);
        buf_printf(b, "## `%.*s`\n\n%s", STR_FMT(inner), o->doc);
        notes(b, o);
        buf_printf(b, "\n\n");
        markdown_table(b, arena, inner, o->options);
    }
}

void config_manual_markdown(struct buf *b, const struct config_option *options) {
    struct arena *arena = arena_new(0);
    markdown_table(b, arena, STR_NULL, options);
    arena_free(arena);
}

/* man(7): a backslash is \e, a hyphen that is meant as one is \-, and a line may not start with a dot or
 * quote. */
static void roff(struct buf *b, struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (c == '\\')
            buf_printf(b, "\\e");
        else if (c == '"')
            buf_printf(b, "\\(dq");
        else if (c == '-')
            buf_printf(b, "\\-");
        else if ((c == '.' || c == '\'') && (b->len == 0 || b->at[b->len - 1] == '\n'))
            buf_printf(b, "\\&%c", c);
        else
            buf_char(b, c);
    }
}

static void roff_option(struct buf *b, const struct config_option *option) {
    struct buf line __attribute__((cleanup(buf_free))) = {0};
    buf_printf(b, ".TP\n.B ");
    roff(b, str_of(option->name));
    buf_printf(b, "\n");
    kind_text(&line, option);
    buf_printf(&line, ". %s", option->doc);
    notes(&line, option);
    if (*preset_text(option))
        buf_printf(&line, " Default: %s.", preset_text(option));
    roff(b, buf_view(&line));
    buf_char(b, '\n');
}

static void roff_table(struct buf *b, struct arena *arena, struct str path,
                       const struct config_option *table) {
    for (const struct config_option *o = table; o->kind != CONFIG_END; o++)
        if (!o->options)
            roff_option(b, o);
    for (const struct config_option *o = table; o->kind != CONFIG_END; o++) {
        struct buf line __attribute__((cleanup(buf_free))) = {0};
        if (!o->options)
            continue;
        struct str inner = path_of(arena, path, o);
        buf_printf(b, ".SS ");
        roff(b, inner);
        buf_char(b, '\n');
        buf_printf(&line, "%s", o->doc);
        notes(&line, o);
        roff(b, buf_view(&line));
        buf_char(b, '\n');
        roff_table(b, arena, inner, o->options);
    }
}

void config_manual_roff(struct buf *b, const struct config_option *options) {
    struct arena *arena = arena_new(0);
    roff_table(b, arena, STR_NULL, options);
    arena_free(arena);
}
