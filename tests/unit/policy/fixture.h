/* fixture.h - a policy from configuration text, and its problems. */
#pragma once
#include "policy/tenant.h"

struct fixture {
    struct arena *arena;
    struct config_errors *errors;
    struct policy *policy;
};

/* `state` is the folder for user files. */
struct fixture fixture_open(const char *text, const char *state, const struct pools *pools);
void fixture_close(struct fixture *);
