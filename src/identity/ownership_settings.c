#include "base/error.h"
#include "identity/ownership.h"

enum { SECOND = 1000, HOUR = 3600 * SECOND };
#define DAY (INT64_C(24) * HOUR)

const struct config_option ownership_options[] = {
    {.name = "verify",
     .kind = CONFIG_BOOL,
     .preset = "false",
     .doc = "A tenant may send only in domains that it has shown to be its own, by a token in their DNS "
            "(`sluice domain`); other mail of its accepted domains gets 550 5.7.750."},
    {.name = "check",
     .kind = CONFIG_DURATION,
     .preset = "1h",
     .min = SECOND,
     .max = 7 * DAY,
     .doc = "How often the tokens are asked for again."},
    {.name = "grace",
     .kind = CONFIG_DURATION,
     .preset = "30d",
     .max = 3650 * DAY,
     .doc = "How long a verified domain may send without its token. Two answers without it in a row raise an "
            "alert; a DNS that does not answer is no answer."},
    {.name = "secret",
     .kind = CONFIG_STRING,
     .preset_doc = "keys/ownership.secret in `state`, made when it is needed",
     .doc =
         "File of the secret that the tokens are made with, 64 hexadecimal digits (`openssl rand -hex 32`), "
         "readable by its owner only. Nodes and sites that share tenants share it."},
    {.kind = CONFIG_END},
};

struct ownership_settings ownership_load(struct arena *arena, const struct config_node *root,
                                         const char *state, const char *keys, struct config_errors *errors) {
    const struct config_node *node = config_section_or_empty(root, "tenants");
    struct ownership_settings s = {.verify = config_bool(node, "verify"),
                                   .check_ms = config_duration_ms(node, "check"),
                                   .grace_ms = config_duration_ms(node, "grace"),
                                   .secret = config_path(arena, node, "secret", state)};
    struct ownership_secret secret;
    struct str why;
    s.secret_given = s.secret != NULL;
    if (!s.secret_given)
        s.secret = str_printf(arena, "%s/ownership.secret", keys).at;
    int error = ownership_secret_read(s.secret, arena, &why, &secret);
    if (error && (s.secret_given || (s.verify && error != SLUICE_ENOTFOUND)))
        config_complain(errors, node, "secret", "%.*s", STR_FMT(why));
    return s;
}
