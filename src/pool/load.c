#include "pool/load.h"
#include "base/error.h"
#include "base/map.h"

enum { CODE_MAX = 16, NAMED_MAX = 8 };

static const char *const SPF_WORDS[] = {"unpublished", "published", "hidden", NULL};
enum { SPF_UNPUBLISHED, SPF_PUBLISHED, SPF_HIDDEN };
static const char *const LISTED_WORDS[] = {"rest", "stay", NULL};
enum { LISTED_REST, LISTED_STAY };

const struct config_option pool_options[] = {
    {"addresses", CONFIG_LIST,
     .doc = "What mail of this pool leaves from: addresses, networks (192.0.2.16/28) and ranges "
            "(2001:db8::10-2001:db8::1f) of IPv4 and IPv6, each expanded to every address in it; 65,536 in "
            "all."},
    {"carries", CONFIG_LIST, .preset_doc = "the pool's name",
     .doc = "The mail classes that leave from here: normal, high-risk, relay, high-risk-relay. A pool that "
            "carries "
            "normal carries nothing else. Every class must have a pool."},
    {"class", CONFIG_STRING,
     .doc = "What stands for {class} in the site's ptr; differs between the pools of a site."},
    {"spf", CONFIG_ENUM, .preset_doc = "published; unpublished where relayed mail leaves", .words = SPF_WORDS,
     .doc =
         "`published`: these addresses are in the SPF records that customers include and in that of the EHLO "
         "name; `unpublished`: only in that of the EHLO name; `hidden`: in neither."},
    {"ehlo", CONFIG_STRING, .preset = "site",
     .doc = "The name said in EHLO: `site` for the site's, `ptr` for each address's own PTR name, or a host "
            "name."},
    {"weight", CONFIG_INTEGER, .preset_doc = "1; 0 for a tenant's own", .min = 0, .max = 10000,
     .doc =
         "Its share of the mail among the pools that carry a class; 0: only for the tenants that name it."},
    {"when-listed", CONFIG_ENUM, .preset_doc = "rest; stay where the pool carries a high-risk class",
     .words = LISTED_WORDS,
     .doc =
         "What becomes of an address that is on a blocklist (`blocklists`): `rest`: no mail leaves from it "
         "until it is delisted; `stay`: it is told, and mail goes on."},
    {"first-retry", CONFIG_DURATION, .preset_doc = "as in `delivery`", .min = 1000, .max = 7 * 86400000LL,
     .doc = "Pause before the second attempt."},
    {"max-retry", CONFIG_DURATION, .preset_doc = "as in `delivery`", .min = 1000, .max = 7 * 86400000LL,
     .doc = "Longest pause between attempts."},
    {"expire", CONFIG_DURATION, .preset_doc = "as in `delivery`", .min = 1000, .max = 30 * 86400000LL,
     .doc = "After this time mail is returned to its sender."},
    {.kind = CONFIG_END},
};

const struct config_option site_options[] = {
    {"ehlo", CONFIG_STRING, .preset_doc = "the node's name", .doc = "The name that this site says in EHLO."},
    {"ptr", CONFIG_STRING,
     .doc =
         "The PTR name of each address: {class} is that of its pool, {n} its number in the pool, in written "
         "order, four digits; IPv4 and IPv6 count apart."},
    {"pool", CONFIG_TITLED, .options = pool_options, .title_doc = "pool name",
     .doc = "What the pool of this name has at this site: with several sites, the addresses stand here."},
    {.kind = CONFIG_END},
};

/* ---- sites ---- */

static void read_site(struct pool_loading *l, const struct config_node *node, struct site *site) {
    struct str ptr = config_string(node, "ptr");
    *site = (struct site){.name = config_title(node), .ehlo = config_string(node, "ehlo"), .ptr = ptr};
    if (!site->ehlo.at)
        site->ehlo = l->options->node;
    else if (!pool_host_name_valid(site->ehlo))
        config_complain(l->errors, node, "ehlo", "`ehlo` is `%.*s`, which is no host name",
                        STR_FMT(site->ehlo));
    if (!ptr.at)
        return;
    struct str sample = str_of(pool_ptr_name(l->arena, ptr, STR("x"), 10000));
    if (str_find(ptr, STR("{n}")) < 0)
        config_complain(l->errors, node, "ptr", "`ptr` needs {n}: each address has a name of its own");
    else if (!pool_host_name_valid(sample))
        config_complain(l->errors, node, "ptr", "`ptr` gives names like `%.*s`, which is no host name",
                        STR_FMT(sample));
}

/* Which site this node stands at. */
static void find_here(struct pool_loading *l, const struct config_node *root) {
    struct str here = l->options->here;
    bool found = false;
    for (size_t i = 0; i < l->site_count; i++) {
        l->sites[i].here = here.len ? str_eq(l->sites[i].name, here) : l->site_count == 1;
        found |= l->sites[i].here;
    }
    if (!found && here.len)
        config_complain(l->errors, root, "here", "`here` is `%.*s`, but there is no such site",
                        STR_FMT(here));
    else if (!found)
        config_complain(l->errors, root, NULL, "`here` must say at which of the %zu sites this node stands",
                        l->site_count);
}

static void read_sites(struct pool_loading *l, const struct config_node *root) {
    struct config_sections nodes = config_sections(root, "site");
    l->site_count = nodes.count ? nodes.count : 1;
    l->sites = arena_array(l->arena, struct site, l->site_count);
    l->site_nodes = arena_array(l->arena, const struct config_node *, l->site_count);
    if (!nodes.count) {
        l->sites[0] = (struct site){.name = l->options->here, .ehlo = l->options->node, .here = true};
        return;
    }
    for (size_t i = 0; i < nodes.count; i++) {
        l->site_nodes[i] = nodes.at[i];
        read_site(l, nodes.at[i], &l->sites[i]);
    }
    find_here(l, root);
}

/* ---- pools ---- */

/* The node that says `option`: the pool's at its site when it is written there, else the one at the root. */
static const struct config_node *saying(const struct config_node *at_site, const struct config_node *at_root,
                                        const char *option) {
    return at_site && (!at_root || config_has(at_site, option)) ? at_site : at_root;
}

static unsigned read_carries(struct pool_loading *l, const struct config_node *node, struct str name) {
    struct config_list list = config_list(node, "carries");
    enum mail_class class;
    unsigned carries = 0;
    if (!config_has(node, "carries")) {
        if (mail_class_parse(name, &class))
            return 1u << class;
        config_complain(l->errors, node, NULL, "pool `%.*s` needs `carries`: its name is no mail class",
                        STR_FMT(name));
        return 0;
    }
    for (size_t i = 0; i < list.count; i++) {
        if (mail_class_parse(list.at[i], &class))
            carries |= 1u << class;
        else
            config_complain(l->errors, node, "carries",
                            "`%.*s` is no mail class: normal, high-risk, relay or high-risk-relay",
                            STR_FMT(list.at[i]));
    }
    if (list.count == 0)
        config_complain(l->errors, node, "carries", "`carries` is empty");
    if ((carries & 1u << CLASS_NORMAL) && carries != 1u << CLASS_NORMAL)
        config_complain(l->errors, node, "carries", "a pool that carries normal mail carries nothing else");
    return carries;
}

static struct str read_code(struct pool_loading *l, const struct config_node *node, struct str name,
                            const struct site *site) {
    struct str code = config_string(node, "class");
    bool asked = str_find(site->ptr, STR("{class}")) >= 0;
    if (code.len > CODE_MAX || (code.at && !pool_host_name_valid(code)) || str_index(code, '.') >= 0)
        config_complain(l->errors, node, "class",
                        "`class` is `%.*s`, but must be 1 to %d letters, digits, hyphens", STR_FMT(code),
                        CODE_MAX);
    else if (asked && !code.len)
        config_complain(l->errors, node, NULL, "pool `%.*s` needs `class`: the site's `ptr` has {class}",
                        STR_FMT(name));
    return code;
}

static void read_ehlo(struct pool_loading *l, struct pool_draft *d, const struct config_node *node) {
    struct str ehlo = config_string(node, "ehlo");
    d->ehlo_ptr = str_eq(ehlo, STR("ptr"));
    if (d->ehlo_ptr && !l->sites[d->pool.site].ptr.len)
        config_complain(l->errors, node, "ehlo", "`ehlo = ptr` needs a site with `ptr`");
    if (d->ehlo_ptr || str_eq(ehlo, STR("site")))
        return;
    if (!pool_host_name_valid(ehlo))
        config_complain(l->errors, node, "ehlo", "`ehlo` is `%.*s`, but must be site, ptr or a host name",
                        STR_FMT(ehlo));
    d->ehlo = ehlo;
}

/* Relayed mail speaks for nobody's domain: its addresses are in no customer's SPF unless somebody says so. */
static void read_spf(struct pool *pool, const struct config_node *node) {
    unsigned relayed = 1u << CLASS_RELAY | 1u << CLASS_HIGH_RISK_RELAY;
    int spf = (pool->carries & relayed) ? SPF_UNPUBLISHED : SPF_PUBLISHED;
    if (config_has(node, "spf"))
        spf = config_enum(node, "spf");
    pool->spf_published = spf == SPF_PUBLISHED;
    pool->spf_hidden = spf == SPF_HIDDEN;
}

/* The addresses of risky mail get listed now and then: that is what they are there for. */
static bool read_stays_listed(unsigned carries, const struct config_node *node) {
    if (config_has(node, "when-listed"))
        return config_enum(node, "when-listed") == LISTED_STAY;
    return (carries & (1u << CLASS_HIGH_RISK | 1u << CLASS_HIGH_RISK_RELAY)) != 0;
}

static int64_t read_duration(const struct config_node *node, const char *name) {
    return config_has(node, name) ? config_duration_ms(node, name) : -1;
}

static unsigned read_weight(const struct pool_loading *l, const struct config_node *node, struct str name) {
    if (config_has(node, "weight"))
        return (unsigned)config_integer(node, "weight");
    for (size_t i = 0; i < l->options->owned_count; i++)
        if (str_eq(l->options->owned[i], name))
            return 0;
    return 1;
}

static void read_addresses(struct pool_loading *l, struct pool_draft *d, const struct config_node *at_site,
                           const struct config_node *at_root) {
    bool site_has = at_site && config_has(at_site, "addresses");
    bool root_has = at_root && config_has(at_root, "addresses");
    if (root_has && l->site_count > 1)
        config_complain(l->errors, at_root, "addresses",
                        "with several sites, addresses stand in site \"name\" { pool \"%.*s\" { ... } }",
                        STR_FMT(d->pool.name));
    else if (root_has && site_has)
        config_complain(l->errors, at_site, "addresses", "pool `%.*s` has addresses at line %d already",
                        STR_FMT(d->pool.name), config_line(at_root, "addresses"));
    if (!site_has && !(root_has && l->site_count == 1))
        return;
    d->where = site_has ? at_site : at_root;
    d->addresses = config_list(d->where, "addresses");
}

static void read_pool(struct pool_loading *l, size_t site, const struct config_node *at_site,
                      const struct config_node *at_root) {
    struct pool_draft *d = &l->drafts[l->draft_count++];
    struct str name = config_title(at_site ? at_site : at_root);
    *d = (struct pool_draft){.node = at_site ? at_site : at_root};
    d->pool = (struct pool){
        .name = name,
        .site = (uint32_t)site,
        .carries = read_carries(l, saying(at_site, at_root, "carries"), name),
        .weight = read_weight(l, saying(at_site, at_root, "weight"), name),
        .code = read_code(l, saying(at_site, at_root, "class"), name, &l->sites[site]),
        .first_retry = read_duration(saying(at_site, at_root, "first-retry"), "first-retry"),
        .max_retry = read_duration(saying(at_site, at_root, "max-retry"), "max-retry"),
        .expire = read_duration(saying(at_site, at_root, "expire"), "expire"),
    };
    read_spf(&d->pool, saying(at_site, at_root, "spf"));
    d->pool.stays_listed = read_stays_listed(d->pool.carries, saying(at_site, at_root, "when-listed"));
    if (name.len > POOL_NAME_MAX)
        config_complain(l->errors, d->node, NULL, "the name of a pool has at most %d bytes", POOL_NAME_MAX);
    if (d->pool.first_retry > 0 && d->pool.max_retry > 0 && d->pool.first_retry > d->pool.max_retry)
        config_complain(l->errors, d->node, "first-retry", "`first-retry` is longer than `max-retry`");
    read_ehlo(l, d, saying(at_site, at_root, "ehlo"));
    read_addresses(l, d, at_site, at_root);
}

static const struct config_node *by_title(struct config_sections nodes, struct str title) {
    for (size_t i = 0; i < nodes.count; i++)
        if (str_eq(config_title(nodes.at[i]), title))
            return nodes.at[i];
    return NULL;
}

/* A pool of the root exists at every site; a site may add pools of its own. */
static void read_pools(struct pool_loading *l, const struct config_node *root) {
    struct config_sections shared = config_sections(root, "pool");
    size_t most = shared.count * l->site_count;
    for (size_t i = 0; i < l->site_count; i++)
        if (l->site_nodes[i])
            most += config_sections(l->site_nodes[i], "pool").count;
    l->drafts = arena_array(l->arena, struct pool_draft, most);
    for (size_t i = 0; i < l->site_count; i++) {
        struct config_sections own = {NULL, 0};
        if (l->site_nodes[i])
            own = config_sections(l->site_nodes[i], "pool");
        for (size_t j = 0; j < shared.count; j++)
            read_pool(l, i, by_title(own, config_title(shared.at[j])), shared.at[j]);
        for (size_t j = 0; j < own.count; j++)
            if (!by_title(shared, config_title(own.at[j])))
                read_pool(l, i, own.at[j], NULL);
    }
}

/* ---- checks across pools ---- */

static void check_codes(struct pool_loading *l) {
    for (size_t i = 0; i < l->draft_count; i++) {
        const struct pool_draft *d = &l->drafts[i];
        for (size_t j = 0; d->pool.code.len && j < i; j++) {
            const struct pool_draft *other = &l->drafts[j];
            if (other->pool.site == d->pool.site && str_eq_nocase(other->pool.code, d->pool.code))
                config_complain(l->errors, d->node, "class", "`class` is `%.*s`, as in pool `%.*s` (line %d)",
                                STR_FMT(d->pool.code), STR_FMT(other->pool.name),
                                config_line(other->node, "class"));
        }
    }
}

/* Names of sources differ: without {class} two pools would share them. */
static void check_templates(struct pool_loading *l) {
    for (size_t i = 0; i < l->site_count; i++) {
        size_t with_addresses = 0;
        for (size_t j = 0; j < l->draft_count; j++)
            with_addresses += l->drafts[j].pool.site == i && l->drafts[j].addresses.count > 0;
        if (l->sites[i].ptr.len && with_addresses > 1 && str_find(l->sites[i].ptr, STR("{class}")) < 0)
            config_complain(l->errors, l->site_nodes[i], "ptr",
                            "`ptr` needs {class}: this site has several pools");
    }
}

/* A name that stood for two addresses could point back to one of them only. Within a pool they differ by {n}.
 */
static void check_names(struct pool_loading *l) {
    struct map *names = map_new(true);
    for (size_t i = 0; i < l->draft_count; i++) {
        const struct pool_draft *d = &l->drafts[i];
        for (uint32_t j = 0; j < d->pool.source_count; j++) {
            const struct source *s = &d->pool.sources[j], *other;
            char here[IP_TEXT_SIZE], there[IP_TEXT_SIZE];
            if (!s->ptr)
                break;
            other = map_get(names, str_of(s->ptr));
            if (other && other->pool != s->pool) {
                const struct pool *with = &l->drafts[other->pool].pool;
                bool known =
                    with->site == d->pool.site && str_find(l->sites[with->site].ptr, STR("{class}")) < 0;
                if (!known) /* else check_templates has said it */
                    config_complain(
                        l->errors, l->site_nodes[d->pool.site], "ptr",
                        "`ptr` gives %s the name `%s`, which %s has in pool `%.*s` of site `%.*s`",
                        ip_text(&s->ip, here), s->ptr, ip_text(&other->ip, there), STR_FMT(with->name),
                        STR_FMT(l->sites[with->site].name));
                break;
            }
            map_put(names, str_of(s->ptr), (void *)(uintptr_t)s);
        }
    }
    map_free(names);
}

static void check_classes(struct pool_loading *l, const struct config_node *root) {
    for (unsigned class = 0; class < MAIL_CLASS_COUNT; class ++) {
        bool carried = false, shared = false, filled = false, any_here = false;
        for (size_t i = 0; i < l->draft_count; i++) {
            const struct pool *p = &l->drafts[i].pool;
            any_here |= l->sites[p->site].here;
            if (!l->sites[p->site].here || !pool_carries(p, class))
                continue;
            carried = true;
            shared |= p->weight > 0;
            filled |= p->source_count > 0;
        }
        const char *name = mail_class_name(class);
        if (!carried && (any_here || l->draft_count == 0))
            config_complain(l->errors, root, NULL, "no pool carries the class `%s`: add pool \"%s\" { ... }",
                            name, name);
        else if (carried && !filled)
            config_warn(l->errors, root, NULL, "the class `%s` has no address to leave from: its mail waits",
                        name);
        else if (carried && !shared)
            config_warn(l->errors, root, NULL,
                        "only tenants' own pools carry the class `%s`: such mail of all others waits", name);
    }
}

static void check_empty(struct pool_loading *l) {
    for (size_t i = 0; i < l->draft_count; i++) {
        const struct pool_draft *d = &l->drafts[i];
        if (d->addresses.count == 0 && l->sites[d->pool.site].here)
            config_warn(l->errors, d->node, NULL, "pool `%.*s` has no address: its mail waits",
                        STR_FMT(d->pool.name));
    }
}

/* Only this node's addresses; one line a pool names those that can't be bound. */
static void check_bindable(struct pool_loading *l, const struct pool_draft *d) {
    struct buf names __attribute__((cleanup(buf_free))) = {0};
    size_t count = 0;
    int error = 0;
    for (uint32_t i = 0; i < d->pool.source_count; i++) {
        const struct ip *ip = &d->pool.sources[i].ip;
        char text[IP_TEXT_SIZE];
        int got = l->options->bindable(l->options->bindable_ctx, ip);
        if (got == 0)
            continue;
        if (count++ < NAMED_MAX)
            buf_printf(&names, "%s%s", names.len ? ", " : "", ip_text(ip, text));
        error = got;
    }
    if (count > NAMED_MAX)
        buf_printf(&names, " and %zu more", count - NAMED_MAX);
    if (count)
        config_complain(l->errors, d->where, "addresses", "pool `%.*s`: this host can't send from %s (%s)",
                        STR_FMT(d->pool.name), buf_c(&names), error_text(error));
}

const struct pools *pools_load(struct arena *arena, const struct config_node *root,
                               const struct pool_options *options, struct config_errors *errors) {
    struct pool_loading l = {.arena = arena, .options = options, .errors = errors};
    struct pools *ret = arena_new_of(arena, struct pools);
    read_sites(&l, root);
    read_pools(&l, root);
    check_codes(&l);
    check_templates(&l);
    pool_expand(&l, ret);
    check_names(&l);
    check_empty(&l);
    check_classes(&l, root);
    struct pool *pools = arena_array(arena, struct pool, l.draft_count);
    for (size_t i = 0; i < l.draft_count; i++) {
        pools[i] = l.drafts[i].pool;
        if (options->bindable && l.sites[pools[i].site].here && pools[i].source_count)
            check_bindable(&l, &l.drafts[i]);
    }
    ret->sites = l.sites, ret->site_count = l.site_count;
    ret->pools = pools, ret->pool_count = l.draft_count;
    return ret;
}
