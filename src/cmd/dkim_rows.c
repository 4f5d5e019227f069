#include "base/clock.h"
#include "base/map.h"
#include "cmd/dkim.h"
#include "mail/address.h"

int dkim_settings(struct cli *cli, struct settings **ret) {
    struct config_errors *errors = config_errors_new();
    int bad = settings_load(cli->config, NULL, errors, ret);
    for (size_t i = 0; i < config_error_count(errors); i++)
        fprintf(cli->err, "sluice: %.*s\n",
                STR_FMT(cli_safe(cli->arena, str_of(config_error_at(errors, i)), 0)));
    config_errors_free(errors);
    return bad ? CLI_USAGE : CLI_DONE;
}

/* ---- text ---- */

struct str dkim_time_text(struct arena *arena, int64_t wall_ms) {
    char text[CLOCK_RFC3339_SIZE];
    clock_rfc3339(wall_ms, text);
    return str_printf(arena, "%.10s %.8s UTC", text, text + 11);
}

struct str dkim_role_text(struct arena *arena, const struct dkim_row *row) {
    const struct rotation *r = row->domain->rotation;
    switch (row->role) {
    case DKIM_NEXT:
        return str_printf(arena, "next, signs from %.*s", STR_FMT(dkim_time_text(arena, r->switch_ms)));
    case DKIM_KEEP:
        return str_printf(arena, "old, keep until %.*s", STR_FMT(dkim_time_text(arena, r->keep_ms)));
    case DKIM_OVER:
        return STR("old, may be removed");
    default:
        return STR("signs");
    }
}

struct str dkim_key_text(struct arena *arena, const struct dkim_key *key) {
    if (!key)
        return STR("key file is gone");
    return dkim_key_algorithm(key) == DKIM_ED25519 ? STR("Ed25519")
                                                   : str_printf(arena, "RSA %u", dkim_key_bits(key));
}

struct str dkim_zone_line(struct arena *arena, struct str name, struct str record) {
    struct buf strings __attribute__((cleanup(buf_free))) = {0};
    dkim_record_strings(record, &strings);
    return str_printf(arena, "%.*s. %d IN TXT %.*s", STR_FMT(name), DKIM_CLI_TTL,
                      STR_FMT(buf_view(&strings)));
}

static struct str relative(const char *state, const char *file) {
    struct str path = str_of(file), top = str_of(state);
    bool below = str_starts(path, top) && path.len > top.len && path.at[top.len] == '/';
    return below ? str_from_index(path, top.len + 1) : path;
}

struct str dkim_section_text(struct arena *arena, const char *state, struct str domain,
                             const struct signing_set *set) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    buf_printf(&text, "dkim \"%.*s\" {", STR_FMT(domain));
    for (size_t i = 0; i < set->count; i++)
        buf_printf(&text, "%s %sselector = \"%.*s\"  %skey = \"%.*s\"", i ? " " : "", i ? "ed25519-" : "",
                   STR_FMT(set->keys[i].selector), i ? "ed25519-" : "",
                   STR_FMT(relative(state, set->keys[i].file)));
    buf_str(&text, STR(" }"));
    return str_copy(arena, buf_view(&text));
}

struct str dkim_advice(struct arena *arena, const struct settings *s, const struct signing_domain *d) {
    bool same = d->configured.count == d->next.count;
    if (!d->rotation || rotation_phase(d->rotation, clock_wall_ms()) == ROTATION_PENDING)
        return STR_NULL;
    for (size_t i = 0; same && i < d->next.count; i++)
        same = str_eq(d->configured.keys[i].selector, d->next.keys[i].selector) &&
               str_eq(str_of(d->configured.keys[i].file), str_of(d->next.keys[i].file));
    if (same)
        return STR_NULL;
    return str_printf(arena, "the new key signs: put it into the configuration: %.*s",
                      STR_FMT(dkim_section_text(arena, s->state, d->domain, &d->next)));
}

/* ---- rows ---- */

int dkim_rows_of(struct cli *cli, const struct settings *s, struct str domain, struct dkim_rows *ret) {
    struct str normal = STR_NULL;
    *ret = (struct dkim_rows){0};
    if (domain.len && domain_normal(cli->arena, domain, &normal) != 0)
        return cli_usage(cli, "%.*s: no domain", STR_FMT(domain));
    dkim_rows_collect(cli->arena, s, normal, ret);
    if (ret->count)
        return CLI_DONE;
    if (normal.len)
        fprintf(cli->err, "sluice: no tenant has a dkim \"%.*s\"\n", STR_FMT(normal));
    else
        fprintf(cli->err, "sluice: no tenant has a dkim section: nothing is signed\n");
    return CLI_NO;
}
