#include "cmd/cli.h"
#include <jansson.h>

static void print_lines(struct cli *cli, json_t *lines) {
    size_t at;
    json_t *line;
    json_array_foreach(lines, at, line) {
        struct str text = str_of(json_string_value(line));
        fprintf(cli->err, "%.*s\n", STR_FMT(cli_safe(cli->arena, text, 0)));
    }
}

static int run(struct cli *cli, const struct cli_arguments *arguments) {
    struct api_reply reply = {0};
    if (arguments->word_count)
        return cli_usage(cli, "unexpected word: %s", arguments->words[0]);
    int bad = cli_ask(cli, "POST", STR("/v1/reload"), STR_NULL, false, &reply);
    json_t *root = json_loadb(reply.body.at ? reply.body.at : "", reply.body.len, 0, NULL);
    print_lines(cli, json_object_get(root, bad ? "errors" : "warnings"));
    json_decref(root);
    if (cli->json && reply.body.len)
        cli_print(cli, reply.body);
    else if (!bad)
        fputs("the new configuration is in use\n", cli->out);
    return bad;
}

const struct cli_command cmd_reload = {
    "reload", "", "Reads the configuration anew; with an error the old one stays", NULL, run};
