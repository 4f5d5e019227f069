/* load.h - what the files of this room share. Not for other rooms. */
#pragma once
#include "settings/settings.h"

/* A configuration while it is read. */
struct loading {
    struct arena *arena;
    const struct config_node *root;
    const struct settings_checks *checks;
    struct config_errors *errors;
    struct settings *settings;
};

/* `bind` of the node: its addresses with ports. What is wrong is reported and left out. */
const struct endpoint *settings_endpoints(struct loading *, const struct config_node *, size_t *ret_count);
void settings_listeners(struct loading *);
