/* The `dkim` sections: their keys, and what is on record of a rotation. */
#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "mail/address.h"
#include "policy/load.h"
#include "policy/rotation.h"
#include <errno.h>
#include <sys/stat.h>

enum { GROUP_WRITES_OR_OTHERS = 0027, GROUP_READS = 0040, NAME_MAX_OCTETS = 253 };

/* A section under way. */
struct section {
    struct loading *l;
    const struct config_node *node;
    const struct tenant *tenant;
    struct signing_domain *domain;
};

/* A private key that somebody else can read or replace signs for them, too. */
static struct dkim_key *load_key(const struct section *s, const char *option, const char *path,
                                 const char *what) {
    struct arena *arena = s->l->arena;
    struct dkim_key *key = NULL;
    struct stat file;
    struct str why;
    if (stat(path, &file) != 0)
        config_complain(s->l->errors, s->node, option, "%s %s can't be read: %s", what, path,
                        strerror(errno));
    else if (!S_ISREG(file.st_mode))
        config_complain(s->l->errors, s->node, option, "%s %s is no ordinary file", what, path);
    else if (file.st_mode & GROUP_WRITES_OR_OTHERS)
        config_complain(s->l->errors, s->node, option,
                        "%s %s is open to others than its owner (mode %04o): chmod 600 it", what, path,
                        file.st_mode & 07777);
    else if (dkim_key_load(path, arena, &why, &key) != 0)
        config_complain(s->l->errors, s->node, option, "%s %s: %.*s", what, path, STR_FMT(why));
    else if (file.st_mode & GROUP_READS)
        config_warn(s->l->errors, s->node, option, "%s %s is readable by its group (mode %04o)", what, path,
                    file.st_mode & 07777);
    return key;
}

/* The selector as it is used; empty when it is wrong or missing. */
static struct str read_selector(const struct section *s, const char *option) {
    struct str selector = config_string(s->node, option);
    if (!selector.len)
        return selector;
    if (!selector_valid(selector) ||
        selector.len + sizeof "._domainkey." - 1 + s->domain->domain.len > NAME_MAX_OCTETS) {
        config_complain(s->l->errors, s->node, option,
                        "\"%.*s\" is no selector: letters, digits and hyphens, with dots between",
                        STR_FMT(selector));
        return STR("");
    }
    return str_lower(s->l->arena, selector);
}

static void add_key(const struct section *s, const char *selector_option, const char *key_option) {
    struct signing_set *set = &s->domain->configured;
    struct signing_key *key = &set->keys[set->count];
    key->selector = read_selector(s, selector_option);
    key->file = config_path(s->l->arena, s->node, key_option, s->l->checks->state);
    if (!!config_string(s->node, selector_option).len != !!config_string(s->node, key_option).len)
        config_complain(s->l->errors, s->node, NULL, "`%s` and `%s` belong together", selector_option,
                        key_option);
    else if (key->selector.len && set->count && str_eq(key->selector, set->keys[0].selector))
        config_complain(s->l->errors, s->node, selector_option,
                        "\"%.*s\" is the selector of `key` already: each key needs its own",
                        STR_FMT(key->selector));
    else if (key->selector.len && key->file)
        set->count++;
}

static void load_configured(const struct section *s) {
    static const char *const options[SIGNING_SET_MAX] = {"key", "ed25519-key"};
    struct signing_set *set = &s->domain->configured;
    for (size_t i = 0; i < set->count; i++)
        set->keys[i].key = load_key(s, options[i], set->keys[i].file, "key");
    const struct dkim_key *first = set->keys[0].key, *second = set->count > 1 ? set->keys[1].key : NULL;
    if (second && dkim_key_algorithm(second) != DKIM_ED25519)
        config_complain(s->l->errors, s->node, "ed25519-key", "`ed25519-key` is an RSA key");
    else if (first && second && dkim_key_algorithm(first) == DKIM_ED25519)
        config_complain(s->l->errors, s->node, "key", "`key` has to be RSA beside an `ed25519-key`");
}

/* ---- rotation ---- */

/* Keys that are not needed may be missing. */
static void load_set(const struct section *s, const struct rotation_keys *from, bool needed,
                     struct signing_set *ret) {
    const char *state = s->l->checks->state;
    for (size_t i = 0; i < from->count; i++) {
        struct signing_key *key = &ret->keys[ret->count++];
        struct str path = from->keys[i].key;
        key->selector = from->keys[i].selector;
        key->file = str_starts(path, STR("/")) ? str_c(s->l->arena, path)
                                               : str_printf(s->l->arena, "%s/%.*s", state, STR_FMT(path)).at;
        struct str why;
        if (needed)
            key->key = load_key(s, NULL, key->file, "the rotation's key");
        else if (dkim_key_load(key->file, s->l->arena, &why, &key->key) != 0)
            key->key = NULL;
    }
}

static bool load_rotation(const struct section *s) {
    struct loading *l = s->l;
    struct rotation *r = arena_new_of(l->arena, struct rotation);
    struct str why;
    if (!l->checks->state)
        return false;
    const char *folder = str_printf(l->arena, "%s/keys", l->checks->state).at;
    const char *path = rotation_path(l->arena, folder, s->domain->domain);
    int error = rotation_load(l->arena, path, &why, r);
    if (error == SLUICE_ENOTFOUND)
        return false;
    if (!error && !str_eq(r->domain, s->domain->domain)) {
        error = SLUICE_ESYNTAX;
        why = str_printf(l->arena, "`domain` is \"%.*s\"", STR_FMT(r->domain));
    }
    if (error) {
        config_complain(l->errors, s->node, NULL, "rotation %s: %.*s", path, STR_FMT(why));
        return true;
    }
    if (!rotation_knows(r, &s->domain->configured)) {
        config_warn(l->errors, s->node, "selector",
                    "the rotation on record (%s) knows no such selectors and is passed over: `sluice dkim "
                    "rotate %.*s --cancel` forgets it",
                    path, STR_FMT(r->domain));
        return false;
    }
    enum rotation_phase phase = rotation_phase(r, clock_wall_ms());
    s->domain->rotation = r;
    load_set(s, &r->old, phase == ROTATION_PENDING, &s->domain->old);
    load_set(s, &r->next, true, &s->domain->next);
    return true;
}

/* ---- sections ---- */

/* Whose accepted domain is it, or the nearest above? */
static const struct tenant *owner_of(const struct policy *p, struct str domain) {
    const struct tenant *owner = map_get(p->by_domain, domain);
    for (ptrdiff_t dot; !owner && (dot = str_index(domain, '.')) >= 0;) {
        domain = str_from_index(domain, (size_t)dot + 1);
        owner = map_get(p->by_domain, domain);
    }
    return owner;
}

static bool read_domain(struct section *s) {
    struct str title = config_title(s->node);
    struct loading *l = s->l;
    if (domain_is_literal(title) || domain_normal(l->arena, title, &s->domain->domain) != 0)
        config_complain(l->errors, s->node, NULL, "\"%.*s\" is no domain", STR_FMT(title));
    else if (map_get(s->tenant->signing_by_domain, s->domain->domain))
        config_complain(l->errors, s->node, NULL, "the keys of \"%.*s\" stand here twice", STR_FMT(title));
    else if (s->tenant->domain_count && owner_of(l->policy, s->domain->domain) != s->tenant)
        config_complain(l->errors, s->node, NULL,
                        "\"%.*s\" is neither among the tenant's domains nor below one of them",
                        STR_FMT(title));
    else
        return true;
    return false;
}

void signing_load(struct loading *l, const struct config_node *node, struct tenant *t) {
    struct config_sections sections = config_sections(node, "dkim");
    t->signing = arena_array(l->arena, struct signing_domain, sections.count);
    t->signing_by_domain = map_new(true);
    for (size_t i = 0; i < sections.count; i++) {
        struct signing_domain *domain = &t->signing[t->signing_count];
        struct section s = {l, sections.at[i], t, domain};
        if (!read_domain(&s))
            continue;
        t->signing_count++;
        map_put(t->signing_by_domain, domain->domain, domain);
        domain->held = arena_new_of(l->arena, atomic_bool);
        domain->subdomains = config_bool(s.node, "subdomains");
        domain->rotation_ms = config_duration_ms(s.node, "rotation");
        add_key(&s, "selector", "key");
        add_key(&s, "ed25519-selector", "ed25519-key");
        if (!load_rotation(&s))
            load_configured(&s);
    }
}

static void unload_set(struct signing_set *set) {
    for (size_t i = 0; i < set->count; i++)
        set->keys[i].key = dkim_key_free(set->keys[i].key);
}

void signing_unload(struct tenant *t) {
    for (size_t i = 0; i < t->signing_count; i++) {
        unload_set(&t->signing[i].configured);
        unload_set(&t->signing[i].old);
        unload_set(&t->signing[i].next);
    }
    t->signing_by_domain = map_free(t->signing_by_domain);
}
