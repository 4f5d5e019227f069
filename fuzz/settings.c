/* A whole configuration of any bytes, through every room's checks: it becomes settings, or is refused with
 * errors in words; and a configuration is like itself. */
#include "settings/settings.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Files that may wait for ever, or that are not ours. */
static bool names_a_place(struct str text) {
    static const char *const places[] = {"/dev", "/proc", "/sys",  "/run",
                                         "/etc", "/root", "/home", "include"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (str_find_nocase(text, str_of(places[i])) >= 0)
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct str text = str_from(bytes, len);
    if (names_a_place(text))
        return 0;
    struct arena *arena = arena_new(0);
    struct config_errors *errors = config_errors_new();
    struct settings *settings = NULL, *again = NULL;
    int error = settings_parse(text, "/nonexistent/fuzz.conf", NULL, errors, &settings);
    must((error != 0) == (settings == NULL));
    must(!error || config_error_count(errors) > 0);
    for (size_t i = 0; i < config_error_count(errors); i++)
        must(*config_error_at(errors, i) != 0);
    if (settings) {
        must(settings_parse(text, "/nonexistent/fuzz.conf", NULL, errors, &again) == 0);
        must(!settings_needs_restart(settings, again, arena).len);
    }
    settings_unref(settings);
    settings_unref(again);
    config_errors_free(errors);
    arena_free(arena);
    return 0;
}
