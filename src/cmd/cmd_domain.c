/* `sluice domain`: whose the tenants' domains are. Asks the daemon, or does it itself where none answers. */
#include "base/error.h"
#include "cmd/asking.h"
#include "cmd/dkim.h"
#include "cmd/progress.h"
#include "identity/names.h"
#include "settings/planned.h"
#include "watch/domains.h"
#include <jansson.h>
#include <unistd.h>

static const struct cli_column columns[] = {
    {"TENANT", "tenant", CLI_TEXT, .least = 8},
    {"DOMAIN", "domain", CLI_TEXT, .least = 12},
    {"STATE", "state", CLI_STATUS},
    {"SINCE", "since", CLI_TIME, .drop = 2},
    {"CHECKED", "checked", CLI_AGE, .drop = 1},
    {"REFUSED FROM", "refused_from", CLI_TIME, .drop = 3},
    {"WHY", "why", CLI_TEXT, .least = 20, .drop = 4},
    {0},
};

/* ---- without a daemon ---- */

/* What one of the words has to do. */
struct work {
    struct cli *cli;
    struct settings *settings;
    struct domains domains;
    struct domains_round round;
    struct cli_progress progress;
    struct buf *lines;
};

static int says(struct cli *cli, struct str why, int code) {
    fprintf(cli->err, "sluice: %.*s\n", STR_FMT(cli_safe(cli->arena, why, 0)));
    return code;
}

/* `keep`: as the daemon's account, where this is root, so that what is made is the daemon's. */
static int open_work(struct work *w, bool keep) {
    struct cli *cli = w->cli;
    struct str damage, why = STR_NULL;
    int folder = -1;
    int bad = dkim_settings(cli, &w->settings);
    if (!bad && keep)
        bad = dkim_folder_open(cli, w->settings->state, w->settings->user, &folder);
    if (bad)
        return bad;
    if (domains_open(w->settings, keep, cli->arena, &damage, &why, &w->domains) != 0)
        bad = says(cli, why, CLI_NO);
    else if (damage.len)
        fprintf(cli->err, "sluice: warning: %.*s\n", STR_FMT(damage));
    int error = bad ? 0 : domains_secret(&w->domains, w->settings, keep, cli->arena, &why);
    if (error && (keep || error != SLUICE_ENOTFOUND))
        bad = says(cli, why, keep ? CLI_NO : CLI_DONE);
    if (folder >= 0)
        close(folder);
    return bad;
}

static void close_work(struct work *w) {
    domains_close(&w->domains);
    settings_unref(w->settings);
}

static void add_rows(struct work *w, const struct domains_one *at, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct api_domain row = domains_row(&w->domains, w->settings, &at[i], w->cli->arena);
        api_domain_row(w->lines, &row);
    }
}

static void ask(void *ctx, struct flow *flow) {
    domains_ask(&((struct work *)ctx)->round, flow_here(flow)->resolver);
}

static void show(void *ctx) {
    struct work *w = ctx;
    cli_progress(&w->progress, "%zu of %zu domains are asked for", atomic_load(&w->round.done),
                 w->round.count);
}

static int local_verify(struct work *w, const struct str *names, size_t count) {
    struct domains_one *list;
    struct str why;
    size_t chosen;
    if (domains_select(w->settings, names, count, w->cli->arena, &why, &list, &chosen) != 0)
        return says(w->cli, why, CLI_NO);
    w->round = (struct domains_round){
        .settings = w->settings, .table = w->domains.table, .at = list, .count = chosen};
    struct cli_asking how = {.fibers = DOMAINS_WAVE, .run = ask, .waiting = show, .ctx = w};
    cli_progress_begin(&w->progress, w->cli);
    int bad = chosen ? cli_ask_dns(w->cli, w->settings, &how) : CLI_DONE;
    cli_progress_end(&w->progress);
    if (!bad && ownership_write(w->domains.table, w->domains.file, w->cli->arena, &why) != 0)
        bad = says(w->cli, why, CLI_NO);
    if (!bad)
        add_rows(w, list, chosen);
    return bad;
}

static int local_list(struct work *w, const struct str *names, size_t count) {
    struct domains_one *list;
    struct str why;
    size_t chosen;
    (void)names, (void)count;
    if (domains_select(w->settings, NULL, 0, w->cli->arena, &why, &list, &chosen) == 0)
        add_rows(w, list, chosen);
    return CLI_DONE;
}

static int local_add(struct work *w, const struct str *names, size_t count) {
    struct domains_one one;
    struct str why;
    bool configured;
    (void)count;
    if (domains_addable(w->settings, names[0], names[1], w->cli->arena, &why, &one, &configured) != 0)
        return says(w->cli, why, CLI_NO);
    add_rows(w, &one, 1);
    return CLI_DONE;
}

/* ---- with one ---- */

struct verb {
    const char *word, *method, *path;
    const char *parameters[2]; /* of the names in order; the last is that of all further ones */
    bool keep;
    int (*local)(struct work *, const struct str *names, size_t count);
};

static const struct verb verbs[] = {
    {"add", "POST", "/v1/domains/add", {"tenant", "domain"}, true, local_add},
    {"verify", "POST", "/v1/domains/verify", {"domain", "domain"}, true, local_verify},
    {"list", "GET", "/v1/domains", {NULL, NULL}, false, local_list},
};

static int get_rows(struct cli *cli, const struct verb *verb, const struct str *names, size_t count,
                    struct buf *lines) {
    struct buf target __attribute__((cleanup(buf_free))) = {0};
    struct api_reply reply;
    buf_str(&target, str_of(verb->path));
    for (size_t i = 0; i < count; i++)
        api_target_add(&target, verb->parameters[i ? 1 : 0], names[i]);
    int bad = cli_ask(cli, verb->method, buf_view(&target), STR_NULL, true, &reply);
    if (!bad)
        buf_str(lines, reply.body);
    if (bad != CLI_UNREACHABLE)
        return bad;
    struct work work = {.cli = cli, .domains = {.lock = -1}, .lines = lines};
    bad = open_work(&work, verb->keep);
    if (!bad)
        bad = verb->local(&work, names, count);
    close_work(&work);
    return bad;
}

/* ---- what is printed ---- */

static struct str member(struct cli *cli, json_t *row, const char *name) {
    return cli_safe(cli->arena, str_of(json_string_value(json_object_get(row, name))), 0);
}

/* What else its mail needs, when this user can read the keys; that is no fault. */
static void say_other_records(struct cli *cli, struct str domain) {
    struct config_errors *errors = config_errors_new();
    struct settings *settings = NULL;
    struct plan_input in;
    if (settings_load(cli->config, NULL, errors, &settings) == 0) {
        struct plan plan = planned(cli->arena, settings, NULL, &in);
        fprintf(cli->out,
                "\nFor its mail to be believed it also needs (what stands there already may stay; there "
                "can be only one SPF record):\n");
        for (size_t i = 0; i < plan.record_count; i++) {
            struct str name = plan.records[i].name;
            if (plan.zones[plan.records[i].zone].owner == PLAN_TENANT &&
                name_is_below(str_head(name, name.len - 1), domain))
                fprintf(cli->out, "  %.*s %lld %s %.*s\n", STR_FMT(name), (long long)plan.records[i].ttl,
                        plan.records[i].type, STR_FMT(plan.records[i].data));
        }
    }
    settings_unref(settings);
    config_errors_free(errors);
}

static void say_what_to_do(struct cli *cli, json_t *row) {
    struct str tenant = member(cli, row, "tenant"), domain = member(cli, row, "domain");
    struct str name = member(cli, row, "name"), token = member(cli, row, "token");
    bool configured = json_is_true(json_object_get(row, "configured"));
    if (!configured)
        fprintf(cli->out,
                "%.*s is not in the configuration. Put it there, and sluice reload:\n"
                "  tenant \"%.*s\" { domains = {..., \"%.*s\"} }\n\n",
                STR_FMT(domain), STR_FMT(tenant), STR_FMT(domain));
    fprintf(cli->out,
            "The customer puts this into the DNS, and leaves it there:\n"
            "  %.*s. 3600 TXT \"%.*s\"\n",
            STR_FMT(name), STR_FMT(token));
    if (configured)
        say_other_records(cli, domain);
    fprintf(cli->out, "\nThen: sluice domain verify %.*s\n", STR_FMT(domain));
}

static void say_added(struct cli *cli, struct str lines) {
    json_t *row = json_loadb(lines.at ? lines.at : "", lines.len, JSON_DISABLE_EOF_CHECK, NULL);
    if (cli->json || cli->csv)
        cli_rows(cli, lines, NULL);
    else if (row)
        say_what_to_do(cli, row);
    json_decref(row);
}

/* Verified, and the token is there now? What the DNS did not say is no "no". */
static int exit_of_row(json_t *row) {
    struct str state = str_of(json_string_value(json_object_get(row, "state")));
    bool why = !json_is_null(json_object_get(row, "why"));
    bool missing = !json_is_null(json_object_get(row, "missing_since"));
    if (str_eq(state, STR("verified")))
        return !why ? CLI_DONE : missing ? CLI_NO : CLI_UNREACHABLE;
    return why && str_eq(state, STR("unknown")) ? CLI_UNREACHABLE : CLI_NO;
}

/* NO, if it is the answer for one; else UNREACHABLE, if for one there was none. */
static int exit_of(struct str lines) {
    struct str line;
    bool unknown = false;
    while (str_cut(&lines, '\n', &line)) {
        if (!line.len)
            continue;
        json_t *row = json_loadb(line.at, line.len, 0, NULL);
        int one = exit_of_row(row);
        json_decref(row);
        if (one == CLI_NO)
            return CLI_NO;
        unknown |= one == CLI_UNREACHABLE;
    }
    return unknown ? CLI_UNREACHABLE : CLI_DONE;
}

static int run_verb(struct cli *cli, const struct verb *verb, const struct cli_arguments *arguments) {
    struct buf lines __attribute__((cleanup(buf_free))) = {0};
    size_t count = arguments->word_count - 1;
    struct str *names = arena_array(cli->arena, struct str, count + 1);
    for (size_t i = 0; i < count; i++)
        names[i] = str_of(arguments->words[i + 1]);
    int bad = get_rows(cli, verb, names, count, &lines);
    if (bad)
        return bad;
    if (strcmp(verb->word, "add") == 0) {
        say_added(cli, buf_view(&lines));
        return CLI_DONE;
    }
    cli_rows(cli, buf_view(&lines), columns);
    return strcmp(verb->word, "verify") == 0 ? exit_of(buf_view(&lines)) : CLI_DONE;
}

static int run(struct cli *cli, const struct cli_arguments *arguments) {
    static const char *const words[] = {"add", "verify", "list"};
    enum { WORDS = sizeof words / sizeof *words };
    size_t at = 0;
    if (!arguments->word_count)
        return cli_usage(cli, "sluice domain add, verify or list?");
    while (at < WORDS && strcmp(words[at], arguments->words[0]) != 0)
        at++;
    if (at == WORDS)
        return cli_usage(cli, "no such word: %s%s", arguments->words[0],
                         cli_nearest(cli->arena, arguments->words[0], words, WORDS));
    if (strcmp(words[at], "add") == 0 && arguments->word_count != 3)
        return cli_usage(cli, "sluice domain add TENANT DOMAIN");
    if (strcmp(words[at], "list") == 0 && arguments->word_count != 1)
        return cli_usage(cli, "unexpected word: %s", arguments->words[1]);
    return run_verb(cli, &verbs[at], arguments);
}

const struct cli_command cmd_domain = {"domain", "add TENANT DOMAIN | verify [DOMAIN...] | list",
                                       "Whose the tenants' domains are: a token in their DNS shows it", NULL,
                                       run};
