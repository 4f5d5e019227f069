/* Alerts about the DNS that nobody asks about any more are over: a survey that is switched off, a domain that
 * is no tenant's, or that no longer has to be verified. */
#include "alert/alert.h"
#include "alert/history.h"
#include "rt/fiber.h"
#include "watch/watch_domains.h"

#define OWNERSHIP_PREFIX "_sluice."

struct open_alert {
    struct str subject, tenant;
};
struct reading {
    const char *folder;
    struct arena *arena;
    struct buf alerts; /* of struct open_alert */
};

static void add(void *arg, const struct alert_record *r) {
    struct reading *reading = arg;
    buf_add(&reading->alerts,
            &(struct open_alert){str_copy(reading->arena, r->subject), str_copy(reading->arena, r->tenant)},
            sizeof(struct open_alert));
}

static void read_offloaded(void *arg) {
    enum { MOST = 10000 };
    struct reading *reading = arg;
    struct alert_filter filter = {.kind = ALERT_IDENTITY_FAULT, .open = true, .limit = MOST};
    if (alert_history(reading->folder, &filter, add, reading) != 0)
        buf_clear(&reading->alerts);
}

static bool still_asked(const struct settings *s, const struct open_alert *a) {
    if (!str_starts(a->subject, STR(OWNERSHIP_PREFIX)))
        return s->identity.check != IDENTITY_CHECK_OFF;
    struct str domain = str_from_index(a->subject, sizeof OWNERSHIP_PREFIX - 1);
    const struct tenant *tenant = policy_tenant_of_domain(s->policy, domain);
    return s->ownership.verify && tenant && str_eq(tenant->name, a->tenant);
}

void watch_end_unasked(struct flow *flow, const struct settings *s) {
    struct reading reading = {.folder = s->trace_dir, .arena = arena_new(0)};
    offload(read_offloaded, &reading);
    const struct open_alert *at = (const void *)reading.alerts.at;
    for (size_t i = 0; i < reading.alerts.len / sizeof *at; i++)
        if (!still_asked(s, &at[i]))
            alert_raise(flow->alerts, &(struct alert){.kind = ALERT_IDENTITY_FAULT,
                                                      .subject = at[i].subject,
                                                      .tenant = at[i].tenant,
                                                      .text = STR("It is no longer asked for."),
                                                      .over = true});
    buf_free(&reading.alerts);
    arena_free(reading.arena);
}
