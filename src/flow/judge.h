/* judge.h - step 4: what the scanners and the header of a trusted connector make of a message. */
#pragma once
#include "flow/flow.h"
#include "scan/copy.h"

/* Where the copies of this worker go (content_settings, scan), for who will look at one; in `arena`. */
const struct scan_copy_place *judge_copy_place(struct flow *, const struct settings *, struct arena *);
