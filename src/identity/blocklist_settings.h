/* blocklist_settings.h - `blocklists { }` and `blocklist "name" { }`: which DNS lists the addresses are
 * watched on, what their answers mean, and what a listing does. */
#pragma once
#include "config/config.h"
#include "identity/blocklist.h"

/* The tables of `blocklists` and `blocklist`, for the configuration's root. */
extern const struct config_option blocklists_options[], blocklist_options[];

struct blocklist_settings {
    const struct blocklist *lists; /* none: nothing is watched */
    size_t count;
    struct blocklist_pace pace;
};

/* `closed`: names are answered from a zone file, so that nothing is watched unless `watch` says so. Problems
 * go to `errors`; the result then lacks what was wrong. In the arena. */
struct blocklist_settings blocklists_load(struct arena *, const struct config_node *root, bool closed,
                                          struct config_errors *);
