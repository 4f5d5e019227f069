#include "fixture.h"

static const struct config_option root_options[] = {
    {.name = "tenant",
     .kind = CONFIG_TITLED,
     .options = tenant_options,
     .title_doc = "tenant name",
     .doc = "A tenant."},
    {.name = "verdict", .kind = CONFIG_SECTION, .options = verdict_options, .doc = "Verdict."},
    {.name = "classify", .kind = CONFIG_SECTION, .options = classify_options, .doc = "Classify."},
    {.name = "detection", .kind = CONFIG_SECTION, .options = detection_options, .doc = "Patterns."},
    {.name = "limits", .kind = CONFIG_SECTION, .options = limits_options, .doc = "Limits."},
    {.name = "srs", .kind = CONFIG_SECTION, .options = srs_options, .doc = "SRS."},
    {.name = "relay", .kind = CONFIG_SECTION, .options = relay_options, .doc = "Relay."},
    {.kind = CONFIG_END},
};

struct fixture fixture_open(const char *text, const char *state, const struct pools *pools) {
    struct fixture f = {.arena = arena_new(0), .errors = config_errors_new()};
    const struct policy_checks checks = {.state = state, .pools = pools};
    const struct config_node *root = config_parse(f.arena, str_of(text), "test.conf", root_options, f.errors);
    if (root)
        f.policy = policy_load(f.arena, root, &checks, f.errors);
    return f;
}

void fixture_close(struct fixture *f) {
    policy_close(f->policy);
    config_errors_free(f->errors);
    arena_free(f->arena);
}
