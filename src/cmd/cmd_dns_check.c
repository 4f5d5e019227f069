/* The sending addresses as receivers see them now. */
#include "base/clock.h"
#include "cmd/dns.h"
#include "identity/audit.h"
#include "trace/text.h"

struct checking {
    struct arena *arena;
    const struct settings *settings;
    struct str include;
    struct audit *audits;
};

static const char *state_name(enum audit_state state) {
    static const char *const NAMES[] = {
        [AUDIT_OK] = "ok", [AUDIT_UNKNOWN] = "unknown", [AUDIT_FAULT] = "fault"};
    return NAMES[state];
}

static bool ask(void *ctx, size_t number, struct resolver *resolver) {
    struct checking *c = ctx;
    const struct pools *pools = c->settings->pools;
    struct audit *audit = &c->audits[number];
    struct audit_query query = {
        .source = &pools->sources[number],
        .pool = &pools->pools[pools->sources[number].pool],
        .include = c->include,
        .now = clock_wall_ms(),
        .deadline = clock_mono_ms() + c->settings->dns.timeout_ms * AUDIT_CHECK_COUNT,
    };
    if (resolver) {
        audit_address(resolver, &query, c->arena, audit);
        return audit->findings[AUDIT_PTR].state != AUDIT_UNKNOWN;
    }
    for (size_t i = 0; i < AUDIT_CHECK_COUNT; i++)
        audit->findings[i] =
            (struct audit_finding){AUDIT_UNKNOWN, STR("not asked: no question before got an answer")};
    return false;
}

/* ---- output ---- */

static void add_member(struct buf *out, const char *name, struct str value) {
    buf_printf(out, ",\"%s\":", name);
    if (value.len)
        trace_json_string(out, value);
    else
        buf_str(out, STR("null"));
}

/* The faults of an address as one text. */
static struct str what(struct arena *arena, const struct audit *audit) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    for (size_t i = 0; i < AUDIT_CHECK_COUNT; i++)
        if (audit->findings[i].state != AUDIT_OK)
            buf_printf(&text, "%s%.*s", text.len ? "; " : "", STR_FMT(audit->findings[i].text));
    return str_copy(arena, buf_view(&text));
}

static void add_row(const struct checking *c, size_t number, struct buf *out) {
    const struct source *source = &c->settings->pools->sources[number];
    const struct audit *audit = &c->audits[number];
    char ip[IP_TEXT_SIZE];
    buf_printf(out, "{\"ip\":\"%s\"", ip_text(&source->ip, ip));
    add_member(out, "pool", c->settings->pools->pools[source->pool].name);
    add_member(out, "live_ptr", audit->ptr);
    add_member(out, "says", str_of(source->ehlo));
    for (size_t i = 0; i < AUDIT_CHECK_COUNT; i++)
        add_member(out, audit_check_name((enum audit_check)i), str_of(state_name(audit->findings[i].state)));
    add_member(out, "status", str_of(state_name(audit_worst(audit))));
    add_member(out, "what", what(c->arena, audit));
    buf_str(out, STR("}\n"));
}

static void print_faults(struct cli *cli, const struct checking *c, size_t number) {
    const struct audit *audit = &c->audits[number];
    char ip[IP_TEXT_SIZE];
    for (size_t i = 0; i < AUDIT_CHECK_COUNT; i++) {
        bool fault = audit->findings[i].state == AUDIT_FAULT;
        if (audit->findings[i].state == AUDIT_OK)
            continue;
        fprintf(cli->out, "%s%s%s: %.*s\n", cli_paint(cli, fault ? CLI_RED : CLI_YELLOW),
                ip_text(&c->settings->pools->sources[number].ip, ip), cli_paint(cli, CLI_PLAIN),
                STR_FMT(cli_safe(cli->arena, audit->findings[i].text, 0)));
    }
}

int cmd_dns_check(struct cli *cli, const struct settings *s) {
    static const struct cli_column columns[] = {
        {"ADDRESS", "ip", CLI_TEXT},
        {"POOL", "pool", CLI_TEXT, .least = 6, .drop = 2},
        {"NAME", "live_ptr", CLI_TEXT, .least = 12, .drop = 1},
        {"PTR", "ptr", CLI_STATUS},
        {"FORWARD", "forward", CLI_STATUS},
        {"DOMAIN", "domain", CLI_STATUS},
        {"EHLO", "ehlo", CLI_STATUS},
        {"SPF", "spf", CLI_STATUS},
        {"INCLUDE", "include", CLI_STATUS},
        {0},
    };
    size_t count = s->pools->source_count, faults = 0;
    struct checking c = {
        .arena = cli->arena,
        .settings = s,
        .include = str_printf(cli->arena, "spf.%.*s", STR_FMT(s->identity.domain)),
        .audits = arena_array(cli->arena, struct audit, count),
    };
    struct buf lines __attribute__((cleanup(buf_free))) = {0};
    int bad = cmd_dns_ask(cli, s, &(struct dns_questions){count, ask, &c});
    if (bad)
        return bad;
    for (size_t i = 0; i < count; i++) {
        add_row(&c, i, &lines);
        faults += audit_worst(&c.audits[i]) == AUDIT_FAULT;
    }
    cli_rows(cli, buf_view(&lines), columns);
    for (size_t i = 0; i < count && !cli->json && !cli->csv; i++)
        print_faults(cli, &c, i);
    return faults ? CLI_NO : CLI_DONE;
}
