#include "identity/settings.h"
#include "auth/align.h"
#include "identity/names.h"
#include "pool/pool.h"
#include <stdio.h>

enum { SECOND = 1000, WEEK_MS = 7 * 86400000 };

static const char *const REQUIRE_WORDS[] = {"none", "fcrdns", NULL};
enum { REQUIRE_NONE, REQUIRE_FCRDNS };

const struct config_option identity_options[] = {
    {.name = "domain",
     .kind = CONFIG_STRING,
     .preset_doc = "the organisational domain of the site's EHLO name",
     .doc = "Customers include spf.DOMAIN for all published pools, or POOL.spf.DOMAIN for one."},
    {.name = "zones",
     .kind = CONFIG_LIST,
     .doc = "Zones of yours, where the cut is not at the organisational domain (outbound.example.net), the "
            "/24 (2.0.192.in-addr.arpa) or the /64; and how your provider delegates parts of a /24 "
            "(16-28.2.0.192.in-addr.arpa, 16/28.2.0.192.in-addr.arpa or 16-31.2.0.192.in-addr.arpa)."},
    {.name = "name-servers",
     .kind = CONFIG_LIST,
     .doc = "Who serves these zones; one that stands in such a zone itself with its addresses: "
            "`ns1.example.net 192.0.2.53`. The first is the primary."},
    {.name = "primary",
     .kind = CONFIG_STRING,
     .doc = "Where `sluice dns publish` sends dynamic updates: `192.0.2.53` or `192.0.2.53@5353`."},
    {.name = "key",
     .kind = CONFIG_STRING,
     .preset_doc = "updates are not signed",
     .doc = "File of the TSIG key that signs them, as `tsig-keygen` and `keymgr -t` write it."},
    {.name = "contact",
     .kind = CONFIG_STRING,
     .preset_doc = "hostmaster@ the domain",
     .doc = "The mail address in each SOA."},
    {.name = "ttl",
     .kind = CONFIG_DURATION,
     .preset = "1h",
     .min = SECOND,
     .max = WEEK_MS,
     .doc = "TTL of all records."},
    {.name = "check",
     .kind = CONFIG_STRING,
     .preset_doc = "auto; off while every address of every pool is private",
     .doc =
         "How often the daemon asks everything that `sluice dns check` asks: `auto`, when the first of the "
         "answers has outlived its TTL, but after 15 minutes at the earliest and 6 hours at the latest; a "
         "time such as `1h`, at least `1s`; or `off`."},
    {.name = "check-rate",
     .kind = CONFIG_INTEGER,
     .preset = "100",
     .min = 1,
     .max = 10000,
     .doc = "How many questions a second the daemon asks for that. An address takes two to four."},
    {.name = "dmarc",
     .kind = CONFIG_STRING,
     .preset = "p=none",
     .doc = "What the DMARC records of tenants' domains say after `v=DMARC1;`."},
    {.name = "require",
     .kind = CONFIG_ENUM,
     .preset_doc = "fcrdns for addresses of the Internet where this node's site has a `ptr`; else none",
     .words = REQUIRE_WORDS,
     .doc = "`fcrdns`: an address whose PTR name does not lead back to it rests until it does; `none`: it is "
            "used all the same. Written here, `fcrdns` is for private addresses too."},
    {.name = "recheck",
     .kind = CONFIG_DURATION,
     .preset = "5min",
     .min = SECOND,
     .max = 6 * 3600 * SECOND,
     .doc = "How soon an address that is not confirmed is asked for again, and the least between two "
            "questions for one address; one that is confirmed is asked for when its records expire. It rests "
            "after the second denial."},
    {.kind = CONFIG_END},
};

struct reading {
    struct arena *arena;
    const struct config_node *node;
    struct config_errors *errors;
};

static struct str without_dot(struct str name) {
    return str_ends(name, STR(".")) ? str_head(name, name.len - 1) : name;
}

/* ---- zones ---- */

static void set_v4(struct ip *ip, const unsigned char net[3], uint64_t last) {
    char text[IP_TEXT_SIZE];
    snprintf(text, sizeof text, "%u.%u.%u.%u", net[0], net[1], net[2], (unsigned)last);
    ip_parse(str_of(text), ip);
}

/* "16-28", "16/28", "16-31": the part of the /24 that such a label means. A dash is a range where both ends
 * make a block that could be a network ("16-31"), else a prefix. */
static bool read_part(struct str label, uint64_t *ret_first, uint64_t *ret_last) {
    ptrdiff_t slash = str_index(label, '/'), at = slash >= 0 ? slash : str_index(label, '-');
    uint64_t first, second;
    if (at < 0 || !str_to_u64(str_head(label, (size_t)at), &first) ||
        !str_to_u64(str_from_index(label, (size_t)at + 1), &second) || first > 255)
        return false;
    uint64_t size = second - first + 1;
    bool range = slash < 0 && second > first && second < 256 && !(size & (size - 1)) && first % size == 0;
    if (!range && (second < 25 || second > 32 || first % ((uint64_t)1 << (32 - second))))
        return false;
    *ret_first = first;
    *ret_last = range ? second : first + ((uint64_t)1 << (32 - second)) - 1;
    return true;
}

/* "b.a.in-addr.arpa" → a, b: as many numbers as stand there. */
static bool read_v4_zone(struct str name, unsigned char net[4], size_t *ret_count) {
    static const struct str SUFFIX = {".in-addr.arpa", 13};
    struct str rest = str_head(name, name.len - SUFFIX.len), label;
    uint64_t numbers[4], count = 0;
    while (str_cut(&rest, '.', &label)) {
        if (count == 4 || !str_to_u64(label, &numbers[count]) || numbers[count] > 255)
            return false;
        count++;
    }
    for (size_t i = 0; i < count; i++)
        net[i] = (unsigned char)numbers[count - 1 - i];
    *ret_count = count;
    return true;
}

static bool is_v6_zone(struct str name) {
    struct str rest = str_head(name, name.len - (sizeof ".ip6.arpa" - 1)), label;
    size_t nibbles = 0;
    for (; str_cut(&rest, '.', &label); nibbles++)
        if (label.len != 1 || !strchr("0123456789abcdef", label.at[0]))
            return false;
    return nibbles <= 32;
}

static bool read_zone(struct str name, struct identity_zone *zone) {
    struct str rest = name, label;
    unsigned char net[4];
    size_t numbers;
    uint64_t first, last;
    *zone = (struct identity_zone){.name = name};
    if (str_ends(name, STR(".ip6.arpa")))
        return is_v6_zone(name);
    if (!str_ends(name, STR(".in-addr.arpa")))
        return pool_host_name_valid(name);
    if (read_v4_zone(name, net, &numbers))
        return true;
    if (!str_cut(&rest, '.', &label) || !read_part(label, &first, &last) ||
        !read_v4_zone(rest, net, &numbers) || numbers != 3)
        return false;
    zone->delegated = true;
    set_v4(&zone->range.first, net, first);
    set_v4(&zone->range.last, net, last);
    return true;
}

static void read_zones(struct reading *r, struct identity_settings *s) {
    struct config_list list = config_list(r->node, "zones");
    struct identity_zone *zones = arena_array(r->arena, struct identity_zone, list.count);
    for (size_t i = 0; i < list.count; i++) {
        if (read_zone(str_lower(r->arena, without_dot(list.at[i])), &zones[s->zone_count]))
            s->zone_count++;
        else
            config_complain(
                r->errors, r->node, "zones",
                "`%.*s` is no zone: example.net, 2.0.192.in-addr.arpa, 16-28.2.0.192.in-addr.arpa, "
                "8.b.d.0.1.0.0.2.ip6.arpa",
                STR_FMT(list.at[i]));
    }
    s->zones = zones;
}

/* ---- the rest ---- */

static bool read_server(struct reading *r, struct str text, struct name_server *server) {
    struct str rest = text, word;
    struct ip *at = arena_array(r->arena, struct ip, text.len);
    *server = (struct name_server){.at = at};
    while (str_cut(&rest, ' ', &word)) {
        if (!word.len)
            continue;
        if (!server->name.at)
            server->name = str_lower(r->arena, without_dot(word));
        else if (!ip_parse(word, &at[server->count++]))
            return false;
    }
    return pool_host_name_valid(server->name);
}

static void read_servers(struct reading *r, struct identity_settings *s) {
    struct config_list list = config_list(r->node, "name-servers");
    struct name_server *servers = arena_array(r->arena, struct name_server, list.count);
    for (size_t i = 0; i < list.count; i++) {
        if (read_server(r, list.at[i], &servers[s->server_count]))
            s->server_count++;
        else
            config_complain(r->errors, r->node, "name-servers",
                            "`%.*s` is no name server: `ns1.example.net`, or with its addresses "
                            "`ns1.example.net 192.0.2.53 2001:db8::53`",
                            STR_FMT(list.at[i]));
    }
    s->servers = servers;
}

static void read_domain(struct reading *r, const struct pools *pools, struct identity_settings *s) {
    struct str written = config_string(r->node, "domain");
    s->domain_given = written.len > 0;
    s->domain = align_organisation(r->arena, pools->sites[0].ehlo);
    if (!s->domain_given)
        return;
    s->domain = str_lower(r->arena, without_dot(written));
    if (!pool_host_name_valid(s->domain) || str_index(s->domain, '.') < 0)
        config_complain(r->errors, r->node, "domain", "`%.*s` is no domain", STR_FMT(written));
}

/* As RNAME of the SOA (RFC 1035 3.3.13) it must be plain. */
static void read_contact(struct reading *r, struct identity_settings *s) {
    struct str written = config_string(r->node, "contact");
    ptrdiff_t at = str_rindex(written, '@');
    s->contact = written.len ? written : str_printf(r->arena, "hostmaster@%.*s", STR_FMT(s->domain));
    if (!written.len)
        return;
    bool good = at > 0 && at < 64 && pool_host_name_valid(str_from_index(written, (size_t)at + 1));
    for (ptrdiff_t i = 0; good && i < at; i++)
        good = written.at[i] > ' ' && written.at[i] < 127 && !strchr("\"\\();@", written.at[i]);
    if (!good)
        config_complain(r->errors, r->node, "contact", "`%.*s` is no plain mail address", STR_FMT(written));
}

static void read_primary(struct reading *r, struct identity_settings *s) {
    struct str ip;
    struct ip at;
    uint64_t port = 53;
    s->primary = ip = config_string(r->node, "primary");
    ptrdiff_t mark = str_index(ip, '@');
    bool good =
        mark < 0 || (str_to_u64(str_from_index(ip, (size_t)mark + 1), &port) && port > 0 && port < 65536);
    if (mark >= 0)
        ip = str_head(ip, (size_t)mark);
    if (s->primary.len && !(good && ip_parse(ip, &at)))
        config_complain(r->errors, r->node, "primary", "`%.*s` is not IP or IP@port", STR_FMT(s->primary));
}

static void read_dmarc(struct reading *r, struct identity_settings *s) {
    s->dmarc = str_trim(config_string(r->node, "dmarc"));
    bool good = str_starts(s->dmarc, STR("p=none")) || str_starts(s->dmarc, STR("p=quarantine")) ||
                str_starts(s->dmarc, STR("p=reject"));
    for (size_t i = 0; i < s->dmarc.len; i++)
        good = good && s->dmarc.at[i] >= ' ' && s->dmarc.at[i] < 127;
    if (!good)
        config_complain(r->errors, r->node, "dmarc",
                        "`dmarc` begins with p=none, p=quarantine or p=reject (RFC 7489 6.3)");
}

/* Who gives the addresses names means them to be right. */
static void read_require(struct reading *r, const struct pools *pools, struct identity_settings *s) {
    s->recheck_ms = config_duration_ms(r->node, "recheck");
    s->confirm_private = config_has(r->node, "require");
    if (s->confirm_private)
        s->confirm = config_enum(r->node, "require") == REQUIRE_FCRDNS;
    for (size_t i = 0; !s->confirm_private && i < pools->site_count; i++)
        s->confirm |= pools->sites[i].here && pools->sites[i].ptr.len;
}

static bool all_private(const struct pools *pools) {
    for (size_t i = 0; i < pools->source_count; i++)
        if (!ip_is_private(&pools->sources[i].ip))
            return false;
    return true;
}

static void read_check(struct reading *r, const struct pools *pools, struct identity_settings *s) {
    struct str written = config_string(r->node, "check");
    s->check = IDENTITY_CHECK_EVERY;
    s->check_rate = (unsigned)config_integer(r->node, "check-rate");
    if (!written.len)
        s->check = all_private(pools) ? IDENTITY_CHECK_OFF : IDENTITY_CHECK_TTL;
    else if (str_eq(written, STR("off")))
        s->check = IDENTITY_CHECK_OFF;
    else if (str_eq(written, STR("auto")))
        s->check = IDENTITY_CHECK_TTL;
    else if (!config_parse_duration(written, &s->check_ms) || s->check_ms < SECOND || s->check_ms > WEEK_MS)
        config_complain(r->errors, r->node, "check", "`%.*s` is not auto, off or a time from 1s to 7d",
                        STR_FMT(written));
}

struct identity_settings identity_load(struct arena *arena, const struct config_node *root, const char *state,
                                       const struct pools *pools, struct config_errors *errors) {
    struct reading r = {arena, config_section_or_empty(root, "identity"), errors};
    struct identity_settings s = {.ttl = config_duration_ms(r.node, "ttl") / SECOND};
    read_domain(&r, pools, &s);
    read_zones(&r, &s);
    read_servers(&r, &s);
    read_contact(&r, &s);
    read_dmarc(&r, &s);
    read_primary(&r, &s);
    read_require(&r, pools, &s);
    read_check(&r, pools, &s);
    s.key = config_path(arena, r.node, "key", state);
    return s;
}
