/* dns.h - what the parts of `sluice dns` share. */
#pragma once
#include "cmd/cli.h"
#include "identity/live.h"
#include "settings/settings.h"

/* `sluice dns zone`: the plan as files, as an update script, or beside what is live. */
int cmd_dns_zone(struct cli *, const struct cli_arguments *, const struct settings *, const struct plan *);
/* `sluice dns check`: everything asked as receivers ask it; NO when something is wrong. */
int cmd_dns_check(struct cli *, const struct settings *, const struct plan_input *, const struct plan *);
/* `sluice dns check --last`: the same as the daemon last found it. */
int cmd_dns_last(struct cli *);
/* `sluice dns ranges`: the published networks. */
int cmd_dns_ranges(struct cli *, const struct settings *);
/* `sluice dns publish`: the plan to the primary, by nsupdate(1). */
int cmd_dns_publish(struct cli *, const struct settings *, const struct plan *);
/* Whole or not at all. NO: said. */
int cmd_dns_write(struct cli *, const char *path, struct str text);

/* What one should know about the plan, on cli->err. */
void cmd_dns_notes(struct cli *, const struct plan_note *, size_t count);
