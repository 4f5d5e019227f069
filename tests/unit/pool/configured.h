/* configured.h - pools from a text, for this room's tests. */
#pragma once
#include "pool/pool.h"

static const struct config_option ROOT[] = {
    {"here", CONFIG_STRING, .doc = "Site."},
    {"site", CONFIG_TITLED, .options = site_options, .doc = "Sites."},
    {"pool", CONFIG_TITLED, .options = pool_options, .doc = "Pools."},
    {.kind = CONFIG_END},
};

struct configured {
    struct arena *arena;
    struct config_errors *errors;
    const struct pools *pools; /* NULL: the text could not be read */
};

static inline struct configured configure(const char *text, struct pool_options options) {
    struct configured c = {.arena = arena_new(0), .errors = config_errors_new()};
    const struct config_node *root = config_parse(c.arena, str_of(text), "t.conf", ROOT, c.errors);
    if (!root)
        return c;
    if (!options.node.at)
        options.node = STR("node.example.net");
    options.here = config_string(root, "here");
    c.pools = pools_load(c.arena, root, &options, c.errors);
    return c;
}

static inline void configured_free(struct configured *c) {
    arena_free(c->arena);
    config_errors_free(c->errors);
}

static inline struct ip ip_of(const char *text) {
    struct ip ip = {{0}};
    ip_parse(str_of(text), &ip);
    return ip;
}

#define FOUR_POOLS                                                                                           \
    "pool normal { class = on addresses = {192.0.2.16/28, \"2001:db8:25::10-2001:db8:25::1f\"} }\n"          \
    "pool high-risk { class = hn addresses = {198.51.100.8/29} }\n"                                          \
    "pool relay { class = rl spf = unpublished addresses = {203.0.113.8/29} }\n"                             \
    "pool high-risk-relay { class = rh spf = unpublished addresses = {203.0.113.16/29} }\n"
