/* standing.h - telling where a sender stands: what GET /v1/sender answers, for people. */
#pragma once
#include "cmd/cli.h"

/* Its limits, policy and verdict, a line each behind `name` columns; of one JSON object (api_standing_json).
 */
void cli_standing_limits(struct cli *, struct str line);
/* The restriction, its reason and counts. */
void cli_standing_sender(struct cli *, struct str line);
