#include "cmd/cli.h"
#include "cmd/privileges.h"
#include "rt/net.h"
#include "settings/settings.h"
#include "trace/text.h"

static int bindable(void *ctx, const struct ip *ip) {
    (void)ctx;
    return net_bindable(ip);
}

static void print_problem(struct cli *cli, const char *severity, enum cli_paint paint, const char *text) {
    if (cli->json) {
        struct buf line __attribute__((cleanup(buf_free))) = {0};
        buf_printf(&line, "{\"severity\":\"%s\",\"text\":", severity);
        trace_json_string(&line, str_of(text));
        buf_str(&line, STR("}\n"));
        cli_print(cli, buf_view(&line));
        return;
    }
    fprintf(cli->out, "%s%s%s: %.*s\n", cli_paint(cli, paint), severity, cli_paint(cli, CLI_PLAIN),
            STR_FMT(cli_safe(cli->arena, str_of(text), 0)));
}

static void print_pool(struct cli *cli, const struct pool *pool) {
    fprintf(cli->out, "%.*s", STR_FMT(pool->name));
    if (pool->code.len)
        fprintf(cli->out, " (%.*s)", STR_FMT(pool->code));
    if (pool->v4_count)
        fprintf(cli->out, " %u IPv4", pool->v4_count);
    if (pool->v6_count)
        fprintf(cli->out, "%s %u IPv6", pool->v4_count ? "," : "", pool->v6_count);
    if (!pool->source_count)
        fprintf(cli->out, " no address: its mail waits");
}

/* Which pools each class may leave from, at this node's site. */
static void print_classes(struct cli *cli, const struct pools *pools) {
    for (int class = 0; class < MAIL_CLASS_COUNT; class ++) {
        const char *separator = "";
        fprintf(cli->out, "  %-16s ", mail_class_name((enum mail_class) class));
        for (size_t i = 0; i < pools->pool_count; i++) {
            const struct pool *pool = &pools->pools[i];
            if (!pool_carries(pool, (enum mail_class) class) || !pools->sites[pool->site].here)
                continue;
            fputs(separator, cli->out);
            print_pool(cli, pool);
            separator = "; ";
        }
        fputs(*separator ? "\n" : "no pool here\n", cli->out);
    }
}

static void print_summary(struct cli *cli, const struct settings *s) {
    fprintf(cli->out, "%s%.*s is good%s\n  node %.*s, state %s, %u worker%s, %zu listener%s\n",
            cli_paint(cli, CLI_GREEN), STR_FMT(s->file), cli_paint(cli, CLI_PLAIN), STR_FMT(s->node),
            s->state, s->workers, s->workers == 1 ? "" : "s", s->listener_count,
            s->listener_count == 1 ? "" : "s");
    if (s->pools)
        print_classes(cli, s->pools);
}

static int print_manual(struct cli *cli, bool page) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    if (page)
        settings_man_page(&out);
    else
        settings_manual(&out);
    cli_print(cli, buf_view(&out));
    return CLI_DONE;
}

/* Root can read everything; a reload runs as the user. */
static int check_as_user(struct cli *cli, const char *file, const struct settings *settings) {
    struct config_errors *errors = config_errors_new();
    struct str why;
    int bad = privileges_become(settings->user, cli->arena, &why);
    if (!bad)
        bad = privileges_reload_check(file, settings->user, errors, cli->arena, &why);
    for (size_t i = 0; i < config_error_count(errors); i++)
        print_problem(cli, "error", CLI_RED, config_error_at(errors, i));
    if (bad)
        print_problem(cli, "error", CLI_RED, str_c(cli->arena, why));
    config_errors_free(errors);
    return bad;
}

static int run(struct cli *cli, const struct cli_arguments *arguments) {
    const char *file = arguments->word_count ? arguments->words[0] : cli->config;
    struct settings_checks checks = {.bindable = cli_has(arguments, "elsewhere") ? NULL : bindable};
    struct settings *settings = NULL;
    if (cli_has(arguments, "manual") || cli_has(arguments, "man-page"))
        return print_manual(cli, cli_has(arguments, "man-page"));
    if (arguments->word_count > 1)
        return cli_usage(cli, "one file at a time: %s", arguments->words[1]);
    struct config_errors *errors = config_errors_new();
    int bad = settings_load(file, &checks, errors, &settings);
    for (size_t i = 0; i < config_error_count(errors); i++)
        print_problem(cli, "error", CLI_RED, config_error_at(errors, i));
    for (size_t i = 0; i < config_warning_count(errors); i++)
        print_problem(cli, "warning", CLI_YELLOW, config_warning_at(errors, i));
    if (!bad && privileges_to_drop(settings))
        bad = check_as_user(cli, file, settings);
    if (!bad && !cli->json)
        print_summary(cli, settings);
    settings_unref(settings);
    config_errors_free(errors);
    return bad ? CLI_NO : CLI_DONE;
}

static const struct cli_option options[] = {
    {"elsewhere", 0, NULL, "do not ask whether the addresses can be bound on this host"},
    {"manual", 0, NULL, "print the manual of all options, in Markdown"},
    {"man-page", 0, NULL, "print the manual page of all options"},
    {0},
};

const struct cli_command cmd_check = {
    "check", "[FILE]", "Reads the configuration and says what is wrong, without starting", options, run};
