/* dns.h - what the parts of `sluice dns` share. */
#pragma once
#include "cmd/cli.h"
#include "identity/plan.h"
#include "settings/settings.h"

/* `sluice dns zone`: the plan as files, as an update script, or beside what is live. */
int cmd_dns_zone(struct cli *, const struct cli_arguments *, const struct settings *, const struct plan *);
/* What one should know about the plan, on cli->err. */
void cmd_dns_notes(struct cli *, const struct plan_note *, size_t count);
