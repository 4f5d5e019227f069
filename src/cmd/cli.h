/* cli.h - what the subcommands of `sluice` share: options, the daemon, output.
 *
 * Each subcommand is a struct cli_command in a file of its own (cmd_*.c). It gets
 * parsed arguments and returns the exit code. Rows come from the API as JSON
 * lines and are passed on (--json), written as CSV or drawn as a table.
 */
#pragma once
#include "api/client.h"
#include "base/arena.h"
#include "base/str.h"
#include <stdio.h>

enum cli_exit {
    CLI_DONE = 0,
    CLI_NO = 1,          /* the answer is no: refused, not found, errors in the configuration */
    CLI_USAGE = 2,       /* the command line is wrong, or the configuration can't be read */
    CLI_UNREACHABLE = 3, /* who would know does not answer: the daemon, or the DNS */
};

#define CLI_CONFIG "/etc/sluice/sluice.conf"
#define CLI_SOCKET "/run/sluice/api.sock"
#define CLI_STATE "/var/lib/sluice"

struct cli {
    struct arena *arena;
    const char *config; /* -c FILE */
    bool config_given;
    const char *socket; /* --socket PATH; NULL: of the configuration */
    bool json, csv, help, version;
    bool lenient; /* unknown short options are passed over, as sendmail must */
    FILE *in, *out, *err;
    unsigned width; /* columns of the terminal; 0: no limit */
    bool colour;
};

struct cli_option {
    const char *name;  /* without "--"; NULL ends a table */
    char letter;       /* 0: none */
    const char *value; /* what stands for it in the usage; NULL: a flag; "[X]": only in the same word */
    const char *doc;
};

struct cli_given {
    const struct cli_option *option;
    struct str value; /* NUL-terminated; empty for flags */
};

struct cli_arguments {
    struct cli_given *given;
    size_t given_count;
    const char **words; /* what is no option, in order */
    size_t word_count;
};

struct cli_command {
    const char *name;
    const char *words; /* of the usage line: "[show ID]" */
    const char *doc;   /* one line */
    const struct cli_option *options;
    int (*run)(struct cli *, const struct cli_arguments *);
};

extern const struct cli_command cmd_alerts;
extern const struct cli_command cmd_check, cmd_explain, cmd_trace, cmd_queue, cmd_pool, cmd_source,
    cmd_status, cmd_sender, cmd_tenant, cmd_reload, cmd_send, cmd_sendmail, cmd_spool, cmd_dkim, cmd_dns,
    cmd_domain;

/* ---- options.c ---- */

/* Reads options (in any place, until "--") and words. The common ones go to `cli`. USAGE: said why on
 * cli->err. */
int cli_parse(struct cli *, const struct cli_option *options, int argc, const char *const *argv,
              struct cli_arguments *ret);
/* The last value given, or the empty view with at == NULL; flags give at != NULL. */
struct str cli_value(const struct cli_arguments *, const char *name);
static inline bool cli_has(const struct cli_arguments *a, const char *name) {
    return cli_value(a, name).at != NULL;
}
/* "sluice: ..." on cli->err; returns CLI_USAGE. */
int cli_usage(struct cli *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "; did you mean X?" when one of the names is near, else "". */
const char *cli_nearest(struct arena *, const char *word, const char *const *names, size_t count);
void cli_help(struct cli *, const struct cli_command *);
/* Runs argv[1..] as `sluice` does; `commands` ends with NULL. */
int cli_main(struct cli *, const struct cli_command *const *commands, int argc, const char *const *argv);

/* ---- places.c ---- */

struct cli_places {
    const char *socket;
    const char *trace_dir, *spool_dir, *node, *state,
        *user; /* NULL when the configuration does not say, or can't be read */
};
/* Where the daemon of this configuration is, also when the configuration has errors or names files that this
 * user can't read. USAGE: there is no such file (said). */
int cli_find(struct cli *, struct cli_places *ret);
/* `state`, `user` and the API's socket of a configuration's text that need not be right; for cli_find. */
struct cli_places cli_scan(struct arena *, struct str text, const char *file);

/* ---- ask.c ---- */

/* One request to the daemon. Not DONE: said why on cli->err (UNREACHABLE, NO, USAGE by the status). With
 * `quiet` an unreachable daemon is not spoken of. */
int cli_ask(struct cli *, const char *method, struct str target, struct str body, bool quiet,
            struct api_reply *ret);

/* ---- rows.c ---- */

enum cli_kind {
    CLI_TEXT,
    CLI_NUMBER, /* to the right */
    CLI_TIME,   /* RFC 3339 → "11-22 12:00:00" */
    CLI_AGE,    /* RFC 3339 → "3h", from then to now */
    CLI_DUE,    /* RFC 3339 → "in 5min", "now" */
    CLI_BYTES,  /* "10 KB" */
    CLI_STATUS, /* coloured by its word */
    CLI_CAUSE,  /* a reply; left out where "status" is Delivered */
};

struct cli_column {
    const char *title, *key;
    enum cli_kind kind;
    unsigned least; /* may be cut down to this many columns; 0: never cut */
    unsigned want;  /* others are left out before it is cut below this */
    int drop;       /* left out first when it does not fit, the highest first; 0: never */
};

/* To cli->out, as they are. */
void cli_print(struct cli *, struct str bytes);
/* JSON lines as the options say: passed on, CSV with every member, or a table of these columns (ended by a
 * NULL title; NULL when one of the options is given). Returns the number of rows. */
size_t cli_rows(struct cli *, struct str lines, const struct cli_column *columns);
/* Members of one JSON object, a line each, with titles in place of keys where `columns` names them. */
void cli_object(struct cli *, struct str line);

/* ---- terminal.c ---- */

/* Finds out about the terminal: width, colours (NO_COLOR, TERM=dumb). */
void cli_terminal(struct cli *);
/* Text from outside without anything that a terminal would obey; at most `width` columns (0: all), "…" at the
 * cut. */
struct str cli_safe(struct arena *, struct str text, unsigned width);
unsigned cli_width(struct str safe_text);
/* Prints safe text from `column` on, where the cursor is, broken between words at the terminal's width, and
 * ends the line. A word that is too long for a line stays whole, so that it can be copied. */
void cli_wrap(struct cli *, unsigned column, struct str safe_text);
/* Escape sequences; "" without colours. */
enum cli_paint { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_GREEN, CLI_RED, CLI_YELLOW };
const char *cli_paint(const struct cli *, enum cli_paint);
enum cli_paint cli_paint_of(struct str status);
/* "1.5 s", "3h", "2d"; "10 KB". */
struct str cli_duration(struct arena *, int64_t ms);
struct str cli_bytes(struct arena *, int64_t bytes);

/* ---- table.c ---- */

struct cli_cell {
    struct str text; /* safe */
    enum cli_paint paint;
};
struct cli_table {
    const struct cli_column *columns;
    size_t column_count;
    struct cli_cell *cells; /* row by row */
    size_t row_count;
};
/* Fits the width of the terminal: cuts, then drops columns. */
void cli_table(struct cli *, const struct cli_table *);

/* ---- source_show.c ---- */

/* All that is known of one sending address. */
int cli_source_show(struct cli *, const char *ip);

/* ---- timeline.c ---- */

struct trace_event;
/* The events of one message as a story. */
void cli_timeline(struct cli *, const struct trace_event *events, size_t count);
