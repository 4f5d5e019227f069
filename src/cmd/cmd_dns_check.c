/* `sluice dns check`: what the DNS says of us, as receivers see it. */
#include "base/clock.h"
#include "cmd/asking.h"
#include "cmd/dns.h"
#include "cmd/progress.h"
#include "identity/survey.h"
#include "trace/text.h"
#include <jansson.h>

enum { FIBERS = 64, PER_SECOND = 1000 };

struct asking {
    struct survey *survey;
    const struct survey_input *input;
    struct cli_progress progress;
};

static void begin(void *ctx, struct resolver *resolver) {
    struct asking *a = ctx;
    a->survey = survey_new(a->input, resolver);
}

static void run(void *ctx, struct flow *flow) {
    (void)flow;
    survey_work(((struct asking *)ctx)->survey);
}

static void show_progress(void *ctx) {
    struct asking *a = ctx;
    cli_progress(&a->progress, "%zu of %zu names, domains and addresses are asked for",
                 survey_done(a->survey), survey_total(a->survey));
}

static int ask(struct cli *cli, const struct settings *settings, struct asking *a) {
    struct cli_asking how = {
        .fibers = FIBERS, .begin = begin, .run = run, .waiting = show_progress, .ctx = a};
    cli_progress_begin(&a->progress, cli);
    int bad = cli_ask_dns(cli, settings, &how);
    cli_progress_end(&a->progress);
    return bad;
}

/* ---- the report ---- */

static void add_line(struct buf *lines, const struct survey_fault *f) {
    bool unknown = f->code == SURVEY_UNANSWERED;
    buf_printf(lines, "{\"status\":\"%s\",\"code\":\"%s\",\"subject\":",
               unknown                      ? "unknown"
               : survey_code_warns(f->code) ? "warning"
                                            : "fault",
               survey_code_text(f->code));
    trace_json_string(lines, f->subject);
    buf_str(lines, STR(",\"what\":"));
    trace_json_string(lines, f->what);
    buf_str(lines, STR(",\"put\":"));
    if (f->put.len)
        trace_json_string(lines, f->put);
    else
        buf_str(lines, STR("null"));
    buf_str(lines, STR("}\n"));
}

static struct str member(struct cli *cli, json_t *row, const char *name) {
    return cli_safe(cli->arena, str_of(json_string_value(json_object_get(row, name))), 0);
}

static void say_what_to_put(struct cli *cli, json_t *row) {
    struct str rest = str_of(json_string_value(json_object_get(row, "put"))), line;
    if (!rest.len)
        return;
    fprintf(cli->out, "\n%s%.*s%s: %.*s, put:\n", cli_paint(cli, CLI_RED),
            STR_FMT(member(cli, row, "subject")), cli_paint(cli, CLI_PLAIN),
            STR_FMT(member(cli, row, "code")));
    while (str_cut(&rest, '\n', &line))
        fprintf(cli->out, "  %.*s\n", STR_FMT(cli_safe(cli->arena, line, 0)));
}

struct counts {
    size_t faults, warnings, unknown;
};

static struct counts count_rows(struct cli *cli, struct str lines, bool talk) {
    struct counts counts = {0};
    struct str line;
    while (str_cut(&lines, '\n', &line)) {
        json_t *row = line.len ? json_loadb(line.at, line.len, 0, NULL) : NULL;
        struct str status = str_of(json_string_value(json_object_get(row, "status")));
        counts.faults += str_eq(status, STR("fault"));
        counts.warnings += str_eq(status, STR("warning"));
        counts.unknown += str_eq(status, STR("unknown"));
        if (talk && row)
            say_what_to_put(cli, row);
        json_decref(row);
    }
    return counts;
}

static void say_all_right(struct cli *cli, const struct plan_input *in) {
    fprintf(cli->out, "%s%zu address%s and %zu domain%s are as receivers want them%s\n",
            cli_paint(cli, CLI_GREEN), in->pools->source_count, in->pools->source_count == 1 ? "" : "es",
            in->domain_count, in->domain_count == 1 ? "" : "s", cli_paint(cli, CLI_PLAIN));
}

/* Returns the exit: NO when there are faults, else UNREACHABLE when something could not be asked. */
static int report(struct cli *cli, const struct plan_input *in, struct str lines, bool last) {
    static const struct cli_column columns[] = {
        {"SUBJECT", "subject", CLI_TEXT, .least = 16},
        {"FAULT", "code", CLI_STATUS},
        {"WHAT", "what", CLI_TEXT, .least = 20},
        {0},
    };
    static const struct cli_column last_columns[] = {
        {"SUBJECT", "subject", CLI_TEXT, .least = 16},
        {"FAULT", "code", CLI_STATUS},
        {"SINCE", "since", CLI_AGE, .drop = 1},
        {"WHAT", "what", CLI_TEXT, .least = 20},
        {0},
    };
    bool machine = cli->json || cli->csv;
    if (lines.len || machine)
        cli_rows(cli, lines, last ? last_columns : columns);
    struct counts counts = count_rows(cli, lines, !machine);
    if (!counts.faults && !counts.unknown && !counts.warnings && !machine)
        say_all_right(cli, in);
    if (counts.unknown && !machine)
        fprintf(cli->out,
                "\n%zu question%s got no answer: what depends on %s can't be told, and is no fault of a "
                "record\n",
                counts.unknown, counts.unknown == 1 ? "" : "s", counts.unknown == 1 ? "it" : "them");
    return counts.faults ? CLI_NO : counts.unknown ? CLI_UNREACHABLE : CLI_DONE;
}

/* ---- what the daemon has found ---- */

static int say_when(struct cli *cli) {
    struct api_reply reply;
    int bad = cli_ask(cli, "GET", STR("/v1/status"), STR_NULL, false, &reply);
    if (bad)
        return bad;
    json_t *row = json_loadb(reply.body.at, reply.body.len, JSON_DISABLE_EOF_CHECK, NULL);
    fprintf(cli->out, "asked %.*s; %.*s\n", STR_FMT(member(cli, row, "identity_checked")),
            STR_FMT(member(cli, row, "identity_check")));
    json_decref(row);
    return CLI_DONE;
}

int cmd_dns_last(struct cli *cli) {
    struct api_reply reply;
    int bad = cli_ask(cli, "GET", STR("/v1/identity"), STR_NULL, false, &reply);
    if (!bad && !cli->json && !cli->csv)
        bad = say_when(cli);
    if (bad)
        return bad;
    if (!reply.body.len && !cli->json && !cli->csv)
        fprintf(cli->out, "%snothing was wrong%s\n", cli_paint(cli, CLI_GREEN), cli_paint(cli, CLI_PLAIN));
    return reply.body.len ? report(cli, NULL, reply.body, true) : CLI_DONE;
}

/* ---- asking ---- */

int cmd_dns_check(struct cli *cli, const struct settings *settings, const struct plan_input *in,
                  const struct plan *plan) {
    struct survey_input input = {
        .planned = in,
        .plan = plan,
        .aaaa = settings->policy->aaaa,
        .per_second = PER_SECOND,
        .timeout_ms = settings->dns.timeout_ms,
        .now = clock_wall_ms(),
    };
    struct asking a = {.input = &input};
    int bad = ask(cli, settings, &a);
    if (!bad) {
        struct survey_result result = survey_end(a.survey);
        struct buf lines __attribute__((cleanup(buf_free))) = {0};
        for (size_t i = 0; i < result.count; i++)
            add_line(&lines, &result.faults[i]);
        bad = report(cli, in, buf_view(&lines), false);
    }
    survey_free(a.survey);
    return bad;
}
