/* What receivers will see of each address that could carry a copy. */
#include "auth/beside.h"
#include "base/buf.h"
#include "base/clock.h"
#include "cmd/explain_view.h"

enum { GROUPS = 8, GROUP_LINES = 24 }; /* of one check that text shows; lines of one group's records */

/* ---- which addresses ---- */

struct lane_of {
    const struct explain_copy *copy;
    const struct pool *pool;
    unsigned family;
    uint32_t next; /* index of the source to look at next */
};

static const struct source *take(struct lane_of *l) {
    while (l->next < l->pool->source_count) {
        const struct source *s = &l->pool->sources[l->next++];
        if ((ip_is_v4(&s->ip) ? FAMILY_V4 : FAMILY_V6) == l->family && explain_carries(l->copy, s))
            return s;
    }
    return NULL;
}

static size_t lanes_of(const struct explain_view *v, struct lane_of *lanes) {
    const struct explain_result *r = &v->result;
    size_t count = 0;
    for (size_t c = 0; c < r->copy_count; c++)
        for (size_t p = 0; p < r->pool_count; p++)
            for (unsigned family = FAMILY_V4; family <= FAMILY_V6; family++)
                lanes[count++] = (struct lane_of){&r->copies[c], r->pools[p], family, 0};
    return count;
}

/* Of each copy, pool and family in turn, so that none is left out while there is room; told in their order.
 */
static void choose(struct explain_view *v) {
    struct arena *arena = v->cli->arena;
    struct lane_of *lanes =
        arena_array(arena, struct lane_of, v->result.copy_count * v->result.pool_count * 2);
    size_t count = lanes_of(v, lanes);
    size_t *shares = arena_array(arena, size_t, count);
    size_t taken = 0;
    for (bool any = true; any;) {
        any = false;
        for (size_t i = 0; i < count; i++) {
            if (!take(&lanes[i]))
                continue;
            any = true;
            if (taken < EXPLAIN_FORECASTS)
                shares[i]++, taken++;
            else
                v->not_asked++;
        }
    }
    v->seen = arena_array(arena, struct explain_seen, taken);
    for (size_t i = 0; i < count; i++) {
        lanes[i].next = 0;
        for (size_t n = 0; n < shares[i]; n++)
            v->seen[v->seen_count++] = (struct explain_seen){
                .copy = lanes[i].copy, .pool = lanes[i].pool, .source = take(&lanes[i])};
    }
}

/* ---- asking ---- */

struct looking {
    struct explain_view *view;
    const struct settings *settings;
    const struct plan_index *index;
    struct resolver *resolver;
    struct forecast_query query;
    struct forecast_identity identity;
    int64_t now, deadline;
};

struct looker {
    struct beside names, mail;
    struct looking *looking;
    struct explain_seen *seen;
    struct spf_check spf;
};

static void look_at_signatures(void *arg) {
    struct looking *l = arg;
    forecast_identity(l->resolver, &l->query, l->view->cli->arena, &l->identity);
}

static void look_at_names(void *arg) {
    const struct looker *looker = arg;
    const struct looking *l = looker->looking;
    struct explain_seen *s = looker->seen;
    const struct explain_result *r = &l->view->result;
    struct strict_query query = {.source = s->source,
                                 .pool = s->pool,
                                 .ehlo = explain_ehlo(r, s->copy, s->source),
                                 .ehlo_is_ptr = explain_ehlo_is_ptr(r, s->copy, s->source),
                                 .index = l->index,
                                 .timeout_ms = l->settings->dns.timeout_ms,
                                 .now = l->now,
                                 .deadline = l->deadline};
    strict_ask(l->resolver, &query, l->view->cli->arena, &s->strict);
}

static struct forecast_query query_of(const struct looker *looker) {
    const struct looking *l = looker->looking;
    struct forecast_query query = explain_query(&l->view->result, looker->seen->copy, looker->seen->source);
    query.deadline = l->deadline;
    return query;
}

static void look_at_spf(void *arg) {
    struct looker *looker = arg;
    const struct looking *l = looker->looking;
    struct forecast_query query = query_of(looker);
    forecast_spf(l->resolver, &query, l->view->cli->arena, &looker->spf);
}

static void conclude(const struct looker *looker) {
    const struct looking *l = looker->looking;
    struct explain_seen *s = looker->seen;
    struct arena *arena = l->view->cli->arena;
    struct forecast_query query = query_of(looker);
    forecast_conclude(&query, &l->identity, &looker->spf, arena, &s->mail);
    if (s->copy->via.len) /* the tenant's own server, which knows where its mail comes from */
        s->mail.warning = STR_NULL;
    else
        strict_mail(&s->mail, l->view->result.from_domain, l->index, arena, &s->strict);
}

void explain_ask(struct explain_view *v, const struct settings *settings, const struct plan_index *index,
                 struct resolver *resolver) {
    struct looking l = {.view = v,
                        .settings = settings,
                        .index = index,
                        .resolver = resolver,
                        .now = clock_wall_ms(),
                        .deadline = clock_mono_ms() + SPF_DEADLINE_MS};
    struct beside signatures;
    choose(v);
    if (!v->seen_count)
        return;
    struct looker *lookers = arena_array(v->cli->arena, struct looker, v->seen_count);
    l.query = explain_query(&v->result, v->seen[0].copy, v->seen[0].source);
    l.query.deadline = l.deadline;
    beside_start(&signatures, look_at_signatures, &l);
    for (size_t i = 0; i < v->seen_count; i++) {
        lookers[i] = (struct looker){.looking = &l, .seen = &v->seen[i]};
        beside_start(&lookers[i].names, look_at_names, &lookers[i]);
        beside_start(&lookers[i].mail, look_at_spf, &lookers[i]);
    }
    beside_join(&signatures);
    for (size_t i = 0; i < v->seen_count; i++) {
        beside_join(&lookers[i].names);
        beside_join(&lookers[i].mail);
        conclude(&lookers[i]);
    }
}

/* ---- the table ---- */

static enum cli_paint paint_of(enum strict_verdict verdict) {
    static const enum cli_paint paints[] = {[STRICT_PASS] = CLI_GREEN,
                                            [STRICT_FAIL] = CLI_RED,
                                            [STRICT_NOTE] = CLI_YELLOW,
                                            [STRICT_UNKNOWN] = CLI_YELLOW,
                                            [STRICT_VOID] = CLI_DIM};
    return paints[verdict];
}

static struct cli_cell cell_of(const struct strict_check *c) {
    static const char *const words[] = {[STRICT_PASS] = "ok",
                                        [STRICT_FAIL] = "FAIL",
                                        [STRICT_NOTE] = "note",
                                        [STRICT_UNKNOWN] = "?",
                                        [STRICT_VOID] = "-"};
    return (struct cli_cell){c->sees.len ? c->sees : str_of(words[c->verdict]), paint_of(c->verdict)};
}

/* Two checks in one column: what is wrong with the first hides the second. */
static struct cli_cell cell_of_two(const struct strict_view *view, enum strict_code first,
                                   enum strict_code second) {
    return cell_of(&view->checks[view->checks[first].verdict == STRICT_PASS ? second : first]);
}

enum { COLUMNS = 12 };

static void fill_row(struct arena *arena, const struct explain_seen *s, struct cli_cell *cells) {
    static const enum strict_code rest[] = {STRICT_EHLO_PTR, STRICT_ORGANISATION, STRICT_EHLO_SPF,
                                            STRICT_SPF,      STRICT_DKIM,         STRICT_DMARC};
    const struct strict_view *view = &s->strict;
    char address[IP_TEXT_SIZE];
    size_t n = 0;
    cells[n++] = (struct cli_cell){str_copy(arena, str_of(ip_text(&s->source->ip, address))), CLI_PLAIN};
    cells[n++] =
        (struct cli_cell){view->names.name.len ? cli_safe(arena, view->names.name, 0) : STR("-"), CLI_PLAIN};
    cells[n++] = (struct cli_cell){cli_safe(arena, view->ehlo, 0), CLI_PLAIN};
    cells[n++] = cell_of_two(view, STRICT_PTR, STRICT_FCRDNS);
    cells[n++] = cell_of(&view->checks[STRICT_NAME]);
    cells[n++] = cell_of_two(view, STRICT_EHLO_NAME, STRICT_EHLO_ADDRESS);
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        cells[n++] = cell_of(&view->checks[rest[i]]);
}

static void print_table(const struct explain_view *v, size_t first, size_t count) {
    static const struct cli_column columns[COLUMNS] = {
        {"FROM", "ip", CLI_TEXT},
        {"PTR", "ptr", CLI_TEXT, .least = 12, .want = 20, .drop = 5},
        {"EHLO", "ehlo", CLI_TEXT, .least = 12, .want = 20, .drop = 4},
        {"FCRDNS", "fcrdns", CLI_TEXT},
        {"NAME", "ptr-name", CLI_TEXT, .drop = 1},
        {"RESOLVES", "ehlo-address", CLI_TEXT},
        {"=PTR", "ehlo-ptr", CLI_TEXT},
        {"ORG", "organisation", CLI_TEXT, .drop = 2},
        {"HELO-SPF", "ehlo-spf", CLI_TEXT},
        {"SPF", "spf", CLI_TEXT},
        {"DKIM", "dkim", CLI_TEXT},
        {"DMARC", "dmarc", CLI_TEXT},
    };
    struct cli *cli = v->cli;
    struct cli_table table = {.columns = columns,
                              .column_count = COLUMNS,
                              .cells = arena_array(cli->arena, struct cli_cell, count * COLUMNS),
                              .row_count = count};
    for (size_t i = 0; i < count; i++)
        fill_row(cli->arena, &v->seen[first + i], &table.cells[i * COLUMNS]);
    fprintf(cli->out, "\n%sA strict receiver will see, for %.*s:%s\n", cli_paint(cli, CLI_BOLD),
            STR_FMT(cli_safe(cli->arena, v->seen[first].copy->address, 0)), cli_paint(cli, CLI_PLAIN));
    cli_table(cli, &table);
}

/* What of it DMARC can count: of the From's organisation, or, in strict mode, its very domain. */
static struct str alignment(struct arena *arena, const struct forecast *f) {
    struct str text = STR("");
    const char *is[] = {"not aligned", "aligned"};
    if (f->spf_domain.len)
        text = str_printf(arena, "SPF %s for %.*s, %s", spf_result_text(f->spf.result),
                          STR_FMT(f->spf_domain), is[f->spf_aligned]);
    for (size_t i = 0; i < f->count; i++)
        text = str_printf(arena, "%.*s%sDKIM %s d=%.*s s=%.*s%s, %s", STR_FMT(text), text.len ? "; " : "",
                          dkim_result_name(f->signatures[i].result), STR_FMT(f->signatures[i].domain),
                          STR_FMT(f->signatures[i].selector), f->signatures[i].ours ? " (ours)" : "",
                          is[f->signatures[i].aligned]);
    return text;
}

/* Once for all addresses of which the same can be said. */
static void print_alignment(const struct explain_view *v, size_t first, size_t count) {
    struct cli *cli = v->cli;
    struct str before = STR("");
    for (size_t i = first; i < first + count; i++) {
        struct str text = alignment(cli->arena, &v->seen[i].mail);
        if (text.len && !str_eq(text, before))
            explain_line(cli, i == first ? "DMARC" : "", text);
        before = text;
    }
}

/* ---- what is wrong ---- */

/* The same thing to mend, or the same words. */
static bool alike(const struct strict_check *a, const struct strict_check *b) {
    return a->verdict == b->verdict && (str_eq(a->why, b->why) || (a->put.len && str_eq(a->put, b->put)));
}

/* What to put for all of them, each once. */
static void print_put(struct cli *cli, const struct explain_seen *const *members, size_t count,
                      enum strict_code code) {
    size_t lines = 0;
    for (size_t i = 0; i < count; i++) {
        const struct strict_check *c = &members[i]->strict.checks[code];
        struct str rest = c->put, line;
        if (!c->put.len || (i && str_eq(c->put, members[i - 1]->strict.checks[code].put)))
            continue;
        if (!lines)
            explain_line(cli, "", STR("put:"));
        while (str_cut(&rest, '\n', &line))
            if (lines++ < GROUP_LINES)
                fprintf(cli->out, "              %.*s\n", STR_FMT(cli_safe(cli->arena, line, 0)));
    }
    if (lines > GROUP_LINES)
        explain_line(cli, "",
                     str_printf(cli->arena, "and %zu lines more: sluice dns plan", lines - GROUP_LINES));
}

static void print_group(struct cli *cli, const struct explain_seen *const *members, size_t count,
                        enum strict_code code) {
    const struct strict_check *c = &members[0]->strict.checks[code];
    char address[IP_TEXT_SIZE];
    struct str others = STR("");
    if (count > 1)
        others = str_printf(cli->arena, " (and %zu more)", count - 1);
    explain_painted(cli, c->verdict == STRICT_FAIL ? "FAIL" : "note", paint_of(c->verdict),
                    str_printf(cli->arena, "%s %s%.*s: %.*s", strict_code_text(code),
                               ip_text(&members[0]->source->ip, address), STR_FMT(others), STR_FMT(c->why)));
    explain_line(cli, "", str_of(strict_demand(code)));
    print_put(cli, members, count, code);
}

/* All of one check with this verdict, by what mends them. */
static void print_check(const struct explain_view *v, enum strict_code code, enum strict_verdict verdict) {
    struct arena *arena = v->cli->arena;
    bool *told = arena_array(arena, bool, v->seen_count);
    const struct explain_seen **members = arena_array(arena, const struct explain_seen *, v->seen_count);
    size_t groups = 0, left = 0;
    for (size_t i = 0; i < v->seen_count; i++) {
        size_t count = 0;
        const struct strict_check *c = &v->seen[i].strict.checks[code];
        for (size_t j = i; j < v->seen_count && c->verdict == verdict; j++) {
            const struct explain_seen *s = &v->seen[j];
            if (told[j] || !alike(c, &s->strict.checks[code]))
                continue;
            told[j] = true;
            if (!count || s->source != members[count - 1]->source) /* the same for another copy */
                members[count++] = s;
        }
        if (count && groups++ < GROUPS)
            print_group(v->cli, members, count, code);
        else
            left += count;
    }
    if (left)
        explain_line(v->cli, "", str_printf(arena, "and %zu more: --json has them all", left));
}

static void print_unknown(const struct explain_view *v) {
    struct cli *cli = v->cli;
    const struct strict_check *first = NULL;
    size_t count = 0;
    for (size_t i = 0; i < v->seen_count; i++)
        for (size_t code = 0; code < STRICT_COUNT; code++) {
            const struct strict_check *c = &v->seen[i].strict.checks[code];
            if (c->verdict != STRICT_UNKNOWN)
                continue;
            first = first ? first : c;
            count++;
        }
    if (count)
        explain_painted(cli, "unknown", CLI_YELLOW,
                        str_printf(cli->arena,
                                   "%zu check%s (?), because the DNS did not answer, which is no fault of a "
                                   "record: %.*s",
                                   count, count == 1 ? "" : "s", STR_FMT(first->why)));
}

/* Each copy's warning once; addresses that SPF sees alike need no other. */
static void print_warnings(const struct explain_view *v) {
    const struct explain_seen *said = NULL;
    for (size_t i = 0; i < v->seen_count; i++) {
        const struct explain_seen *s = &v->seen[i];
        if (!s->mail.warning.len || (said && said->copy == s->copy && said->pool == s->pool &&
                                     said->mail.spf.result == s->mail.spf.result))
            continue;
        explain_painted(v->cli, "WARNING", CLI_YELLOW, s->mail.warning);
        said = s;
    }
}

void explain_seen_text(const struct explain_view *v) {
    static const enum strict_verdict told[] = {STRICT_FAIL, STRICT_NOTE};
    for (size_t i = 0, first = 0; i < v->seen_count; i++)
        if (i + 1 == v->seen_count || v->seen[i + 1].copy != v->seen[i].copy) {
            print_table(v, first, i + 1 - first);
            print_alignment(v, first, i + 1 - first);
            first = i + 1;
        }
    if (v->not_asked)
        fprintf(v->cli->out, "and %zu more, not asked: sluice dns check looks at all\n", v->not_asked);
    if (v->seen_count)
        fputc('\n', v->cli->out);
    for (size_t t = 0; t < sizeof told / sizeof *told; t++)
        for (size_t code = 0; code < STRICT_COUNT; code++)
            print_check(v, (enum strict_code)code, told[t]);
    print_unknown(v);
    print_warnings(v);
}
