#include "settings/dkim_key_rows.h"
#include "base/clock.h"

struct building {
    struct arena *arena;
    struct dkim_rows *rows;
    int64_t now;
};

static void add_set(struct building *b, const struct signing_domain *d, const struct signing_set *set,
                    enum dkim_role role) {
    struct arena *arena = b->arena;
    for (size_t i = 0; i < set->count; i++) {
        const struct signing_key *from = &set->keys[i];
        struct dkim_row *row = &b->rows->rows[b->rows->count++];
        struct buf record __attribute__((cleanup(buf_free))) = {0};
        struct str why;
        *row = (struct dkim_row){.domain = d,
                                 .role = role,
                                 .selector = from->selector,
                                 .file = from->file,
                                 .key = from->key,
                                 .record = STR("")};
        row->name = str_printf(arena, "%.*s._domainkey.%.*s", STR_FMT(from->selector), STR_FMT(d->domain));
        if (!row->key && dkim_key_load(from->file, arena, &why, &row->key) == 0)
            row->own = true;
        if (row->key && dkim_key_record(row->key, &record) == 0)
            row->record = str_copy(arena, buf_view(&record));
    }
}

static void add_domain(struct building *b, const struct signing_domain *d) {
    if (!d->rotation) {
        add_set(b, d, &d->configured, DKIM_SIGNS);
        return;
    }
    enum rotation_phase phase = rotation_phase(d->rotation, b->now);
    if (phase == ROTATION_PENDING)
        add_set(b, d, &d->old, DKIM_SIGNS);
    add_set(b, d, &d->next, phase == ROTATION_PENDING ? DKIM_NEXT : DKIM_SIGNS);
    if (phase != ROTATION_PENDING)
        add_set(b, d, &d->old, phase == ROTATION_SWITCHED ? DKIM_KEEP : DKIM_OVER);
}

void dkim_rows_collect(struct arena *arena, const struct settings *s, struct str domain,
                       struct dkim_rows *ret) {
    struct building b = {arena, ret, clock_wall_ms()};
    size_t sections = 0;
    *ret = (struct dkim_rows){0};
    for (size_t i = 0; i < s->policy->tenant_count; i++)
        sections += s->policy->tenants[i].signing_count;
    ret->rows = arena_array(arena, struct dkim_row, sections * 2 * SIGNING_SET_MAX);
    for (size_t i = 0; i < s->policy->tenant_count; i++)
        for (size_t k = 0; k < s->policy->tenants[i].signing_count; k++) {
            const struct signing_domain *d = &s->policy->tenants[i].signing[k];
            if (!domain.len || str_eq(d->domain, domain))
                add_domain(&b, d);
        }
}

void dkim_rows_free(struct dkim_rows *rows) {
    for (size_t i = 0; i < rows->count; i++)
        if (rows->rows[i].own)
            dkim_key_free(rows->rows[i].key);
    rows->count = 0;
}
