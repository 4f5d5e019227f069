#include "cmd/explain_view.h"

#include "settings/planned.h"
#include "watch/domains.h"
#include <errno.h>

enum { MESSAGE_MAX = 64 << 20 };

/* What is on disk, where it matters: what is not known there is asked, and not kept. */
static void open_domains(struct cli *cli, const struct settings *settings, struct domains *ret) {
    struct str damage, why;
    if (!settings->ownership.verify)
        return;
    if (domains_open(settings, false, cli->arena, &damage, &why, ret) != 0)
        fprintf(cli->err, "sluice: whose the domains are can't be told: %.*s\n",
                STR_FMT(cli_safe(cli->arena, why, 0)));
    else
        (void)domains_secret(ret, settings, false, cli->arena, &why);
}

/* What both ways of telling want to know */

const struct explain_copy *explain_first(const struct explain_view *v) {
    static const struct explain_copy none;
    return v->result.copy_count ? &v->result.copies[0] : &none;
}

struct str explain_refusal(const struct explain_view *v) {
    const struct outcome *refusal = &v->result.refusal;
    if (refusal->fate == OUTCOME_DONE)
        return STR_NULL;
    return refusal->code ? outcome_line(v->cli->arena, refusal) : refusal->text;
}

struct str explain_no_route(const struct explain_view *v, const struct explain_copy *c) {
    bool none = c->route && c->route->outcome.fate != OUTCOME_DONE;
    return none ? outcome_line(v->cli->arena, &c->route->outcome) : STR_NULL;
}

const char *explain_family(unsigned family) { return family == FAMILY_V6 ? "IPv6" : "IPv4"; }

static bool any_carries(const struct explain_copy *c, const struct pool *pool) {
    for (uint32_t i = 0; i < pool->source_count; i++)
        if (explain_carries(c, &pool->sources[i]))
            return true;
    return false;
}

struct str explain_waits(const struct explain_view *v, const struct pool *pool) {
    if (!pool->source_count)
        return str_printf(v->cli->arena, "pool %.*s has no address: the mail would wait",
                          STR_FMT(pool->name));
    for (size_t i = 0; i < v->result.copy_count; i++)
        if (!any_carries(&v->result.copies[i], pool))
            return str_printf(
                v->cli->arena,
                "pool %.*s has no %s address, and the destination no other: the mail would wait",
                STR_FMT(pool->name), explain_family(v->result.copies[i].families));
    return STR_NULL;
}

const char *explain_spf_end(enum spf_step_end end) {
    static const char *const words[] = {
        [SPF_STEP_RECORD] = "the record",   [SPF_STEP_MISS] = "no match", [SPF_STEP_MATCH] = "match",
        [SPF_STEP_FOLLOW] = "goes on with", [SPF_STEP_MODIFIER] = "used", [SPF_STEP_ERROR] = "error",
    };
    return words[end];
}

const char *explain_dns_status(enum dns_status status) {
    return status == DNS_RECORDS ? "records" : status == DNS_NONE ? "none" : "failed";
}

/* Is it accepted, does a copy leave, and is there for each an address to send it from and one to send it to?
 */
static bool leaves(const struct explain_view *v) {
    const struct explain_result *r = &v->result;
    bool ready = false;
    for (size_t i = 0; i < r->pool_count; i++)
        ready |= !explain_waits(v, r->pools[i]).len;
    for (size_t i = 0; i < r->copy_count; i++)
        ready &= r->copies[i].route && r->copies[i].route->outcome.fate == OUTCOME_DONE;
    return ready && !v->over && r->refusal.fate == OUTCOME_DONE && r->copy_count;
}

/* Arguments */

static int read_file(struct cli *cli, const char *path, struct str *ret) {
    FILE *file = strcmp(path, "-") == 0 ? cli->in : fopen(path, "r");
    struct buf in __attribute__((cleanup(buf_free))) = {0};
    if (!file)
        return cli_usage(cli, "%s can't be read: %s", path, strerror(errno));
    for (size_t got;
         buf_reserve(&in, 65536), in.len < MESSAGE_MAX && (got = fread(in.at + in.len, 1, 65536, file)) > 0;)
        in.len += got;
    bool bad = ferror(file);
    if (file != cli->in)
        fclose(file);
    *ret = str_copy(cli->arena, buf_view(&in));
    return bad ? cli_usage(cli, "%s can't be read", path) : CLI_DONE;
}

static int read_address(struct cli *cli, const char *option, struct str text_of, unsigned flags,
                        struct str *ret) {
    struct address address;
    struct str plain = str_trim(text_of);
    if (str_starts(plain, STR("<")) && str_ends(plain, STR(">")))
        plain = str_from(plain.at + 1, plain.len - 2);
    if (address_parse(plain, flags | ADDRESS_ALLOW_UTF8, &address) != 0)
        return cli_usage(cli, "--%s %.*s: not an address", option, STR_FMT(text_of));
    *ret = plain;
    return CLI_DONE;
}

static int read_request(struct cli *cli, const struct cli_arguments *arguments, struct explain_request *ret,
                        struct str *ret_as) {
    struct str from = cli_value(arguments, "from"), to = cli_value(arguments, "to");
    struct str client = cli_value(arguments, "client");
    if (!from.at || !to.at || arguments->word_count != 1)
        return cli_usage(cli, "usage: sluice explain --from A --to B [--client IP [--helo NAME] "
                              "[--certificate NAME]] [--tenant T] [--as SENDER] FILE (- reads standard "
                              "input)");
    if (client.at && !ip_parse(client, &ret->client))
        return cli_usage(cli, "--client %.*s: an IP address is wanted", STR_FMT(client));
    ret->tenant = cli_value(arguments, "tenant");
    ret->helo = cli_value(arguments, "helo");
    *ret_as = cli_value(arguments, "as");
    ret->certificate = str_lower(cli->arena, cli_value(arguments, "certificate"));
    if (ret->certificate.len && ip_is_none(&ret->client))
        return cli_usage(cli, "--certificate: the address of the --client that shows it is wanted too");
    int bad = read_address(cli, "from", from, ADDRESS_ALLOW_NULL, &ret->from);
    if (!bad)
        bad = read_address(cli, "to", to, 0, &ret->to);
    return bad ? bad : read_file(cli, arguments->words[0], &ret->message);
}

static int load(struct cli *cli, struct settings **ret) {
    struct config_errors *errors = config_errors_new();
    int bad = settings_load(cli->config, NULL, errors, ret);
    for (size_t i = 0; i < config_error_count(errors); i++)
        fprintf(cli->err, "sluice: %s\n", config_error_at(errors, i));
    config_errors_free(errors);
    return bad ? CLI_USAGE : CLI_DONE;
}

static int run(struct cli *cli, const struct cli_arguments *arguments) {
    struct explain_view view = {.cli = cli};
    struct domains domains = {.lock = -1}; /* no table: whose they are is not asked, or can't be read */
    struct settings *settings;
    int bad = read_request(cli, arguments, &view.request, &view.as);
    if (!bad)
        bad = load(cli, &settings);
    if (bad)
        return bad;
    open_domains(cli, settings, &domains);
    explain_as(&view, settings);
    explain_suspicion(&view, settings);
    struct plan_input input;
    struct plan plan = planned(cli->arena, settings, NULL, &input); /* tokens are no advice to mail */
    struct plan_index *index = plan_index_new(&plan);
    bad = explain_run(&view, settings, index, domains.table);
    if (!bad)
        explain_standing(&view, settings);
    if (!bad && cli->json)
        explain_json(&view);
    else if (!bad)
        explain_text(&view);
    if (!bad)
        bad = !leaves(&view) ? CLI_NO : view.standing_unknown ? CLI_UNREACHABLE : CLI_DONE;
    for (size_t i = 0; i < view.result.copy_count; i++)
        route_unref(view.result.copies[i].route);
    plan_index_free(index);
    domains_close(&domains);
    settings_unref(settings);
    return bad;
}

static const struct cli_option options[] = {
    {"from", 0, "ADDRESS", "reverse-path; <> for a report"},
    {"to", 0, "ADDRESS", "one recipient"},
    {"client", 0, "IP", "the client that would bring it; without it a local program"},
    {"helo", 0, "NAME", "what the client says in EHLO"},
    {"certificate", 0, "NAME", "a name in the client's certificate, as if it verified"},
    {"tenant", 0, "TENANT", "its connector with that client, else one of its users"},
    {"as", 0, "SENDER", "who logs in, or a sender behind a connector: its limits, and where it stands"},
    {0},
};

const struct cli_command cmd_explain = {
    "explain", "FILE", "What would happen to a message: class, pool, addresses, route; sends nothing",
    options, run};
