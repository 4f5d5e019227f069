/* dns.h - what the parts of `sluice dns` share. */
#pragma once
#include "cmd/cli.h"
#include "identity/live.h"
#include "settings/settings.h"

/* `sluice dns zone`: the plan as files, as an update script, or beside what is live. */
int cmd_dns_zone(struct cli *, const struct cli_arguments *, const struct settings *, const struct plan *);
/* `sluice dns publish`: the plan to the primary, by nsupdate(1). */
int cmd_dns_publish(struct cli *, const struct settings *, const struct plan *);
/* Whole or not at all. NO: said. */
int cmd_dns_write(struct cli *, const char *path, struct str text);
/* Asks the configured DNS for every set and adds what differs to `lines`, in the order of the answers. NO:
 * the runtime can't be started (said). */
int cmd_dns_ask(struct cli *, const struct settings *, const struct live_set *, size_t count,
                struct buf *lines);
/* What one should know about the plan, on cli->err. */
void cmd_dns_notes(struct cli *, const struct plan_note *, size_t count);
