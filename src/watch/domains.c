#include "watch/domains.h"
#include "base/clock.h"
#include "base/error.h"
#include "mail/address.h"
#include "rt/fiber.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the folder ---- */

static int lock_folder(const char *folder, struct arena *arena, struct str *ret_why, int *ret_fd) {
    if (mkdir(folder, 0750) != 0 && errno != EEXIST) {
        *ret_why = str_printf(arena, "can't make %s: %s", folder, strerror(errno));
        return error_from_errno(errno);
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || access(folder, W_OK | X_OK) != 0) {
        *ret_why = str_printf(arena, "can't write %s: %s", folder, strerror(errno));
        int error = error_from_errno(errno);
        if (fd >= 0)
            close(fd);
        return error;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        *ret_why =
            str_printf(arena, "%s is in use by another process: the daemon, or `sluice domain`", folder);
        close(fd);
        return SLUICE_EBUSY;
    }
    *ret_fd = fd;
    return 0;
}

static struct str set_aside(const char *file, struct str why, struct arena *arena) {
    char now[CLOCK_RFC3339_SIZE];
    const char *aside = str_printf(arena, "%s.damaged-%s", file, clock_rfc3339(clock_wall_ms(), now)).at;
    bool moved = rename(file, aside) == 0;
    return str_printf(arena, "%.*s; it %s %s, and every domain is asked for anew", STR_FMT(why),
                      moved ? "was set aside as" : "can't be set aside as", aside);
}

int domains_open(const struct settings *s, bool keep, struct arena *arena, struct str *ret_damage,
                 struct str *ret_why, struct domains *ret) {
    struct domains d = {.file = str_printf(arena, "%s/domains.json", s->identity_dir).at, .lock = -1};
    *ret_damage = STR("");
    int error = keep ? lock_folder(s->identity_dir, arena, ret_why, &d.lock) : 0;
    if (error)
        return error;
    d.table = ownership_new();
    error = ownership_read(d.table, d.file, arena, ret_why);
    if (error == SLUICE_ECORRUPT)
        *ret_damage = keep ? set_aside(d.file, *ret_why, arena) : *ret_why;
    if (error && error != SLUICE_ENOTFOUND && error != SLUICE_ECORRUPT) {
        domains_close(&d);
        return error;
    }
    *ret = d;
    return 0;
}

void domains_close(struct domains *d) {
    d->table = ownership_free(d->table);
    if (d->lock >= 0)
        close(d->lock);
    d->lock = -1;
}

int domains_secret(const struct domains *d, const struct settings *s, bool make, struct arena *arena,
                   struct str *ret_why) {
    struct ownership_secret secret;
    int error = make && !s->ownership.secret_given
                    ? ownership_secret_make(s->ownership.secret, arena, ret_why, &secret)
                    : ownership_secret_read(s->ownership.secret, arena, ret_why, &secret);
    if (!error)
        ownership_use(d->table, &secret);
    return error;
}

/* ---- which domains ---- */

int domains_select(const struct settings *s, const struct str *names, size_t count, struct arena *arena,
                   struct str *ret_why, struct domains_one **ret, size_t *ret_count) {
    const struct policy *p = s->policy;
    size_t total = count, n = 0;
    for (size_t i = 0; !count && i < p->tenant_count; i++)
        total += p->tenants[i].domain_count;
    struct domains_one *list = arena_array(arena, struct domains_one, total);
    for (size_t i = 0; !count && i < p->tenant_count; i++)
        for (size_t j = 0; j < p->tenants[i].domain_count; j++)
            list[n++] = (struct domains_one){p->tenants[i].name, p->tenants[i].domains[j]};
    for (size_t i = 0; i < count; i++) {
        const struct tenant *tenant = policy_tenant_of_domain(p, names[i]);
        struct str normal;
        if (!tenant || domain_normal(arena, names[i], &normal) != 0) {
            *ret_why = str_printf(arena, "no tenant has %.*s among its domains", STR_FMT(names[i]));
            return SLUICE_ENOTFOUND;
        }
        list[n++] = (struct domains_one){tenant->name, normal};
    }
    *ret = list, *ret_count = n;
    return 0;
}

int domains_addable(const struct settings *s, struct str tenant, struct str written, struct arena *arena,
                    struct str *ret_why, struct domains_one *ret, bool *ret_configured) {
    struct str domain;
    if (!tenant.len || domain_is_literal(written) || domain_normal(arena, written, &domain) != 0 ||
        str_index(domain, '.') < 0) {
        *ret_why = str_printf(arena, "%.*s is no domain", STR_FMT(written));
        return SLUICE_EINVALID;
    }
    const struct tenant *owner = policy_tenant_of_domain(s->policy, domain);
    if (owner && !str_eq(owner->name, tenant)) {
        *ret_why =
            str_printf(arena, "%.*s is a domain of tenant \"%.*s\"", STR_FMT(domain), STR_FMT(owner->name));
        return SLUICE_EINVALID;
    }
    *ret = (struct domains_one){str_copy(arena, tenant), domain};
    *ret_configured = owner != NULL;
    return 0;
}

struct api_domain domains_row(const struct domains *d, const struct settings *s,
                              const struct domains_one *one, struct arena *arena) {
    struct ownership_fact fact = ownership_get(d->table, arena, one->tenant, one->domain);
    return (struct api_domain){
        .tenant = one->tenant,
        .domain = one->domain,
        .configured = policy_tenant_of_domain(s->policy, one->domain) != NULL,
        .state = str_of(ownership_state_text(fact.state)),
        .since = fact.since,
        .checked = fact.checked,
        .missing = fact.missing,
        .until = fact.missing ? fact.missing + s->ownership.grace_ms : 0,
        .why = fact.why,
        .name = ownership_name(arena, one->domain),
        .token = ownership_token_of(d->table, arena, one->tenant, one->domain),
    };
}

/* ---- questions ---- */

static void ask_one(struct domains_round *r, const struct domains_one *one, struct resolver *resolver,
                    struct arena *arena) {
    struct str token = ownership_token_of(r->table, arena, one->tenant, one->domain), why;
    bool changed;
    if (!token.len)
        return;
    int64_t deadline = dns_patience_next(&r->patience, clock_mono_ms());
    enum ownership_finding found = OWNERSHIP_UNANSWERED;
    if (deadline)
        found = ownership_ask(resolver, one->domain, token, deadline, arena, &why);
    else
        why = STR("not asked: no question before got an answer");
    dns_patience_note(&r->patience, found != OWNERSHIP_UNANSWERED);
    struct ownership_fact fact =
        ownership_note(r->table, one->tenant, one->domain, found, why, r->settings->ownership.grace_ms,
                       clock_wall_ms(), arena, &changed);
    if (r->noted)
        r->noted(r->ctx, &fact, found, changed);
}

void domains_shuffle(struct domains_one *list, size_t count, uint64_t seed) {
    for (size_t i = count; i > 1; i--) {
        size_t other = (size_t)(str_hash(str_from(&i, sizeof i), seed) % i);
        struct domains_one one = list[i - 1];
        list[i - 1] = list[other];
        list[other] = one;
    }
}

void domains_ask(struct domains_round *r, struct resolver *resolver) {
    struct arena *arena = arena_new(0);
    if (!r->patience.timeout_ms)
        r->patience = (struct dns_patience){.timeout_ms = r->settings->dns.timeout_ms,
                                            .wave = r->count < DOMAINS_WAVE ? r->count : DOMAINS_WAVE};
    while (r->next < r->count) {
        ask_one(r, &r->at[r->next++], resolver, arena);
        atomic_fetch_add(&r->done, 1);
        arena_reset(arena);
        if (r->pause_ms && fiber_sleep(r->pause_ms) != 0)
            break;
    }
    arena_free(arena);
}
