/* From option tables to libConfuse's, through its parser, and back into the tree with kinds and bounds
 * checked. */
#include "config/survey.h"
#include <confuse.h>
#include <stdio.h>
#include <stdlib.h>

/* libConfuse keeps every scalar as text: kinds are ours to check, so that all of their errors are reported.
 */
static cfg_opt_t *confuse_table(struct arena *arena, const struct config_option *table) {
    size_t count = config_table_length(table);
    cfg_opt_t *opts = arena_array(arena, cfg_opt_t, count + 1);
    for (size_t i = 0; i < count; i++) {
        const char *name = table[i].name;
        cfg_opt_t *sub = table[i].options ? confuse_table(arena, table[i].options) : NULL;
        switch (table[i].kind) {
        case CONFIG_SECTION:
            opts[i] = (cfg_opt_t)CFG_SEC(name, sub, CFGF_NONE);
            break;
        case CONFIG_TITLED:
            opts[i] = (cfg_opt_t)CFG_SEC(name, sub, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
            break;
        case CONFIG_LIST:
            opts[i] = (cfg_opt_t)CFG_STR_LIST(name, NULL, CFGF_NODEFAULT);
            break;
        default:
            opts[i] = (cfg_opt_t)CFG_STR(name, NULL, CFGF_NODEFAULT);
        }
    }
    opts[count] = (cfg_opt_t)CFG_END();
    return opts;
}

/* libConfuse has no argument for its error callback: this one only silences it; load() reports that it
 * failed. */
static void be_silent(cfg_t *cfg, const char *format, va_list args) { (void)cfg, (void)format, (void)args; }

struct filling {
    struct arena *arena;
    struct config_errors *errors;
};

static void fill(struct filling *, struct config_node *node, cfg_t *from);

static void preset(struct filling *f, const struct config_option *option, struct config_entry *entry) {
    struct str why;
    entry->text = STR_NULL;
    entry->number = 0;
    if (!option->preset)
        return;
    struct str text = str_copy(f->arena, str_of(option->preset));
    if (option->kind == CONFIG_LIST) {
        struct str *one = arena_new_of(f->arena, struct str);
        *one = text;
        entry->list = (struct config_list){one, 1};
        return;
    }
    entry->text = text;
    if (!config_value(option, text, f->arena, &entry->number, &why)) {
        fprintf(stderr, "the default of option \"%s\" is not valid\n", option->name);
        abort();
    }
}

static void fill_scalar(struct filling *f, const struct config_option *option, struct config_entry *entry,
                        cfg_opt_t *from) {
    struct str text = str_copy(f->arena, str_of(cfg_opt_getnstr(from, 0))), why;
    if (config_value(option, text, f->arena, &entry->number, &why)) {
        entry->text = text;
        return;
    }
    config_error_add(f->errors, entry->place, false, "`%s` is `%.*s`, but must be %.*s", option->name,
                     STR_FMT(str_head(text, 80)), STR_FMT(why));
    preset(f, option, entry);
}

static void fill_list(struct filling *f, const struct config_option *option, struct config_entry *entry,
                      cfg_opt_t *from) {
    size_t count = cfg_opt_size(from);
    struct str *values = arena_array(f->arena, struct str, count ? count : 1);
    for (size_t i = 0; i < count; i++)
        values[i] = str_copy(f->arena, str_of(cfg_opt_getnstr(from, (unsigned)i)));
    entry->list = (struct config_list){values, count};
    if ((int64_t)count < option->min)
        config_error_add(f->errors, entry->place, false, "`%s` needs at least %lld value%s", option->name,
                         (long long)option->min, option->min == 1 ? "" : "s");
    else if (option->max && (int64_t)count > option->max)
        config_error_add(f->errors, entry->place, false, "`%s` takes at most %lld value%s", option->name,
                         (long long)option->max, option->max == 1 ? "" : "s");
}

/* A section that the file doesn't have still answers with its defaults. */
static void fill_sections(struct filling *f, const struct config_node *parent,
                          const struct config_option *option, struct config_entry *entry, cfg_opt_t *from) {
    if (option->kind == CONFIG_SECTION && !entry->written) {
        entry->sections = arena_array(f->arena, struct config_node *, 1);
        entry->sections[0] = config_node_new(f->arena, option->options, option->name, parent->place);
        fill(f, entry->sections[0], NULL);
        return;
    }
    for (size_t i = 0; i < entry->section_count; i++)
        fill(f, entry->sections[i], cfg_opt_getnsec(from, (unsigned)i));
}

/* `from` NULL: all defaults. */
static void fill(struct filling *f, struct config_node *node, cfg_t *from) {
    for (size_t i = 0; node->table[i].kind != CONFIG_END; i++) {
        const struct config_option *option = &node->table[i];
        struct config_entry *entry = &node->entries[i];
        cfg_opt_t *opt = from ? cfg_getopt(from, option->name) : NULL;
        if (entry->written && option->inactive)
            config_error_add(f->errors, entry->place, true,
                             "`%s` is accepted, but not active in this version", option->name);
        if (option->options)
            fill_sections(f, node, option, entry, opt);
        else if (!entry->written)
            preset(f, option, entry);
        else if (option->kind == CONFIG_LIST)
            fill_list(f, option, entry, opt);
        else
            fill_scalar(f, option, entry, opt);
        if (from && option->required && !entry->written)
            config_error_add(f->errors, node->place, false, "`%s` needs `%s`",
                             node->name ? node->name : "the file", option->name);
    }
}

static const struct config_node *load(struct arena *arena, const char *file, struct str text,
                                      const struct config_option *options, struct config_errors *errors) {
    struct survey survey = {.arena = arena, .errors = errors};
    struct config_node *root = survey_read(&survey, file, text, options);
    if (root) {
        cfg_t *cfg = cfg_init(confuse_table(arena, options), CFGF_NONE);
        cfg_set_error_function(cfg, be_silent);
        if (survey.flat.len > 0 && cfg_parse_buf(cfg, buf_c(&survey.flat)) != CFG_SUCCESS) {
            size_t line = cfg->line > 0 ? (size_t)cfg->line - 1 : 0;
            config_error_add(errors, survey.places[line < survey.place_count ? line : survey.place_count - 1],
                             false, "not in the syntax of libConfuse");
            root = NULL;
        } else {
            fill(&(struct filling){arena, errors}, root, cfg);
        }
        cfg_free(cfg);
    }
    buf_free(&survey.flat);
    free(survey.places);
    return root;
}

const struct config_node *config_load(struct arena *arena, const char *path,
                                      const struct config_option *options, struct config_errors *errors) {
    return load(arena, path, STR_NULL, options, errors);
}

const struct config_node *config_parse(struct arena *arena, struct str text, const char *name,
                                       const struct config_option *options, struct config_errors *errors) {
    return load(arena, name, text.at ? text : STR(""), options, errors);
}
