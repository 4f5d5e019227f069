#include "flow/suspicion.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "flow/allowance.h"
#include "flow/bounce.h"
#include "flow/suspicion_inside.h"
#include "mail/mime.h"
#include "policy/limit_policy.h"
#include "rt/fiber.h"
#include "rt/state_file.h"

#include <stdlib.h>
#include <sys/random.h>

enum { PENDING_MOST = 100000, TICK_MS = 60000, TICKS_A_SNAPSHOT = 15, SAMPLES_MOST = 50 };

/* A fact on its way to the owner; everything in its arena. */
struct note {
    struct suspicion *suspicion;
    struct arena *arena;
    struct pattern_message message; /* when it has a time */
    struct pattern_answer answers[REPLY_OTHER + 1];
    size_t answer_count;
    struct surge_event *reports;
    size_t report_count;
    const struct str
        *senders; /* for a report that came in: the names under which its recipient may have sent */
    size_t sender_count;
    bool auto_reply; /* it is none of a failed delivery: it counts only for an address that sent nothing */
};

/* ---- On the owner ---- */

/* By all the names under which the report's recipient may have sent. */
static uint32_t sent_by(struct suspicion *s, const struct note *note, int64_t now) {
    uint64_t sent = 0;
    for (size_t i = 0; i < note->sender_count; i++)
        sent += pattern_sent(s->pattern, PATTERN_USER, note->senders[i], now);
    return sent < UINT32_MAX ? (uint32_t)sent : UINT32_MAX;
}

static void take_reports(struct suspicion *s, struct note *note) {
    for (size_t i = 0; i < note->report_count; i++) {
        struct surge_event *e = &note->reports[i];
        struct surge_alert alert;
        if (e->incoming)
            e->sent = sent_by(s, note, e->now);
        if (e->incoming && e->sent && note->auto_reply)
            continue;
        if (!e->incoming)
            e->failing = pattern_failing(s->pattern, PATTERN_USER, e->sender, e->now);
        if (surge_event(s->surge, e, note->arena, &alert))
            suspicion_tell_surge(s, &alert, e->now);
    }
}

static void take_note(void *arg) {
    struct note *note = arg;
    struct suspicion *s = note->suspicion;
    struct pattern_findings found = {.count = 0};
    if (note->message.now)
        pattern_message(s->pattern, &note->message, note->arena, &found);
    for (size_t i = 0; i < note->answer_count; i++)
        pattern_answer(s->pattern, &note->answers[i], note->arena, &found);
    take_reports(s, note);
    suspicion_act(s, &found, clock_wall_ms());
    atomic_fetch_sub_explicit(&s->pending, 1, memory_order_relaxed);
    arena_free(note->arena);
}

/* NULL: there is nobody to tell, or too much is on its way. */
static struct note *note_new(struct flow *flow) {
    struct suspicion *s = flow->suspicion;
    if (!s)
        return NULL;
    if (atomic_fetch_add_explicit(&s->pending, 1, memory_order_relaxed) >= PENDING_MOST) {
        atomic_fetch_sub_explicit(&s->pending, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&s->lost, 1, memory_order_relaxed);
        return NULL;
    }
    struct arena *arena = arena_new(1024);
    struct note *note = arena_new_of(arena, struct note);
    note->suspicion = s;
    note->arena = arena;
    return note;
}

static void post(struct note *note) { worker_post(note->suspicion->owner, take_note, note); }

/* ---- What is told of a message that was accepted ---- */

static struct pattern_whose whose_of(struct note *note, const struct limit_question *q) {
    return (struct pattern_whose){str_copy(note->arena, q->sender), str_copy(note->arena, q->connector),
                                  str_copy(note->arena, q->tenant)};
}

/* Not those that came back by a rewritten address, and not those that nobody named (bcc-suspicious). */
static bool is_sent(const struct envelope *e, const struct envelope_copy *copy) {
    for (size_t i = 0; i < e->named_count; i++)
        if (str_eq(e->named[i].address, copy->named))
            return copy->ended.fate == OUTCOME_DONE && e->named[i].kind != RECIPIENT_RETURN;
    return false;
}

static void add_copies(struct note *note, const struct acceptance *a) {
    const struct envelope *e = &a->envelope;
    struct pattern_message *m = &note->message;
    struct str *domains = arena_array(note->arena, struct str, e->copy_count + 1);
    struct str *forwards = arena_array(note->arena, struct str, e->copy_count + 1);
    for (size_t i = 0; i < e->copy_count; i++) {
        const struct envelope_copy *copy = &e->copies[i];
        struct str domain = address_split(copy->to.address).domain;
        if (!is_sent(e, copy))
            continue;
        m->recipients++;
        if (tenant_accepts(a->settings->policy, a->by.tenant, domain))
            continue;
        m->external++;
        domains[m->domain_count++] = str_copy(note->arena, domain);
        if (copy->forwarder.len)
            forwards[m->forward_count++] = str_copy(note->arena, copy->forwarder);
    }
    m->domains = domains;
    m->forwards = forwards;
}

static const struct pattern_actions *actions_of(const struct acceptance *a, const struct limit_question *q) {
    const struct tenant *t = a->by.tenant;
    for (size_t i = 0; i < t->policy_count; i++)
        if (str_eq(t->policies[i].name, q->rules.policy))
            return &t->policies[i].suspicion;
    return &a->settings->policy->detection.actions;
}

/* ---- Reports that come in ---- */

/* Under which names may this address of the tenant's have sent? */
static void add_senders(struct note *note, const struct tenant *t, struct str address) {
    struct str *names = arena_array(note->arena, struct str, t->connector_count + 2);
    const struct attribution user = {.tenant = t, .user = address}, local = {.tenant = t};
    note->senders = names;
    names[note->sender_count++] = limit_sender_name(note->arena, &user, address);
    names[note->sender_count++] = limit_sender_name(note->arena, &local, address);
    for (size_t i = 0; i < t->connector_count; i++) {
        const struct attribution by = {.tenant = t, .connector = &t->connectors[i]};
        names[note->sender_count++] = limit_sender_name(note->arena, &by, address);
    }
}

/* Not those for the mails of alerts: they would make alerts of themselves. */
static void add_incoming(struct note *note, const struct acceptance *a, const struct tenant *t,
                         struct str recipient, struct str reply) {
    const struct policy *policy = a->settings->policy;
    struct str alerts_from = a->settings->alerts.settings.from;
    const struct tenant *owner = policy_tenant_of_domain(policy, address_split(recipient).domain);
    struct str address = str_copy(note->arena, recipient);
    t = t ? t : owner;
    if (!t || address_same(recipient, alerts_from))
        return;
    note->reports = arena_new_of(note->arena, struct surge_event);
    note->report_count = 1;
    note->reports[0] = (struct surge_event){
        .tenant = str_copy(note->arena, t->name),
        .incoming = true,
        .domain = str_copy(note->arena, address_split(recipient).domain),
        .trace_id = str_copy(note->arena, trace_id_str(&a->id)),
        .recipient = address,
        .reply = str_copy(note->arena, reply),
        .now = clock_wall_ms(),
    };
    add_senders(note, t, address);
}

/* Mail with a null reverse-path, which is nobody's sending. One that returns to a rewritten address is for
 * mail that was forwarded here. */
static void note_incoming(struct flow *flow, const struct acceptance *a) {
    const struct envelope_named *to = a->envelope.named_count ? &a->envelope.named[0] : NULL;
    if (!to || to->kind == RECIPIENT_RETURN || to->kind == RECIPIENT_END)
        return;
    const struct tenant *t = policy_tenant_of_domain(a->settings->policy, address_split(to->address).domain);
    struct note *note = t ? note_new(flow) : NULL;
    struct mime_facts mime;
    if (!note)
        return;
    mime_facts_of(a->arena, &a->content->header, &mime);
    note->auto_reply = !mime.delivery_report;
    add_incoming(note, a, t, to->address, STR("a report came in"));
    post(note);
}

void suspicion_judged(struct flow *flow, const struct acceptance *a, const struct limit_question *q,
                      bool accepted) {
    bool bad = a->judged.verdict == VERDICT_SPAM || a->judged.verdict == VERDICT_MALWARE;
    if (!a->by.tenant || a->own_report || (!accepted && !bad))
        return;
    /* Without a reverse-path it may be an answer that comes in. What a user sends, or a server to the
     * outside, is sending all the same, unless it is a report. */
    if (!a->reverse_path.len && !a->by.user.len) {
        note_incoming(flow, a);
        if (a->outside || !q->use.external)
            return;
    }
    struct note *note = note_new(flow);
    if (!note)
        return;
    note->message = (struct pattern_message){
        .whose = whose_of(note, q),
        .client = ip_is_none(&a->told_ip) ? a->client : a->told_ip,
        .bad = bad,
        .outside = a->outside,
        .only_told = !allowance_counts(a),
        .now = clock_wall_ms(),
    };
    struct pattern_actions *actions = arena_new_of(note->arena, struct pattern_actions);
    *actions = *actions_of(a, q);
    note->message.actions = actions;
    if (accepted)
        add_copies(note, a);
    post(note);
}

void suspicion_refused_rcpt(struct flow *flow, const struct acceptance *a, struct str recipient,
                            const struct outcome *why) {
    bool unknown = why->code == 550 && str_eq(why->enhanced, STR("5.1.1"));
    struct note *note = unknown ? note_new(flow) : NULL;
    if (!note)
        return;
    if (a->outside && !a->reverse_path.len) {
        add_incoming(note, a, NULL, recipient, outcome_line(note->arena, why));
    } else if (!a->outside && a->by.tenant) {
        const struct connector *c = a->by.connector;
        note->answers[note->answer_count++] = (struct pattern_answer){
            .whose = {limit_sender_name(note->arena, &a->by, a->reverse_path),
                      c ? str_printf(note->arena, "%.*s/%.*s", STR_FMT(a->by.tenant->name), STR_FMT(c->name))
                        : STR(""),
                      str_copy(note->arena, a->by.tenant->name)},
            .kind = REPLY_UNKNOWN,
            .recipients = 1,
            .now = clock_wall_ms(),
        };
    }
    post(note);
}

/* ---- What became of it ---- */

static struct surge_event failure_of(struct note *note, const struct spool_message *m,
                                     struct pattern_whose whose, const struct settle_recipient *r,
                                     enum reply_kind kind) {
    char ip[IP_TEXT_SIZE];
    const struct spool_recipient *to = spool_recipient_at(m, r->delivery->recipient, NULL);
    return (struct surge_event){
        .tenant = whose.tenant,
        .sender = whose.sender.len ? whose.sender : str_copy(note->arena, m->return_path),
        .connector = whose.connector,
        .host =
            str_copy(note->arena, ip_is_none(&m->client_ip) ? STR("") : str_of(ip_text(&m->client_ip, ip))),
        .kind = kind,
        .bad = str_eq(m->verdict, STR("spam")) || str_eq(m->verdict, STR("malware")),
        .trace_id = str_copy(note->arena, m->trace_id),
        .recipient = str_copy(note->arena, to->address),
        .reply = outcome_line(note->arena, &r->outcome),
        .now = clock_wall_ms(),
    };
}

void suspicion_settled(struct flow *flow, const struct spool_message *m, const struct settle_recipient *list,
                       size_t count, const struct ip *server) {
    struct note *note = NULL;
    struct pattern_whose whose;
    uint32_t kinds[REPLY_OTHER + 1] = {0};
    for (size_t i = 0; i < count; i++) {
        if (list[i].outcome.fate == OUTCOME_LATER || bounce_is_report(m) || !m->return_path.len)
            continue;
        if (!note) {
            if (!(note = note_new(flow)))
                return;
            struct str submitter = spool_attribute_get(m->attributes, m->attribute_count, ACCEPT_SUBMITTER);
            whose = (struct pattern_whose){str_copy(note->arena, submitter), STR(""),
                                           str_copy(note->arena, m->tenant)};
            if (m->connector.len)
                whose.connector =
                    str_printf(note->arena, "%.*s/%.*s", STR_FMT(m->tenant), STR_FMT(m->connector));
            note->reports = arena_array(note->arena, struct surge_event, count);
        }
        enum reply_kind kind = reply_kind(&list[i].outcome);
        kinds[kind]++;
        if (kind != REPLY_DELIVERED)
            note->reports[note->report_count++] = failure_of(note, m, whose, &list[i], kind);
    }
    if (!note)
        return;
    /* Mail from outside has no sender here. */
    for (enum reply_kind kind = 0; kind <= REPLY_OTHER && whose.sender.len; kind++)
        if (kinds[kind])
            note->answers[note->answer_count++] =
                (struct pattern_answer){whose, kind, kinds[kind], clock_wall_ms(), pattern_receiver(server)};
    post(note);
}

/* ---- Asking the owner ---- */

struct ask {
    struct suspicion *suspicion;
    enum pattern_kind kind;
    struct str name;
    int64_t until;
    struct arena *arena;
    struct sender_counts counts;
    struct str reason;
    bool found;
};

static void count_on_owner(void *arg) {
    struct ask *ask = arg;
    int64_t now = clock_wall_ms();
    const char *reason = pattern_suspicion(ask->suspicion->pattern, ask->kind, ask->name, now);
    ask->reason = str_copy(ask->arena, str_of(reason));
    ask->found = pattern_counts(ask->suspicion->pattern, ask->kind, ask->name, now, &ask->counts);
}

bool suspicion_counts(struct flow *flow, enum pattern_kind kind, struct str name, struct arena *arena,
                      struct sender_counts *ret, struct str *ret_reason) {
    struct ask ask = {.suspicion = flow->suspicion, .kind = kind, .name = name, .arena = arena};
    *ret_reason = STR("");
    if (!flow->suspicion)
        return false;
    worker_call(ask.suspicion->owner, count_on_owner, &ask);
    *ret_reason = ask.reason;
    if (ask.found)
        *ret = ask.counts;
    return ask.found;
}

struct list {
    struct suspicion *suspicion;
    struct arena *arena;
    struct suspicion_entry *entries;
    size_t count;
};

static void list_on_owner(void *arg) {
    struct list *list = arg;
    struct pattern *p = list->suspicion->pattern;
    struct pattern_stats stats;
    struct pattern_suspect suspect;
    int64_t now = clock_wall_ms();
    pattern_stats(p, &stats);
    list->entries = arena_array(list->arena, struct suspicion_entry, stats.suspects);
    for (size_t at = 0; pattern_next_suspect(p, &at, now, &suspect);) {
        struct suspicion_entry *e = &list->entries[list->count++];
        *e = (struct suspicion_entry){
            .kind = suspect.kind,
            .name = str_copy(list->arena, suspect.name),
            .reason = str_copy(list->arena, str_of(suspect.reason)),
            .since = suspect.since,
            .until = suspect.until,
        };
        (void)pattern_counts(p, e->kind, e->name, now, &e->counts);
    }
}

size_t suspicion_list(struct flow *flow, struct arena *arena, struct suspicion_entry **ret) {
    struct list list = {.suspicion = flow->suspicion, .arena = arena};
    if (flow->suspicion)
        worker_call(flow->suspicion->owner, list_on_owner, &list);
    *ret = list.entries;
    return list.count;
}

static void release_on_owner(void *arg) {
    struct ask *ask = arg;
    int64_t now = clock_wall_ms();
    struct pattern_findings over = {.count = 0};
    uint32_t found = pattern_release(ask->suspicion->pattern, ask->kind, ask->name,
                                     ask->until ? ask->until : now - now % 86400000 + 86400000, now);
    for (enum pattern_sign sign = 0; sign < SIGNS; sign++) {
        bool first = over.count == 0; /* it ends being high-risk, too */
        if (found & 1u << sign)
            over.at[over.count++] = (struct pattern_finding){
                .kind = ask->kind,
                .name = ask->name,
                .tenant = STR(""),
                .sign = sign,
                .action = first ? PATTERN_HIGH_RISK : PATTERN_ALERT,
                .over = true,
                .reason = STR("an operator says that it is fine"),
            };
    }
    ask->found = found != 0;
    suspicion_act(ask->suspicion, &over, now);
}

bool suspicion_release(struct flow *flow, enum pattern_kind kind, struct str name, int64_t until) {
    struct ask ask = {.suspicion = flow->suspicion, .kind = kind, .name = name, .until = until};
    if (!flow->suspicion)
        return false;
    worker_call(ask.suspicion->owner, release_on_owner, &ask);
    return ask.found;
}

void suspicion_stats(const struct flow *flow, struct suspicion_stats *ret) {
    struct suspicion *s = flow->suspicion;
    *ret = (struct suspicion_stats){0};
    if (s)
        *ret = (struct suspicion_stats){s->subjects, s->suspects, s->found, s->lost};
}

/* ---- Open, tick, close ---- */

/* Suspicions whose day is over, some with each turn of the loop: many end at midnight. */
static void end_suspicions(void *arg) {
    struct suspicion *s = arg;
    struct arena *arena = arena_new(0);
    struct pattern_findings found = {.count = 0};
    int64_t now = clock_wall_ms();
    pattern_tidy(s->pattern, now, arena, &found);
    suspicion_act(s, &found, now);
    arena_free(arena);
    if (found.count == PATTERN_FINDINGS)
        worker_post(s->owner, end_suspicions, s);
}

static void tick(void *arg) {
    struct suspicion *s = arg;
    struct arena *arena = arena_new(0);
    struct surge_alert alert;
    int64_t now = clock_wall_ms();
    for (size_t at = 0; surge_next_over(s->surge, &at, now, arena, &alert);)
        suspicion_tell_surge(s, &alert, now);
    arena_free(arena);
    end_suspicions(s);
    if (++s->ticks % TICKS_A_SNAPSHOT == 0)
        suspicion_save(s);
    worker_after(s->owner, TICK_MS, tick, s);
}

void suspicion_open(struct flow *flow, const struct settings *settings) {
    struct suspicion *s = xcalloc(1, sizeof *s);
    const struct pattern_rules *rules = &settings->policy->detection;
    uint64_t seed = 0;
    (void)!getrandom(&seed, sizeof seed, GRND_NONBLOCK);
    s->flow = flow;
    s->owner = rt_owner(flow->rt, STR("detection"), STR(""));
    s->pattern = pattern_new(rules, seed, clock_wall_ms());
    s->surge = surge_new(rules);
    s->view_count = rt_count(flow->rt) + 1;
    s->views = xcalloc(s->view_count, sizeof(struct map *));
    for (unsigned i = 0; i < s->view_count; i++)
        s->views[i] = map_new(true);
    struct buf path = {0};
    buf_printf(&path, "%s/patterns", settings->state);
    s->path = buf_c(&path);
    suspicion_read(s, rules->apply, flow->log);
    s->running = true;
    worker_after(s->owner, TICK_MS, tick, s);
    flow->suspicion = s;
}

struct configuring {
    struct suspicion *suspicion;
    struct pattern_rules rules;
};

static void configure(void *arg) {
    struct configuring *c = arg;
    pattern_configure(c->suspicion->pattern, &c->rules);
    surge_configure(c->suspicion->surge, &c->rules);
    suspicion_show_all(c->suspicion, c->rules.apply);
    free(c);
}

void suspicion_reload(struct flow *flow, const struct settings *next) {
    struct configuring *c = xcalloc(1, sizeof *c);
    c->suspicion = flow->suspicion;
    c->rules = next->policy->detection;
    worker_post(flow->suspicion->owner, configure, c);
}

void suspicion_close(struct flow *flow) {
    struct suspicion *s = flow->suspicion;
    struct buf bytes __attribute__((cleanup(buf_free))) = {0};
    size_t at = 0;
    if (!s)
        return;
    while (pattern_save(s->pattern, &at, UINT32_MAX, clock_wall_ms(), &bytes)) {
    }
    surge_save(s->surge, &bytes);
    int error = state_file_write(s->path, buf_view(&bytes));
    if (error)
        log_event(flow->log, LOG_ERROR, "the patterns of senders can't be written", "file", s->path, "error",
                  error_text(error), NULL);
    for (unsigned i = 0; i < s->view_count; i++)
        s->views[i] = suspicion_free_view(s->views[i]);
    free(s->views);
    free((char *)(uintptr_t)s->path);
    buf_free(&s->snapshot);
    pattern_free(s->pattern);
    surge_free(s->surge);
    free(s);
    flow->suspicion = NULL;
}
