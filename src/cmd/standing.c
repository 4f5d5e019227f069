#include "cmd/standing.h"

#include <jansson.h>

enum { NAME = 10 };

static void line(struct cli *cli, const char *name, struct str text) {
    fprintf(cli->out, "  %s%-*s%s", cli_paint(cli, CLI_DIM), NAME, name, cli_paint(cli, CLI_PLAIN));
    cli_wrap(cli, NAME + 2, cli_safe(cli->arena, text, 0));
}

static struct str text_of(json_t *row, const char *key) {
    return str_of(json_string_value(json_object_get(row, key)));
}

static long long number_of(json_t *row, const char *key) {
    return json_integer_value(json_object_get(row, key));
}

static void told(struct cli *cli, json_t *row, const char *name, const char *key) {
    struct str text = text_of(row, key);
    if (text.len)
        line(cli, name, text);
}

/* ---- limits ---- */

enum { WORDS_AT = 60, WORDS_MOST = 44 }; /* what a limit counts, in words */

static void print_limit(struct cli *cli, json_t *limit, bool first) {
    long long used = number_of(limit, "used"), most = number_of(limit, "most");
    struct str option = text_of(limit, "limit"), words = text_of(limit, "counts");
    struct str amount = most ? str_printf(cli->arena, "%lld of %lld", used, most)
                             : str_printf(cli->arena, "%lld, no limit", used);
    bool near = most && used * 5 >= most * 4;
    bool narrow = cli->width && cli->width < WORDS_AT + WORDS_MOST;
    fprintf(cli->out, "  %s%-*s%s", cli_paint(cli, CLI_DIM), NAME, first ? "limits" : "",
            cli_paint(cli, CLI_PLAIN));
    fprintf(cli->out, "%-24.*s %s%14.*s%s", STR_FMT(option), near ? cli_paint(cli, CLI_YELLOW) : "",
            STR_FMT(amount), near ? cli_paint(cli, CLI_PLAIN) : "");
    if (most && used)
        fprintf(cli->out, "  %3lld %%", used * 100 / most);
    else if (!narrow)
        fprintf(cli->out, "       ");
    if (!narrow)
        fprintf(cli->out, "  %.*s", STR_FMT(words));
    fputc('\n', cli->out);
}

static void print_limits(struct cli *cli, json_t *row) {
    struct str policy = text_of(row, "policy"), why = text_of(row, "policy_why");
    struct str action = text_of(row, "action");
    json_t *limits = json_object_get(row, "limits");
    told(cli, row, "counted", "counted");
    if (why.len)
        line(cli, "policy",
             str_printf(cli->arena, "%s%.*s%s (%.*s), action %.*s", policy.len ? "\"" : "",
                        STR_FMT(policy.len ? policy : STR("the service's limits")), policy.len ? "\"" : "",
                        STR_FMT(why), STR_FMT(action)));
    for (size_t i = 0; i < json_array_size(limits); i++)
        print_limit(cli, json_array_get(limits, i), i == 0);
    if (text_of(row, "next_leaves").len)
        line(cli, "waits",
             str_printf(cli->arena, "its next message is held until %.*s",
                        STR_FMT(text_of(row, "next_leaves"))));
    struct str reply = text_of(row, "reply"), reason = text_of(row, "verdict_reason");
    if (reply.len)
        line(cli, "refused", reply);
    if (reason.len)
        line(cli, reply.len ? "" : "held", reason);
}

void cli_standing_limits(struct cli *cli, struct str text) {
    json_t *row = json_loadb(text.at, text.len, 0, NULL);
    print_limits(cli, row);
    json_decref(row);
}

/* ---- the sender ---- */

static void print_counts(struct cli *cli, json_t *row) {
    static const struct {
        const char *key, *words;
    } counts[] = {{"recipients", "recipients"},
                  {"unknown", "unknown recipients"},
                  {"destinations", "destinations"},
                  {"refusals", "refusals for spam"}};
    struct str text = STR("");
    if (number_of(row, "mail"))
        text = str_printf(cli->arena, "%lld of %lld messages are spam (%lld per mille)",
                          number_of(row, "spam"), number_of(row, "mail"), number_of(row, "spam_per_mille"));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (number_of(row, counts[i].key))
            text = str_printf(cli->arena, "%.*s%s%lld %s", STR_FMT(text), text.len ? ", " : "",
                              number_of(row, counts[i].key), counts[i].words);
    if (text.len)
        line(cli, "counts", str_printf(cli->arena, "%.*s, in 24 hours", STR_FMT(text)));
}

void cli_standing_sender(struct cli *cli, struct str text) {
    json_t *row = json_loadb(text.at, text.len, 0, NULL);
    struct str name = text_of(row, "name"), state = text_of(row, "state"), since = text_of(row, "since");
    const char *paint = cli_paint(cli, str_starts(state, STR("restricted")) ? CLI_RED : CLI_GREEN);
    fprintf(cli->out, "%.*s  %s%.*s%s\n", STR_FMT(cli_safe(cli->arena, name, 0)), paint, STR_FMT(state),
            paint[0] ? cli_paint(cli, CLI_PLAIN) : "");
    told(cli, row, "kind", "kind");
    told(cli, row, "tenant", "tenant");
    if (since.len || !str_eq(state, STR("free"))) {
        told(cli, row, "since", "since");
        told(cli, row, "until", "until");
        told(cli, row, "cause", "cause");
        told(cli, row, "reason", "reason");
        told(cli, row, "by", "by");
        told(cli, row, "allowed", "allowed");
        told(cli, row, "exempt", "exempt");
        told(cli, row, "alerted", "alerted");
    }
    told(cli, row, "suspected", "suspicion");
    print_counts(cli, row);
    print_limits(cli, row);
    json_decref(row);
}
