#include "watch/rotations.h"
#include "alert/alert.h"
#include "base/clock.h"
#include "policy/rotation.h"
#include "rt/fiber.h"

/* Looked at from shortly before the switch on, so that the answer is there in time. */
enum { TURN_MS = 1000, LOOK_MS = 60000, BEFORE_MS = 2 * LOOK_MS };

struct rotation_watch {
    struct flow *flow;
    const struct settings *seen; /* only compared: the old one may be gone */
    int64_t next;                /* monotonic ms */
};

enum live { LIVE, NOT_LIVE, UNKNOWN };

static enum live record_of(struct flow_worker *here, const struct settings *s, struct str domain,
                           const struct signing_key *key, struct arena *arena) {
    struct str name = str_printf(arena, "%.*s._domainkey.%.*s", STR_FMT(key->selector), STR_FMT(domain));
    struct dns_answer answer;
    resolver_lookup(here->resolver, name, DNS_TXT, clock_mono_ms() + s->dns.timeout_ms, arena, &answer);
    if (answer.status == DNS_FAILED)
        return UNKNOWN;
    for (size_t i = 0; answer.status == DNS_RECORDS && i < answer.count; i++) {
        struct dkim_record record = {0};
        struct str why;
        if (dkim_record_parse(arena, answer.records[i].text, &why, &record) != 0)
            continue;
        bool fits = dkim_record_fits(&record, key->key);
        dkim_record_free(&record);
        if (fits)
            return LIVE;
    }
    return NOT_LIVE;
}

/* `missing`: the selector of the key without a record; none: all are there now. */
static void tell(struct rotation_watch *w, const struct tenant *tenant, const struct signing_domain *d,
                 struct str missing, struct arena *arena) {
    alert_raise(w->flow->alerts,
                &(struct alert){
                    .kind = ALERT_DKIM_HELD,
                    .subject = d->domain,
                    .tenant = tenant->name,
                    .text = missing.len
                                ? str_printf(arena,
                                             "the record of the new key is not in DNS, the old key goes on "
                                             "signing (domain=%.*s selector=%.*s)",
                                             STR_FMT(d->domain), STR_FMT(missing))
                                : STR("the record of the new key is in DNS"),
                    .advice = missing.len ? str_printf(arena,
                                                       "Publish what `sluice dkim record %.*s` prints; the "
                                                       "switch then comes by itself.",
                                                       STR_FMT(d->domain))
                                          : STR(""),
                    .over = !missing.len,
                });
    if (!missing.len)
        log_event(w->flow->log, LOG_INFO, "dkim rotation goes on: the record of the new key is in DNS",
                  "domain", str_c(arena, d->domain), NULL);
}

static void look_at(struct rotation_watch *w, const struct settings *s, const struct tenant *tenant,
                    const struct signing_domain *d) {
    struct arena *arena = arena_new(0);
    enum live all = LIVE;
    struct str missing = STR("");
    for (size_t i = 0; i < d->next.count && all != NOT_LIVE; i++) {
        enum live one = record_of(flow_here(w->flow), s, d->domain, &d->next.keys[i], arena);
        if (one != LIVE) {
            all = one;
            missing = d->next.keys[i].selector;
        }
    }
    if (all == NOT_LIVE ||
        (all == LIVE && signing_held(d))) { /* as long as it lasts: then it ends by itself */
        signing_hold(d, all == NOT_LIVE);
        tell(w, tenant, d, missing, arena);
    }
    arena_free(arena);
}

static void look(struct rotation_watch *w, const struct settings *s) {
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < s->policy->tenant_count; i++)
        for (size_t k = 0; k < s->policy->tenants[i].signing_count; k++) {
            const struct signing_domain *d = &s->policy->tenants[i].signing[k];
            if (d->rotation && now > d->rotation->switch_ms - BEFORE_MS &&
                rotation_phase(d->rotation, now) != ROTATION_OVER)
                look_at(w, s, &s->policy->tenants[i], d);
        }
}

void rotations_keep_holds(const struct settings *now, const struct settings *next) {
    for (size_t i = 0; i < now->policy->tenant_count; i++)
        for (size_t k = 0; k < now->policy->tenants[i].signing_count; k++) {
            const struct signing_domain *from = &now->policy->tenants[i].signing[k];
            const struct signing_domain *to =
                signing_held(from) ? signing_domain_of(next->policy, from->domain) : NULL;
            if (to)
                signing_hold(to, true);
        }
}

void watch_rotations(void *arg) {
    struct rotation_watch w = {.flow = arg};
    do {
        struct settings *s = flow_settings(w.flow);
        if (s != w.seen || clock_mono_ms() >= w.next) {
            look(&w, s);
            w.seen = s;
            w.next = clock_mono_ms() + LOOK_MS;
        }
        settings_unref(s);
    } while (fiber_sleep(TURN_MS) == 0);
}
