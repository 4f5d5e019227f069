/* The texts around the generated tables. */
#include "settings/settings.h"

static const char MARKDOWN[] =
    "# Configuration\n\n"
    "Generated from the option tables of the code (`sluice check --manual`); a test holds the two "
    "together.\n\n"
    "A configuration is one file, and what it includes with `include(\"file\")` (relative to the including "
    "file). "
    "`sluice check` reads it without starting anything and reports every error as `file:line: message`. A "
    "reload "
    "(SIGHUP, `sluice reload`) swaps the whole configuration or, on an error, keeps the old one. "
    "`etc/sluice.conf` is a commented example.\n\n"
    "- `name = value`, several on a line if you like; lists are `{\"a\", \"b\"}`, sections `name { ... }` or "
    "`name \"title\" { ... }`.\n"
    "- Comments: `# ...`, `// ...`, `/* ... */`.\n"
    "- Values of letters, digits and `. - : / @ _ [ ]` need no quotes. In double quotes `\\\"`, `\\\\`, "
    "`\\n` and the like "
    "are escapes, and `${NAME}` or `${NAME:-default}` is taken from the environment; in single quotes "
    "nothing is.\n"
    "- On or off: `on`, `off`, `true`, `false`, `yes`, `no`. Sizes: `500`, `10kb`, `25mb`, `1gb` (1 kb is "
    "1,024). "
    "Times: `500ms`, `30s`, `5min`, `1h`, `21d`.\n"
    "- Every option stands once, every section with its title once; only `list += {...}` adds to a list.\n\n"
    "## The file itself\n\n";

static const char ROFF_HEAD[] =
    ".TH SLUICE.CONF 5\n"
    ".SH NAME\nsluice.conf \\- configuration of sluiced\n"
    ".SH DESCRIPTION\n"
    "One file, and what it includes with\n.BR include(\"file\") ,\nrelative to the including file.\n"
    ".B sluice check\nreads it without starting anything and reports every error with file and line.\n"
    "A reload swaps the whole configuration or, on an error, keeps the old one.\n.PP\n"
    "An option is name = value; a list is {\"a\", \"b\"}; a section is name { ... } or name \"title\" { ... "
    "}.\n"
    "Comments start with # or //. Sizes are 10kb, 25mb, 1gb; times 500ms, 30s, 5min, 1h, 21d.\n"
    "Every option stands once.\n"
    ".SH OPTIONS\n";

static const char ROFF_TAIL[] = ".SH SEE ALSO\n.BR sluiced (8),\n.BR sluice (1)\n";

void settings_manual(struct buf *b) {
    buf_str(b, STR(MARKDOWN));
    config_manual_markdown(b, settings_options);
    while (b->len > 1 && b->at[b->len - 1] == '\n' && b->at[b->len - 2] == '\n')
        b->len--;
}

void settings_man_page(struct buf *b) {
    buf_str(b, STR(ROFF_HEAD));
    config_manual_roff(b, settings_options);
    buf_str(b, STR(ROFF_TAIL));
}
