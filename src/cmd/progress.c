#include "cmd/progress.h"

#include "base/clock.h"
#include <stdarg.h>
#include <unistd.h>

enum { QUIET_MS = 1000, COLUMNS_MAX = 66, SECONDS = 12 };

void cli_progress_begin(struct cli_progress *p, struct cli *cli) {
    *p =
        (struct cli_progress){.cli = cli, .began = clock_mono_ms(), .watched = isatty(fileno(cli->err)) == 1};
}

void cli_progress(struct cli_progress *p, const char *format, ...) {
    char text[COLUMNS_MAX + 1];
    int64_t took = clock_mono_ms() - p->began;
    va_list list;
    if (!p->watched || took < QUIET_MS)
        return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (p->cli->width > SECONDS && p->cli->width - SECONDS < COLUMNS_MAX)
        text[p->cli->width - SECONDS] = '\0';
    int before = (int)p->shown;
    p->shown = (unsigned)fprintf(p->cli->err, "\r%s (%lld s) ", text, (long long)(took / 1000)) - 1;
    if (before > (int)p->shown)
        fprintf(p->cli->err, "%*s", before - (int)p->shown, "");
    fflush(p->cli->err);
}

void cli_progress_end(struct cli_progress *p) {
    if (p->shown)
        fprintf(p->cli->err, "\r%*s\r", (int)p->shown, "");
    p->shown = 0;
}
