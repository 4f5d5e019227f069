/* config.h - the configuration engine: option tables in, a checked tree and readable errors out.
 *
 * The engine knows no option. Each room declares a table of struct config_option; the whole tree of tables
 * is passed to config_load, which reads the file (libConfuse syntax) and checks names, kinds, bounds and
 * doublets. Rooms then read their node through the getters, which give the option's default where the
 * file says nothing, and report what only they can judge with config_complain.
 * Every problem is one line "file:line: message"; all of them are collected, not just the first.
 * Loads must not overlap in a process (libConfuse's scanner is not reentrant).
 */
#pragma once
#include "base/buf.h"
#include "base/str.h"

enum config_kind {
    CONFIG_END, /* ends a table */
    CONFIG_STRING,
    CONFIG_BOOL,     /* on off true false yes no */
    CONFIG_INTEGER,  /* min..max */
    CONFIG_SIZE,     /* bytes; units kb mb gb (1024); min..max in bytes */
    CONFIG_DURATION, /* ms s min h d; min..max in milliseconds. A bare number needs a unit, except 0 */
    CONFIG_ENUM,     /* one of `words` */
    CONFIG_LIST,     /* strings; `min` is the least number of them */
    CONFIG_SECTION,  /* name { ... }, at most once */
    CONFIG_TITLED,   /* name "title" { ... }, any number, titles differ */
};

enum config_reload {
    CONFIG_LIVE,    /* a reload applies it */
    CONFIG_RESTART, /* takes effect at the next start */
};

struct config_option {
    const char *name;
    enum config_kind kind;
    const char *preset; /* the default as one would write it in the file; NULL: none. LIST: one value */
    const char
        *preset_doc;  /* what the manual says of the default, where `preset` can't ("the host's name") */
    int64_t min, max; /* bounds, both included; both 0: from 0 up (LIST: any number) */
    const char *const *words;            /* ENUM: what is allowed, ended by NULL; the value is its index */
    const struct config_option *options; /* of SECTION and TITLED */
    const char *doc;                     /* one line for the manual: no newline, ends with a full stop */
    const char *title_doc;               /* TITLED: what the title is, one or two words ("pool name") */
    enum config_reload reload;
    bool inactive; /* parsed and checked, but not active in this version: using it gives a warning */
    bool required; /* its section must have it */
};

/* One section of the file (or the whole). Immutable; lives in the arena given to config_load. */
struct config_node;

/* ---- errors ---- */

struct config_errors;
struct config_errors *config_errors_new(void);
struct config_errors *config_errors_free(struct config_errors *);
size_t config_error_count(const struct config_errors *);
size_t config_warning_count(const struct config_errors *);
/* "file:line: message", in the order of the file where both have one; valid until the next complaint. */
const char *config_error_at(const struct config_errors *, size_t at);
const char *config_warning_at(const struct config_errors *, size_t at);

/* Reports a problem at the line of `option` in `node`, or of the node when it doesn't have the option (or
 * `option` is NULL). A NULL node: without a place. `what` may point at a list's value. */
void config_complain(struct config_errors *, const struct config_node *node, const char *option,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));
void config_warn(struct config_errors *, const struct config_node *node, const char *option,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* ---- reading ---- */

/* Reads `path` and what it includes. The tree and all its strings live in `arena`; `options` must outlive it.
 * Returns NULL when there was an error (at least one was added to `errors`), except that kinds and bounds are
 * checked option by option: then the tree is there too, with defaults in place of the bad values, so that a
 * caller can go on checking; config_error_count tells. */
const struct config_node *config_load(struct arena *, const char *path, const struct config_option *options,
                                      struct config_errors *);
/* The same for text that came from elsewhere; `name` stands for the file in messages. Includes are relative
 * to the folder of `name`. */
const struct config_node *config_parse(struct arena *, struct str text, const char *name,
                                       const struct config_option *options, struct config_errors *);

/* ---- getters: `name` must be in the node's table with that kind (else: abort, a programming error) ---- */

/* Written in the file? Sections too. */
bool config_has(const struct config_node *, const char *name);
/* Empty view (at == NULL) when neither written nor preset. NUL-terminated after its end otherwise. */
struct str config_string(const struct config_node *, const char *name);
bool config_bool(const struct config_node *, const char *name);
int64_t config_integer(const struct config_node *, const char *name);
int64_t config_size(const struct config_node *, const char *name);        /* bytes */
int64_t config_duration_ms(const struct config_node *, const char *name); /* milliseconds */
int config_enum(const struct config_node *, const char *name); /* index into `words`; -1: neither */

/* The absolute name of the file that a string option names: a relative one starts in the folder `start` or,
 * where there is no such file, beside the file in which the option stands. NULL when it is not set. */
const char *config_path(struct arena *, const struct config_node *, const char *name, const char *start);
/* `path`, when relative, in the folder of `file` (which may be relative itself); "." and ".." are resolved.
 */
struct str config_beside(struct arena *, const char *file, struct str path);

struct config_list {
    const struct str *at;
    size_t count;
};
struct config_list config_list(const struct config_node *, const char *name);

/* The section, or NULL when the file has none. Getters accept only non-NULL: config_section_or_empty gives an
 * empty one, all defaults, instead. */
const struct config_node *config_section(const struct config_node *, const char *name);
const struct config_node *config_section_or_empty(const struct config_node *, const char *name);

struct config_sections {
    const struct config_node *const *at;
    size_t count;
};
/* Titled sections in written order. */
struct config_sections config_sections(const struct config_node *, const char *name);
/* The title of a titled section; else empty. */
struct str config_title(const struct config_node *);

/* Where an option (NULL or not written: the section itself) stands. "" and 0 when nowhere. */
const char *config_file(const struct config_node *, const char *name);
int config_line(const struct config_node *, const char *name);

/* ---- values by themselves (also for command lines) ---- */

bool config_parse_size(struct str, int64_t *ret_bytes);
bool config_parse_duration(struct str, int64_t *ret_ms);
bool config_parse_bool(struct str, bool *ret);

/* ---- the manual, generated from the tables ---- */

/* Markdown: one heading a section, one table of its options. */
void config_manual_markdown(struct buf *, const struct config_option *options);
/* The OPTIONS part of sluice.conf(5), in man(7) macros. */
void config_manual_roff(struct buf *, const struct config_option *options);
