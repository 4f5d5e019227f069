/* backend_senders.c - what the API asks about senders and tenants, and does to them. */
#include "cmd/daemon.h"
#include "cmd/senders.h"

#include "alert/alert.h"
#include "policy/limit_policy.h"
#include "suspicion/suspicion.h"
#include <stdlib.h>

struct asking {
    struct daemon *daemon;
    struct arena *arena;
    struct settings *settings;
    struct senders from;
};

static void begin(struct asking *a, struct daemon *d) {
    *a = (struct asking){.daemon = d, .arena = arena_new(0), .settings = flow_settings(&d->flow)};
    a->from = (struct senders){
        .sending = d->flow.sending, .policy = a->settings->policy, .now = sending_now(d->flow.sending)};
}

static void end(struct asking *a) {
    settings_unref(a->settings);
    arena_free(a->arena);
}

/* ---- status and metrics ---- */

void daemon_senders_status(struct daemon *d, void (*add)(void *, const char *, const char *, int64_t),
                           void *to) {
    struct sending_stats stats;
    sending_stats(d->flow.sending, &stats);
    add(to, "senders", NULL, stats.senders.senders);
    add(to, "senders_capacity", NULL, stats.senders.capacity);
    add(to, "senders_bytes", NULL, (int64_t)stats.senders.bytes);
    add(to, "senders_restricted", NULL, (int64_t)stats.restricted);
    add(to, "limits_held", NULL, (int64_t)stats.held);
    add(to, "limits_refused", NULL, (int64_t)stats.refused);
    add(to, "limits_journal_bytes", NULL, (int64_t)stats.journal.bytes);
    add(to, "limits_journal_batches", NULL, (int64_t)stats.journal.batches);
    add(to, "limits_journal_failed", NULL, (int64_t)stats.journal.failed);
    add(to, "limits_journal_error", stats.error ? error_text(stats.error) : "none", 0);
}

void daemon_senders_metrics(struct daemon *d, void (*add)(void *, const struct api_metric *), void *to) {
    struct sending_stats stats;
    sending_stats(d->flow.sending, &stats);
    const struct api_metric metrics[] = {
        {"sluice_limits_held_total", "messages that waited for their turn", true,
         .value = (double)stats.held},
        {"sluice_limits_refused_total", "messages refused for a limit or a restriction", true,
         .value = (double)stats.refused},
        {"sluice_senders", "senders with something in a window", false,
         .value = (double)stats.senders.senders},
        {"sluice_senders_capacity", "senders that can be counted", false,
         .value = (double)stats.senders.capacity},
        {"sluice_senders_restricted", "senders, connectors and tenants that may not send", false,
         .value = (double)stats.restricted},
        {"sluice_limits_journal_failing", "1 while no mail is taken because counts can't be written", false,
         .value = stats.error ? 1 : 0},
    };
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        add(to, &metrics[i]);
}

/* ---- patterns ---- */

static void add_counts(struct api_sender *out, const struct sender_counts *c) {
    out->spam_per_mille = c->mail ? (int64_t)((uint64_t)c->spam * 1000 / c->mail) : 0;
    out->spam = c->spam;
    out->mail = c->mail;
    out->recipients = c->recipients;
    out->unknown = c->unknown;
    out->destinations = c->destinations;
    out->refusals = c->refusals;
}

/* What detection knows; of who is restricted for what it found the counts of that moment stay. */
static void add_pattern(struct asking *a, enum sender_kind kind, struct api_sender *out) {
    struct sender_counts counts;
    bool known = suspicion_counts(a->daemon->flow.suspicion, (enum pattern_kind)kind, out->name, a->arena,
                                  &counts, &out->suspicion);
    bool restricted = str_starts(out->state, STR("restricted"));
    if (known && (!restricted || !out->mail))
        add_counts(out, &counts);
    if (out->suspicion.len && (str_eq(out->state, STR("free")) || str_eq(out->state, STR("alerted"))))
        out->state = STR("suspicious");
}

/* Its own is not suspicious, but that by which it sends may be. */
static void add_inherited(struct asking *a, struct api_sender *out) {
    struct sender_name name;
    struct sender_counts counts;
    struct str why;
    if (out->suspicion.len || !sender_name_read(a->settings->policy, out->name, a->arena, &name, &why) ||
        name.kind != SENDER_USER || !name.tenant)
        return;
    const struct {
        enum pattern_kind kind;
        struct str name;
        const char *word;
    } whom[] = {{PATTERN_CONNECTOR, name.connector, "connector"},
                {PATTERN_TENANT, name.tenant->name, "tenant"}};
    for (size_t i = 0; i < sizeof whom / sizeof *whom && !out->suspicion.len; i++) {
        struct str reason = STR("");
        if (whom[i].name.len)
            suspicion_counts(a->daemon->flow.suspicion, whom[i].kind, whom[i].name, a->arena, &counts,
                             &reason);
        if (reason.len)
            out->suspicion = str_printf(a->arena, "of the %s: %.*s", whom[i].word, STR_FMT(reason));
    }
}

/* Those of whom limits/sending.h knows nothing. */
static void list_suspects(struct asking *a, struct str only, const struct sending_entry *known, size_t count,
                          void (*row)(void *, const struct api_sender *), void *to) {
    struct suspicion_entry *entries;
    size_t suspects = suspicion_list(a->daemon->flow.suspicion, a->arena, &entries);
    for (size_t i = 0; i < suspects; i++) {
        const struct suspicion_entry *e = &entries[i];
        struct sender_state state = {.kind = (enum sender_kind)e->kind};
        struct sender_name name;
        struct api_sender out;
        struct str why;
        bool listed = e->kind != PATTERN_USER && e->kind != PATTERN_CONNECTOR;
        for (size_t k = 0; k < count && !listed; k++)
            listed = (int)known[k].state.kind == (int)e->kind && str_eq_nocase(known[k].name, e->name);
        bool ours = !listed && sender_name_read(a->settings->policy, e->name, a->arena, &name, &why);
        struct str tenant = ours ? name.tenant->name : STR("");
        if (listed || (only.len && !str_eq_nocase(only, tenant)))
            continue;
        senders_row(&a->from, e->name, tenant, &state, a->arena, &out);
        add_counts(&out, &e->counts);
        out.state = STR("suspicious");
        out.suspicion = out.reason = e->reason;
        out.since = e->since;
        out.until = e->until;
        row(to, &out);
    }
}

/* ---- lists ---- */

static void list_tenants(struct asking *a, struct str only, void (*row)(void *, const struct api_sender *),
                         void *to) {
    for (size_t i = 0; i < a->settings->policy->tenant_count; i++) {
        const struct tenant *t = &a->settings->policy->tenants[i];
        struct sender_state state = {0};
        struct api_sender out;
        if (only.len && !str_eq_nocase(only, t->name))
            continue;
        sending_find(a->from.sending, SENDER_TENANT, t->name, &state);
        state.kind = SENDER_TENANT;
        senders_row(&a->from, t->name, t->name, &state, a->arena, &out);
        add_pattern(a, SENDER_TENANT, &out);
        row(to, &out);
    }
}

static int by_name(const void *x, const void *y) {
    const struct sending_entry *a = x, *b = y;
    return str_cmp(a->name, b->name);
}

static int list(void *arg, bool tenants, struct str only, void (*row)(void *, const struct api_sender *),
                void *to, struct buf *ret_why) {
    struct asking a;
    (void)ret_why;
    begin(&a, arg);
    if (tenants) {
        list_tenants(&a, only, row, to);
        end(&a);
        return 0;
    }
    struct sending_entry *entries;
    size_t count = sending_list(a.from.sending, a.arena, &entries);
    if (count)
        qsort(entries, count, sizeof *entries, by_name);
    for (size_t i = 0; i < count; i++) {
        struct sender_name name;
        struct str why;
        struct api_sender out;
        if (entries[i].state.kind == SENDER_TENANT)
            continue;
        bool ours = sender_name_read(a.settings->policy, entries[i].name, a.arena, &name, &why);
        struct str tenant = ours ? name.tenant->name : STR("");
        if (only.len && !str_eq_nocase(only, tenant))
            continue;
        senders_row(&a.from, entries[i].name, tenant, &entries[i].state, a.arena, &out);
        add_pattern(&a, entries[i].state.kind, &out);
        row(to, &out);
    }
    list_suspects(&a, only, entries, count, row, to);
    end(&a);
    return 0;
}

static int show(void *arg, const struct api_sender_query *query,
                void (*row)(void *, const struct api_standing *), void *to, struct buf *ret_why) {
    struct asking a;
    struct api_standing standing;
    begin(&a, arg);
    int error = senders_standing(&a.from, query, a.arena, &standing, ret_why);
    if (!error) {
        enum sender_kind kind = str_eq(standing.sender.kind, STR("tenant"))      ? SENDER_TENANT
                                : str_eq(standing.sender.kind, STR("connector")) ? SENDER_CONNECTOR
                                                                                 : SENDER_USER;
        add_pattern(&a, kind, &standing.sender);
        add_inherited(&a, &standing.sender);
        row(to, &standing);
    }
    end(&a);
    return error;
}

/* ---- changes ---- */

static void alert_over(struct asking *a, const struct senders_one *one) {
    static const enum alert_kind kinds[] = {[SENDER_USER] = ALERT_SENDER_RESTRICTED,
                                            [SENDER_CONNECTOR] = ALERT_CONNECTOR_SUSPICIOUS,
                                            [SENDER_TENANT] = ALERT_TENANT_RESTRICTED};
    alert_raise(a->daemon->flow.alerts, &(struct alert){
                                            .kind = kinds[one->name.kind],
                                            .subject = one->name.whole,
                                            .tenant = one->name.tenant ? one->name.tenant->name : STR(""),
                                            .text = STR("released by an operator"),
                                            .over = true,
                                        });
}

static bool restrict_one(struct asking *a, const struct senders_one *one,
                         const struct api_sender_change *change) {
    const struct sender_event event = {
        .cause = CAUSE_OPERATOR,
        .action = LIMIT_RESTRICT,
        .reason = change->reason.len ? change->reason : STR("an operator restricted it"),
        .by = change->by,
    };
    return sending_exceed(a->from.sending, one->name.kind, one->name.whole,
                          one->name.tenant ? one->name.tenant->name : STR(""), &event) != SENDER_UNCHANGED;
}

static int apply(struct asking *a, const struct senders_one *one, const struct api_sender_change *change,
                 struct buf *ret_why) {
    switch (change->verb) {
    case API_SENDER_RESTRICT:
        if (restrict_one(a, one, change))
            return 0;
        buf_printf(ret_why, "%.*s is restricted already", STR_FMT(one->name.whole));
        return SLUICE_EEXISTS;
    case API_SENDER_RELEASE: {
        bool suspicious = suspicion_release(a->daemon->flow.suspicion, (enum pattern_kind)one->name.kind,
                                            one->name.whole, 0);
        if (sending_release(a->from.sending, one->name.kind, one->name.whole, change->by)) {
            alert_over(a, one);
            return 0;
        }
        if (suspicious)
            return 0;
        buf_printf(ret_why, "%.*s isn't restricted, and nothing suspicious is known of it today",
                   STR_FMT(one->name.whole));
        return SLUICE_EEXISTS;
    }
    case API_SENDER_ALLOW:
        break;
    }
    if (change->until > a->from.now)
        suspicion_release(a->daemon->flow.suspicion, (enum pattern_kind)one->name.kind, one->name.whole,
                          change->until);
    sending_allow(a->from.sending, one->name.kind, one->name.whole, change->until, change->by);
    if (sender_is_restricted(&one->state, a->from.now))
        alert_over(a, one);
    return 0;
}

static int change_one(void *arg, const struct api_sender_change *change,
                      void (*row)(void *, const struct api_sender *), void *to, struct buf *ret_why) {
    static const char *const words[] = {[API_SENDER_RESTRICT] = "sender restricted",
                                        [API_SENDER_RELEASE] = "sender released",
                                        [API_SENDER_ALLOW] = "sender allowed"};
    struct asking a;
    struct senders_one one;
    begin(&a, arg);
    int error = senders_find(&a.from, change->name, change->tenant, a.arena, &one, ret_why);
    if (!error)
        error = apply(&a, &one, change, ret_why);
    if (!error) {
        struct sender_state state = {.kind = one.name.kind};
        struct api_sender out;
        sending_find(a.from.sending, one.name.kind, one.name.whole, &state);
        senders_row(&a.from, one.name.whole, one.name.tenant ? one.name.tenant->name : STR(""), &state,
                    a.arena, &out);
        row(to, &out);
        log_event(a.daemon->log, LOG_WARNING, words[change->verb], "name", str_c(a.arena, one.name.whole),
                  "by", str_c(a.arena, change->by), "reason",
                  change->reason.len ? str_c(a.arena, change->reason) : NULL, NULL);
    }
    end(&a);
    return error;
}

/* ---- metrics ---- */

void daemon_pattern_metrics(struct daemon *d, void (*add)(void *, const struct api_metric *), void *to) {
    struct suspicion_stats s;
    suspicion_stats(d->flow.suspicion, &s);
    const struct api_metric metrics[] = {
        {"sluice_detection_subjects", "senders, connectors, tenants and forwards whose pattern is kept",
         false, NULL, STR_NULL, (double)s.subjects},
        {"sluice_detection_suspects", "senders, connectors and tenants whose mail is high-risk now", false,
         NULL, STR_NULL, (double)s.suspects},
        {"sluice_detection_findings_total", "suspicious patterns found", true, NULL, STR_NULL,
         (double)s.found},
        {"sluice_detection_lost_total", "facts that detection did not keep up with", true, NULL, STR_NULL,
         (double)s.lost},
    };
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        add(to, &metrics[i]);
}

const struct api_sender_calls daemon_senders = {.list = list, .show = show, .change = change_one};
