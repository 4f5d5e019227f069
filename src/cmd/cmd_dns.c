#include "base/error.h"
#include "cmd/dkim.h"
#include "cmd/dns.h"
#include "settings/planned.h"
#include "trace/text.h"
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the plan ---- */

/* In a process of its own, which becomes the daemon's account where this is root: what it makes is the
 * daemon's. */
static void make_secret(struct cli *cli, const struct settings *s) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct ownership_secret secret;
        struct str why;
        int folder;
        cli->err = fopen("/dev/null", "w"); /* whether it worked shows */
        if (cli->err && dkim_folder_open(cli, s->state, s->user, &folder) == CLI_DONE &&
            ownership_secret_make(s->ownership.secret, cli->arena, &why, &secret) == 0)
            _exit(0);
        _exit(1);
    }
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
}

/* The secret of the ownership tokens, if there is one, or can be. */
static bool read_secret(struct cli *cli, const struct settings *s, bool make, struct ownership_secret *ret) {
    struct str why;
    bool matters = s->ownership.verify;
    int error = ownership_secret_read(s->ownership.secret, cli->arena, &why, ret);
    if (error == SLUICE_ENOTFOUND && make && s->policy->tenant_count && !s->ownership.secret_given) {
        make_secret(cli, s);
        error = ownership_secret_read(s->ownership.secret, cli->arena, &why, ret);
        if (!error && (matters || s->pools->site_count > 1))
            fprintf(
                cli->err,
                "sluice: the secret of the ownership tokens is new: %s; other nodes with these tenants need "
                "the same\n",
                s->ownership.secret);
    }
    if (error && matters)
        fprintf(cli->err, "sluice: no ownership tokens: %.*s\n", STR_FMT(why));
    return !error;
}

static struct plan make_plan(struct cli *cli, const struct settings *s, bool make, struct plan_input *in) {
    struct ownership_secret secret;
    return planned(cli->arena, s, read_secret(cli, s, make, &secret) ? &secret : NULL, in);
}

void cmd_dns_notes(struct cli *cli, const struct plan_note *notes, size_t count) {
    for (size_t i = 0; i < count; i++)
        fprintf(cli->err, "sluice: %.*s: %.*s\n", STR_FMT(notes[i].name), STR_FMT(notes[i].text));
}

static void add_json(struct buf *out, const struct plan_record *r) {
    buf_str(out, STR("{\"name\":"));
    trace_json_string(out, r->name);
    buf_printf(out, ",\"type\":\"%s\",\"ttl\":%lld,\"data\":", r->type, (long long)r->ttl);
    trace_json_string(out, r->data);
    buf_str(out, STR("}\n"));
}

static void print_zone(struct cli *cli, const struct plan *plan, const struct plan_zone *zone) {
    static const char *const OWNERS[] = {
        [PLAN_OURS] = "", [PLAN_PROVIDER] = " (the provider's)", [PLAN_TENANT] = " (the customer's)"};
    fprintf(cli->out, "%s%.*s%s%s\n", cli_paint(cli, CLI_BOLD), STR_FMT(zone->name),
            cli_paint(cli, CLI_PLAIN), OWNERS[zone->owner]);
    for (size_t i = 0; i < zone->count; i++) {
        const struct plan_record *r = &plan->records[zone->first + i];
        fprintf(cli->out, "  %.*s %lld %s %.*s\n", STR_FMT(r->name), (long long)r->ttl, r->type,
                STR_FMT(r->data));
    }
}

static int print_plan(struct cli *cli, const struct plan *plan) {
    static const struct cli_column columns[] = {
        {"NAME", "name", CLI_TEXT},
        {"TYPE", "type", CLI_TEXT},
        {"TTL", "ttl", CLI_NUMBER},
        {"DATA", "data", CLI_TEXT},
        {0},
    };
    struct buf lines __attribute__((cleanup(buf_free))) = {0};
    cmd_dns_notes(cli, plan->notes, plan->note_count);
    for (size_t i = 0; (cli->json || cli->csv) && i < plan->record_count; i++)
        add_json(&lines, &plan->records[i]);
    if (cli->json || cli->csv)
        cli_rows(cli, buf_view(&lines), columns);
    else
        for (size_t i = 0; i < plan->zone_count; i++)
            print_zone(cli, plan, &plan->zones[i]);
    return CLI_DONE;
}

/* ---- the command ---- */

static int run_loaded(struct cli *cli, const struct cli_arguments *arguments, const struct settings *s) {
    if (strcmp(arguments->words[0], "ranges") == 0)
        return cmd_dns_ranges(cli, s);
    struct plan_input in;
    bool checks = strcmp(arguments->words[0], "check") == 0; /* who only looks makes nothing */
    struct plan plan = make_plan(cli, s, !checks, &in);
    if (strcmp(arguments->words[0], "check") == 0)
        return cmd_dns_check(cli, s, &in, &plan);
    if (strcmp(arguments->words[0], "plan") == 0)
        return print_plan(cli, &plan);
    if (strcmp(arguments->words[0], "publish") == 0)
        return cmd_dns_publish(cli, s, &plan);
    return cmd_dns_zone(cli, arguments, s, &plan);
}

static int run(struct cli *cli, const struct cli_arguments *arguments) {
    static const char *const words[] = {"plan", "zone", "publish", "check", "ranges"};
    enum { WORDS = sizeof words / sizeof *words };
    struct settings *settings = NULL;
    size_t known = 0;
    if (!arguments->word_count)
        return cli_usage(cli, "sluice dns plan, zone, publish, check or ranges?");
    while (known < WORDS && strcmp(words[known], arguments->words[0]) != 0)
        known++;
    if (known == WORDS)
        return cli_usage(cli, "no such word: %s%s", arguments->words[0],
                         cli_nearest(cli->arena, arguments->words[0], words, WORDS));
    if (arguments->word_count > 1)
        return cli_usage(cli, "unexpected word: %s", arguments->words[1]);
    for (size_t i = 0; i < arguments->given_count; i++) {
        const char *option = arguments->given[i].option->name;
        const char *owner = strcmp(option, "last") == 0 ? "check" : "zone";
        if (strcmp(arguments->words[0], owner) != 0)
            return cli_usage(cli, "--%s belongs to sluice dns %s", option, owner);
    }
    if (cli_has(arguments, "last"))
        return cmd_dns_last(cli);
    int bad = dkim_settings(cli, &settings);
    if (!bad)
        bad = run_loaded(cli, arguments, settings);
    settings_unref(settings);
    return bad;
}

static const struct cli_option options[] = {
    {"out", 0, "DIR", "zone: write one file for each zone there"},
    {"diff", 0, NULL, "zone: show what the DNS answers otherwise; exit 1 when anything does"},
    {"nsupdate", 0, NULL, "zone: print a script for nsupdate"},
    {"last", 0, NULL, "check: what the daemon found the last time, without asking"},
    {0},
};

const struct cli_command cmd_dns = {
    "dns", "plan | zone --out DIR | zone --diff | zone --nsupdate | publish | check [--last] | ranges",
    "What must stand in the DNS for the addresses, and what stands there", options, run};
