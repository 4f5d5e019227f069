/* dkim.h - what the files of `sluice dkim` share: key files, the keys that there are, what DNS says of them.
 */
#pragma once
#include "cmd/cli.h"
#include "settings/dkim_key_rows.h"

enum { DKIM_CLI_TTL = 3600, DKIM_CLI_BITS = 2048 };

/* The parts of `sluice dkim`; words[0] is their name. */
int dkim_keygen(struct cli *, const struct cli_arguments *);
int dkim_record(struct cli *, const struct cli_arguments *);
int dkim_check(struct cli *, const struct cli_arguments *);
int dkim_rotate(struct cli *, const struct cli_arguments *);

/* ---- dkim_files.c: below `state`/keys ---- */

/* Opens the folder (made when it is missing, 0700) and locks it against others of these commands. As root,
 * the process first becomes the one who owns `state`, or else `user` (may be NULL): what is made here is the
 * daemon's. NO: said. */
int dkim_folder_open(struct cli *, const char *state, const char *user, int *ret_fd);
/* A selector nobody uses: the date, "20261122", with "e" for Ed25519 and "-2", "-3" when that is taken by a
 * key file or by one of `taken`. */
struct str dkim_selector_new(struct cli *, int folder, struct str domain, enum dkim_algorithm,
                             const struct str *taken, size_t taken_count);
/* Makes a key and its file, 0600, on disk when this returns; one that is there is never written over.
 * *ret_key is the caller's. NO: said. */
struct dkim_making {
    struct str domain, selector;
    enum dkim_algorithm algorithm;
    unsigned bits;
};
int dkim_key_make(struct cli *, int folder, const struct dkim_making *, struct dkim_key **ret_key);
/* "DOMAIN.SELECTOR.pem" */
const char *dkim_key_name(struct arena *, struct str domain, struct str selector);
/* Puts the rotation in place of the one on record, in one step and on disk; NULL: removes it. NO: said. */
int dkim_rotation_save(struct cli *, int folder, struct str domain, const struct rotation *);

/* ---- dkim_rows.c: the keys of a configuration ---- */

/* Reads the configuration; USAGE: said. */
int dkim_settings(struct cli *, struct settings **ret);
/* As dkim_rows_collect; NO when there is none (said). */
int dkim_rows_of(struct cli *, const struct settings *, struct str domain, struct dkim_rows *ret);
/* "signs", "next, signs from 2026-11-26 04:00 UTC", ... */
struct str dkim_role_text(struct arena *, const struct dkim_row *);
/* "RSA 2048", "Ed25519" */
struct str dkim_key_text(struct arena *, const struct dkim_key *);
/* "NAME. 3600 IN TXT "..." "..."": a line for a zone. */
struct str dkim_zone_line(struct arena *, struct str name, struct str record);
/* "2026-11-26 04:00 UTC" */
struct str dkim_time_text(struct arena *, int64_t wall_ms);
/* What the configuration should say after a switch; "" when it says it. */
struct str dkim_advice(struct arena *, const struct settings *, const struct signing_domain *);
/* `dkim "..." { ... }` for these keys, with files below `state` relative. */
struct str dkim_section_text(struct arena *, const char *state, struct str domain,
                             const struct signing_set *);

/* ---- dkim_ask.c ---- */

/* Asks the configured DNS for every row's record. NO: the runtime can't be started (said). */
int dkim_ask(struct cli *, struct settings *, struct dkim_rows *);
const char *dkim_live_name(enum dkim_live);
/* Does the record that was found publish the row's key? Sets `live` and `what`. */
void dkim_compare(struct arena *, const struct dns_answer *, struct dkim_row *);
/* Asks, prints, and says whether any row that matters is at fault. */
int dkim_check_rows(struct cli *, struct settings *, struct dkim_rows *);
