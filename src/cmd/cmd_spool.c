#include "base/trace_id.h"
#include "cmd/cli.h"
#include "spool/spool.h"

static void print_damage(void *arg, const struct spool_damage *d) {
    struct cli *cli = arg;
    struct arena *a = cli->arena;
    if (cli->json)
        fprintf(cli->out,
                "{\"segment\":\"%.*s\",\"offset\":%llu,\"length\":%llu,\"what\":\"%.*s\",\"trace_id\":%s}\n",
                STR_FMT(cli_safe(a, d->segment, 0)), (unsigned long long)d->offset,
                (unsigned long long)d->length, STR_FMT(cli_safe(a, d->what, 0)),
                trace_id_valid(d->trace_id) ? str_printf(a, "\"%.*s\"", STR_FMT(d->trace_id)).at : "null");
    else
        fprintf(cli->out, "%.*s at %llu: %.*s%s%.*s\n", STR_FMT(d->segment), (unsigned long long)d->offset,
                STR_FMT(cli_safe(a, d->what, 0)), d->trace_id.len ? ", message " : "", STR_FMT(d->trace_id));
}

static int check(struct cli *cli, const char *dir) {
    struct spool_check_result result;
    struct str why = STR_NULL;
    int error = spool_check(dir, NULL, print_damage, NULL, cli, cli->arena, &why, &result);
    if (error) {
        fprintf(cli->err, "sluice: %.*s\n", STR_FMT(why.len ? why : str_of(error_text(error))));
        if (error == SLUICE_EBUSY)
            fprintf(cli->err, "        stop the daemon first, or check a copy of the folder\n");
        return CLI_NO;
    }
    if (!cli->json)
        fprintf(cli->out,
                "%s: %llu segments, %llu records, %llu messages; %llu recipients of %llu messages wait; %llu "
                "damage%s\n",
                dir, (unsigned long long)result.segments, (unsigned long long)result.records,
                (unsigned long long)result.messages, (unsigned long long)result.waiting_recipients,
                (unsigned long long)result.waiting_messages, (unsigned long long)result.damages,
                result.damages == 1 ? "" : "s");
    return result.damages ? CLI_NO : CLI_DONE;
}

static int run(struct cli *cli, const struct cli_arguments *arguments) {
    struct cli_places places;
    if (arguments->word_count < 1 || arguments->word_count > 2 || strcmp(arguments->words[0], "check") != 0)
        return cli_usage(cli, "usage: sluice spool check [DIR]");
    if (arguments->word_count == 2)
        return check(cli, arguments->words[1]);
    int bad = cli_find(cli, &places);
    if (!bad && !places.spool_dir)
        bad = cli_usage(cli, "%s does not say where the spool is; name it: sluice spool check DIR",
                        cli->config);
    return bad ? bad : check(cli, places.spool_dir);
}

const struct cli_command cmd_spool = {
    "spool", "check [DIR]", "Reads the spool of a stopped daemon and reports every damage", NULL, run};
