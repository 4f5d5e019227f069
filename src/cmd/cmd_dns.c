#include "cmd/dkim.h"
#include "cmd/dns.h"
#include "trace/text.h"
#include <sys/stat.h>

/* ---- the plan ---- */

static void add_destinations(struct cli *cli, const struct settings *s, struct plan_input *in) {
    struct str *names = arena_array(cli->arena, struct str, s->destinations.count);
    for (size_t i = 0; i < s->destinations.count; i++) {
        const struct destination_settings *d = &s->destinations.at[i];
        in->ptr_ehlo |= d->ehlo == EHLO_PTR;
        in->site_ehlo |= d->ehlo == EHLO_SITE;
        if (d->ehlo == EHLO_NAME)
            names[in->ehlo_name_count++] = d->ehlo_name;
    }
    in->ehlo_names = names;
}

static void add_tenants(struct cli *cli, const struct policy *policy, struct plan_input *in) {
    size_t count = 0;
    for (size_t i = 0; i < policy->tenant_count; i++)
        count += policy->tenants[i].domain_count;
    struct plan_domain *domains = arena_array(cli->arena, struct plan_domain, count);
    for (size_t i = 0; i < policy->tenant_count; i++)
        for (size_t j = 0; j < policy->tenants[i].domain_count; j++)
            domains[in->domain_count++] = (struct plan_domain){.tenant = policy->tenants[i].name,
                                                               .domain = policy->tenants[i].domains[j]};
    in->domains = domains;
}

/* The keys that sign, will sign or did until lately. */
static void add_keys(struct cli *cli, const struct settings *s, struct plan_input *in,
                     struct dkim_rows *rows) {
    size_t domains = 0;
    for (size_t i = 0; i < s->policy->tenant_count; i++)
        domains += s->policy->tenants[i].signing_count;
    if (!domains || dkim_rows_of(cli, s, STR(""), rows))
        return;
    struct plan_dkim *keys = arena_array(cli->arena, struct plan_dkim, rows->count);
    for (size_t i = 0; i < rows->count; i++) {
        const struct dkim_row *row = &rows->rows[i];
        if (row->record.len && row->role != DKIM_OVER)
            keys[in->dkim_count++] = (struct plan_dkim){
                .domain = row->domain->domain, .selector = row->selector, .text = row->record};
    }
    in->dkim = keys;
}

struct plan cmd_dns_plan(struct cli *cli, const struct settings *s, struct plan_input *in) {
    struct dkim_rows rows = {0};
    *in = (struct plan_input){.pools = s->pools, .settings = &s->identity};
    add_destinations(cli, s, in);
    add_tenants(cli, s->policy, in);
    add_keys(cli, s, in, &rows);
    struct plan plan = plan_build(cli->arena, in);
    dkim_rows_free(&rows);
    return plan;
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

/* ---- ranges ---- */

/* It grows when a file changes in which sites and pools are written: the same on each call, no state. */
static int64_t serial_of(const struct settings *s) {
    struct stat status;
    int64_t serial = stat(s->file.at, &status) == 0 ? status.st_mtime : 0;
    for (size_t i = 0; i < s->pool_file_count; i++)
        if (stat(s->pool_files[i], &status) == 0 && status.st_mtime > serial)
            serial = status.st_mtime;
    return serial;
}

static int print_ranges(struct cli *cli, const struct settings *s) {
    static const struct cli_column columns[] = {
        {"SERIAL", "serial", CLI_NUMBER}, {"RANGE", "range", CLI_TEXT}, {0}};
    struct buf lines __attribute__((cleanup(buf_free))) = {0};
    struct cidr *ranges;
    size_t count = plan_ranges(cli->arena, s->pools, &ranges);
    long long serial = serial_of(s);
    char text[CIDR_TEXT_SIZE];
    if (!cli->json && !cli->csv)
        fprintf(cli->out, "serial %lld\n", serial);
    for (size_t i = 0; i < count; i++) {
        cidr_text(&ranges[i], text);
        if (!cli->json && !cli->csv)
            fprintf(cli->out, "%s\n", text);
        buf_printf(&lines, "{\"serial\":%lld,\"range\":\"%s\"}\n", serial, text);
    }
    if (cli->json || cli->csv)
        cli_rows(cli, buf_view(&lines), columns);
    return CLI_DONE;
}

/* ---- the command ---- */

static int run_loaded(struct cli *cli, const struct cli_arguments *arguments, const struct settings *s) {
    if (strcmp(arguments->words[0], "ranges") == 0)
        return print_ranges(cli, s);
    struct plan_input in;
    struct plan plan = cmd_dns_plan(cli, s, &in);
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
    if (strcmp(arguments->words[0], "zone") != 0 && arguments->given_count)
        return cli_usage(cli, "--%s belongs to sluice dns zone", arguments->given[0].option->name);
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
    {0},
};

const struct cli_command cmd_dns = {
    "dns", "plan | zone --out DIR | zone --diff | zone --nsupdate | publish | check | ranges",
    "What must stand in the DNS for the addresses, and what stands there", options, run};
