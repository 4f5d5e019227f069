#include "identity/blocklist_settings.h"
#include "base/error.h"
#include "base/ip_range.h"
#include "pool/pool.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, DAY = 24 * 60 * MINUTE };
/* Public lists shut out who asks them more. */
enum { PUBLIC_EVERY_MS = 5 * MINUTE, PUBLIC_GAP_MS = 200 };

static const char *const LISTING_WORDS[] = {"rest", "tell", NULL};
enum { LISTING_REST, LISTING_TELL };

const struct config_option blocklists_options[] = {
    {.name = "watch",
     .kind = CONFIG_BOOL,
     .preset_doc = "yes; no where `dns` has a `zone-file`",
     .doc = "Whether the addresses of this node's site are watched on DNS lists. Private addresses are on "
            "none of the usual lists, which are not asked about them."},
    {.name = "defaults",
     .kind = CONFIG_BOOL,
     .preset = "yes",
     .doc = "Whether the usual lists are watched: Spamhaus ZEN, SpamCop, Barracuda, PSBL, Mailspike."},
    {.name = "on-listing",
     .kind = CONFIG_ENUM,
     .preset = "rest",
     .words = LISTING_WORDS,
     .doc = "What a listing does: `rest`: the address rests in pools whose `when-listed` is rest; `tell`: an "
            "alert, and mail goes on."},
    {.name = "every",
     .kind = CONFIG_DURATION,
     .preset = "1h",
     .min = SECOND,
     .max = DAY,
     .doc = "How often each address is asked for; with the usual lists at least 5min."},
    {.name = "gap",
     .kind = CONFIG_DURATION,
     .preset = "1s",
     .min = 10,
     .max = 60 * MINUTE,
     .doc = "The least time between two questions to one list; with the usual lists at least 200ms. Many "
            "addresses are asked for less often instead."},
    {.kind = CONFIG_END},
};

const struct config_option blocklist_options[] = {
    {.name = "zone",
     .kind = CONFIG_STRING,
     .doc = "Where it is asked (RFC 5782): `bl.example.org`. Of a usual list another one, as for a key of "
            "yours: `KEY.zen.dq.spamhaus.net`."},
    {.name = "families",
     .kind = CONFIG_LIST,
     .preset_doc = "ipv4; of a usual list its own",
     .doc = "The addresses that it knows: `ipv4`, `ipv6`."},
    {.name = "codes",
     .kind = CONFIG_LIST,
     .preset_doc = "127.0.0.2-127.0.0.255 lists; of a usual list its own",
     .doc = "What its answers mean: `127.0.0.2 lists a source of spam`, `127.0.0.10-127.0.0.11 nothing`, "
            "`127.0.0.99 refuses over the quota`. A code that is not named says nothing. 127.255.255.0/24 "
            "and 127.0.0.1 are refusals of any list."},
    {.name = "removal",
     .kind = CONFIG_STRING,
     .doc = "The page where one asks to be removed; % stands for the address."},
    {.name = "on-listing",
     .kind = CONFIG_ENUM,
     .preset_doc = "as in `blocklists`",
     .words = LISTING_WORDS,
     .doc = "`rest` or `tell`, for this list."},
    {.name = "disabled", .kind = CONFIG_BOOL, .preset = "no", .doc = "Whether it is left out."},
    {.kind = CONFIG_END},
};

struct reading {
    struct arena *arena;
    const struct config_node *node;
    struct config_errors *errors;
};

/* ---- one list ---- */

/* "127.0.0.2 lists a source of spam" */
static bool read_code(struct reading *r, struct str text, struct blocklist_code *code) {
    static const struct {
        struct str word;
        enum blocklist_meaning meaning;
        struct str usual;
    } words[] = {{STR("lists"), BLOCKLIST_LISTS, STR("listed")},
                 {STR("refuses"), BLOCKLIST_REFUSES, STR("it refuses to answer")},
                 {STR("nothing"), BLOCKLIST_NOTHING, STR("")}};
    struct str rest = str_trim(text), codes = STR(""), word = STR("");
    struct ip_range range;
    char first[IP_TEXT_SIZE], last[IP_TEXT_SIZE];
    struct ip loopback;
    if (!str_cut(&rest, ' ', &codes) || ip_range_parse(codes, &range) != 0 ||
        !ip_parse(STR("127.0.0.0"), &loopback) || !ip_in(&range.first, &loopback, 8) ||
        !ip_in(&range.last, &loopback, 8))
        return false;
    rest = str_trim(rest);
    if (!str_cut(&rest, ' ', &word))
        return false;
    rest = str_trim(rest);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!str_eq_nocase(word, words[i].word))
            continue;
        *code = (struct blocklist_code){str_copy(r->arena, str_of(ip_text(&range.first, first))),
                                        str_copy(r->arena, str_of(ip_text(&range.last, last))),
                                        words[i].meaning, rest.len ? rest : words[i].usual};
        return true;
    }
    return false;
}

static void read_codes(struct reading *r, struct blocklist *list) {
    struct config_list written = config_list(r->node, "codes");
    struct blocklist_code *codes = arena_array(r->arena, struct blocklist_code, written.count);
    size_t count = 0;
    bool lists = false;
    if (!config_has(r->node, "codes"))
        return;
    for (size_t i = 0; i < written.count; i++) {
        if (!read_code(r, written.at[i], &codes[count])) {
            config_complain(r->errors, r->node, "codes",
                            "`%.*s` is no code: `127.0.0.2 lists TEXT`, `127.0.0.10-127.0.0.11 nothing`, "
                            "`127.0.0.99 refuses TEXT`",
                            STR_FMT(written.at[i]));
            return;
        }
        lists |= codes[count++].meaning == BLOCKLIST_LISTS;
    }
    if (!lists)
        config_complain(r->errors, r->node, "codes", "none of the codes lists");
    list->codes = codes, list->code_count = count;
}

static void read_families(struct reading *r, struct blocklist *list) {
    struct config_list written = config_list(r->node, "families");
    if (!config_has(r->node, "families"))
        return;
    list->v4 = list->v6 = false;
    for (size_t i = 0; i < written.count; i++) {
        bool v4 = str_eq_nocase(written.at[i], STR("ipv4")), v6 = str_eq_nocase(written.at[i], STR("ipv6"));
        list->v4 |= v4, list->v6 |= v6;
        if (!v4 && !v6)
            config_complain(r->errors, r->node, "families", "`%.*s` is neither ipv4 nor ipv6",
                            STR_FMT(written.at[i]));
    }
    if (!written.count)
        config_complain(r->errors, r->node, "families", "`families` is empty");
}

static void read_zone(struct reading *r, struct blocklist *list) {
    struct str zone = config_string(r->node, "zone");
    if (str_ends(zone, STR(".")))
        zone.len--;
    if (zone.len)
        list->zone = str_lower(r->arena, zone);
    if (!list->zone.len)
        config_complain(r->errors, r->node, NULL, "blocklist \"%.*s\" needs a `zone`", STR_FMT(list->name));
    else if (!pool_host_name_valid(list->zone) || list->zone.len > 180)
        config_complain(r->errors, r->node, "zone", "`%.*s` is no zone of a list", STR_FMT(zone));
}

static void read_list(struct reading *r, struct blocklist *list) {
    struct str removal = config_string(r->node, "removal");
    read_zone(r, list);
    read_families(r, list);
    read_codes(r, list);
    if (removal.len)
        list->removal = removal;
    if (config_has(r->node, "on-listing"))
        list->tells_only = config_enum(r->node, "on-listing") == LISTING_TELL;
}

/* ---- all ---- */

static struct blocklist *find(struct blocklist *lists, size_t count, struct str name) {
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(lists[i].name, name))
            return &lists[i];
    return NULL;
}

static bool is_usual(struct str zone) {
    for (size_t i = 0; i < blocklist_default_count; i++)
        if (str_eq_nocase(zone, blocklist_defaults[i].zone))
            return true;
    return false;
}

static void check(struct reading *r, const struct blocklist_settings *s) {
    for (size_t i = 0; i < s->count; i++) {
        for (size_t j = 0; j < i; j++)
            if (str_eq_nocase(s->lists[i].zone, s->lists[j].zone))
                config_complain(r->errors, r->node, NULL, "two blocklists have the zone %.*s",
                                STR_FMT(s->lists[i].zone));
        if (!is_usual(s->lists[i].zone))
            continue;
        if (s->pace.round_ms < PUBLIC_EVERY_MS)
            config_complain(r->errors, r->node, "every", "%.*s is public: `every` is at least 5min",
                            STR_FMT(s->lists[i].zone));
        else if (s->pace.gap_ms < PUBLIC_GAP_MS)
            config_complain(r->errors, r->node, "gap", "%.*s is public: `gap` is at least 200ms",
                            STR_FMT(s->lists[i].zone));
        else
            continue;
        return;
    }
}

struct blocklist_settings blocklists_load(struct arena *arena, const struct config_node *root, bool closed,
                                          struct config_errors *errors) {
    const struct config_node *node = config_section_or_empty(root, "blocklists");
    struct config_sections written = config_sections(root, "blocklist");
    struct reading r = {arena, node, errors};
    struct blocklist_settings s = {
        .pace = {config_duration_ms(node, "every"), config_duration_ms(node, "gap")}};
    bool watch = config_has(node, "watch") ? config_bool(node, "watch") : !closed;
    bool tells = config_enum(node, "on-listing") == LISTING_TELL;
    struct blocklist *lists = arena_array(arena, struct blocklist, blocklist_default_count + written.count);
    for (size_t i = 0; i < blocklist_default_count && config_bool(node, "defaults"); i++) {
        lists[s.count] = blocklist_defaults[i];
        lists[s.count++].tells_only = tells;
    }
    for (size_t i = 0; i < written.count; i++) {
        struct reading one = {arena, written.at[i], errors};
        struct str name = config_title(written.at[i]);
        struct blocklist *list = find(lists, s.count, name);
        if (config_bool(written.at[i], "disabled")) {
            if (list)
                *list = lists[--s.count];
            continue;
        }
        if (!list) {
            list = &lists[s.count++];
            *list = (struct blocklist){.name = name, .v4 = true, .own = true, .tells_only = tells};
        }
        read_list(&one, list);
    }
    s.lists = lists;
    s.count = watch ? s.count : 0;
    check(&r, &s);
    return s;
}
