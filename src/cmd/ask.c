#include "cmd/cli.h"

enum { WAIT_MS = 60000 };

static int unreachable(struct cli *cli, const char *socket, int error) {
    static const struct {
        int error;
        const char *what, *next;
    } cases[] = {
        {SLUICE_ENOTFOUND, "no daemon runs here",
         "start it (sluiced -c FILE), or name its configuration "
         "with -c FILE"},
        {SLUICE_EREFUSED, "nobody listens there: the daemon has ended without cleaning up",
         "start it again, and look into its log"},
        {SLUICE_EDENIED, "this user may not ask", "be root, or join the group that owns the socket"},
        {SLUICE_ETIMEOUT, "the daemon gives no answer",
         "look into its log, and whether the disk or DNS hangs"},
    };
    const char *what = error_text(error), *next = "look into the daemon's log";
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (cases[i].error == error)
            what = cases[i].what, next = cases[i].next;
    fprintf(cli->err, "sluice: the daemon can't be reached at %s: %s\n        %s\n", socket, what, next);
    return CLI_UNREACHABLE;
}

int cli_ask(struct cli *cli, const char *method, struct str target, struct str body, bool quiet,
            struct api_reply *ret) {
    struct cli_places places;
    int bad = cli_find(cli, &places);
    if (bad)
        return bad;
    int error = api_call(places.socket, method, target, body, WAIT_MS, cli->arena, ret);
    if (error)
        return quiet ? CLI_UNREACHABLE : unreachable(cli, places.socket, error);
    if (ret->warning.len)
        fprintf(cli->err, "sluice: warning: %.*s\n", STR_FMT(cli_safe(cli->arena, ret->warning, 0)));
    if (ret->status == 200)
        return CLI_DONE;
    struct str why = api_reply_error(ret, cli->arena);
    if (why.len)
        fprintf(cli->err, "sluice: %.*s\n", STR_FMT(cli_safe(cli->arena, why, 0)));
    else
        fprintf(cli->err, "sluice: the daemon answered with status %d\n", ret->status);
    return ret->status == 400 ? CLI_USAGE : CLI_NO;
}
