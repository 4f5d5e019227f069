/* `sluice dns check`: what the DNS says of us, as receivers see it. */
#include "base/clock.h"
#include "cmd/asking.h"
#include "cmd/dns.h"
#include "identity/survey.h"
#include "trace/text.h"
#include <unistd.h>

enum { FIBERS = 64, PER_SECOND = 1000, LONG_MS = 2000 };

struct asking {
    struct cli *cli;
    struct survey *survey;
    const struct survey_input *input;
    int64_t began;
    bool watched, shown;
};

static void begin(void *ctx, struct resolver *resolver) {
    struct asking *a = ctx;
    a->survey = survey_new(a->input, resolver);
    a->began = clock_mono_ms();
}

static void run(void *ctx, struct flow *flow) {
    (void)flow;
    survey_work(((struct asking *)ctx)->survey);
}

/* Where somebody watches, and it takes long. */
static void show_progress(void *ctx) {
    struct asking *a = ctx;
    if (!a->watched || clock_mono_ms() - a->began < LONG_MS)
        return;
    fprintf(a->cli->err, "\r%zu of %zu asked ", survey_done(a->survey), survey_total(a->survey));
    fflush(a->cli->err);
    a->shown = true;
}

static int ask(struct cli *cli, const struct settings *settings, struct asking *a) {
    struct cli_asking how = {
        .fibers = FIBERS, .begin = begin, .run = run, .waiting = show_progress, .ctx = a};
    int bad = cli_ask_dns(cli, settings, &how);
    if (a->shown)
        fprintf(cli->err, "\r%*s\r", 40, "");
    return bad;
}

/* ---- the report ---- */

static bool unanswered(const struct survey_fault *f) { return f->code == SURVEY_UNANSWERED; }

static void add_line(struct buf *lines, const struct survey_fault *f) {
    buf_printf(lines, "{\"status\":\"%s\",\"code\":\"%s\",\"subject\":", unanswered(f) ? "unknown" : "fault",
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

static void say_what_to_put(struct cli *cli, const struct survey_fault *f) {
    struct str rest = f->put, line;
    if (!f->put.len)
        return;
    fprintf(cli->out, "\n%s%.*s%s: %s, put:\n", cli_paint(cli, CLI_RED),
            STR_FMT(cli_safe(cli->arena, f->subject, 0)), cli_paint(cli, CLI_PLAIN),
            survey_code_text(f->code));
    while (str_cut(&rest, '\n', &line))
        fprintf(cli->out, "  %.*s\n", STR_FMT(cli_safe(cli->arena, line, 0)));
}

static void say_all_right(struct cli *cli, const struct plan_input *in) {
    fprintf(cli->out, "%s%zu address%s and %zu domain%s are as receivers want them%s\n",
            cli_paint(cli, CLI_GREEN), in->pools->source_count, in->pools->source_count == 1 ? "" : "es",
            in->domain_count, in->domain_count == 1 ? "" : "s", cli_paint(cli, CLI_PLAIN));
}

static int report(struct cli *cli, const struct plan_input *in, const struct survey_result *result) {
    static const struct cli_column columns[] = {
        {"SUBJECT", "subject", CLI_TEXT, .least = 16},
        {"FAULT", "code", CLI_STATUS},
        {"WHAT", "what", CLI_TEXT, .least = 20},
        {0},
    };
    struct buf lines __attribute__((cleanup(buf_free))) = {0};
    bool machine = cli->json || cli->csv;
    for (size_t i = 0; i < result->count; i++)
        add_line(&lines, &result->faults[i]);
    if (result->count || machine)
        cli_rows(cli, buf_view(&lines), columns);
    for (size_t i = 0; i < result->count && !machine; i++)
        say_what_to_put(cli, &result->faults[i]);
    if (!result->count && !machine)
        say_all_right(cli, in);
    if (result->unanswered && !machine)
        fprintf(cli->out,
                "\n%zu question%s got no answer: what depends on %s can't be told, and is no fault of a "
                "record\n",
                result->unanswered, result->unanswered == 1 ? "" : "s",
                result->unanswered == 1 ? "it" : "them");
    return result->count > result->unanswered ? CLI_NO : CLI_DONE;
}

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
    struct asking a = {.cli = cli, .input = &input, .watched = isatty(fileno(cli->err))};
    int bad = ask(cli, settings, &a);
    if (!bad) {
        struct survey_result result = survey_end(a.survey);
        bad = report(cli, in, &result);
    }
    survey_free(a.survey);
    return bad;
}
