#include "cmd/cli.h"

static int run(struct cli *cli, const struct cli_arguments *arguments) {
    struct api_reply reply;
    if (arguments->word_count)
        return cli_usage(cli, "unexpected word: %s", arguments->words[0]);
    int bad = cli_ask(cli, "GET", STR("/v1/status"), STR_NULL, false, &reply);
    if (!bad)
        cli_object(cli, reply.body);
    return bad;
}

const struct cli_command cmd_status = {"status", "", "The daemon at a glance", NULL, run};
