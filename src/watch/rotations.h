/* rotations.h - a rotation of DKIM keys does not switch to a key whose record is known not to be in DNS: its
 * signatures would be refused everywhere, while the old key's are still good.
 */
#pragma once
#include "flow/flow.h"

/* A fiber of the API's worker, from start to end; `arg` is the flow. */
void watch_rotations(void *arg);
/* What it holds in the old configuration stays held in the new one, until it has looked again. */
void rotations_keep_holds(const struct settings *now, const struct settings *next);
