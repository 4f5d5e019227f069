/* `sluice source show IP`, for people. */
#include "base/ip.h"
#include "cmd/cli.h"
#include <jansson.h>

enum { LABEL = 14 };

static struct str text_of(struct cli *cli, const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return cli_safe(cli->arena, str_from(json_string_value(value), json_string_length(value)), 0);
}

/* "2026-11-22 07:57"; empty: none. */
static struct str time_of(struct cli *cli, const json_t *object, const char *key) {
    struct str text = text_of(cli, object, key);
    if (text.len < 16)
        return STR("");
    return str_printf(cli->arena, "%.10s %.5s", text.at, text.at + 11);
}

static void fact(struct cli *cli, const char *name, struct str text) {
    if (!text.len)
        return;
    fprintf(cli->out, "  %s%-*s%s", cli_paint(cli, CLI_DIM), LABEL - 2, name, cli_paint(cli, CLI_PLAIN));
    cli_wrap(cli, LABEL, text);
}

static void heading(struct cli *cli, const json_t *s) {
    struct str ip = text_of(cli, s, "ip"), state = text_of(cli, s, "state");
    struct str until = time_of(cli, s, "until"), site = text_of(cli, s, "site");
    fprintf(cli->out, "%s%.*s%s  %s%.*s%s", cli_paint(cli, CLI_BOLD), STR_FMT(ip), cli_paint(cli, CLI_PLAIN),
            cli_paint(cli, cli_paint_of(state)), STR_FMT(state), cli_paint(cli, CLI_PLAIN));
    if (until.len)
        fprintf(cli->out, " until %.*s UTC", STR_FMT(until));
    fprintf(cli->out, "\n");
    fact(cli, "why", text_of(cli, s, "why"));
    fact(cli, "pool",
         str_printf(cli->arena, "%.*s%s%.*s, carries %.*s; when listed: %.*s",
                    STR_FMT(text_of(cli, s, "pool")), site.len ? " at " : "", STR_FMT(site),
                    STR_FMT(text_of(cli, s, "carries")), STR_FMT(text_of(cli, s, "when_listed"))));
    fact(cli, "PTR", text_of(cli, s, "ptr"));
    fact(cli, "EHLO", text_of(cli, s, "ehlo"));
}

static long long number(const json_t *object, const char *key) {
    return (long long)json_integer_value(json_object_get(object, key));
}

static void counts(struct cli *cli, const json_t *s) {
    struct str last = time_of(cli, s, "last_used");
    if (str_eq(text_of(cli, s, "state"), STR("elsewhere")))
        return;
    fact(cli, "since start",
         str_printf(cli->arena, "%lld connections, %lld transactions delivered, %lld failed%s%.*s",
                    number(s, "connections"), number(s, "delivered"), number(s, "failed"),
                    last.len ? "; last used " : "", STR_FMT(last)));
}

static void confirmation(struct cli *cli, const json_t *f) {
    struct str state = text_of(cli, f, "state"), name = text_of(cli, f, "name"), why = text_of(cli, f, "why");
    struct str since = time_of(cli, f, "since"), answered = time_of(cli, f, "answered"), out = state;
    if (name.len)
        out = str_printf(cli->arena, "%.*s as %.*s", STR_FMT(out), STR_FMT(name));
    if (since.len)
        out = str_printf(cli->arena, "%.*s since %.*s", STR_FMT(out), STR_FMT(since));
    if (why.len)
        out = str_printf(cli->arena, "%.*s: %.*s", STR_FMT(out), STR_FMT(why));
    if (answered.len)
        out = str_printf(cli->arena, "%.*s (asked %.*s)", STR_FMT(out), STR_FMT(answered));
    fact(cli, "FCrDNS", out);
}

/* Names in a column, states in the next; the words under them. */
static void blocklists(struct cli *cli, const json_t *lists) {
    size_t at;
    json_t *l;
    unsigned widest = 0;
    if (!json_array_size(lists)) {
        fact(cli, "blocklists", STR("not watched"));
        return;
    }
    json_array_foreach(lists, at, l) {
        unsigned width = cli_width(text_of(cli, l, "list"));
        widest = width > widest ? width : widest;
    }
    fprintf(cli->out, "\n  %sblocklists%s\n", cli_paint(cli, CLI_BOLD), cli_paint(cli, CLI_PLAIN));
    json_array_foreach(lists, at, l) {
        struct str state = text_of(cli, l, "state"), text = text_of(cli, l, "text");
        struct str why = text_of(cli, l, "why"), removal = text_of(cli, l, "removal");
        struct str since = time_of(cli, l, "since"), answered = time_of(cli, l, "answered");
        unsigned column = widest + 6;
        struct str name = text_of(cli, l, "list");
        bool listed = str_eq(state, STR("listed"));
        fprintf(cli->out, "    %.*s%*s", STR_FMT(name), (int)(widest + 2 - cli_width(name)), "");
        cli_wrap(cli, column,
                 str_printf(cli->arena, "%.*s%s%.*s%s%.*s%s%.*s", STR_FMT(state), since.len ? " since " : "",
                            STR_FMT(since), why.len ? ": " : "", STR_FMT(why),
                            answered.len ? ", answered " : "", STR_FMT(answered)));
        if (text.len) {
            fprintf(cli->out, "%*s", (int)column, "");
            cli_wrap(cli, column, text);
        }
        if (removal.len) {
            fprintf(cli->out, "%*s", (int)column, "");
            cli_wrap(cli, column, str_printf(cli->arena, "removal: %.*s", STR_FMT(removal)));
        }
        if (listed && !json_is_true(json_object_get(l, "rests"))) {
            fprintf(cli->out, "%*s", (int)column, "");
            cli_wrap(cli, column, STR("told only: a listing there rests nothing"));
        }
    }
}

static void history(struct cli *cli, const json_t *changes) {
    size_t at;
    json_t *c;
    if (!json_array_size(changes))
        return;
    fprintf(cli->out, "\n  %shistory%s\n", cli_paint(cli, CLI_BOLD), cli_paint(cli, CLI_PLAIN));
    json_array_foreach(changes, at, c) {
        struct str event = text_of(cli, c, "event"), by = text_of(cli, c, "by"),
                   text = text_of(cli, c, "text");
        bool list = str_ends(event, STR("listed"));
        fprintf(cli->out, "    %.*s  ", STR_FMT(time_of(cli, c, "time")));
        cli_wrap(cli, 22,
                 str_printf(cli->arena, "%.*s%s%.*s%s%.*s", STR_FMT(event), list ? " by " : ": ",
                            STR_FMT(list || !text.len ? by : text), list && text.len ? ": " : "",
                            STR_FMT(list ? text : STR(""))));
    }
}

int cli_source_show(struct cli *cli, const char *ip) {
    struct api_reply reply;
    struct ip parsed;
    if (!ip_parse(str_of(ip), &parsed))
        return cli_usage(cli, "%s is no address", ip);
    int bad = cli_ask(cli, "GET", str_printf(cli->arena, "/v1/sources/%s", ip), STR_NULL, false, &reply);
    if (bad)
        return bad;
    if (cli->json || cli->csv) {
        cli_rows(cli, reply.body, NULL);
        return CLI_DONE;
    }
    json_t *s = json_loadb(reply.body.at, reply.body.len, 0, NULL);
    heading(cli, s);
    counts(cli, s);
    if (str_eq(text_of(cli, s, "state"), STR("elsewhere"))) {
        fact(cli, "watched", STR("by the nodes of its own site"));
    } else {
        confirmation(cli, json_object_get(s, "fcrdns"));
        blocklists(cli, json_object_get(s, "lists"));
    }
    history(cli, json_object_get(s, "history"));
    json_decref(s);
    return CLI_DONE;
}
