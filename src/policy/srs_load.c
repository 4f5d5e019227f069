/* `srs { }` of the root and of tenants. */
#include "auth/srs.h"
#include "base/map.h"
#include "mail/address.h"
#include "policy/load.h"

enum { SECRET_MIN = 16, SECRET_MAX = 1024 };
#define DAY_MS INT64_C(86400000)

static const char *const style_words[] = {"srs0", "microsoft", NULL};
static const char *const alphabet_words[] = {"base64url", "base64", NULL};

const struct config_option srs_options[] = {
    {.name = "style",
     .kind = CONFIG_ENUM,
     .preset = "srs0",
     .words = style_words,
     .doc = "What is written: `SRS0=` and `SRS1=` as libsrs2 and PostSRSd do, or Microsoft's `user+SRS=` and "
            "`bounces+SRS=`. All are read."},
    {.name = "domain",
     .kind = CONFIG_STRING,
     .preset_doc = "the tenant's default domain",
     .doc = "Domain of rewritten addresses; its MX must lead to a listener here that takes them in."},
    {.name = "secrets",
     .kind = CONFIG_LIST,
     .min = 1,
     .required = true,
     .doc = "Keys of the hash, better of 16 characters or more: the first signs, all verify. To change it "
            "put the "
            "new one first, and keep the old one for `max-age`."},
    {.name = "max-age",
     .kind = CONFIG_DURATION,
     .preset = "21d",
     .min = DAY_MS,
     .max = 1000 * DAY_MS,
     .doc = "How long a rewritten address is good, in whole days."},
    {.name = "alphabet",
     .kind = CONFIG_ENUM,
     .preset = "base64url",
     .words = alphabet_words,
     .doc =
         "Letters of the hash that is written: `base64url` as PostSRSd 2, `base64` (with + and /) as libsrs2 "
         "and Mail::SRS. Both are read."},
    {.kind = CONFIG_END},
};

static void check_secrets(struct loading *l, const struct config_node *node, const struct srs_settings *s) {
    for (size_t i = 0; i < s->secret_count; i++) {
        size_t len = s->secrets[i].len;
        if (!len)
            config_complain(l->errors, node, "secrets", "a secret is empty");
        else if (len > SECRET_MAX)
            config_complain(l->errors, node, "secrets", "a secret is longer than %d characters", SECRET_MAX);
        else if (len < SECRET_MIN)
            config_warn(
                l->errors, node, "secrets",
                "a secret is shorter than %d characters: it can be guessed from one rewritten address, "
                "and mail be relayed with it",
                SECRET_MIN);
    }
}

/* NULL when there is no such section. The domain may be left open. */
static struct srs_settings *read_section(struct loading *l, const struct config_node *parent) {
    const struct config_node *node = config_section(parent, "srs");
    if (!node)
        return NULL;
    struct srs_settings *s = arena_new_of(l->arena, struct srs_settings);
    struct config_list secrets = config_list(node, "secrets");
    struct str domain = config_string(node, "domain");
    *s = (struct srs_settings){
        .style = (enum srs_style)config_enum(node, "style"),
        .alphabet = (enum srs_alphabet)config_enum(node, "alphabet"),
        .domain = STR(""),
        .secrets = secrets.at,
        .secret_count = secrets.count,
        .max_age_days = (unsigned)((config_duration_ms(node, "max-age") + DAY_MS - 1) / DAY_MS),
    };
    check_secrets(l, node, s);
    if (domain.len && (domain_is_literal(domain) || domain_normal(l->arena, domain, &s->domain) != 0)) {
        config_complain(l->errors, node, "domain", "\"%.*s\" is no domain", STR_FMT(domain));
        s->domain = STR("");
    }
    return s;
}

/* The tenant writes addresses in that domain: mail to it is read with the tenant's secrets. Settings that
 * many share stand there once. */
static void own(struct loading *l, const struct tenant *t) {
    struct srs_owner *first = map_get(l->policy->by_srs, t->srs->domain);
    for (const struct srs_owner *o = first; o; o = o->next)
        if (o->tenant->srs == t->srs)
            return;
    struct srs_owner *owner = arena_new_of(l->arena, struct srs_owner);
    *owner = (struct srs_owner){.tenant = t, .next = first};
    map_put(l->policy->by_srs, t->srs->domain, owner);
}

static void load_tenant(struct loading *l, const struct config_node *node, struct tenant *t,
                        const struct srs_settings *root) {
    struct srs_settings *s = read_section(l, node);
    if (!t->domain_count || (!s && !root))
        return;
    if (!s && !root->domain.len) {
        s = arena_new_of(l->arena, struct srs_settings);
        *s = *root;
    }
    t->srs = s ? s : root;
    if (s && !s->domain.len)
        s->domain = t->domains[0];
    const struct tenant *accepts = map_get(l->policy->by_domain, t->srs->domain);
    if (s && accepts && accepts != t)
        config_complain(l->errors, config_section(node, "srs"), "domain",
                        "\"%.*s\" is an accepted domain of tenant \"%.*s\"", STR_FMT(s->domain),
                        STR_FMT(accepts->name));
    own(l, t);
}

void srs_load(struct loading *l, const struct config_node *root) {
    struct config_sections tenants = config_sections(root, "tenant");
    const struct srs_settings *shared = read_section(l, root);
    for (size_t i = 0; i < tenants.count; i++)
        load_tenant(l, tenants.at[i], &l->policy->tenants[i], shared);
}
