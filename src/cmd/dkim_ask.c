/* What DNS says of our keys. */
#include "base/clock.h"
#include "cmd/dkim.h"
#include "cmd/dns_ask.h"
#include <jansson.h>

const char *dkim_live_name(enum dkim_live live) {
    static const char *const names[] = {
#define X(name, text) [DKIM_LIVE_##name] = text,
        DKIM_LIVE(X)
#undef X
    };
    return names[live];
}

/* ---- comparing ---- */

static void say(struct dkim_row *row, enum dkim_live live, struct str what) {
    row->live = live;
    row->what = what;
}

static void compare_record(struct arena *arena, struct str text, struct dkim_row *row) {
    struct dkim_record record = {0};
    struct str why;
    if (dkim_record_parse(arena, text, &why, &record) != 0) {
        say(row, DKIM_LIVE_DIFFERS, why);
        return;
    }
    if (record.revoked)
        say(row, DKIM_LIVE_REVOKED, STR("p= is empty: the key is withdrawn"));
    else if (row->key && record.algorithm != dkim_key_algorithm(row->key))
        say(row, DKIM_LIVE_DIFFERS, STR("k= is the other algorithm's"));
    else if (row->key && !dkim_record_fits(&record, row->key))
        say(row, DKIM_LIVE_DIFFERS,
            record.bits == dkim_key_bits(row->key)
                ? STR("p= is another key")
                : str_printf(arena, "p= is another key, of %u bits", record.bits));
    else if (!record.sha256)
        say(row, DKIM_LIVE_DIFFERS, STR("h= leaves sha256 out"));
    else if (!record.email)
        say(row, DKIM_LIVE_DIFFERS, STR("s= leaves email out"));
    else if (record.testing)
        say(row, DKIM_LIVE_OK, STR("t=y: receivers may treat the mail as unsigned"));
    else
        say(row, DKIM_LIVE_OK, STR(""));
    dkim_record_free(&record);
}

void dkim_compare(struct arena *arena, const struct dns_answer *answer, struct dkim_row *row) {
    if (answer->status == DNS_FAILED)
        say(row, DKIM_LIVE_FAILED, answer->why.len ? answer->why : STR("no answer"));
    else if (answer->status == DNS_NONE || !answer->count)
        say(row, DKIM_LIVE_MISSING, answer->nxdomain ? STR("no such name") : STR("no TXT at that name"));
    else if (answer->count > 1)
        say(row, DKIM_LIVE_DIFFERS,
            str_printf(arena, "%zu TXT records stand there, and a receiver takes any", answer->count));
    else
        compare_record(arena, answer->records[0].text, row);
}

/* ---- asking ---- */

struct comparing {
    struct arena *arena;
    struct dkim_rows *rows;
};

static bool compare(void *ctx, size_t number, struct resolver *resolver, int64_t deadline) {
    struct comparing *c = ctx;
    struct dkim_row *row = &c->rows->rows[number];
    struct dns_answer answer = {.status = DNS_FAILED};
    if (resolver)
        resolver_lookup(resolver, row->name, DNS_TXT, deadline, c->arena, &answer);
    dkim_compare(c->arena, &answer, row);
    return answer.status != DNS_FAILED;
}

int dkim_ask(struct cli *cli, struct settings *settings, struct dkim_rows *rows) {
    struct comparing comparing = {cli->arena, rows};
    return dns_ask(cli, settings, &(struct dns_questions){rows->count, compare, &comparing});
}

/* ---- the report ---- */

/* An old record that may go is no fault, wherever it is. */
static bool at_fault(const struct dkim_row *row) {
    return row->role != DKIM_OVER && row->live != DKIM_LIVE_OK;
}

static json_t *text(struct arena *arena, struct str s) {
    return s.len ? json_string(str_c(arena, cli_safe(arena, s, 0))) : json_null();
}

static void add_line(struct cli *cli, const struct dkim_row *row, struct str advice, struct buf *lines) {
    struct arena *arena = cli->arena;
    json_t *line = json_object();
    json_object_set_new(line, "domain", text(arena, row->domain->domain));
    json_object_set_new(line, "selector", text(arena, row->selector));
    json_object_set_new(line, "key", text(arena, dkim_key_text(arena, row->key)));
    json_object_set_new(line, "use", text(arena, dkim_role_text(arena, row)));
    json_object_set_new(line, "status", json_string(dkim_live_name(row->live)));
    json_object_set_new(line, "fault", json_boolean(at_fault(row)));
    json_object_set_new(line, "what", text(arena, row->what));
    json_object_set_new(line, "name", text(arena, str_printf(arena, "%.*s.", STR_FMT(row->name))));
    json_object_set_new(line, "advice", text(arena, advice));
    char *dump = json_dumps(line, JSON_COMPACT);
    buf_printf(lines, "%s\n", dump);
    free(dump);
    json_decref(line);
}

static const char *urgency(const struct dkim_row *row) {
    const struct rotation *r = row->domain->rotation;
    if (row->role == DKIM_NEXT)
        return "publish before it signs; the old key goes on without it:";
    if (row->role == DKIM_KEEP)
        return "mail under way still has its signatures, keep:";
    if (r && rotation_phase(r, clock_wall_ms()) == ROTATION_SWITCHED)
        return "the daemon goes on with the old key for as long as its record is kept; publish:";
    return "its signatures are refused until this is in DNS:";
}

static void say_what_to_do(struct cli *cli, const struct dkim_row *row) {
    struct arena *arena = cli->arena;
    if (!at_fault(row))
        return;
    fprintf(cli->out, "\n%s%.*s%s of %.*s: %.*s%s%.*s\n", cli_paint(cli, CLI_RED), STR_FMT(row->selector),
            cli_paint(cli, CLI_PLAIN), STR_FMT(row->domain->domain),
            STR_FMT(str_of(dkim_live_name(row->live))), row->what.len ? ": " : "",
            STR_FMT(cli_safe(arena, row->what, 0)));
    if (row->live == DKIM_LIVE_FAILED || !row->record.len)
        return;
    fprintf(cli->out, "%s\n%.*s\n", urgency(row), STR_FMT(dkim_zone_line(arena, row->name, row->record)));
}

int dkim_check_rows(struct cli *cli, struct settings *settings, struct dkim_rows *rows) {
    static const struct cli_column columns[] = {
        {"DOMAIN", "domain", CLI_TEXT, .least = 12},
        {"SELECTOR", "selector", CLI_TEXT, .least = 8},
        {"KEY", "key", CLI_TEXT, .drop = 2},
        {"USE", "use", CLI_TEXT, .least = 10, .drop = 1},
        {"DNS", "status", CLI_STATUS},
        {"WHAT", "what", CLI_TEXT, .least = 12},
        {0},
    };
    struct buf lines __attribute__((cleanup(buf_free))) = {0};
    bool wrong = false, unknown = false;
    int bad = dkim_ask(cli, settings, rows);
    if (bad)
        return bad;
    for (size_t i = 0; i < rows->count; i++) {
        add_line(cli, &rows->rows[i], dkim_advice(cli->arena, settings, rows->rows[i].domain), &lines);
        bool silent = rows->rows[i].live == DKIM_LIVE_FAILED;
        wrong |= at_fault(&rows->rows[i]) && !silent;
        unknown |= at_fault(&rows->rows[i]) && silent;
    }
    cli_rows(cli, buf_view(&lines), columns);
    for (size_t i = 0; i < rows->count && !cli->json && !cli->csv; i++) {
        const struct signing_domain *d = rows->rows[i].domain;
        bool last = i + 1 == rows->count || rows->rows[i + 1].domain != d;
        struct str advice = last ? dkim_advice(cli->arena, settings, d) : STR_NULL;
        say_what_to_do(cli, &rows->rows[i]);
        if (advice.len)
            fprintf(cli->out, "\n%.*s: %.*s\n", STR_FMT(d->domain), STR_FMT(advice));
    }
    return wrong ? CLI_NO : unknown ? CLI_UNREACHABLE : CLI_DONE;
}
