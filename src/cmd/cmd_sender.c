#include "cmd/standing.h"

static const struct cli_column sender_columns[] = {
    {"SENDER", "name", CLI_TEXT, .least = 16},
    {"STATE", "state", CLI_STATUS},
    {"SINCE", "since", CLI_TIME, .drop = 4},
    {"UNTIL", "until", CLI_DUE, .drop = 5},
    {"CAUSE", "cause", CLI_TEXT},
    {"SPAM/1000", "spam_per_mille", CLI_NUMBER, .drop = 3},
    {"RECIPIENTS", "recipients", CLI_NUMBER, .drop = 2},
    {"DESTINATIONS", "destinations", CLI_NUMBER, .drop = 6},
    {"BY", "by", CLI_TEXT, .drop = 7},
    {"REASON", "reason", CLI_TEXT, .least = 12, .drop = 1},
    {0},
};

static const struct cli_column tenant_columns[] = {
    {"TENANT", "name", CLI_TEXT, .least = 8},
    {"STATE", "state", CLI_STATUS},
    {"SINCE", "since", CLI_TIME, .drop = 2},
    {"CAUSE", "cause", CLI_TEXT},
    {"BY", "by", CLI_TEXT, .drop = 3},
    {"REASON", "reason", CLI_TEXT, .least = 12, .drop = 1},
    {0},
};

struct asked {
    struct cli *cli;
    const struct cli_arguments *arguments;
    bool tenant;
};

static const char *word_of(const struct asked *a) { return a->tenant ? "tenant" : "sender"; }

static void add(struct buf *target, const struct asked *a, const char *parameter, const char *option) {
    struct str value = cli_value(a->arguments, option);
    if (value.at)
        api_target_add(target, parameter, value);
}

static int list(const struct asked *a) {
    struct buf target __attribute__((cleanup(buf_free))) = {0};
    struct api_reply reply;
    if (a->arguments->word_count > 1)
        return cli_usage(a->cli, "unexpected word: %s", a->arguments->words[1]);
    buf_str(&target, STR("/v1/senders"));
    if (a->tenant)
        api_target_add(&target, "kind", STR("tenant"));
    else
        add(&target, a, "tenant", "tenant");
    int bad = cli_ask(a->cli, "GET", buf_view(&target), STR_NULL, false, &reply);
    if (!bad && !cli_rows(a->cli, reply.body, a->tenant ? tenant_columns : sender_columns) && !a->cli->json &&
        !a->cli->csv)
        fprintf(a->cli->out, "nobody is restricted\n");
    return bad;
}

static int named(const struct asked *a, const char *path, struct buf *target) {
    if (a->arguments->word_count != 2)
        return cli_usage(a->cli, "usage: sluice %s %s NAME", word_of(a), a->arguments->words[0]);
    buf_str(target, str_of(path));
    api_target_add(target, "name", str_of(a->arguments->words[1]));
    if (a->tenant)
        api_target_add(target, "kind", STR("tenant"));
    return CLI_DONE;
}

static int show(const struct asked *a) {
    struct buf target __attribute__((cleanup(buf_free))) = {0};
    struct api_reply reply;
    int bad = named(a, "/v1/sender", &target);
    if (bad)
        return bad;
    add(&target, a, "from", "from");
    bad = cli_ask(a->cli, "GET", buf_view(&target), STR_NULL, false, &reply);
    if (!bad && a->cli->json)
        cli_print(a->cli, reply.body);
    else if (!bad)
        cli_standing_sender(a->cli, reply.body);
    return bad;
}

static int change(const struct asked *a, const char *path, const char *option) {
    struct buf target __attribute__((cleanup(buf_free))) = {0};
    struct api_reply reply;
    int bad = named(a, path, &target);
    if (bad)
        return bad;
    if (option)
        add(&target, a, option, option);
    bad = cli_ask(a->cli, "POST", buf_view(&target), STR_NULL, false, &reply);
    if (!bad && a->cli->json)
        cli_print(a->cli, reply.body);
    else if (!bad)
        cli_standing_sender(a->cli, reply.body);
    return bad;
}

static int run(struct cli *cli, const struct cli_arguments *arguments, bool tenant) {
    struct asked a = {cli, arguments, tenant};
    struct str verb = arguments->word_count ? str_of(arguments->words[0]) : STR("list");
    static const char *const verbs[] = {"list", "show", "restrict", "release", "allow"};
    if (str_eq(verb, STR("list")))
        return list(&a);
    if (str_eq(verb, STR("show")))
        return show(&a);
    if (str_eq(verb, STR("restrict")))
        return change(&a, "/v1/sender/restrict", "reason");
    if (str_eq(verb, STR("release")))
        return change(&a, "/v1/sender/release", NULL);
    if (str_eq(verb, STR("allow")))
        return change(&a, "/v1/sender/allow", "until");
    return cli_usage(cli, "unknown word %s%s (list, show, restrict, release, allow)", arguments->words[0],
                     cli_nearest(cli->arena, arguments->words[0], verbs, sizeof verbs / sizeof *verbs));
}

static int run_sender(struct cli *cli, const struct cli_arguments *arguments) {
    return run(cli, arguments, false);
}

static int run_tenant(struct cli *cli, const struct cli_arguments *arguments) {
    return run(cli, arguments, true);
}

static const struct cli_option sender_options[] = {
    {"tenant", 0, "TENANT", "list: only its senders"},
    {"from", 0, "ADDRESS", "show: the limits when From says this"},
    {"reason", 0, "TEXT", "restrict: why, for the record"},
    {"until", 0, "TIME", "allow: until then (a time, a date, 90min, 2d; now: no longer); else for good"},
    {0}};

static const struct cli_option tenant_options[] = {
    {"reason", 0, "TEXT", "restrict: why, for the record"},
    {"until", 0, "TIME", "allow: until then (a time, a date, 90min, 2d; now: no longer); else for good"},
    {0}};

const struct cli_command cmd_sender = {
    "sender", "[list | show NAME | restrict NAME | release NAME | allow NAME]",
    "Who may not send and why, where a sender stands; restrict, release, allow", sender_options, run_sender};
const struct cli_command cmd_tenant = {"tenant",
                                       "[list | show NAME | restrict NAME | release NAME | allow NAME]",
                                       "The same for a tenant as a whole", tenant_options, run_tenant};
