/* progress.h - one line on standard error that says how far a command is, where somebody watches.
 *
 * Shown only on a terminal, and only when the command has taken a second; gone when it ends.
 */
#pragma once
#include "cmd/cli.h"

struct cli_progress {
    struct cli *cli;
    int64_t began; /* monotonic ms */
    bool watched;
    unsigned shown; /* columns */
};

void cli_progress_begin(struct cli_progress *, struct cli *);
/* Shows the text in place of what was shown. */
void cli_progress(struct cli_progress *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Takes the line away. */
void cli_progress_end(struct cli_progress *);
