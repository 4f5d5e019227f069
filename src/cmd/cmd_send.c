#include "cmd/cli.h"
#include "cmd/compose.h"
#include <jansson.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

enum { MESSAGE_MAX = 256 << 20 };

static int read_message(struct cli *cli, struct str *ret) {
    struct buf in __attribute__((cleanup(buf_free))) = {0};
    for (size_t got; buf_reserve(&in, 65536), (got = fread(in.at + in.len, 1, 65536, cli->in)) > 0;) {
        in.len += got;
        if (in.len > MESSAGE_MAX) {
            fprintf(cli->err, "sluice: the message is over %d MB\n", MESSAGE_MAX >> 20);
            return CLI_NO;
        }
    }
    if (ferror(cli->in)) {
        fprintf(cli->err, "sluice: the message can't be read\n");
        return CLI_NO;
    }
    *ret = str_copy(cli->arena, buf_view(&in));
    return CLI_DONE;
}

static const char *user_name(struct cli *cli) {
    const struct passwd *entry = getpwuid(getuid());
    return entry ? str_c(cli->arena, str_of(entry->pw_name)) : "nobody";
}

static const char *host_name(struct cli *cli, const struct cli_places *places) {
    char name[256] = "localhost";
    if (places->node)
        return places->node;
    (void)gethostname(name, sizeof name - 1);
    return str_c(cli->arena, str_of(name));
}

static int submit(struct cli *cli, const struct composed *message) {
    struct buf target __attribute__((cleanup(buf_free))) = {0};
    struct api_reply reply = {0};
    buf_str(&target, STR("/v1/send"));
    api_target_add(&target, "from", message->sender);
    for (size_t i = 0; i < message->recipient_count; i++)
        api_target_add(&target, "to", message->recipients[i]);
    int bad = cli_ask(cli, "POST", buf_view(&target), message->message, false, &reply);
    if (bad && str_starts(api_reply_error(&reply, cli->arena), STR("550 5.7.64")))
        fprintf(cli->err,
                "        no tenant has the domain of <%.*s>: name a sender of a tenant's domain with -f\n",
                STR_FMT(cli_safe(cli->arena, message->sender, 0)));
    if (bad)
        return bad;
    json_t *root = json_loadb(reply.body.at, reply.body.len, 0, NULL);
    const char *id = json_string_value(json_object_get(root, "trace_id"));
    if (cli->json)
        cli_print(cli, reply.body);
    else if (cli->width) /* somebody watches; programs expect sendmail's silence */
        fprintf(cli->out, "accepted: %s\n", id ? id : "?");
    json_decref(root);
    return CLI_DONE;
}

static int send_it(struct cli *cli, const struct cli_arguments *arguments, bool dot_ends) {
    struct cli_places places;
    struct composed message;
    struct str input, why = STR_NULL;
    struct compose_request request = {
        .from_header = cli_has(arguments, "read-recipients"),
        .dot_ends = dot_ends && !cli_has(arguments, "ignore-dots"),
        .sender = cli_value(arguments, cli_has(arguments, "from") ? "from" : "sender"),
        .full_name = cli_value(arguments, "full-name"),
        .recipients = arguments->words,
        .recipient_count = arguments->word_count,
        .user = user_name(cli),
    };
    for (size_t i = 0; i < arguments->given_count; i++)
        if (arguments->given[i].option->letter == 'o' && str_eq(arguments->given[i].value, STR("i")))
            request.dot_ends = false; /* -oi */
    if (!request.from_header && !request.recipient_count)
        return cli_usage(cli, "no recipient: name them, or give -t to take those of the header");
    int bad = cli_find(cli, &places);
    if (!bad)
        bad = read_message(cli, &input);
    if (bad)
        return bad;
    request.host = host_name(cli, &places);
    if (compose(cli->arena, input, &request, &message, &why) != 0)
        return cli_usage(cli, "%.*s", STR_FMT(cli_safe(cli->arena, why, 0)));
    return submit(cli, &message);
}

static int run(struct cli *cli, const struct cli_arguments *arguments) {
    return send_it(cli, arguments, false);
}

/* Those that programs give to sendmail and that mean nothing here are taken and left. */
#define SEND_OPTIONS                                                                                         \
    {"read-recipients", 't', NULL, "recipients from To, Cc and Bcc"},                                        \
        {"from", 'f', "ADDRESS", "reverse-path (the address of Sender or From); <> for none"},               \
        {"full-name", 'F', "NAME", "name for a From that is lacking"},                                       \
        {"ignore-dots", 'i', NULL, "a line with a single dot does not end the message"},                     \
        {"option", 'o', "X", "sendmail's options: i as above, others are left"},                             \
        {"body", 'B', "TYPE", "left: 8-bit is seen"}, {"notify", 'N', "WHEN", "left"},                       \
        {"return", 'R', "WHAT", "left"}, {"envelope-id", 'V', "ID", "left"}, {                               \
        "verbose", 'v', NULL, "left"                                                                         \
    }

static const struct cli_option options[] = {SEND_OPTIONS, {0}};

const struct cli_command cmd_send = {"send", "[RECIPIENT...]",
                                     "Takes a message from standard input, as sendmail does", options, run};

static const struct cli_option sendmail_options[] = {
    SEND_OPTIONS,
    {"mode", 'b', "M", "m: takes mail in, as without it; p: shows the queue"},
    {"sender", 'r', "ADDRESS", "the same as -f"},
    {"run-queue", 'q', "[TIME]", "left: the daemon looks after the queue"},
    {"sendmail-cf", 'C', "FILE", "left"},
    {"set", 'O', "X=Y", "left"},
    {"hops", 'h', "N", "left"},
    {"tag", 'L', "TAG", "left"},
    {"protocol", 'p', "NAME", "left"},
    {"log-file", 'X', "FILE", "left"},
    {"submission", 'A', "[M]", "left"},
    {0},
};

static int run_sendmail(struct cli *cli, const struct cli_arguments *arguments) {
    struct str mode = cli_value(arguments, "mode");
    if (str_eq(mode, STR("p")))
        return cmd_queue.run(cli, &(struct cli_arguments){0});
    if (str_eq(mode, STR("s")))
        return cli_usage(cli,
                         "-bs: this sendmail speaks no SMTP on its standard input; hand the message in with "
                         "-bm, or speak SMTP to a listener of sluiced");
    if (mode.at && !str_eq(mode, STR("m")))
        return cli_usage(cli, "-b%.*s: this sendmail only takes mail in (-bm) and shows the queue (-bp)",
                         STR_FMT(mode));
    if (cli_has(arguments, "run-queue") && !arguments->word_count && !cli_has(arguments, "read-recipients"))
        return CLI_DONE; /* nothing is to be sent, and the daemon tries by itself */
    return send_it(cli, arguments, true);
}

const struct cli_command cmd_sendmail = {"sendmail", "[RECIPIENT...]", "Takes a message from standard input",
                                         sendmail_options, run_sendmail};
