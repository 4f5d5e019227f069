#include "watch/watch_identity.h"
#include "alert/alert.h"
#include "base/clock.h"
#include "base/map.h"
#include "identity/faults.h"
#include "rt/fiber.h"
#include "settings/planned.h"
#include "watch/fresh_resolver.h"
#include <stdlib.h>

enum {
    TURN_MS = 500,
    FIBERS_LEAST = 8,
    FIBERS_MOST = 64,
    RATE_OF_FIBER = 12,   /* questions a second that one gets answered, where a server is far away */
    FIRST_MS = 30 * 1000, /* after the start or a reload, and up to twice that */
    LEAST_MS = 15 * 60 * 1000,
    MOST_MS = 6 * 3600 * 1000,
    USUAL_MS = 3600 * 1000, /* where no answer had a TTL */
    ALERTS_OF_CODE = 10,    /* more subjects with the same fault are one alert */
    SAMPLES = 10,
    WORST = 3,
};

struct identity_watch {
    struct flow *flow;
    const char *file;
    const struct settings *seen; /* only compared: the old one may be gone */
    int64_t next;                /* monotonic ms */
    struct survey *running;      /* NULL: none */
    struct arena *arena;         /* of `told` */
    struct map *told;            /* subjects of alerts that are up */
    struct map *looked;          /* survey_looked of the last survey */
};

static const char *const NEVER = "never";

/* ---- the beginning and the end ---- */

struct identity_watch *watch_identity_open(struct flow *flow, const struct settings *s, struct arena *arena) {
    struct identity_watch *w = xcalloc(1, sizeof *w);
    struct str why;
    w->flow = flow;
    w->file = str_printf(arena, "%s/faults.json", s->identity_dir).at;
    w->told = map_new(true), w->looked = map_new(true);
    flow->faults = faults_new();
    int error = faults_read(flow->faults, w->file, arena, &why);
    if (error && error != SLUICE_ENOTFOUND)
        log_event(flow->log, LOG_WARNING, "what was known of the DNS can't be read, it is asked anew", "why",
                  str_c(arena, why), NULL);
    return w;
}

struct identity_watch *watch_identity_close(struct identity_watch *w) {
    if (!w)
        return NULL;
    map_free(w->told), map_free(w->looked);
    arena_free(w->arena);
    w->flow->faults = faults_free(w->flow->faults);
    free(w);
    return NULL;
}

/* ---- alerts: one for each subject, or for each fault that many have ---- */

static struct str tenant_of(const struct settings *s, struct str subject) {
    static const struct str KEYS = {"._domainkey.", sizeof "._domainkey." - 1};
    ptrdiff_t key = str_find_nocase(subject, KEYS);
    struct str domain = key < 0 ? subject : str_from_index(subject, (size_t)key + KEYS.len);
    const struct tenant *tenant = policy_tenant_of_domain(s->policy, domain);
    return tenant ? tenant->name : STR("");
}

struct telling {
    struct identity_watch *watch;
    const struct settings *settings;
    const struct fault *at;
    size_t count;
    size_t of_code[FAULT_CODES];
    struct arena *arena;
    struct map *up; /* what is told now */
};

static bool is_told(const struct fault *f) {
    return f->code != SURVEY_UNANSWERED && !survey_code_warns(f->code);
}

static void tell_one(struct telling *t, struct str subject, struct str tenant, struct str text,
                     struct str advice, struct str samples) {
    map_put(t->up, subject, t);
    alert_raise(t->watch->flow->alerts, &(struct alert){.kind = ALERT_IDENTITY_FAULT,
                                                        .subject = subject,
                                                        .tenant = tenant,
                                                        .text = text,
                                                        .advice = advice,
                                                        .samples = samples});
}

/* The faults from `first` on that have its subject; returns how many. */
static size_t raise_subject(struct telling *t, size_t first) {
    struct buf text __attribute__((cleanup(buf_free))) = {0}, put __attribute__((cleanup(buf_free))) = {0};
    struct str subject = t->at[first].subject;
    size_t i = first;
    for (; i < t->count && str_eq(t->at[i].subject, subject); i++) {
        const struct fault *f = &t->at[i];
        if (!is_told(f) || t->of_code[f->code] > ALERTS_OF_CODE)
            continue;
        buf_printf(&text, "%s%s: %.*s", text.len ? "; " : "", survey_code_text(f->code), STR_FMT(f->what));
        if (f->put.len)
            buf_printf(&put, "%s%.*s", put.len ? "\n" : "put:\n", STR_FMT(f->put));
    }
    if (text.len)
        tell_one(t, subject, tenant_of(t->settings, subject), buf_view(&text), buf_view(&put), STR(""));
    return i - first;
}

static void raise_code(struct telling *t, enum survey_code code) {
    struct buf samples __attribute__((cleanup(buf_free))) = {0};
    struct str text = str_printf(t->arena, "%s: %zu subjects", survey_code_text(code), t->of_code[code]);
    size_t shown = 0;
    for (size_t i = 0; i < t->count && shown < SAMPLES; i++)
        if (t->at[i].code == code && shown++ < SAMPLES)
            buf_printf(&samples, "%.*s: %.*s\n", STR_FMT(t->at[i].subject), STR_FMT(t->at[i].what));
    tell_one(t, str_of(survey_code_text(code)), STR(""), text,
             STR("sluice dns check --last shows them all, and what to put where"), buf_view(&samples));
}

static void tell_over(struct telling *t) {
    struct str subject;
    void *value;
    for (size_t at = 0; map_next(t->watch->told, &at, &subject, &value);)
        if (!map_get(t->up, subject))
            alert_raise(t->watch->flow->alerts,
                        &(struct alert){.kind = ALERT_IDENTITY_FAULT,
                                        .subject = subject,
                                        .tenant = tenant_of(t->settings, subject),
                                        .text = STR("what the DNS says is right again"),
                                        .over = true});
}

static void tell(struct identity_watch *w, const struct settings *s) {
    struct telling t = {.watch = w, .settings = s, .arena = arena_new(0), .up = map_new(true)};
    struct fault *list;
    t.count = faults_list(w->flow->faults, t.arena, &list);
    t.at = list;
    for (size_t i = 0; i < t.count; i++)
        t.of_code[list[i].code] += is_told(&list[i]);
    for (size_t i = 0; i < t.count;)
        i += raise_subject(&t, i);
    for (int code = 0; code < FAULT_CODES; code++)
        if (t.of_code[code] > ALERTS_OF_CODE)
            raise_code(&t, (enum survey_code)code);
    tell_over(&t);
    map_free(w->told);
    w->told = t.up;
    arena_free(t.arena);
}

/* ---- one survey ---- */

struct round {
    struct identity_watch *watch;
    const struct settings *settings;
    struct arena *arena;
    struct plan_input planned;
    struct plan plan;
    struct survey_input input;
    struct resolver *resolver;
    uint32_t ttl;
    bool over; /* another configuration came: the next survey begins with what is new */
};

/* Large configurations take a while. */
static void plan_offloaded(void *arg) {
    struct round *r = arg;
    r->plan = planned(r->arena, r->settings, NULL, &r->planned);
}

static void work(void *survey) { survey_work(survey); }

static void write_offloaded(void *arg) {
    struct round *r = arg;
    struct str why;
    struct flow *flow = r->watch->flow;
    if (faults_write(flow->faults, r->watch->file, r->arena, &why) != 0)
        log_event(flow->log, LOG_ERROR, "what the DNS says of us can't be kept", "why", str_c(r->arena, why),
                  NULL);
}

/* What was wrong, and what the last surveys did not come to. */
static bool comes_first(void *ctx, struct str subject) {
    struct identity_watch *w = ((struct round *)ctx)->watch;
    return faults_has(w->flow->faults, subject) || (map_count(w->looked) && !map_get(w->looked, subject));
}

static bool is_over(void *ctx) {
    struct round *r = ctx;
    struct settings *now = flow_settings(r->watch->flow);
    r->over |= now != r->settings;
    settings_unref(now);
    return r->over;
}

static unsigned fibers_for(unsigned rate) {
    unsigned count = rate / RATE_OF_FIBER;
    return count < FIBERS_LEAST ? FIBERS_LEAST : count > FIBERS_MOST ? FIBERS_MOST : count;
}

static void log_result(struct round *r, int64_t began) {
    struct faults_counts counts = faults_count(r->watch->flow->faults);
    struct arena *arena = r->arena;
    log_event(
        r->watch->flow->log, counts.faults ? LOG_WARNING : LOG_INFO, "identity checked", "faults",
        str_printf(arena, "%zu", counts.faults).at, "warnings", str_printf(arena, "%zu", counts.warnings).at,
        "unanswered", str_printf(arena, "%zu", counts.unanswered).at, "subjects",
        str_printf(arena, "%zu", survey_total(r->watch->running)).at, "not_asked",
        r->over
            ? str_printf(arena, "%zu", survey_total(r->watch->running) - survey_done(r->watch->running)).at
            : NULL,
        "seconds", str_printf(arena, "%.1f", (double)(clock_mono_ms() - began) / 1000).at, NULL);
}

static void run(struct round *r) {
    struct identity_watch *w = r->watch;
    struct survey_input *in = &r->input;
    int64_t began = clock_mono_ms();
    offload(plan_offloaded, r);
    *in = (struct survey_input){.planned = &r->planned,
                                .plan = &r->plan,
                                .aaaa = r->settings->policy->aaaa,
                                .per_second = r->settings->identity.check_rate,
                                .timeout_ms = r->settings->dns.timeout_ms,
                                .now = clock_wall_ms(),
                                .first = comes_first,
                                .over = is_over,
                                .ctx = r};
    w->running = survey_new(in, r->resolver);
    fresh_fibers(fibers_for(in->per_second), work, w->running);
    if (r->over || survey_done(w->running) == survey_total(w->running)) { /* else the runtime ends */
        struct survey_result result = survey_end(w->running);
        r->ttl = result.ttl;
        faults_take(w->flow->faults, w->running, &result, clock_wall_ms());
        w->looked = survey_looked(w->running, w->looked);
        log_result(r, began);
        struct settings *now = flow_settings(w->flow);
        if (now->identity.check != IDENTITY_CHECK_OFF) /* switched off meanwhile: its alerts are over */
            tell(w, r->settings);
        settings_unref(now);
        offload(write_offloaded, r);
    }
    w->running = survey_free(w->running);
}

/* Returns the least TTL. */
static uint32_t look(struct identity_watch *w, struct settings *s) {
    struct round r = {.watch = w, .settings = s, .arena = arena_new(0)};
    struct str why;
    if (fresh_resolver_new(s, r.arena, &why, &r.resolver) == 0)
        run(&r);
    else
        log_event(w->flow->log, LOG_ERROR, "the DNS can't be asked what it says of us", "why",
                  str_c(r.arena, why), NULL);
    fresh_resolver_free(r.resolver);
    arena_free(r.arena);
    return r.ttl;
}

/* ---- when ---- */

/* A tenth more or less, so that many nodes don't ask together. */
static int64_t about(struct identity_watch *w, int64_t ms) {
    return ms - ms / 10 + (int64_t)(flow_random(w->flow) % (uint64_t)(ms / 5 + 1));
}

static int64_t first_wait(struct identity_watch *w, const struct settings *s) {
    int64_t wait = FIRST_MS + (int64_t)(flow_random(w->flow) % FIRST_MS);
    bool sooner = s->identity.check == IDENTITY_CHECK_EVERY && s->identity.check_ms < wait;
    return sooner ? s->identity.check_ms : wait;
}

static int64_t next_wait(struct identity_watch *w, const struct settings *s, uint32_t ttl) {
    int64_t ms = ttl ? (int64_t)ttl * 1000 : USUAL_MS;
    if (s->identity.check == IDENTITY_CHECK_EVERY)
        return about(w, s->identity.check_ms);
    return about(w, ms < LEAST_MS ? LEAST_MS : ms > MOST_MS ? MOST_MS : ms);
}

void watch_identity(void *arg) {
    struct identity_watch *w = arg;
    do {
        struct settings *s = flow_settings(w->flow);
        int64_t now = clock_mono_ms();
        if (!w->seen && s->identity.check != IDENTITY_CHECK_OFF)
            tell(w, s); /* what the last daemon knew can be over now */
        if (s != w->seen && (!w->seen || w->next > now + first_wait(w, s)))
            w->next = now + first_wait(w, s);
        w->seen = s;
        if (s->identity.check != IDENTITY_CHECK_OFF && now >= w->next) {
            uint32_t ttl = look(w, s);
            w->next = clock_mono_ms() + next_wait(w, s, ttl);
        }
        settings_unref(s);
    } while (fiber_sleep(TURN_MS) == 0);
}

/* ---- what is shown ---- */

int watch_identity_rows(struct identity_watch *w, void (*row)(void *, const struct api_fault *), void *to,
                        struct buf *ret_why) {
    struct arena *arena = arena_new(0);
    struct fault *list;
    size_t count = faults_list(w->flow->faults, arena, &list);
    bool never = !faults_count(w->flow->faults).checked;
    if (never)
        buf_str(ret_why,
                flow_here(w->flow)->settings->identity.check == IDENTITY_CHECK_OFF
                    ? STR("the daemon does not look: identity { check = off }, or no address is public; "
                          "sluice dns check asks now")
                    : STR("the daemon has not looked yet; sluice dns check asks now"));
    for (size_t i = 0; i < count; i++)
        row(to, &(struct api_fault){.status = list[i].code == SURVEY_UNANSWERED ? STR("unknown")
                                              : survey_code_warns(list[i].code) ? STR("warning")
                                                                                : STR("fault"),
                                    .code = str_of(survey_code_text(list[i].code)),
                                    .subject = list[i].subject,
                                    .what = list[i].what,
                                    .put = list[i].put,
                                    .since = list[i].since,
                                    .seen = list[i].seen});
    arena_free(arena);
    return never ? SLUICE_ENOTFOUND : 0;
}

static const char *doing(struct identity_watch *w, enum identity_check check, struct arena *arena) {
    if (w->running)
        return str_printf(arena, "asking, %zu of %zu done", survey_done(w->running), survey_total(w->running))
            .at;
    if (check == IDENTITY_CHECK_OFF)
        return "off";
    int64_t wait = w->next - clock_mono_ms();
    return str_printf(arena, "again in %lld s", (long long)(wait > 0 ? wait / 1000 : 0)).at;
}

void watch_identity_status(struct identity_watch *w, struct arena *arena,
                           void (*add)(void *, const char *, const char *, int64_t), void *to) {
    struct faults_counts counts = faults_count(w->flow->faults);
    struct buf worst __attribute__((cleanup(buf_free))) = {0};
    char checked[CLOCK_RFC3339_SIZE];
    struct fault *list;
    size_t count = faults_list(w->flow->faults, arena, &list), shown = 0;
    for (size_t i = 0; i < count && shown < WORST; i++)
        if (is_told(&list[i]))
            buf_printf(&worst, "%s%.*s %s", shown++ ? ", " : "", STR_FMT(list[i].subject),
                       survey_code_text(list[i].code));
    add(to, "identity_check", doing(w, flow_here(w->flow)->settings->identity.check, arena), 0);
    add(to, "identity_checked", counts.checked ? clock_rfc3339(counts.checked, checked) : NEVER, 0);
    add(to, "identity_faults", NULL, (int64_t)counts.faults);
    add(to, "identity_warnings", NULL, (int64_t)counts.warnings);
    add(to, "identity_unanswered", NULL, (int64_t)counts.unanswered);
    if (shown)
        add(to, "identity_worst", buf_c(&worst), 0);
}

void watch_identity_metrics(const struct identity_watch *w, void (*add)(void *, const struct api_metric *),
                            void *to) {
    struct faults_counts counts = faults_count(w->flow->faults);
    for (int code = 0; counts.checked && code < FAULT_CODES; code++)
        add(to, &(struct api_metric){"sluice_identity_faults",
                                     "what is wrong in the DNS, by code; unanswered: questions", false,
                                     "code", str_of(survey_code_text((enum survey_code)code)),
                                     (double)counts.by_code[code]});
    add(to, &(struct api_metric){"sluice_identity_checked_seconds",
                                 "when the DNS was last asked for all of it, since the epoch; 0: never",
                                 false, NULL, STR_NULL, (double)counts.checked / 1000});
}
