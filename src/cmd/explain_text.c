#include "cmd/explain_view.h"
#include "cmd/standing.h"

#include "auth/results.h"
#include "rt/dns_wire.h"

void explain_line(struct cli *cli, const char *name, struct str value) {
    fprintf(cli->out, "  %s%-10s%s", cli_paint(cli, CLI_DIM), name, cli_paint(cli, CLI_PLAIN));
    cli_wrap(cli, 12, cli_safe(cli->arena, value, 0));
}

void explain_painted(struct cli *cli, const char *name, enum cli_paint paint, struct str value) {
    fprintf(cli->out, "  %s%-10s", cli_paint(cli, paint), name);
    cli_wrap(cli, 12, cli_safe(cli->arena, value, 0));
    fputs(cli_paint(cli, CLI_PLAIN), cli->out);
}

/* ---- what arrived ---- */

static void print_client(struct cli *cli, const struct explain_view *v) {
    const struct original_client *o = &v->result.original;
    char address[IP_TEXT_SIZE];
    if (ip_is_none(&v->request.client))
        return;
    explain_line(cli, "client", str_of(ip_text(&v->request.client, address)));
    for (size_t i = 0; i < o->walked_count; i++)
        explain_line(cli, i ? "" : "walked",
                     str_printf(cli->arena, "%s is skipped", ip_text(&o->walked[i], address)));
    if (o->why.len)
        explain_line(cli, "original",
                     str_printf(cli->arena, "%s: %.*s", ip_text(&o->ip, address), STR_FMT(o->why)));
}

static void print_step(struct cli *cli, const struct spf_step *s) {
    struct arena *a = cli->arena;
    struct str term = s->term.len ? s->term : str_printf(a, "the record of %.*s", STR_FMT(s->domain));
    struct str text = str_printf(a, "%*s%.*s", 2 * (int)s->depth, "", STR_FMT(term));
    if (s->target.len && !str_eq(s->target, s->term))
        text = str_printf(a, "%.*s [%.*s]", STR_FMT(text), STR_FMT(s->target));
    text = str_printf(a, "%.*s: %s%s%.*s", STR_FMT(text), explain_spf_end(s->end), s->note.len ? ", " : "",
                      STR_FMT(s->note));
    explain_line(cli, "", text);
    for (const struct spf_lookup *l = s->lookups; l; l = l->next)
        explain_line(cli, "",
                     str_printf(a, "%*s  %.*s of %.*s: %s%s%.*s", 2 * (int)s->depth, "",
                                STR_FMT(dns_type_text(a, l->type)), STR_FMT(l->name),
                                explain_dns_status(l->status), l->answers.len ? " " : "",
                                STR_FMT(l->answers)));
}

static void print_arrival(struct cli *cli, const struct explain_view *v) {
    const struct arrival_result *a = &v->result.verified;
    if (!a->checked)
        return;
    explain_line(cli, "SPF", results_spf_text(cli->arena, a));
    explain_line(cli, "",
                 str_printf(cli->arena, "%u of %d terms that ask the DNS, %u of %d void", a->spf.terms,
                            SPF_TERMS_MAX, a->spf.voids, SPF_VOIDS_MAX));
    for (const struct spf_step *s = a->spf.steps; s; s = s->next)
        print_step(cli, s);
    if (!a->dkim.count)
        explain_line(cli, "DKIM", STR("no signature"));
    for (size_t i = 0; i < a->dkim.count; i++) {
        const struct dkim_verdict *d = &a->dkim.items[i];
        explain_line(cli, i ? "" : "DKIM",
                     str_printf(cli->arena, "%s d=%.*s s=%.*s%s%.*s", dkim_result_name(d->result),
                                STR_FMT(d->domain), STR_FMT(d->selector), d->reason.len ? ": " : "",
                                STR_FMT(d->reason)));
    }
    explain_line(cli, "ARC", results_arc_text(cli->arena, a));
    if (v->result.no_report.len)
        explain_line(cli, "no report", v->result.no_report);
}

/* ---- what leaves ---- */

/* The name that all of the pool say to the first copy's destination; "" they differ. */
static struct str common_ehlo(const struct explain_view *v, const struct pool *pool) {
    struct str common = STR("");
    for (uint32_t i = 0; i < pool->source_count; i++) {
        struct str ehlo = explain_ehlo(&v->result, explain_first(v), &pool->sources[i]);
        if (i && !str_eq(ehlo, common))
            return STR("");
        common = ehlo;
    }
    return common;
}

static struct str source_text(const struct explain_view *v, const struct source *s, bool says_ehlo) {
    struct arena *arena = v->cli->arena;
    struct str ehlo = explain_ehlo(&v->result, explain_first(v), s), ptr = str_of(s->ptr);
    char address[IP_TEXT_SIZE];
    bool same = says_ehlo && str_eq_nocase(ehlo, ptr);
    struct str names = STR("");
    if (same)
        names = str_printf(arena, "  EHLO and PTR %.*s", STR_FMT(ptr));
    else
        names = str_printf(arena, "%s%.*s%s%.*s", says_ehlo ? "  EHLO " : "",
                           STR_FMT(says_ehlo ? ehlo : STR("")), ptr.len ? "  PTR " : "", STR_FMT(ptr));
    return str_printf(arena, "%-15s%.*s", ip_text(&s->ip, address), STR_FMT(names));
}

/* The addresses of one family that could carry it. */
static void print_sources(struct cli *cli, const struct explain_view *v, const struct pool *pool, bool v4,
                          bool says_ehlo) {
    unsigned count = 0;
    for (uint32_t i = 0; i < pool->source_count; i++) {
        const struct source *s = &pool->sources[i];
        if (ip_is_v4(&s->ip) != v4 || !explain_carries(explain_first(v), s) || count++ >= EXPLAIN_ADDRESSES)
            continue;
        explain_line(cli, count == 1 ? explain_family(v4 ? FAMILY_V4 : FAMILY_V6) : "",
                     source_text(v, s, says_ehlo));
    }
    if (count > EXPLAIN_ADDRESSES)
        explain_line(cli, "",
                     str_printf(cli->arena, "and %u more (sluice source --pool %.*s)",
                                count - EXPLAIN_ADDRESSES, STR_FMT(pool->name)));
}

static void print_pool(struct cli *cli, const struct explain_view *v, const struct pool *pool) {
    struct str waits = explain_waits(v, pool), ehlo = common_ehlo(v, pool);
    explain_line(cli, "pool",
                 str_printf(cli->arena, "%.*s, %u address%s, SPF %s", STR_FMT(pool->name), pool->source_count,
                            pool->source_count == 1 ? "" : "es", pool_spf_text(pool)));
    if (ehlo.len)
        explain_line(cli, "EHLO", ehlo);
    if (waits.len)
        explain_line(cli, "waits", waits);
    print_sources(cli, v, pool, true, !ehlo.len);
    print_sources(cli, v, pool, false, !ehlo.len);
}

static void print_copy(struct cli *cli, const struct explain_view *v, const struct explain_copy *c) {
    struct arena *a = cli->arena;
    char address[IP_TEXT_SIZE];
    struct str none = explain_no_route(v, c);
    bool same = str_eq(c->return_path, v->request.from);
    if (!str_eq(c->address, v->request.to))
        explain_line(cli, "goes to",
                     str_printf(a, "%.*s%s%.*s", STR_FMT(c->address),
                                c->forwarder.len ? ", forwarded by " : "", STR_FMT(c->forwarder)));
    if (!same || c->return_why.len)
        explain_line(cli, "sender",
                     str_printf(a, "%.*s%s%.*s", STR_FMT(c->return_path.len ? c->return_path : STR("<>")),
                                c->return_why.len ? ": " : "", STR_FMT(c->return_why)));
    if (c->via.len)
        explain_line(cli, "via", c->via);
    if (none.len)
        explain_line(cli, "route", none);
    for (size_t i = 0; i < c->target_count; i++)
        explain_line(cli, i ? "" : "route",
                     str_printf(a, "%3u %.*s [%s] port %u", c->targets[i].preference,
                                STR_FMT(c->targets[i].host), ip_text(&c->targets[i].ip, address),
                                c->targets[i].port));
}

static void print_ended(struct cli *cli, const struct envelope *e) {
    for (size_t i = 0; i < e->copy_count; i++)
        if (e->copies[i].ended.fate != OUTCOME_DONE)
            explain_line(cli, "dropped",
                         str_printf(cli->arena, "%.*s: %.*s", STR_FMT(e->copies[i].to.address),
                                    STR_FMT(outcome_line(cli->arena, &e->copies[i].ended))));
}

/* Who judged it, and how. */
static void print_judged(struct cli *cli, const struct judgement *j) {
    struct arena *a = cli->arena;
    if (j->scanned)
        explain_line(cli, "scanned",
                     str_printf(a, "by %.*s in %lld ms: %.*s, score %.*s", STR_FMT(j->scan.scanner),
                                (long long)j->scan.took_ms, STR_FMT(j->scan.action), STR_FMT(j->score)));
    if (j->symbols.len)
        explain_line(cli, "symbols", j->symbols);
    if (j->not_scanned.len)
        explain_painted(cli, "WARNING", CLI_YELLOW, j->not_scanned);
    if (j->verdict != VERDICT_CLEAN)
        explain_line(
            cli, "verdict",
            str_printf(a, "%s%s%.*s", verdict_name(j->verdict), j->why.len ? ": " : "", STR_FMT(j->why)));
}

/* Which questions the DNS did not answer. */
static void print_unanswered(const struct explain_view *v) {
    struct arena *a = v->cli->arena;
    for (size_t i = 0; i < v->failure_count && i < EXPLAIN_UNANSWERED; i++) {
        const struct dns_once_failure *f = &v->failures[i];
        explain_line(v->cli, i ? "" : "no answer",
                     str_printf(a, "%.*s %.*s: %.*s", STR_FMT(f->name), STR_FMT(dns_type_text(a, f->type)),
                                STR_FMT(f->why)));
    }
    if (v->failure_count > EXPLAIN_UNANSWERED)
        explain_line(
            v->cli, "",
            str_printf(a, "and %zu more: --json has them all", v->failure_count - EXPLAIN_UNANSWERED));
}

static void print_as(const struct explain_view *v) {
    struct cli *cli = v->cli;
    bool named = str_starts(v->standing_why, v->as); /* by who says why */
    if (!v->as.len)
        return;
    if (v->standing.len || named)
        explain_line(cli, "as", v->standing.len ? v->as : v->standing_why);
    else
        explain_line(cli, "as",
                     str_printf(cli->arena, "%.*s: %.*s", STR_FMT(v->as), STR_FMT(v->standing_why)));
    if (v->as_note.len)
        explain_painted(cli, "", CLI_YELLOW, v->as_note);
    if (v->standing.len && v->no_daemon)
        explain_line(cli, "", STR("no daemon answers: as it stands on disk"));
    if (v->standing.len)
        cli_standing_limits(cli, v->standing);
}

static void print_message(const struct explain_view *v) {
    const struct explain_result *r = &v->result;
    struct cli *cli = v->cli;
    struct str refusal = explain_refusal(v);
    explain_line(cli, "from", v->request.from.len ? v->request.from : STR("<>"));
    explain_line(cli, "to", v->request.to);
    print_client(cli, v);
    if (r->by.tenant)
        explain_line(cli, "tenant",
                     str_printf(cli->arena, "%.*s%s%.*s%s", STR_FMT(r->by.tenant->name),
                                r->by.connector ? ", connector " : "",
                                STR_FMT(r->by.connector ? r->by.connector->name : STR("")),
                                r->outside      ? ", from outside"
                                : r->by.relayed ? ", relayed for others"
                                                : ""));
    print_arrival(cli, v);
    print_as(v);
    print_judged(cli, &r->judged);
    if (refusal.len) {
        explain_line(cli, "refused", refusal);
        return;
    }
    explain_line(cli, "class",
                 str_printf(cli->arena, "%s by rule %.*s", mail_class_name(r->decision.class),
                            STR_FMT(r->decision.rule)));
    explain_line(cli, "because", r->decision.reason);
    if (!r->pool_count)
        explain_line(cli, "pool", STR("none carries this class: the mail would wait"));
    for (size_t i = 0; i < r->pool_count; i++)
        print_pool(cli, v, r->pools[i]);
    for (size_t i = 0; i < r->copy_count; i++)
        print_copy(cli, v, &r->copies[i]);
    print_ended(cli, &r->envelope);
    explain_seen_text(v);
}

void explain_text(const struct explain_view *v) {
    print_message(v);
    print_unanswered(v);
}
