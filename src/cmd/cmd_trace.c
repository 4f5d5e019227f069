#include "base/clock.h"
#include "cmd/cli.h"
#include "trace/csv.h"
#include "trace/filter.h"

static const struct cli_column columns[] = {
    {"TIME (UTC)", "time", CLI_TIME, .drop = 2},
    {"STATUS", "status", CLI_STATUS},
    {"CLASS", "class", CLI_TEXT, .least = 9},
    {"POOL", "outbound_ip_pool_name", CLI_TEXT, .least = 6, .drop = 4},
    {"ADDRESS", "outbound_ip", CLI_TEXT, .drop = 3},
    {"SENDER", "sender", CLI_TEXT, .least = 12, .drop = 1},
    {"RECIPIENT", "recipient", CLI_TEXT, .least = 12, .want = 20},
    {"SUBJECT", "subject", CLI_TEXT, .least = 10, .drop = 5},
    {"CAUSE", "reply", CLI_CAUSE, .least = 14, .want = 30},
    {"TRACE ID", "trace_id", CLI_TEXT},
    {0},
};

/* A search in the making: the same words go to the API and, when no daemon runs, to the files. */
struct search {
    struct cli *cli;
    const struct cli_arguments *arguments;
    struct trace_filter filter;
    struct buf rows;
    struct str next;
};

static void add_row(void *arg, const struct trace_event *event) {
    struct buf *rows = arg;
    trace_event_json(rows, event);
    buf_char(rows, '\n');
}

static int open_files(struct cli *cli, struct trace **ret) {
    struct cli_places places;
    int bad = cli_find(cli, &places);
    if (bad)
        return bad;
    if (!places.trace_dir || trace_open_read(places.trace_dir, ret) != 0)
        return CLI_UNREACHABLE;
    fprintf(cli->err, "sluice: no daemon answers at %s; read from %s\n", places.socket, places.trace_dir);
    return CLI_DONE;
}

/* What the daemon would have said of a configuration without a trace on disk. */
static int say_unreachable(struct cli *cli) {
    struct api_reply reply;
    return cli_ask(cli, "GET", STR("/v1/trace?limit=1"), STR_NULL, false, &reply) ? CLI_UNREACHABLE
                                                                                  : CLI_DONE;
}

static int search_files(struct search *s) {
    struct trace *trace;
    struct trace_page page;
    int bad = open_files(s->cli, &trace);
    if (bad)
        return bad == CLI_UNREACHABLE ? say_unreachable(s->cli) : bad;
    int error = trace_query(trace, &s->filter, add_row, &s->rows, &page);
    s->next = str_copy(s->cli->arena, str_of(page.next));
    if (page.warning[0])
        fprintf(s->cli->err, "sluice: warning: %s\n", page.warning);
    trace_free(trace);
    if (error)
        fprintf(s->cli->err, "sluice: %s\n", error_text(error));
    return error ? CLI_NO : CLI_DONE;
}

static int search_daemon(struct search *s) {
    struct buf target __attribute__((cleanup(buf_free))) = {0};
    struct api_reply reply;
    buf_str(&target, STR("/v1/trace"));
    for (size_t i = 0; i < s->arguments->given_count; i++)
        if (strcmp(s->arguments->given[i].option->name, "after") != 0)
            api_target_add(&target, s->arguments->given[i].option->name, s->arguments->given[i].value);
    if (s->filter.after.len)
        api_target_add(&target, "after", s->filter.after);
    int bad = cli_ask(s->cli, "GET", buf_view(&target), STR_NULL, true, &reply);
    if (bad)
        return bad;
    buf_str(&s->rows, reply.body);
    s->next = reply.next;
    return CLI_DONE;
}

static int read_filter(struct search *s) {
    struct cli *cli = s->cli;
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    for (size_t i = 0; i < s->arguments->given_count; i++) {
        const struct cli_given *given = &s->arguments->given[i];
        if (trace_filter_set(&s->filter, str_of(given->option->name), given->value, clock_wall_ms(), &why))
            return cli_usage(cli, "--%s %.*s: %s", given->option->name, STR_FMT(given->value), buf_c(&why));
    }
    return CLI_DONE;
}

static void print_csv(struct cli *cli, struct str lines) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    struct str line;
    trace_csv_header(&out);
    while (str_cut(&lines, '\n', &line)) {
        struct arena *arena = arena_new(0);
        struct trace_event event;
        if (trace_event_parse(line, arena, &event) == 0)
            trace_csv_row(&out, &event);
        arena_free(arena);
    }
    cli_print(cli, buf_view(&out));
}

static int list(struct cli *cli, const struct cli_arguments *arguments) {
    struct search s = {.cli = cli, .arguments = arguments};
    int bad = read_filter(&s);
    if (!bad)
        bad = search_daemon(&s);
    if (bad == CLI_UNREACHABLE)
        bad = search_files(&s);
    if (!bad) {
        if (cli->csv)
            print_csv(cli, buf_view(&s.rows));
        else
            cli_rows(cli, buf_view(&s.rows), columns);
        if (!s.rows.len && !cli->csv && !cli->json)
            fputs("no such message\n", cli->err);
        if (s.next.len)
            fprintf(cli->err, "sluice: there are more; the next page: --after '%.*s'\n",
                    STR_FMT(cli_safe(cli->arena, s.next, 0)));
    }
    if (!bad && !s.rows.len)
        bad = CLI_NO;
    buf_free(&s.rows);
    return bad;
}

static int show_files(struct cli *cli, const char *id, struct buf *rows) {
    struct trace *trace;
    int bad = open_files(cli, &trace);
    if (bad)
        return bad == CLI_UNREACHABLE ? say_unreachable(cli) : bad;
    int error = trace_show(trace, str_of(id), add_row, rows);
    trace_free(trace);
    if (error == SLUICE_ENOTFOUND)
        fprintf(cli->err, "sluice: no message with trace id %s\n", id);
    else if (error)
        fprintf(cli->err, "sluice: the file of that day can't be read: %s\n", error_text(error));
    return error ? CLI_NO : CLI_DONE;
}

static void print_story(struct cli *cli, struct str lines) {
    struct str line, rest = lines;
    size_t count = 0, room = 1;
    for (size_t i = 0; i < lines.len; i++)
        room += lines.at[i] == '\n';
    struct trace_event *events = arena_array(cli->arena, struct trace_event, room);
    while (count < room && str_cut(&rest, '\n', &line))
        if (trace_event_parse(line, cli->arena, &events[count]) == 0)
            count++;
    cli_timeline(cli, events, count);
}

static int show(struct cli *cli, const struct cli_arguments *arguments) {
    struct buf rows __attribute__((cleanup(buf_free))) = {0};
    struct api_reply reply;
    if (arguments->word_count != 2 || arguments->given_count)
        return cli_usage(cli, "usage: sluice trace show ID");
    const char *id = arguments->words[1];
    if (!trace_id_valid(str_of(id)))
        return cli_usage(cli, "%s is no trace id: 26 characters of 0-9 and A-Z", id);
    int bad = cli_ask(cli, "GET", str_printf(cli->arena, "/v1/trace/%s", id), STR_NULL, true, &reply);
    if (!bad)
        buf_str(&rows, reply.body);
    else if (bad == CLI_UNREACHABLE)
        bad = show_files(cli, id, &rows);
    if (bad)
        return bad;
    if (cli->json)
        cli_print(cli, buf_view(&rows));
    else if (cli->csv)
        print_csv(cli, buf_view(&rows));
    else
        print_story(cli, buf_view(&rows));
    return CLI_DONE;
}

static int run(struct cli *cli, const struct cli_arguments *arguments) {
    if (arguments->word_count == 0)
        return list(cli, arguments);
    if (strcmp(arguments->words[0], "show") == 0)
        return show(cli, arguments);
    if (arguments->word_count == 1 && trace_id_valid(str_of(arguments->words[0])))
        return cli_usage(cli, "did you mean: sluice trace show %s", arguments->words[0]);
    return cli_usage(cli, "unexpected word: %s%s", arguments->words[0],
                     cli_nearest(cli->arena, arguments->words[0], (const char *const[]){"show"}, 1));
}

/* The same names as trace_filter_names; a test holds the two together. */
static const struct cli_option options[] = {
    {"trace-id", 0, "ID", "one message"},
    {"sender", 0, "ADDRESS", "reverse-path; @domain for all of a domain, <> for reports"},
    {"recipient", 0, "ADDRESS", "recipient; @domain for all of a domain"},
    {"message-id", 0, "ID", "Message-ID, with or without <>"},
    {"from-ip", 0, "IP", "the client that brought it, or the first outside one"},
    {"to-ip", 0, "IP", "the receiver's address"},
    {"outbound-ip", 0, "IP", "the address it left from"},
    {"subject", 0, "TEXT", "subject contains"},
    {"subject-match", 0, "HOW", "contains, starts or ends"},
    {"status", 0, "STATUS", "Pending, Delivered, Failed, Expanded, FilteredAsSpam, Cancelled"},
    {"class", 0, "CLASS", "normal, high-risk, relay, high-risk-relay"},
    {"rule", 0, "RULE", "the rule that chose the class"},
    {"pool", 0, "POOL", "the pool it leaves from"},
    {"tenant", 0, "TENANT", "whose mail it is"},
    {"event", 0, "EVENT", "recipients to whom this ever happened (DEFER, HOLD, ...)"},
    {"since", 0, "TIME", "arrived at or after: 2026-11-22T10:00Z, a date, or an age as 2h"},
    {"until", 0, "TIME", "arrived before; same forms"},
    {"limit", 0, "N", "rows, 1000 by default, 5000 at most"},
    {"after", 0, "CURSOR", "the next page: what the page before ended with"},
    {0},
};

const struct cli_command cmd_trace = {"trace", "[show ID]", "What became of messages, newest first", options,
                                      run};
