#include "base/clock.h"
#include "cmd/cli.h"
#include "trace/event.h"

static const char *day_and_time(int64_t wall_ms, char out[CLOCK_RFC3339_SIZE]) {
    clock_rfc3339(wall_ms, out);
    out[10] = ' ';
    out[23] = 0;
    return out;
}

static struct str safe(struct cli *cli, struct str text) { return cli_safe(cli->arena, text, 0); }

static struct str ip(struct cli *cli, struct ip address) {
    char text[IP_TEXT_SIZE];
    return ip_is_none(&address) ? STR_NULL : str_copy(cli->arena, str_of(ip_text(&address, text)));
}

static void fact(struct cli *cli, const char *name, struct str text) {
    if (!text.len)
        return;
    fprintf(cli->out, "  %s%-10s%s", cli_paint(cli, CLI_DIM), name, cli_paint(cli, CLI_PLAIN));
    cli_wrap(cli, 12, safe(cli, text));
}

/* "a, b, c" of what is there. */
static struct str list(struct cli *cli, struct str a, struct str b, struct str c) {
    struct str parts[] = {a, b, c}, out = STR_NULL;
    for (size_t i = 0; i < 3; i++)
        if (parts[i].len)
            out = out.len ? str_printf(cli->arena, "%.*s, %.*s", STR_FMT(out), STR_FMT(parts[i])) : parts[i];
    return out;
}

static struct str named(struct cli *cli, const char *what, struct str value) {
    return value.len ? str_printf(cli->arena, "%s %.*s", what, STR_FMT(value)) : STR_NULL;
}

static void heading(struct cli *cli, const struct trace_event *e) {
    char time[CLOCK_RFC3339_SIZE];
    int64_t arrival = trace_arrival(&e->trace_id);
    struct arena *arena = cli->arena;
    fprintf(cli->out, "%s%s%s  arrived %s UTC\n", cli_paint(cli, CLI_BOLD), e->trace_id.text,
            cli_paint(cli, CLI_PLAIN), day_and_time(arrival < 0 ? e->time : arrival, time));
    fact(cli, "from",
         str_eq(e->sender, e->return_path) || !e->return_path.len
             ? e->sender
             : str_printf(arena, "%.*s, sent as %.*s", STR_FMT(e->sender), STR_FMT(e->return_path)));
    fact(cli, "subject", e->subject);
    fact(cli, "message", list(cli, e->message_id, e->size ? cli_bytes(arena, e->size) : STR_NULL, STR_NULL));
    fact(cli, "client",
         list(cli, ip(cli, e->client_ip), e->client_hostname,
              ip_eq(&e->client_ip, &e->original_client_ip)
                  ? STR_NULL
                  : named(cli, "first outside", ip(cli, e->original_client_ip))));
    fact(cli, "because", e->original_client_reason);
    fact(cli, "tenant",
         list(cli, e->tenant, named(cli, "connector", e->connector), named(cli, "user", e->user)));
    fact(cli, "checks",
         list(cli, named(cli, "SPF", e->spf), named(cli, "DKIM", e->dkim), named(cli, "ARC", e->arc)));
    fact(cli, "verdict", list(cli, e->verdict, named(cli, "score", e->score), e->symbols));
}

static void class_of(struct cli *cli, const struct trace_event *e) {
    if (!e->class.known)
        return;
    struct str rule = e->rule.len ? str_printf(cli->arena, " by rule %.*s", STR_FMT(e->rule)) : STR("");
    struct str reason = e->reason.len ? str_printf(cli->arena, ": %.*s", STR_FMT(e->reason)) : STR("");
    fact(cli, "class",
         str_printf(cli->arena, "%s%.*s%.*s", mail_class_name(e->class.value), STR_FMT(rule),
                    STR_FMT(reason)));
    fact(cli, "pool", e->pool);
}

/* "mx.example.net [192.0.2.1] from 198.51.100.7 as mail.example.com, TLSv1.3" */
static struct str route(struct cli *cli, const struct trace_event *e) {
    struct arena *arena = cli->arena;
    struct str server_ip = ip(cli, e->server_ip), source = ip(cli, e->outbound_ip), out = e->server_hostname;
    if (server_ip.len)
        out = str_printf(arena, "%.*s%s[%.*s]", STR_FMT(out), out.len ? " " : "", STR_FMT(server_ip));
    if (source.len)
        out = str_printf(arena, "%.*s from %.*s", STR_FMT(out), STR_FMT(source));
    if (source.len && e->ehlo.len)
        out = str_printf(arena, "%.*s as %.*s", STR_FMT(out), STR_FMT(e->ehlo));
    if (e->tls.len)
        out = str_printf(arena, "%.*s, %.*s", STR_FMT(out), STR_FMT(e->tls));
    return out;
}

static struct str story(struct cli *cli, const struct trace_event *e) {
    switch (e->event) {
    case TRACE_RECEIVE:
        return STR("accepted, and on disk");
    case TRACE_REFUSE:
        return STR("refused at the door");
    case TRACE_SEND:
        return str_printf(cli->arena, "delivered to %.*s", STR_FMT(route(cli, e)));
    case TRACE_DEFER:
    case TRACE_FAIL: {
        struct str where = route(cli, e);
        const char *what = e->event == TRACE_DEFER ? "must wait" : "failed";
        return where.len ? str_printf(cli->arena, "%s at %.*s", what, STR_FMT(where)) : str_of(what);
    }
    case TRACE_DSN:
        return e->reference.len
                   ? str_printf(cli->arena, "reported to the sender, see %.*s", STR_FMT(e->reference))
                   : STR("reported to the sender");
    case TRACE_DROP:
        return STR("ended without a report");
    case TRACE_HOLD:
        return str_starts(e->reply, STR("quarantined")) || str_starts(e->reply, STR("parked"))
                   ? STR("held until an operator releases it")
               : e->reply.len ? STR("held until its turn")
                              : STR("held by an operator");
    case TRACE_RELEASE:
        return STR("released by an operator");
    case TRACE_CANCEL:
        return STR("cancelled by an operator");
    }
    return STR("");
}

static void tell(struct cli *cli, const struct trace_event *e, const struct trace_event *before) {
    char time[CLOCK_RFC3339_SIZE], last[CLOCK_RFC3339_SIZE];
    day_and_time(e->time, time);
    bool new_day = !before || memcmp(time, day_and_time(before->time, last), 10) != 0;
    const char *name = trace_kind_name(e->event) ? trace_kind_name(e->event) : "?";
    int clock = new_day ? 23 : 12;
    unsigned column = (unsigned)clock + 15;
    fprintf(cli->out, "    %.*s  %s%-7s%s  ", clock, new_day ? time : time + 11,
            cli_paint(cli, cli_paint_of(str_of(name))), name, cli_paint(cli, CLI_PLAIN));
    cli_wrap(cli, column, safe(cli, story(cli, e)));
    if (!e->reply.len || e->event == TRACE_DSN)
        return;
    fprintf(cli->out, "%*s", (int)column, "");
    cli_wrap(cli, column, safe(cli, e->reply));
    if (!e->identity.len)
        return;
    fprintf(cli->out, "%*s", (int)column, "");
    cli_wrap(cli, column, safe(cli, str_printf(cli->arena, "known then: %.*s", STR_FMT(e->identity))));
}

static bool ends(enum trace_kind kind) {
    return kind == TRACE_SEND || kind == TRACE_FAIL || kind == TRACE_CANCEL || kind == TRACE_DROP ||
           kind == TRACE_REFUSE;
}

/* One recipient: how it stands, then its events. */
static void recipient_story(struct cli *cli, const struct trace_event *events, size_t count,
                            struct str recipient) {
    const struct trace_event *state = NULL, *before = NULL;
    int64_t attempts = 0;
    for (size_t i = 0; i < count; i++) {
        if (!str_eq(events[i].recipient, recipient))
            continue;
        attempts = events[i].attempts > attempts ? events[i].attempts : attempts;
        if (events[i].status && (!state || !ends(state->event) || ends(events[i].event)))
            state = &events[i];
    }
    struct str status = state ? str_of(trace_status_name(state->status)) : STR("?");
    fprintf(cli->out, "\n  %s%.*s%s  %s%.*s%s", cli_paint(cli, CLI_BOLD),
            STR_FMT(recipient.len ? safe(cli, recipient) : STR("(no recipient)")), cli_paint(cli, CLI_PLAIN),
            cli_paint(cli, cli_paint_of(status)), STR_FMT(status), cli_paint(cli, CLI_PLAIN));
    if (state && ends(state->event) && state->latency_ms)
        fprintf(cli->out, " after %.*s", STR_FMT(cli_duration(cli->arena, state->latency_ms)));
    if (attempts)
        fprintf(cli->out, ", %lld attempt%s", (long long)attempts, attempts == 1 ? "" : "s");
    fputc('\n', cli->out);
    for (size_t i = 0; i < count; i++)
        if (str_eq(events[i].recipient, recipient)) {
            if (!before)
                class_of(cli, &events[i]);
            tell(cli, &events[i], before);
            before = &events[i];
        }
}

void cli_timeline(struct cli *cli, const struct trace_event *events, size_t count) {
    if (!count)
        return;
    heading(cli, &events[0]);
    for (size_t i = 0; i < count; i++) {
        bool told = false;
        for (size_t k = 0; k < i && !told; k++)
            told = str_eq(events[k].recipient, events[i].recipient);
        if (!told)
            recipient_story(cli, events, count, events[i].recipient);
    }
}
