#include "cmd/cli.h"

#include <libgen.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    static const struct cli_command *const commands[] = {
        &cmd_check,  &cmd_explain, &cmd_trace,  &cmd_queue,  &cmd_pool,   &cmd_source,
        &cmd_sender, &cmd_tenant,  &cmd_status, &cmd_alerts, &cmd_reload, &cmd_send,
        &cmd_spool,  &cmd_dkim,    &cmd_dns,    &cmd_domain, NULL,
    };
    struct cli cli = {.arena = arena_new(0), .config = CLI_CONFIG, .in = stdin, .out = stdout, .err = stderr};
    struct cli_arguments arguments;
    const char *program = argc ? basename(argv[0]) : "sluice";
    int code;
    if (!setlocale(LC_CTYPE, "C.UTF-8")) /* for the width of characters */
        setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_DFL);
    cli_terminal(&cli);
    if (strcmp(program, "sendmail") == 0) {
        cli.lenient = true;
        code = cli_parse(&cli, cmd_sendmail.options, argc - 1, (const char *const *)argv + 1, &arguments);
        if (!code && cli.help)
            cli_help(&cli, &cmd_sendmail);
        else if (!code)
            code = cmd_sendmail.run(&cli, &arguments);
    } else {
        code = cli_main(&cli, commands, argc, (const char *const *)argv);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "sluice: the output can't be written\n");
        code = code ? code : CLI_NO;
    }
    arena_free(cli.arena);
    return code;
}
