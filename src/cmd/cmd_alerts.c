#include "alert/history.h"
#include "base/clock.h"
#include "cmd/cli.h"
#include <jansson.h>

static const struct cli_column columns[] = {
    {"ID", "id", CLI_NUMBER},
    {"LAST (UTC)", "last", CLI_TIME},
    {"STATE", "state", CLI_STATUS},
    {"LEVEL", "level", CLI_STATUS, .drop = 3},
    {"KIND", "kind", CLI_TEXT},
    {"SUBJECT", "subject", CLI_TEXT, .least = 12, .want = 40},
    {"TENANT", "tenant", CLI_TEXT, .least = 6, .drop = 1},
    {"TIMES", "count", CLI_NUMBER, .drop = 2},
    {"WHY", "text", CLI_TEXT, .least = 14, .want = 30, .drop = 4},
    {0},
};

static const struct cli_column said_columns[] = {
    {"CHANNEL", "channel", CLI_TEXT, .least = 12},
    {"RESULT", "result", CLI_STATUS},
    {"SAID", "said", CLI_TEXT, .least = 20, .want = 60},
    {0},
};

static void add_row(void *arg, const struct alert_record *record) { alert_record_json(arg, record); }

/* Without a daemon the file is read. */
static int search_files(struct cli *cli, const struct alert_filter *filter, struct str target,
                        struct buf *rows) {
    struct cli_places places;
    struct api_reply reply;
    int bad = cli_find(cli, &places);
    if (bad)
        return bad;
    int error = places.trace_dir ? alert_history(places.trace_dir, filter, add_row, rows) : SLUICE_ENOTFOUND;
    if (error == SLUICE_ENOTFOUND) /* what the daemon would have said */
        return cli_ask(cli, "GET", target, STR_NULL, false, &reply) ? CLI_UNREACHABLE : CLI_DONE;
    if (error) {
        fprintf(cli->err, "sluice: the history of alerts in %s can't be read: %s\n", places.trace_dir,
                error_text(error));
        return CLI_NO;
    }
    fprintf(cli->err, "sluice: no daemon answers at %s; read from %s\n", places.socket, places.trace_dir);
    return CLI_DONE;
}

static int search(struct cli *cli, const struct alert_filter *filter, struct str target, struct buf *rows) {
    struct api_reply reply;
    int bad = cli_ask(cli, "GET", target, STR_NULL, true, &reply);
    if (!bad)
        buf_str(rows, reply.body);
    return bad == CLI_UNREACHABLE ? search_files(cli, filter, target, rows) : bad;
}

static int list(struct cli *cli, const struct cli_arguments *arguments) {
    struct buf target __attribute__((cleanup(buf_free))) = {0};
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    struct buf rows __attribute__((cleanup(buf_free))) = {0};
    struct alert_filter filter = {0};
    buf_str(&target, STR("/v1/alerts"));
    for (size_t i = 0; i < arguments->given_count; i++) {
        const char *name = arguments->given[i].option->name;
        struct str value = arguments->given[i].option->value ? arguments->given[i].value : STR("1");
        if (alert_filter_set(&filter, str_of(name), value, clock_wall_ms(), &why))
            return cli_usage(cli, "--%s %.*s: %s", name, STR_FMT(value), buf_c(&why));
        api_target_add(&target, name, value);
    }
    int bad = search(cli, &filter, buf_view(&target), &rows);
    if (bad)
        return bad;
    cli_rows(cli, buf_view(&rows), columns);
    if (!rows.len && !cli->json && !cli->csv)
        fputs(filter.open ? "nothing is open\n" : "no such alert\n", cli->err);
    return rows.len || !arguments->given_count || filter.open ? CLI_DONE : CLI_NO; /* none is good news */
}

/* Texts of several lines, as they were written. */
static void print_lines(struct cli *cli, json_t *row, const char *title, const char *key) {
    enum { COLUMN = 2 };
    struct str text = str_of(json_string_value(json_object_get(row, key))), line;
    if (!text.len)
        return;
    fprintf(cli->out, "\n%s%s%s\n", cli_paint(cli, CLI_DIM), title, cli_paint(cli, CLI_PLAIN));
    while (str_cut(&text, '\n', &line)) {
        fprintf(cli->out, "%*s", COLUMN, "");
        cli_wrap(cli, COLUMN, cli_safe(cli->arena, line, 0));
    }
}

static void print_one(struct cli *cli, struct str line) {
    static const char *const long_ones[] = {"text", "advice", "samples"};
    json_t *row = json_loadb(line.at, line.len, 0, NULL);
    json_t *brief = json_copy(row);
    for (size_t i = 0; i < 3; i++)
        json_object_del(brief, long_ones[i]);
    char *text = json_dumps(brief, JSON_COMPACT);
    cli_object(cli, str_of(text));
    print_lines(cli, row, "why", "text");
    print_lines(cli, row, "what to do", "advice");
    print_lines(cli, row, "samples", "samples");
    free(text);
    json_decref(brief);
    json_decref(row);
}

static int show(struct cli *cli, const struct cli_arguments *arguments) {
    struct buf rows __attribute__((cleanup(buf_free))) = {0};
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    struct alert_filter filter = {0};
    if (arguments->word_count != 2 || arguments->given_count)
        return cli_usage(cli, "usage: sluice alerts show ID");
    struct str id = str_of(arguments->words[1]);
    if (alert_filter_set(&filter, STR("id"), id, clock_wall_ms(), &why))
        return cli_usage(cli, "%s is no alert: a number of the column ID is wanted", id.at);
    int bad = search(cli, &filter, str_printf(cli->arena, "/v1/alerts?id=%.*s", STR_FMT(id)), &rows);
    if (bad)
        return bad;
    if (!rows.len) {
        fprintf(cli->err, "sluice: no alert has the number %s\n", id.at);
        return CLI_NO;
    }
    if (cli->json || cli->csv)
        cli_rows(cli, buf_view(&rows), columns);
    else
        print_one(cli, buf_view(&rows));
    return CLI_DONE;
}

static int test(struct cli *cli, const struct cli_arguments *arguments) {
    struct api_reply reply;
    if (arguments->word_count != 1 || arguments->given_count)
        return cli_usage(cli, "usage: sluice alerts test");
    int bad = cli_ask(cli, "POST", STR("/v1/alerts/test"), STR_NULL, false, &reply);
    if (bad)
        return bad;
    cli_rows(cli, reply.body, said_columns);
    return str_find(reply.body, STR("\"failed\"")) < 0 ? CLI_DONE : CLI_NO;
}

static int run(struct cli *cli, const struct cli_arguments *arguments) {
    static const char *const verbs[] = {"list", "show", "test"};
    const char *word = arguments->word_count ? arguments->words[0] : "list";
    if (strcmp(word, "list") == 0)
        return arguments->word_count > 1 ? cli_usage(cli, "unexpected word: %s", arguments->words[1])
                                         : list(cli, arguments);
    if (strcmp(word, "show") == 0)
        return show(cli, arguments);
    if (strcmp(word, "test") == 0)
        return test(cli, arguments);
    return cli_usage(cli, "no such word: %s%s", word, cli_nearest(cli->arena, word, verbs, 3));
}

static const struct cli_option options[] = {
    {"open", 0, NULL, "only what has not ended"},
    {"kind", 0, "KIND", "of this kind (sender-restricted, source-listed, ...)"},
    {"subject", 0, "SUBJECT", "about this sender, address, domain, ..."},
    {"tenant", 0, "TENANT", "of this tenant"},
    {"since", 0, "TIME", "raised at or after: 2026-11-22T10:00Z, a date, or an age as 2h"},
    {"limit", 0, "N", "rows, 1000 by default, 5000 at most"},
    {0},
};

const struct cli_command cmd_alerts = {"alerts", "[show ID | test]",
                                       "What needed a human, the latest first; or a test of the channels",
                                       options, run};
