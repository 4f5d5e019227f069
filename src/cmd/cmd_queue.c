#include "api/api.h"
#include "cmd/cli.h"
#include <jansson.h>

static const struct cli_column columns[] = {
    {"AGE", "arrived", CLI_AGE},
    {"STATE", "state", CLI_STATUS},
    {"NEXT", "next", CLI_DUE, .drop = 1},
    {"TRIES", "attempts", CLI_NUMBER, .drop = 4},
    {"POOL", "outbound_ip_pool_name", CLI_TEXT, .least = 6, .drop = 3},
    {"SENDER", "sender", CLI_TEXT, .least = 12, .drop = 2},
    {"RECIPIENT", "recipient", CLI_TEXT, .least = 12, .want = 20},
    {"SIZE", "size", CLI_BYTES, .drop = 5},
    {"WHY", "why", CLI_TEXT, .least = 12, .want = 30},
    {"TRACE ID", "trace_id", CLI_TEXT},
    {0},
};

/* "id=value" pairs of the options, checked as the daemon will. */
static int read_filter(struct cli *cli, const struct cli_arguments *arguments, struct buf *target,
                       struct api_queue_filter *ret) {
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    for (size_t i = 0; i < arguments->given_count; i++) {
        const char *name = arguments->given[i].option->name;
        struct str value = arguments->given[i].option->value ? arguments->given[i].value : STR("1");
        const char *sent = strcmp(name, "age") == 0 ? "older" : strcmp(name, "trace-id") == 0 ? "id" : name;
        if (api_queue_filter_set(ret, str_of(sent), value, &why))
            return cli_usage(cli, "--%s %.*s: %s", name, STR_FMT(value), buf_c(&why));
        api_target_add(target, sent, value);
    }
    return CLI_DONE;
}

static int list(struct cli *cli, const struct cli_arguments *arguments) {
    struct buf target __attribute__((cleanup(buf_free))) = {0};
    struct api_queue_filter filter = {0};
    struct api_reply reply;
    if (arguments->word_count > 1)
        return cli_usage(cli, "unexpected word: %s", arguments->words[1]);
    buf_str(&target, STR("/v1/queue"));
    int bad = read_filter(cli, arguments, &target, &filter);
    if (!bad)
        bad = cli_ask(cli, "GET", buf_view(&target), STR_NULL, false, &reply);
    if (bad || cli_rows(cli, reply.body, columns))
        return bad;
    if (!cli->json && !cli->csv)
        fputs("nothing waits\n", cli->err);
    return api_queue_filter_empty(&filter) ? CLI_DONE : CLI_NO; /* an empty queue is no refusal */
}

static int show(struct cli *cli, const struct cli_arguments *arguments) {
    struct api_reply reply;
    struct str line;
    if (arguments->word_count != 2 || arguments->given_count)
        return cli_usage(cli, "usage: sluice queue show ID");
    if (!trace_id_valid(str_of(arguments->words[1])))
        return cli_usage(cli, "%s is no trace id: 26 characters of 0-9 and A-Z", arguments->words[1]);
    int bad = cli_ask(cli, "GET", str_printf(cli->arena, "/v1/queue/%s", arguments->words[1]), STR_NULL,
                      false, &reply);
    if (bad)
        return bad;
    if (cli->json || cli->csv)
        return cli_rows(cli, reply.body, columns), CLI_DONE;
    for (size_t i = 0; str_cut(&reply.body, '\n', &line) && line.len; i++) {
        if (i)
            fputc('\n', cli->out);
        cli_object(cli, line);
    }
    return CLI_DONE;
}

/* An id may stand as a word: sluice queue hold 01M81... */
static int add_ids(struct cli *cli, const struct cli_arguments *arguments, struct buf *target,
                   struct api_queue_filter *filter) {
    if (arguments->word_count > 2)
        return cli_usage(cli, "one id at a time: %s", arguments->words[2]);
    if (arguments->word_count == 2) {
        if (!trace_id_valid(str_of(arguments->words[1])))
            return cli_usage(cli, "%s is no trace id: 26 characters of 0-9 and A-Z", arguments->words[1]);
        filter->trace_id = str_of(arguments->words[1]);
        api_target_add(target, "id", filter->trace_id);
    }
    return CLI_DONE;
}

static int operate(struct cli *cli, const struct cli_arguments *arguments) {
    static const struct {
        const char *verb, *done;
    } verbs[] = {
        {"retry", "will be tried now"}, {"hold", "held"}, {"release", "released"}, {"cancel", "cancelled"}};
    struct buf target __attribute__((cleanup(buf_free))) = {0};
    struct api_queue_filter filter = {0};
    struct api_reply reply;
    buf_printf(&target, "/v1/queue/%s", arguments->words[0]);
    int bad = read_filter(cli, arguments, &target, &filter);
    if (!bad)
        bad = add_ids(cli, arguments, &target, &filter);
    if (!bad && api_queue_filter_empty(&filter) && !filter.all)
        bad = cli_usage(cli, "say which: an id, --sender, --recipient, --domain, --pool, --older, --younger, "
                             "--held, or --all");
    if (!bad)
        bad = cli_ask(cli, "POST", buf_view(&target), STR_NULL, false, &reply);
    if (bad)
        return bad;
    json_t *root = json_loadb(reply.body.at, reply.body.len, 0, NULL);
    json_int_t changed = json_integer_value(json_object_get(root, "changed"));
    const char *note = json_string_value(json_object_get(root, "note"));
    const char *done = "changed";
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].verb, arguments->words[0]) == 0)
            done = verbs[i].done;
    if (cli->json)
        cli_print(cli, reply.body);
    else
        fprintf(cli->out, "%lld recipient%s %s\n", (long long)changed, changed == 1 ? "" : "s", done);
    if (note)
        fprintf(cli->err, "sluice: %s\n", note);
    json_decref(root);
    return changed || filter.all ? CLI_DONE : CLI_NO; /* of everything there may be nothing */
}

static int run(struct cli *cli, const struct cli_arguments *arguments) {
    static const char *const verbs[] = {"list", "show", "retry", "hold", "release", "cancel"};
    if (arguments->word_count == 0 || strcmp(arguments->words[0], "list") == 0)
        return list(cli, arguments);
    if (strcmp(arguments->words[0], "show") == 0)
        return show(cli, arguments);
    for (size_t i = 2; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(arguments->words[0], verbs[i]) == 0)
            return operate(cli, arguments);
    return cli_usage(cli, "no such word: %s%s", arguments->words[0],
                     cli_nearest(cli->arena, arguments->words[0], verbs, sizeof verbs / sizeof verbs[0]));
}

static const struct cli_option options[] = {
    {"sender", 0, "ADDRESS", "reverse-path; @domain for all of a domain, <> for reports"},
    {"recipient", 0, "ADDRESS", "recipient; @domain for all of a domain"},
    {"domain", 0, "DOMAIN", "recipients of this domain"},
    {"pool", 0, "POOL", "what leaves from this pool"},
    {"older", 0, "AGE", "arrived longer ago than this (2h)"},
    {"age", 0, "AGE", "the same as --older"},
    {"younger", 0, "AGE", "arrived less long ago"},
    {"held", 0, NULL, "only what is held"},
    {"id", 0, "ID", "one message"},
    {"trace-id", 0, "ID", "the same as --id"},
    {"all", 0, NULL, "everything (for retry, hold, release, cancel)"},
    {"limit", 0, "N", "rows of the list, 1000 by default"},
    {0},
};

const struct cli_command cmd_queue = {"queue", "[list | show ID | retry | hold | release | cancel] [ID]",
                                      "What waits: look, or retry, hold, release, cancel", options, run};
