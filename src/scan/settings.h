/* settings.h - which scanners there are, and what their words mean: `scanner "name" { }` and `verdict { }`.
 */
#pragma once
#include "config/config.h"
#include "scan/endpoint.h"

enum scanner_kind { SCANNER_RSPAMD, SCANNER_SPAMD };

struct scanner_settings {
    struct str name; /* its title; "rspamd" of verdict { rspamd } */
    enum scanner_kind kind;
    struct scan_endpoint at;
    struct str password;  /* Rspamd's; empty: none */
    struct str user;      /* whose settings spamd takes; empty: its own user's */
    unsigned connections; /* at a time, of one worker */
    uint64_t max_size;    /* bytes: longer messages aren't given to it */
};

/* What becomes of a message that is too long for all scanners. */
enum scan_too_large { SCAN_TOO_LARGE_REGULAR, SCAN_TOO_LARGE_HIGH_RISK, SCAN_TOO_LARGE_REFUSE };

struct scan_settings {
    const struct scanner_settings *scanners; /* in the order in which they are asked */
    size_t count;                            /* 0: nothing is scanned */
    int64_t timeout_ms;                      /* for asking all of them together */
    enum scan_too_large too_large;
    const struct str *malware_symbols; /* patterns with `*`, each followed by a NUL byte */
    size_t malware_symbol_count;
    const struct str *spam_actions; /* the scanners' words */
    size_t spam_action_count;
    const struct str *refuse;
    size_t refuse_count;
    bool apply_headers, rewrite_subject; /* what Rspamd does to the header */
};

/* The table of `scanner`, for the configuration's root. `verdict` is policy's. */
extern const struct config_option scanner_options[];
/* `state` is where relative file names start. Problems go to `errors`; the result then lacks what was
 * wrong. In the arena. */
struct scan_settings scan_load(struct arena *, const struct config_node *root, const char *state,
                               struct config_errors *);

/* Does the symbol mean malware? */
bool scan_is_malware(const struct scan_settings *, struct str symbol);
/* Is the scanner's word for what it would do in such a list? Without regard to case. */
bool scan_action_in(const struct str *list, size_t count, struct str action);

/* "rspamd", "spamd" */
const char *scanner_kind_name(enum scanner_kind);
