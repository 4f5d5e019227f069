#include "watch/watch_domains.h"
#include "alert/alert.h"
#include "base/clock.h"
#include "rt/fiber.h"
#include "watch/domains.h"
#include "watch/fresh_resolver.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum {
    TURN_MS = 500,
    LOOK_MAX_MS = 60 * 1000, /* between two looks at which domains are due */
    ROUND_FIBERS = 4,
    ROUND_PAUSE_MS = 50, /* so at most 80 questions a second */
    VERIFY_FIBERS = DOMAINS_WAVE,
    MISSES_TO_TELL = 2,
    LOCK_TRIES = 50,
};

struct domain_watch {
    struct flow *flow;
    struct domains domains;
    const struct settings *seen; /* only compared: the old one may be gone */
    int64_t next;                /* monotonic ms */
    pthread_mutex_t writing;
    bool unwritten; /* the last write failed */
};

/* ---- the beginning and the end ---- */

/* `sluice domain` holds the folder while it asks. */
static int open_waiting(const struct settings *s, struct arena *arena, struct str *ret_damage,
                        struct str *ret_why, struct domains *ret) {
    int error = SLUICE_EBUSY;
    for (int i = 0; i < LOCK_TRIES && error == SLUICE_EBUSY; i++) {
        if (i)
            nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
        error = domains_open(s, true, arena, ret_damage, ret_why, ret);
    }
    return error;
}

int watch_domains_open(struct flow *flow, const struct settings *s, struct arena *arena, struct str *ret_why,
                       struct domain_watch **ret) {
    struct domain_watch *w = xcalloc(1, sizeof *w);
    struct str damage, why;
    w->flow = flow;
    pthread_mutex_init(&w->writing, NULL);
    int error = open_waiting(s, arena, &damage, ret_why, &w->domains);
    if (!error) {
        error = domains_secret(&w->domains, s, true, arena, &why);
        if (error && s->ownership.verify)
            *ret_why = why;
        else
            error = 0;
    }
    if (error) {
        domains_close(&w->domains);
        free(w);
        return error;
    }
    if (damage.len)
        log_event(flow->log, LOG_ERROR, "ALARM: what is known of the tenants' domains is damaged", "why",
                  str_c(arena, damage), NULL);
    w->unwritten = damage.len > 0;
    w->seen = s;
    flow->ownership = w->domains.table;
    *ret = w;
    return 0;
}

/* What can't be written is tried again. Blocks. */
static void write_locked(struct domain_watch *w, struct arena *arena) {
    struct str why;
    if (!ownership_take_changes(w->domains.table) && !w->unwritten)
        return;
    bool failed = ownership_write(w->domains.table, w->domains.file, arena, &why) != 0;
    if (failed && !w->unwritten)
        log_event(w->flow->log, LOG_ERROR, "what is known of the tenants' domains can't be written", "why",
                  str_c(arena, why), NULL);
    w->unwritten = failed;
}

static void write_out(struct domain_watch *w, struct arena *arena) {
    pthread_mutex_lock(&w->writing);
    write_locked(w, arena);
    pthread_mutex_unlock(&w->writing);
}

struct domain_watch *watch_domains_close(struct domain_watch *w) {
    if (!w)
        return NULL;
    struct arena *arena = arena_new(0);
    write_out(w, arena);
    arena_free(arena);
    domains_close(&w->domains);
    pthread_mutex_destroy(&w->writing);
    w->flow->ownership = NULL;
    free(w);
    return NULL;
}

struct write_call {
    struct domain_watch *watch;
    struct arena *arena;
};

static void write_offloaded(void *arg) {
    struct write_call *call = arg;
    write_out(call->watch, call->arena);
}

static void write_later(struct domain_watch *w) {
    struct write_call call = {w, arena_new(0)};
    offload(write_offloaded, &call);
    arena_free(call.arena);
}

/* ---- what is told ---- */

static struct str date_of(struct arena *arena, int64_t wall_ms) {
    char text[CLOCK_RFC3339_SIZE];
    clock_rfc3339(wall_ms, text);
    return str_printf(arena, "%.10s %.5s UTC", text, text + 11);
}

static struct str story_of(const struct ownership_fact *f, int64_t until, struct arena *arena) {
    if (f->state == OWNERSHIP_UNVERIFIED)
        return str_printf(arena, "%.*s was without its ownership token for too long and may not send: %.*s",
                          STR_FMT(f->domain), STR_FMT(f->why));
    return str_printf(arena,
                      "the ownership token of %.*s is gone since %.*s; from %.*s on the domain may not send: "
                      "%.*s",
                      STR_FMT(f->domain), STR_FMT(date_of(arena, f->missing)), STR_FMT(date_of(arena, until)),
                      STR_FMT(f->why));
}

/* A domain that never was verified is no news. */
static bool is_lost(const struct ownership_fact *f) { return f->state == OWNERSHIP_UNVERIFIED && f->missing; }

static void noted(void *ctx, const struct ownership_fact *f, enum ownership_finding found, bool changed) {
    struct domain_watch *w = ctx;
    struct arena *arena = arena_new(0);
    struct settings *s = flow_settings(w->flow);
    struct str token = ownership_token_of(w->domains.table, arena, f->tenant, f->domain);
    struct str name = ownership_name(arena, f->domain);
    struct alert alert = {.kind = ALERT_IDENTITY_FAULT, .subject = name, .tenant = f->tenant};
    if (changed)
        log_event(w->flow->log, is_lost(f) ? LOG_WARNING : LOG_INFO, "domain ownership", "tenant",
                  str_c(arena, f->tenant), "domain", str_c(arena, f->domain), "state",
                  ownership_state_text(f->state), "why", f->why.len ? str_c(arena, f->why) : NULL, NULL);
    if (found == OWNERSHIP_FOUND) {
        alert.over = true;
        alert.text = str_printf(arena, "the ownership token of %.*s is there", STR_FMT(f->domain));
        alert_raise(w->flow->alerts, &alert);
    } else if (found == OWNERSHIP_ABSENT && (f->misses >= MISSES_TO_TELL || is_lost(f))) {
        alert.text = story_of(f, f->missing + s->ownership.grace_ms, arena);
        alert.advice = str_printf(arena, "put: %.*s. TXT \"%.*s\"; then: sluice domain verify %.*s",
                                  STR_FMT(name), STR_FMT(token), STR_FMT(f->domain));
        alert_raise(w->flow->alerts, &alert);
    }
    settings_unref(s);
    arena_free(arena);
}

/* ---- a round ---- */

struct team {
    struct domains_round round;
    struct resolver *resolver;
};

static void ask_in_fiber(void *arg) {
    struct team *team = arg;
    domains_ask(&team->round, team->resolver);
}

static int ask(struct domain_watch *w, const struct settings *s, const struct domains_one *at, size_t count,
               unsigned fibers, int64_t pause_ms, struct arena *arena, struct str *ret_why) {
    struct team team = {.round = {.settings = s,
                                  .table = w->domains.table,
                                  .at = at,
                                  .count = count,
                                  .pause_ms = pause_ms,
                                  .noted = noted,
                                  .ctx = w}};
    int error = fresh_resolver_new(s, arena, ret_why, &team.resolver);
    if (error)
        return error;
    fresh_fibers(count < fibers ? (unsigned)count : fibers, ask_in_fiber, &team);
    fresh_resolver_free(team.resolver);
    return 0;
}

static size_t due_of(struct domain_watch *w, const struct settings *s, struct domains_one *all, size_t count,
                     struct arena *arena) {
    int64_t now = clock_wall_ms();
    size_t due = 0;
    for (size_t i = 0; i < count; i++) {
        struct ownership_fact fact = ownership_get(w->domains.table, arena, all[i].tenant, all[i].domain);
        bool old = now - fact.checked >= s->ownership.check_ms || now < fact.checked;
        if (fact.state == OWNERSHIP_UNKNOWN || old)
            all[due++] = all[i];
    }
    return due;
}

static void look(struct domain_watch *w, const struct settings *s) {
    struct arena *arena = arena_new(0);
    struct domains_one *all;
    struct str why;
    size_t count = 0;
    if (s->ownership.verify && domains_select(s, NULL, 0, arena, &why, &all, &count) == 0) {
        struct ownership_fact *listed = arena_array(arena, struct ownership_fact, count);
        for (size_t i = 0; i < count; i++)
            listed[i] = (struct ownership_fact){.tenant = all[i].tenant, .domain = all[i].domain};
        ownership_keep(w->domains.table, listed, count);
        count = due_of(w, s, all, count, arena);
        domains_shuffle(all, count, flow_random(w->flow));
        if (count && ask(w, s, all, count, ROUND_FIBERS, ROUND_PAUSE_MS, arena, &why) != 0)
            log_event(w->flow->log, LOG_ERROR, "the tenants' domains can't be asked for", "why",
                      str_c(arena, why), NULL);
    }
    arena_free(arena);
}

struct secret_call {
    struct domain_watch *watch;
    const struct settings *settings;
    bool make;
    struct arena *arena;
    struct str why;
    int error;
};

static void read_secret(void *arg) {
    struct secret_call *call = arg;
    call->error = domains_secret(&call->watch->domains, call->settings, call->make, call->arena, &call->why);
}

static int use_secret(struct domain_watch *w, const struct settings *s, bool make, struct arena *arena,
                      struct str *ret_why) {
    struct secret_call call = {w, s, make, arena, STR_NULL, 0};
    offload(read_secret, &call);
    *ret_why = call.why;
    return call.error;
}

int watch_domains_prepare(struct domain_watch *w, const struct settings *next, struct buf *ret_why) {
    struct arena *arena = arena_new(0);
    struct str why;
    int error = next->ownership.verify ? use_secret(w, next, true, arena, &why) : 0;
    if (error)
        buf_printf(ret_why, "tenants: %.*s\n", STR_FMT(why));
    arena_free(arena);
    return error;
}

static void reloaded(struct domain_watch *w, const struct settings *s) {
    struct arena *arena = arena_new(0);
    struct str why;
    if (use_secret(w, s, s->ownership.verify, arena, &why) != 0 && s->ownership.verify)
        log_event(w->flow->log, LOG_ERROR, "no domain can be verified: there is no secret", "why",
                  str_c(arena, why), NULL);
    arena_free(arena);
}

void watch_domains(void *arg) {
    struct domain_watch *w = arg;
    bool first = true;
    do {
        struct settings *s = flow_settings(w->flow);
        bool changed = s != w->seen;
        if (changed)
            reloaded(w, s);
        if (changed || first)
            watch_end_unasked(w->flow, s);
        first = false;
        if (changed || clock_mono_ms() >= w->next) {
            look(w, s);
            w->next = clock_mono_ms() +
                      (s->ownership.check_ms / 4 < LOOK_MAX_MS ? s->ownership.check_ms / 4 : LOOK_MAX_MS);
        }
        w->seen = s;
        settings_unref(s);
        write_later(w);
    } while (fiber_sleep(TURN_MS) == 0);
}

/* ---- the verbs ---- */

static void rows(struct domain_watch *w, const struct settings *s, const struct domains_one *all,
                 size_t count, void (*row)(void *, const struct api_domain *), void *to,
                 struct arena *arena) {
    for (size_t i = 0; i < count; i++) {
        struct api_domain one = domains_row(&w->domains, s, &all[i], arena);
        row(to, &one);
    }
}

int watch_domains_list(struct domain_watch *w, void (*row)(void *, const struct api_domain *), void *to,
                       struct buf *ret_why) {
    struct settings *s = flow_settings(w->flow);
    struct arena *arena = arena_new(0);
    struct domains_one *all;
    struct str why;
    size_t count;
    (void)ret_why;
    if (domains_select(s, NULL, 0, arena, &why, &all, &count) == 0)
        rows(w, s, all, count, row, to, arena);
    arena_free(arena);
    settings_unref(s);
    return 0;
}

int watch_domains_add(struct domain_watch *w, struct str tenant, struct str domain,
                      void (*row)(void *, const struct api_domain *), void *to, struct buf *ret_why) {
    struct settings *s = flow_settings(w->flow);
    struct arena *arena = arena_new(0);
    struct domains_one one;
    struct str why;
    bool configured;
    int error = domains_addable(s, tenant, domain, arena, &why, &one, &configured);
    if (!error)
        error = use_secret(w, s, true, arena, &why);
    if (error)
        buf_str(ret_why, why);
    else
        rows(w, s, &one, 1, row, to, arena);
    arena_free(arena);
    settings_unref(s);
    return error == SLUICE_ENOTFOUND || error == SLUICE_ESYNTAX ? SLUICE_EINVALID : error;
}

int watch_domains_verify(struct domain_watch *w, const struct str *domains, size_t count,
                         void (*row)(void *, const struct api_domain *), void *to, struct buf *ret_why) {
    struct settings *s = flow_settings(w->flow);
    struct arena *arena = arena_new(0);
    struct domains_one *list;
    struct str why;
    size_t chosen;
    int error = domains_select(s, domains, count, arena, &why, &list, &chosen);
    if (!error && use_secret(w, s, true, arena, &why) != 0)
        error = SLUICE_EINVALID;
    if (!error)
        error = ask(w, s, list, chosen, VERIFY_FIBERS, 0, arena, &why);
    if (error)
        buf_str(ret_why, why);
    else
        rows(w, s, list, chosen, row, to, arena);
    write_later(w); /* what is told is on disk */
    arena_free(arena);
    settings_unref(s);
    return error;
}

/* ---- what is shown ---- */

enum { STATES = OWNERSHIP_VERIFIED + 1 };

static void count_states(const struct domain_watch *w, struct arena *arena, size_t counts[STATES]) {
    const struct settings *s = flow_here(w->flow)->settings;
    struct domains_one *all;
    struct str why;
    size_t count = 0;
    if (domains_select(s, NULL, 0, arena, &why, &all, &count) != 0)
        return;
    for (size_t i = 0; i < count; i++)
        counts[ownership_state_of(w->flow->ownership, all[i].tenant, all[i].domain)]++;
}

void watch_domains_status(const struct domain_watch *w, struct arena *arena,
                          void (*add)(void *, const char *, const char *, int64_t), void *to) {
    size_t counts[STATES] = {0};
    if (!flow_here(w->flow)->settings->ownership.verify)
        return;
    count_states(w, arena, counts);
    add(to, "domains_verified", NULL, (int64_t)counts[OWNERSHIP_VERIFIED]);
    add(to, "domains_unverified", NULL, (int64_t)counts[OWNERSHIP_UNVERIFIED]);
    add(to, "domains_unknown", NULL, (int64_t)counts[OWNERSHIP_UNKNOWN]);
}

void watch_domains_metrics(const struct domain_watch *w, struct arena *arena,
                           void (*add)(void *, const struct api_metric *), void *to) {
    size_t counts[STATES] = {0};
    if (!flow_here(w->flow)->settings->ownership.verify)
        return;
    count_states(w, arena, counts);
    for (int state = 0; state < STATES; state++)
        add(to, &(struct api_metric){"sluice_domains",
                                     "the tenants' domains, by what is known of their ownership", false,
                                     "state", str_of(ownership_state_text((enum ownership_state)state)),
                                     (double)counts[state]});
}
