/* rspamd_changes.h - what Rspamd would do to the header (inside the room only): `milter` of its answer, as
 * its module milter_headers and Lua rules fill it, and the subject of the action "rewrite subject".
 * https://docs.rspamd.com/developers/protocol/ */
#pragma once
#include "scan/words.h"
#include <jansson.h>

enum { RSPAMD_CHANGES_MAX = 200, RSPAMD_CHANGES_BYTES = 64 * 1024 };

/* Sets `changes` or `changes_why`, and `subject`, as far as the settings want them; all or none of the
 * fields. In `arena`. */
void rspamd_changes(const json_t *answer, const struct scan_settings *, struct arena *, struct scan_result *);
