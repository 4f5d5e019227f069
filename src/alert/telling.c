#include "alert/telling.h"

#include "alert/json.h"
#include "base/clock.h"
#include "mail/address.h"
#include "seeded_bug.h"

struct str telling_event_word(enum telling_event event) {
    switch (event) {
    case TELLING_RAISED:
        return STR("raised");
    case TELLING_AGAIN:
        return STR("again");
    case TELLING_OVER:
        return STR("over");
    case TELLING_MORE:
        return STR("more");
    case TELLING_TEST:
        break;
    }
    return STR("test");
}

struct str telling_call(struct arena *arena, const struct telling *t) {
    return str_printf(arena, "%.*s-%llu-%lld", STR_FMT(t->node), (unsigned long long)t->id,
                      (long long)t->now);
}

/* ---- the log ---- */

static const char *field(struct arena *arena, struct str s) { return s.len ? str_c(arena, s) : NULL; }

static const char *number(struct arena *arena, uint64_t n) {
    return str_printf(arena, "%llu", (unsigned long long)n).at;
}

void telling_log(struct log *log, const struct telling *t) {
    static const enum log_level levels[] = {
        [ALERT_INFO] = LOG_INFO, [ALERT_WARNING] = LOG_WARNING, [ALERT_ALARM] = LOG_ERROR};
    enum alert_level level = t->event == TELLING_OVER ? ALERT_INFO : alert_level(t->kind);
    struct arena *arena = arena_new(0);
    struct str event = str_printf(arena, "%s%.*s%s", level == ALERT_ALARM ? "ALARM: " : "",
                                  STR_FMT(alert_title(t->kind)), t->event == TELLING_OVER ? ": over" : "");
    log_event(log, levels[level], event.at, "alert", str_c(arena, alert_word(t->kind)), "subject",
              field(arena, t->subject), "tenant", field(arena, t->tenant), "why", field(arena, t->text),
              "advice", field(arena, t->advice), "again",
              t->event == TELLING_AGAIN ? number(arena, t->unsaid) : NULL, "id", number(arena, t->id), NULL);
    arena_free(arena);
}

/* ---- webhooks ---- */

void telling_json(struct buf *out, const struct telling *t, struct str call) {
    buf_str(out, STR("{\"version\":1"));
    alert_json_text(out, "id", call);
    alert_json_text(out, "event", telling_event_word(t->event));
    alert_json_time(out, "time", t->now);
    alert_json_text(out, "node", t->node);
    buf_printf(out, ",\"alert\":%llu", (unsigned long long)t->id);
    alert_json_text(out, "kind", alert_word(t->kind));
    alert_json_text(out, "level", t->kind ? alert_level_word(alert_level(t->kind)) : STR(""));
    alert_json_text(out, "title", alert_title(t->kind));
    alert_json_text(out, "subject", t->subject);
    alert_json_text(out, "tenant", t->tenant);
    buf_printf(out, ",\"count\":%llu,\"since_told\":%llu", (unsigned long long)t->count,
               (unsigned long long)t->unsaid);
    alert_json_time(out, "first", t->first);
    alert_json_time(out, "last", t->last);
    alert_json_text(out, "text", t->text);
    alert_json_text(out, "advice", t->advice);
    alert_json_text(out, "samples", t->samples);
    buf_char(out, '}');
}

/* ---- audiences ---- */

static bool has(const struct str *list, size_t count, struct str address) {
    for (size_t i = 0; i < count; i++)
        if (address_same(list[i], address))
            return true;
    return false;
}

/* Appends an audience of those that nobody before has. */
static size_t add(struct arena *arena, struct audience *ret, size_t count, struct str name,
                  const struct str *to, size_t to_count) {
    struct str *list = arena_array(arena, struct str, to_count);
    size_t left = 0;
    for (size_t i = 0; i < to_count; i++) {
        bool told = has(list, left, to[i]);
        for (size_t j = 0; j < count && !told; j++)
            told = has(ret[j].to, ret[j].to_count, to[i]);
        if (!told)
            list[left++] = to[i];
    }
    if (left)
        ret[count++] = (struct audience){name, list, left};
    return count;
}

size_t telling_audiences(struct arena *arena, const struct alerts_config *c, enum alert_kind kind,
                         struct str tenant, const struct str *also, size_t also_count,
                         struct audience ret[AUDIENCES_MAX]) {
    size_t count = 0;
    if (alert_level(kind) < c->settings.level && kind != ALERT_TEST)
        return 0;
    count = add(arena, ret, count, STR("operator"), c->settings.mail, c->settings.mail_count);
    for (size_t i = 0; i < c->tenant_count && tenant.len && alert_for_tenants(kind); i++) {
        const struct alert_tenant *t = &c->tenants[i];
#ifdef SLUICE_SEEDED_BUG_ALERT_TO_OTHER_TENANT
        if (count < AUDIENCES_MAX && t->administrator_count)
#else
        if (str_eq(t->name, tenant))
#endif
            count = add(arena, ret, count, str_printf(arena, "tenant %.*s", STR_FMT(t->name)),
                        t->administrators, t->administrator_count);
    }
    return add(arena, ret, count, str_printf(arena, "policy of %.*s", STR_FMT(tenant)), also, also_count);
}
