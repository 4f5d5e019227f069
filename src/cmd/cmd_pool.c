#include "cmd/cli.h"
#include <jansson.h>

enum { SITE = 1 };

static const struct cli_column pool_columns[] = {
    {"POOL", "pool", CLI_TEXT, .least = 8},
    [SITE] = {"SITE", "site", CLI_TEXT, .drop = 5},
    {"CARRIES", "carries", CLI_TEXT, .least = 10},
    {"TAG", "class_tag", CLI_TEXT, .drop = 4},
    {"SPF", "spf", CLI_TEXT, .drop = 3},
    {"ADDRESSES", "sources", CLI_NUMBER},
    {"USABLE", "usable", CLI_NUMBER},
    {"WAITING", "waiting", CLI_NUMBER},
    {"HELD", "held", CLI_NUMBER, .drop = 1},
    {"SENDING", "sending", CLI_NUMBER, .drop = 2},
    {"DELIVERED", "delivered", CLI_NUMBER, .drop = 6},
    {"FAILED", "failed", CLI_NUMBER, .drop = 7},
    {0},
};

/* The names of an address are what one looks for here: counters go before them. */
static const struct cli_column source_columns[] = {
    {"ADDRESS", "ip", CLI_TEXT},
    {"POOL", "pool", CLI_TEXT, .least = 6},
    {"STATE", "state", CLI_STATUS},
    {"EHLO", "ehlo", CLI_TEXT, .least = 12, .drop = 2},
    {"PTR", "ptr", CLI_TEXT, .least = 12, .want = 255},
    {"DELIVERED", "delivered", CLI_NUMBER, .drop = 5},
    {"FAILED", "failed", CLI_NUMBER, .drop = 6},
    {"LISTS", "listed", CLI_NUMBER, .drop = 7},
    {"UNTIL", "until", CLI_DUE, .drop = 4},
    {"WHY", "why", CLI_TEXT, .least = 10, .drop = 3},
    {0},
};

static bool several_sites(struct str lines) {
    struct str line, first = STR_NULL;
    bool several = false;
    struct arena *arena = arena_new(0);
    while (!several && str_cut(&lines, '\n', &line)) {
        json_t *row = json_loadb(line.at, line.len, 0, NULL);
        struct str site = str_of(json_string_value(json_object_get(row, "site")));
        several = first.at && !str_eq(site, first);
        first = str_copy(arena, site);
        json_decref(row);
    }
    arena_free(arena);
    return several;
}

/* Pools of several sites may have one name: then the site tells them apart. */
static void print_pools(struct cli *cli, struct str lines) {
    struct cli_column columns[sizeof pool_columns / sizeof pool_columns[0]];
    memcpy(columns, pool_columns, sizeof columns);
    if (several_sites(lines))
        columns[SITE].drop = 0;
    cli_rows(cli, lines, columns);
}

static int run_pool(struct cli *cli, const struct cli_arguments *arguments) {
    struct api_reply reply;
    if (arguments->word_count)
        return cli_usage(cli, "unexpected word: %s (sluice source --pool NAME shows the addresses of one)",
                         arguments->words[0]);
    int bad = cli_ask(cli, "GET", STR("/v1/pools"), STR_NULL, false, &reply);
    if (!bad)
        print_pools(cli, reply.body);
    return bad;
}

static int run_source(struct cli *cli, const struct cli_arguments *arguments) {
    struct buf target __attribute__((cleanup(buf_free))) = {0};
    struct api_reply reply;
    struct str pool = cli_value(arguments, "pool");
    if (arguments->word_count && strcmp(arguments->words[0], "show") == 0) {
        if (arguments->word_count != 2 || arguments->given_count)
            return cli_usage(cli, "usage: sluice source show IP");
        return cli_source_show(cli, arguments->words[1]);
    }
    if (arguments->word_count)
        return cli_usage(cli, "unexpected word: %s%s", arguments->words[0],
                         cli_nearest(cli->arena, arguments->words[0], (const char *const[]){"show"}, 1));
    buf_str(&target, STR("/v1/sources"));
    if (pool.at)
        api_target_add(&target, "pool", pool);
    int bad = cli_ask(cli, "GET", buf_view(&target), STR_NULL, false, &reply);
    if (!bad && !cli_rows(cli, reply.body, source_columns) && pool.at) {
        fprintf(cli->err, "sluice: no addresses in a pool of that name\n");
        bad = CLI_NO;
    }
    return bad;
}

static const struct cli_option source_options[] = {{"pool", 0, "POOL", "only the addresses of this pool"},
                                                   {0}};

const struct cli_command cmd_pool = {"pool", "", "The pools: what they carry, their addresses, their mail",
                                     NULL, run_pool};
const struct cli_command cmd_source = {"source", "[show IP]",
                                       "The addresses that mail leaves from: names, health, counts",
                                       source_options, run_source};
