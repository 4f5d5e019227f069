#include "settings/planned.h"
#include "settings/dkim_key_rows.h"

static void add_destinations(struct arena *arena, const struct settings *s, struct plan_input *in) {
    struct str *names = arena_array(arena, struct str, s->destinations.count);
    for (size_t i = 0; i < s->destinations.count; i++) {
        const struct destination_settings *d = &s->destinations.at[i];
        in->ptr_ehlo |= d->ehlo == EHLO_PTR;
        in->site_ehlo |= d->ehlo == EHLO_SITE;
        if (d->ehlo == EHLO_NAME)
            names[in->ehlo_name_count++] = d->ehlo_name;
    }
    in->ehlo_names = names;
}

static struct plan_domain domain_of(struct arena *arena, const struct tenant *t, size_t at,
                                    const struct ownership_secret *secret) {
    struct str domain = t->domains[at];
    return (struct plan_domain){
        .tenant = t->name,
        .domain = domain,
        .token = secret ? ownership_token(arena, secret, t->name, domain) : STR(""),
    };
}

static void add_tenants(struct arena *arena, const struct policy *policy,
                        const struct ownership_secret *secret, struct plan_input *in) {
    size_t count = 0;
    for (size_t i = 0; i < policy->tenant_count; i++)
        count += policy->tenants[i].domain_count;
    struct plan_domain *domains = arena_array(arena, struct plan_domain, count);
    for (size_t i = 0; i < policy->tenant_count; i++)
        for (size_t j = 0; j < policy->tenants[i].domain_count; j++)
            domains[in->domain_count++] = domain_of(arena, &policy->tenants[i], j, secret);
    in->domains = domains;
}

/* The keys that sign, will sign or did until lately. */
static void add_keys(struct arena *arena, const struct settings *s, struct plan_input *in,
                     struct dkim_rows *rows) {
    dkim_rows_collect(arena, s, STR(""), rows);
    struct plan_dkim *keys = arena_array(arena, struct plan_dkim, rows->count);
    for (size_t i = 0; i < rows->count; i++) {
        const struct dkim_row *row = &rows->rows[i];
        if (row->record.len && row->role != DKIM_OVER)
            keys[in->dkim_count++] = (struct plan_dkim){
                .domain = row->domain->domain, .selector = row->selector, .text = row->record};
    }
    in->dkim = keys;
}

struct plan planned(struct arena *arena, const struct settings *s, const struct ownership_secret *secret,
                    struct plan_input *in) {
    struct dkim_rows rows = {0};
    *in = (struct plan_input){.pools = s->pools, .settings = &s->identity};
    add_destinations(arena, s, in);
    add_tenants(arena, s->policy, secret, in);
    add_keys(arena, s, in, &rows);
    struct plan plan = plan_build(arena, in);
    dkim_rows_free(&rows);
    return plan;
}
