/* A configuration file of any bytes: it is read or refused with a message, and what our survey of it lets
 * through is what libConfuse can read. */
#include "settings/settings.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct str text = str_from(bytes, len);
    if (str_find(text, STR("/dev/")) >= 0 || str_find(text, STR("/proc/")) >= 0)
        return 0; /* an include of these may wait for ever */
    struct arena *arena = arena_new(0);
    struct config_errors *errors = config_errors_new();
    const struct config_node *root =
        config_parse(arena, text, "/nonexistent/fuzz.conf", settings_options, errors);
    if (!root && config_error_count(errors) == 0)
        abort();
    /* Our own messages quote the file between backticks; this one quotes nothing. */
    struct str first = str_of(config_error_at(errors, 0));
    if (str_ends(first, STR(": not in the syntax of libConfuse")) && str_index(first, '`') < 0)
        abort();
    if (root) {
        struct pool_options options = {.node = STR("node.example.net"), .here = config_string(root, "here")};
        const struct pools *pools = pools_load(arena, root, &options, errors);
        for (size_t i = 0; i < pools->source_count; i++)
            if (source_find(pools, &pools->sources[i].ip) != &pools->sources[i])
                abort();
    }
    config_errors_free(errors);
    arena_free(arena);
    return 0;
}
