/* planned.h - the plan of the DNS for a configuration: what commands print, and what the daemon checks. */
#pragma once
#include "identity/plan.h"
#include "settings/settings.h"

/* In the arena, with views into the settings. Reads the files of old keys. `secret` NULL: no ownership
 * tokens. */
struct plan planned(struct arena *, const struct settings *, const struct ownership_secret *secret,
                    struct plan_input *ret_input);
