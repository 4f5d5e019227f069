/* configured.h - a plan from a configuration's text, for this room's tests. */
#pragma once
#include "cmocka_setup.h"
#include "identity/blocklist_settings.h"
#include "identity/plan.h"

static const struct config_option ROOT[] = {
    {"here", CONFIG_STRING, .doc = "Site."},
    {"site", CONFIG_TITLED, .options = site_options, .doc = "Sites."},
    {"pool", CONFIG_TITLED, .options = pool_options, .doc = "Pools."},
    {"identity", CONFIG_SECTION, .options = identity_options, .doc = "Identity."},
    {"blocklists", CONFIG_SECTION, .options = blocklists_options, .doc = "Lists."},
    {"blocklist", CONFIG_TITLED, .options = blocklist_options, .doc = "A list."},
    {.kind = CONFIG_END},
};

struct configured {
    struct arena *arena;
    struct config_errors *errors;
    const struct pools *pools;
    struct identity_settings settings;
    struct blocklist_settings blocklists, closed; /* where a zone file answers */
};

static inline struct configured configure(struct str text) {
    struct configured c = {.arena = arena_new(0), .errors = config_errors_new()};
    const struct config_node *root = config_parse(c.arena, text, "t.conf", ROOT, c.errors);
    if (!root)
        fail_msg("%s", config_error_at(c.errors, 0));
    struct pool_options options = {.node = STR("node.example.net"), .here = config_string(root, "here")};
    c.pools = pools_load(c.arena, root, &options, c.errors);
    c.settings = identity_load(c.arena, root, "/nowhere", c.pools, c.errors);
    c.blocklists = blocklists_load(c.arena, root, false, c.errors);
    c.closed = blocklists_load(c.arena, root, true, c.errors);
    return c;
}

/* One that has to be right. */
static inline struct configured configure_good(struct str text) {
    struct configured c = configure(text);
    for (size_t i = 0; i < config_error_count(c.errors); i++)
        print_error("%s\n", config_error_at(c.errors, i));
    assert_int_equal(config_error_count(c.errors), 0);
    return c;
}

static inline void configured_free(struct configured *c) {
    arena_free(c->arena);
    config_errors_free(c->errors);
}

/* The record, or NULL; `data` NULL: any. */
static inline const struct plan_record *record_find(const struct plan *plan, const char *name,
                                                    const char *type, const char *data) {
    for (size_t i = 0; i < plan->record_count; i++) {
        const struct plan_record *r = &plan->records[i];
        if (str_eq(r->name, str_of(name)) && strcmp(r->type, type) == 0 &&
            (!data || str_eq(r->data, str_of(data))))
            return r;
    }
    return NULL;
}

static inline size_t record_count(const struct plan *plan, const char *name, const char *type) {
    size_t count = 0;
    for (size_t i = 0; i < plan->record_count; i++)
        count += str_eq(plan->records[i].name, str_of(name)) && strcmp(plan->records[i].type, type) == 0;
    return count;
}
