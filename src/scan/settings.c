#include "scan/settings.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>

enum {
    RSPAMD_PORT = 11333,
    SPAMD_PORT = 783,
    RSPAMD_CONNECTIONS = 16,
    SPAMD_CONNECTIONS = 4, /* spamd has five children by default */
    PASSWORD_MAX = 256,
    MEGABYTE = 1 << 20,
    SPAMD_MAX_SIZE = 10 * MEGABYTE
};

const struct config_option scanner_options[] = {
    {.name = "rspamd",
     .kind = CONFIG_STRING,
     .preset_doc = "this or `spamd`",
     .doc = "Rspamd's worker: `http://host:11333` or `unix:/path`."},
    {.name = "spamd",
     .kind = CONFIG_STRING,
     .preset_doc = "this or `rspamd`",
     .doc = "SpamAssassin's daemon: `host:783` or `unix:/path`."},
    {.name = "password-file",
     .kind = CONFIG_STRING,
     .preset_doc = "none",
     .doc = "File of the password that Rspamd wants, one line."},
    {.name = "user",
     .kind = CONFIG_STRING,
     .preset_doc = "the user of spamd",
     .doc = "Whose preferences spamd takes."},
    {.name = "connections",
     .kind = CONFIG_INTEGER,
     .preset_doc = "16; for spamd 4",
     .min = 1,
     .max = 1000,
     .doc =
         "Messages that each worker gives it at a time; more wait, and count as a failure when `timeout` of "
         "`verdict` is over."},
    {.name = "max-size",
     .kind = CONFIG_SIZE,
     .preset_doc = "50mb for Rspamd, 10mb for spamd",
     .min = 1024,
     .max = (int64_t)1024 * MEGABYTE,
     .doc = "Longer messages aren't given to it (`too-large` of `verdict`)."},
    {.kind = CONFIG_END},
};

const char *scanner_kind_name(enum scanner_kind kind) { return kind == SCANNER_SPAMD ? "spamd" : "rspamd"; }

struct scan_reading {
    struct arena *arena;
    const char *state;
    struct config_errors *errors;
    struct scanner_settings *scanners;
    size_t count;
};

/* "http://host:port/" → "host:port" */
static bool read_rspamd(struct arena *arena, struct str text, struct scan_endpoint *ret) {
    if (str_starts_nocase(text, STR("http://")))
        text = str_from_index(text, 7);
    else if (!str_starts(text, STR("unix:")) && !str_starts(text, STR("/")))
        return false;
    else
        return scan_endpoint_parse(arena, text, 0, ret);
    if (str_ends(text, STR("/")))
        text = str_head(text, text.len - 1);
    return !str_starts(text, STR("/")) && scan_endpoint_parse(arena, text, RSPAMD_PORT, ret);
}

static void read_where(struct scan_reading *r, const struct config_node *node, const char *option,
                       enum scanner_kind kind, struct scanner_settings *s) {
    struct str text = config_string(node, option);
    s->kind = kind;
    s->connections = kind == SCANNER_RSPAMD ? RSPAMD_CONNECTIONS : SPAMD_CONNECTIONS;
    s->max_size = kind == SCANNER_RSPAMD ? 50 * MEGABYTE : SPAMD_MAX_SIZE;
    if (kind == SCANNER_RSPAMD && !read_rspamd(r->arena, text, &s->at))
        config_complain(
            r->errors, node, option,
            "`%.*s` is no place of Rspamd: http://127.0.0.1:11333 or unix:/run/rspamd/worker.sock",
            STR_FMT(text));
    else if (kind == SCANNER_SPAMD && !scan_endpoint_parse(r->arena, text, SPAMD_PORT, &s->at))
        config_complain(r->errors, node, option,
                        "`%.*s` is no place of spamd: 127.0.0.1:783 or unix:/run/spamd.sock", STR_FMT(text));
}

static void read_password(struct scan_reading *r, const struct config_node *node,
                          struct scanner_settings *s) {
    const char *path = config_path(r->arena, node, "password-file", r->state);
    char line[PASSWORD_MAX] = "";
    if (!path)
        return;
    FILE *f = fopen(path, "re");
    if (!f) {
        config_complain(r->errors, node, "password-file", "can't read %s: %s", path, strerror(errno));
        return;
    }
    bool read = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    s->password = str_copy(r->arena, str_trim(str_of(line)));
    for (size_t i = 0; i < s->password.len; i++)
        read = read && s->password.at[i] >= ' ' && s->password.at[i] < 127;
    if (!read || !s->password.len || s->password.len > PASSWORD_MAX - 2)
        config_complain(r->errors, node, "password-file", "%s holds no password: one line of ASCII", path);
}

static void read_scanner(struct scan_reading *r, const struct config_node *node) {
    struct scanner_settings *s = &r->scanners[r->count];
    bool rspamd = config_has(node, "rspamd"), spamd = config_has(node, "spamd");
    *s = (struct scanner_settings){.name = config_title(node), .user = config_string(node, "user")};
    if (rspamd == spamd) {
        config_complain(r->errors, node, NULL, "a scanner is either rspamd or spamd: say one of them");
        return;
    }
    read_where(r, node, rspamd ? "rspamd" : "spamd", rspamd ? SCANNER_RSPAMD : SCANNER_SPAMD, s);
    if (config_has(node, "connections"))
        s->connections = (unsigned)config_integer(node, "connections");
    if (config_has(node, "max-size"))
        s->max_size = (uint64_t)config_size(node, "max-size");
    if (spamd && config_has(node, "password-file"))
        config_complain(r->errors, node, "password-file", "spamd knows no password");
    if (rspamd && config_has(node, "user"))
        config_complain(r->errors, node, "user", "`user` is for spamd");
    for (size_t i = 0; i < s->user.len; i++)
        if (s->user.at[i] <= ' ' || s->user.at[i] >= 127) {
            config_complain(r->errors, node, "user", "`%.*s` is no user name", STR_FMT(s->user));
            break;
        }
    read_password(r, node, s);
    r->count++;
}

static bool known(const struct scan_reading *r, struct str name) {
    for (size_t i = 0; i < r->count; i++)
        if (str_eq_nocase(r->scanners[i].name, name))
            return true;
    return false;
}

/* What Rspamd's antivirus module says by itself, and SpamAssassin's plugin. */
static const struct str preset_malware[] = {{"*_VIRUS", 7}, {"CLAMAV", 6}};
static const struct str preset_spam[] = {
    {"add header", 10}, {"rewrite subject", 15}, {"soft reject", 11}, {"reject", 6},
    {"quarantine", 10}, {"discard", 7},          {"spam", 4},
};

#define LIST_OR(node, name, preset)                                                                          \
    (config_has((node), (name)) ? config_list((node), (name))                                                \
                                : (struct config_list){(preset), sizeof(preset) / sizeof *(preset)})

/* Options that speak of scanners where there is none: most likely a mistake. */
static void warn_of_idle_options(const struct config_node *verdict, struct config_errors *errors) {
    static const char *const names[] = {"timeout",         "on-failure", "too-large",     "spam-actions",
                                        "malware-symbols", "refuse",     "apply-headers", "rewrite-subject"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (config_has(verdict, names[i]))
            config_warn(
                errors, verdict, names[i],
                "%s has no effect: there is no scanner (`rspamd` of `verdict`, or a section `scanner`)",
                names[i]);
}

/* Actions of Rspamd's own (and what spamd says). Another one may be defined there; most likely it is
 * mistyped, and then nothing is ever that. */
static bool is_known_action(struct str word) {
    static const char *const words[] = {"no action",   "greylist", "add header", "rewrite subject",
                                        "soft reject", "reject",   "quarantine", "discard",
                                        "spam",        "ham"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_eq_nocase(word, str_of(words[i])))
            return true;
    return false;
}

static void warn_of_unknown_actions(const struct config_node *verdict, const char *option,
                                    struct config_errors *errors) {
    struct config_list list = config_list(verdict, option);
    for (size_t i = 0; i < list.count; i++)
        if (!is_known_action(list.at[i]))
            config_warn(errors, verdict, option,
                        "`%.*s` is no action of Rspamd's own: nothing is, unless your Rspamd defines it",
                        STR_FMT(list.at[i]));
}

/* What only Rspamd does. */
static void warn_without_rspamd(const struct scan_reading *r, const struct config_node *verdict) {
    static const char *const names[] = {"apply-headers", "rewrite-subject"};
    bool any = !r->count; /* told already */
    for (size_t i = 0; i < r->count; i++)
        any |= r->scanners[i].kind == SCANNER_RSPAMD;
    for (size_t i = 0; i < sizeof names / sizeof *names && !any; i++)
        if (config_has(verdict, names[i]) && config_bool(verdict, names[i]))
            config_warn(r->errors, verdict, names[i], "%s has no effect: no scanner is an Rspamd", names[i]);
}

struct scan_settings scan_load(struct arena *arena, const struct config_node *root, const char *state,
                               struct config_errors *errors) {
    const struct config_node *verdict = config_section_or_empty(root, "verdict");
    struct config_sections sections = config_sections(root, "scanner");
    struct scan_reading r = {arena, state, errors,
                             arena_array(arena, struct scanner_settings, sections.count + 1), 0};
    if (config_has(verdict, "rspamd")) {
        struct scanner_settings *s = &r.scanners[r.count++];
        *s = (struct scanner_settings){.name = STR("rspamd")};
        read_where(&r, verdict, "rspamd", SCANNER_RSPAMD, s);
    }
    for (size_t i = 0; i < sections.count; i++) {
        if (known(&r, config_title(sections.at[i])))
            config_complain(errors, sections.at[i], NULL,
                            "there is a scanner `%.*s` already: `rspamd` of `verdict` has the name rspamd",
                            STR_FMT(config_title(sections.at[i])));
        else
            read_scanner(&r, sections.at[i]);
    }
    if (!r.count && !config_error_count(errors))
        warn_of_idle_options(verdict, errors);
    warn_of_unknown_actions(verdict, "spam-actions", errors);
    warn_of_unknown_actions(verdict, "refuse", errors);
    warn_without_rspamd(&r, verdict);
    struct config_list malware = LIST_OR(verdict, "malware-symbols", preset_malware),
                       spam = LIST_OR(verdict, "spam-actions", preset_spam),
                       refuse = config_list(verdict, "refuse");
    return (struct scan_settings){
        .scanners = r.scanners,
        .count = r.count,
        .timeout_ms = config_duration_ms(verdict, "timeout"),
        .too_large = (enum scan_too_large)config_enum(verdict, "too-large"),
        .malware_symbols = malware.at,
        .malware_symbol_count = malware.count,
        .spam_actions = spam.at,
        .spam_action_count = spam.count,
        .refuse = refuse.at,
        .refuse_count = refuse.count,
        .apply_headers = config_bool(verdict, "apply-headers"),
        .rewrite_subject = config_bool(verdict, "rewrite-subject"),
    };
}

bool scan_is_malware(const struct scan_settings *s, struct str symbol) {
    struct buf name __attribute__((cleanup(buf_free))) = {0};
    buf_str(&name, symbol);
    for (size_t i = 0; i < s->malware_symbol_count; i++)
        if (fnmatch(s->malware_symbols[i].at, buf_c(&name), FNM_NOESCAPE) == 0)
            return true;
    return false;
}

bool scan_action_in(const struct str *list, size_t count, struct str action) {
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(list[i], action))
            return true;
    return false;
}
