#include "acceptance/judge.h"

#include "acceptance/accept.h"
#include "alert/alert.h"
#include "base/clock.h"
#include "seeded_bug.h"

bool judge_looks(const struct settings *settings) { return settings->scan.count > 0; }

const struct scan_copy_place *judge_copy_place(struct flow *flow, const struct settings *settings,
                                               struct arena *arena) {
    struct scan_copy_place *place = arena_new_of(arena, struct scan_copy_place);
    *place = (struct scan_copy_place){
        .folder = flow->spool ? settings->spool_dir : NULL,
        .min_free = (uint64_t)settings->spool.min_free,
        .held = &flow_here(flow)->copies_held,
    };
    return place;
}

/* ---- asking ---- */

static const struct ip *true_client(const struct acceptance *a) {
    return ip_is_none(&a->original.ip) ? &a->client : &a->original.ip;
}

/* Rspamd's rules judge by the absence of a name, and take no notice of "unknown": that is for clients whose
 * name nobody could ask for (invariant 7). */
static struct str hostname_of(const struct client_name *n) {
    return n->state == FCRDNS_UNASKED ? STR("unknown") : n->name;
}

void judge_client(struct flow *flow, struct acceptance *a, struct client_names *names) {
    const struct ip *client = true_client(a);
    int64_t began = clock_mono_ms(), timeout = a->settings->scan.timeout_ms / 2;
    bool known = names->peer.asked && ip_eq(&names->peer.ip, client);
    if (!judge_looks(a->settings) || ip_is_none(client))
        return;
    if (a->told_name.len && ip_eq(client, &a->told_ip)) {
        a->client_name = a->told_name;
        return;
    }
    /* Scanners pass over both, so nobody waits for them. */
    if (!known && (a->by.user.len || ip_is_private(client)))
        return;
    if (timeout > a->settings->dns.timeout_ms)
        timeout = a->settings->dns.timeout_ms;
    const struct client_name *n = client_name_ask(names, flow, client, ip_eq(client, &a->client), timeout);
    a->client_name = str_copy(a->arena, hostname_of(n));
    a->client_name_ms = clock_mono_ms() - began;
}

static struct scan_facts facts_of(const struct acceptance *a) {
    struct str *recipients = arena_array(a->arena, struct str, a->envelope.named_count);
    for (size_t i = 0; i < a->envelope.named_count; i++)
        recipients[i] = a->envelope.named[i].address;
    return (struct scan_facts){
        .trace_id = trace_id_str(&a->id),
        .node = a->settings->node,
        .client = *true_client(a),
        .helo = a->original.helo.len ? a->original.helo : a->helo,
        .hostname = a->client_name,
        .spent_ms = a->client_name_ms,
        .user = a->by.user,
        .tenant = a->by.tenant ? a->by.tenant->name : STR(""),
        .reverse_path = a->reverse_path,
        .recipients = recipients,
        .recipient_count = a->envelope.named_count,
        .tls_version = a->tls_version,
        .tls_cipher = a->tls_cipher,
        .received = a->prefix,
    };
}

/* Who has no service (explain) asks by one of its own. */
static void ask(struct flow *flow, struct acceptance *a, struct scan_result *ret) {
    struct scan_service *own = flow->scan ? NULL : scan_service_new(rt_count(flow->rt) + 1, NULL);
    struct scan_facts facts = facts_of(a);
    scan_message(own ? own : flow->scan, &a->settings->scan, flow_here(flow)->resolver, &facts,
                 a->content->copy, a->arena, ret);
    scan_service_free(own);
}

/* ---- judging ---- */

static void worse(struct judgement *j, enum verdict verdict, struct str why) {
    if (verdict <= j->verdict)
        return;
    j->verdict = verdict;
    j->why = why;
}

static void scanned(struct flow *flow, const struct acceptance *a, struct judgement *j) {
    static const enum verdict verdicts[] = {
        [SCAN_CLEAN] = VERDICT_CLEAN, [SCAN_SPAM] = VERDICT_SPAM, [SCAN_MALWARE] = VERDICT_MALWARE};
    j->scanned = true;
    j->score = str_printf(a->arena, "%.2f/%.2f", j->scan.score, j->scan.required);
    j->symbols = j->scan.symbols.len ? j->scan.symbols : STR_NULL;
    worse(j, verdicts[j->scan.verdict], j->scan.reason);
    FLOW_COUNT(flow, scanned, 1);
}

static struct outcome refusal(int code, const char *enhanced, struct str text) {
    return (struct outcome){
        OUTCOME_MESSAGE, code < 500 ? OUTCOME_LATER : OUTCOME_NEVER, code, str_of(enhanced), text, false};
}

/* No scanner answered: on-failure decides. */
static bool go_on_unscanned(const struct acceptance *a, struct judgement *j, struct outcome *ret_refusal) {
    enum verdict_failure failure = a->by.tenant ? a->by.tenant->on_failure : a->settings->policy->on_failure;
    if (failure == VERDICT_DEFER) {
        *ret_refusal = refusal(451, "4.7.1",
                               STR("The message can't be scanned for spam and malware now, try again later"));
        return false;
    }
    j->unscanned_is_risk = failure == VERDICT_HIGH_RISK;
    return true;
}

static bool go_on_too_large(const struct acceptance *a, struct judgement *j, struct outcome *ret_refusal) {
    enum scan_too_large too_large = a->settings->scan.too_large;
    if (too_large == SCAN_TOO_LARGE_REFUSE) {
        *ret_refusal =
            refusal(552, "5.3.4", STR("The message is too large to be scanned for spam and malware"));
        return false;
    }
    j->unscanned_is_risk = too_large == SCAN_TOO_LARGE_HIGH_RISK;
    return true;
}

static bool not_scanned(struct flow *flow, struct acceptance *a, struct outcome *ret_refusal) {
    struct judgement *j = &a->judged;
#ifdef SLUICE_SEEDED_BUG_SCANNER_FAILURE_IS_CLEAN
    return true;
#endif
    j->not_scanned = str_printf(a->arena, "not scanned: %.*s", STR_FMT(j->scan.why));
    FLOW_COUNT(flow, unscanned, 1);
    log_event(flow->log, LOG_WARNING, "not scanned", "trace_id", a->id.text, "why",
              str_c(a->arena, j->scan.why), NULL);
    worse(j, VERDICT_UNSCANNED, j->not_scanned);
    if (j->scan.cancelled) {
        *ret_refusal =
            refusal(451, "4.3.2", STR("The message could not be scanned to its end, try again later"));
        return false;
    }
    return j->scan.too_large ? go_on_too_large(a, j, ret_refusal) : go_on_unscanned(a, j, ret_refusal);
}

static bool scan(struct flow *flow, struct acceptance *a, struct outcome *ret_refusal) {
    struct judgement *j = &a->judged;
    if (!judge_looks(a->settings))
        return true;
    if (a->content->copy)
        ask(flow, a, &j->scan);
    else
        j->scan = (struct scan_result){.failed = true, .why = STR("no copy of the message was kept")};
    if (j->scan.failed)
        return not_scanned(flow, a, ret_refusal);
    scanned(flow, a, j);
    if (!j->scan.refuse || j->verdict == VERDICT_MALWARE)
        return true;
    *ret_refusal = j->scan.refusal;
    return false;
}

/* What is malware goes no further, whoever says so. */
static bool refuse_malware(struct flow *flow, const struct acceptance *a, struct outcome *ret_refusal) {
#ifndef SLUICE_SEEDED_BUG_MALWARE_DELIVERED
    if (a->judged.verdict == VERDICT_MALWARE) {
        *ret_refusal = refusal(550, "5.7.1",
                               str_printf(a->arena, "Malware is not accepted: %.*s", STR_FMT(a->judged.why)));
        FLOW_COUNT(flow, malware, 1);
        return true;
    }
#endif
    return false;
}

bool judge(struct flow *flow, struct acceptance *a, struct outcome *ret_refusal) {
    struct judgement *j = &a->judged;
    const struct content *content = a->content;
    struct verdict_marks marks = {content->gtube.found, content->eicar.found};
    struct str why;
    *j = (struct judgement){.score = STR_NULL, .symbols = STR_NULL};
    if (a->own_report)
        return true;
    bool good = scan(flow, a, ret_refusal);
    enum verdict verdict =
        verdict_of(a->arena, a->settings->policy, a->by.connector, &content->header, marks, &why);
    worse(j, verdict, why);
    if (refuse_malware(flow, a, ret_refusal) || !good) {
        a->refused_why = j->why;
        return false;
    }
    if (j->verdict == VERDICT_SPAM)
        FLOW_COUNT(flow, spam, 1);
    return true;
}

/* ---- the scanners' health ---- */

static struct resolver *resolver_here(void *flow) { return flow_here(flow)->resolver; }

static struct str down_text(struct arena *arena, struct str why) {
    return str_printf(
        arena,
        "The scanner does not answer as it should: %.*s. It is not asked until it answers a ping; "
        "other scanners are asked instead, and without one `on-failure` decides over each message.",
        STR_FMT(why));
}

static void changed(void *arg, const struct scan_health *h) {
    struct flow *flow = arg;
    struct arena *arena = arena_new(0);
    log_event(flow->log, h->up ? LOG_INFO : LOG_ERROR, h->up ? "scanner is back" : "scanner is down",
              "scanner", str_c(arena, h->name), "kind", str_c(arena, h->kind), "where",
              str_c(arena, h->where), "why", h->up ? NULL : str_c(arena, h->why), NULL);
    alert_raise(flow->alerts,
                &(struct alert){
                    .kind = ALERT_SCANNER_DOWN,
                    .subject = str_printf(arena, "%.*s (%.*s %.*s)", STR_FMT(h->name), STR_FMT(h->kind),
                                          STR_FMT(h->where)),
                    .text = h->up ? STR("The scanner answers again.") : down_text(arena, h->why),
                    .advice = STR("Look after the scanner; `sluice status` shows which of them answer."),
                    .over = h->up,
                });
    arena_free(arena);
}

void judge_open(struct flow *flow, const struct settings *settings) {
    struct scan_watcher watcher = {resolver_here, changed, flow};
    flow->scan = scan_service_new(rt_count(flow->rt) + 1, &watcher);
    judge_reload(flow, settings);
}

void judge_reload(struct flow *flow, const struct settings *settings) {
    scan_service_configure(flow->scan, &settings->scan);
}
