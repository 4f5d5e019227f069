#include "identity/zone.h"
#include "base/map.h"
#include "identity/names.h"
#include <stdio.h>

enum { REFRESH = 3600, RETRY = 900, EXPIRE = 1209600, NEGATIVE = 300, UPDATES_A_MESSAGE = 200 };

/* Stands in for what nobody configured: it can't be mistaken for a server (RFC 2606 2). */
#define NO_SERVER "ns.invalid"

struct str zone_file_name(struct arena *arena, const struct plan_zone *zone) {
    struct str name = str_printf(arena, "%.*s.zone", STR_FMT(zone->name));
    for (char *c = (char *)(uintptr_t)name.at; *c; c++) /* ours: just made */
        *c = *c == '/' ? '-' : *c;
    return name;
}

/* The zone of the plan that holds the name, the longest; NULL: none. */
static const struct plan_zone *zone_of(const struct plan *plan, struct str name) {
    const struct plan_zone *best = NULL;
    for (size_t i = 0; i < plan->zone_count; i++)
        if (name_is_below(name, plan->zones[i].name) && (!best || plan->zones[i].name.len > best->name.len))
            best = &plan->zones[i];
    return best;
}

/* ---- head ---- */

static void comment(struct buf *out, const struct plan *plan, const struct plan_zone *zone) {
    switch (zone->owner) {
    case PLAN_OURS:
        buf_printf(out, "; All that sending needs in %.*s.\n", STR_FMT(zone->name));
        break;
    case PLAN_PROVIDER:
        buf_printf(out, "; For the provider of the addresses: these records belong in their zone %.*s.\n",
                   STR_FMT(zone->name));
        break;
    case PLAN_TENANT:
        buf_printf(out, "; For the customer: these records belong in their zone %.*s.\n",
                   STR_FMT(zone->name));
        break;
    }
    for (size_t i = 0; i < plan->note_count; i++)
        if (zone_of(plan, plan->notes[i].name) == zone)
            buf_printf(out, "; %.*s: %.*s\n", STR_FMT(plan->notes[i].name), STR_FMT(plan->notes[i].text));
}

/* "a.b@example.net" → "a\.b.example.net." */
static void add_contact(struct buf *out, struct str contact) {
    ptrdiff_t at = str_rindex(contact, '@');
    for (ptrdiff_t i = 0; i < (ptrdiff_t)contact.len; i++)
        if (i == at)
            buf_char(out, '.');
        else
            buf_printf(out, "%s%c", i < at && contact.at[i] == '.' ? "\\" : "", contact.at[i]);
    buf_char(out, '.');
}

/* Writes the addresses that the plan has for the name. */
static bool add_planned(struct buf *out, const struct plan *plan, struct str name) {
    bool any = false;
    for (size_t i = 0; i < plan->record_count; i++) {
        const struct plan_record *r = &plan->records[i];
        if (r->type[0] != 'A' || !str_eq_nocase(str_head(r->name, r->name.len - 1), name))
            continue;
        any = true;
        if (out)
            buf_printf(out, "%.*s %lld IN %s %.*s\n", STR_FMT(r->name), (long long)r->ttl, r->type,
                       STR_FMT(r->data));
    }
    return any;
}

static bool has_address(const struct plan *plan, struct str name) { return add_planned(NULL, plan, name); }

/* Addresses of the servers that stand in this zone, or in one that is cut out of it. */
static void add_glue(struct buf *out, const struct plan *plan, const struct plan_zone *zone,
                     const struct identity_settings *s) {
    char text[IP_TEXT_SIZE];
    for (size_t i = 0; i < s->server_count; i++) {
        const struct name_server *server = &s->servers[i];
        if (!name_is_below(server->name, zone->name))
            continue;
        if (has_address(plan, server->name)) {
            if (zone_of(plan, server->name) != zone)
                add_planned(out, plan, server->name);
            continue;
        }
        for (size_t j = 0; j < server->count; j++)
            buf_printf(out, "%.*s. %lld IN %s %s\n", STR_FMT(server->name), (long long)s->ttl,
                       ip_is_v4(&server->at[j]) ? "A" : "AAAA", ip_text(&server->at[j], text));
    }
}

/* Zones of ours that are cut out of this one; parts of a /24 are delegated by the plan itself. */
static void add_cuts(struct buf *out, const struct plan *plan, const struct plan_zone *zone,
                     const struct identity_settings *s) {
    for (size_t i = 0; i < plan->zone_count; i++) {
        const struct plan_zone *below = &plan->zones[i];
        struct str parent = str_from_index(below->name, (size_t)(str_index(below->name, '.') + 1));
        if (below->owner != PLAN_OURS || below->part_of != PLAN_NO_ZONE || below == zone ||
            zone_of(plan, parent) != zone)
            continue;
        for (size_t j = 0; j < s->server_count; j++)
            buf_printf(out, "%.*s. %lld IN NS %.*s.\n", STR_FMT(below->name), (long long)s->ttl,
                       STR_FMT(s->servers[j].name));
    }
}

static void add_apex(struct buf *out, const struct plan_zone *zone, const struct identity_settings *s,
                     uint32_t serial) {
    struct str primary = s->server_count ? s->servers[0].name : STR(NO_SERVER);
    buf_printf(out, "%.*s. %lld IN SOA %.*s. ", STR_FMT(zone->name), (long long)s->ttl, STR_FMT(primary));
    add_contact(out, s->contact);
    buf_printf(out, " %u %d %d %d %d\n", serial, REFRESH, RETRY, EXPIRE, NEGATIVE);
    for (size_t i = 0; i < s->server_count; i++)
        buf_printf(out, "%.*s. %lld IN NS %.*s.\n", STR_FMT(zone->name), (long long)s->ttl,
                   STR_FMT(s->servers[i].name));
    if (!s->server_count)
        buf_printf(out, "%.*s. %lld IN NS " NO_SERVER ".\n", STR_FMT(zone->name), (long long)s->ttl);
}

static void add_records(struct buf *out, const struct plan *plan, const struct plan_zone *zone) {
    for (size_t i = 0; i < zone->count; i++) {
        const struct plan_record *r = &plan->records[zone->first + i];
        buf_printf(out, "%.*s %lld IN %s %.*s\n", STR_FMT(r->name), (long long)r->ttl, r->type,
                   STR_FMT(r->data));
    }
}

/* Without servers that a part of a /24 could be delegated to, the zone above holds the part's records too. */
void zone_text(struct buf *out, const struct plan *plan, size_t number, const struct identity_settings *s,
               uint32_t serial) {
    const struct plan_zone *zone = &plan->zones[number];
    comment(out, plan, zone);
    add_apex(out, zone, s, serial);
    add_cuts(out, plan, zone, s);
    add_glue(out, plan, zone, s);
    add_records(out, plan, zone);
    for (size_t i = 0; i < plan->zone_count && !s->server_count; i++)
        if (plan->zones[i].part_of == number)
            add_records(out, plan, &plan->zones[i]);
}

struct zone_faults zone_faults(struct arena *arena, const struct plan *plan,
                               const struct identity_settings *s) {
    struct plan_note *notes = arena_array(arena, struct plan_note, s->server_count + 1);
    size_t count = 0;
    if (!s->server_count)
        notes[count++] = (struct plan_note){
            STR("name-servers"),
            STR("identity { name-servers = {...} } is not set: the zones name " NO_SERVER " instead")};
    for (size_t i = 0; i < s->server_count; i++) {
        const struct name_server *server = &s->servers[i];
        const struct plan_zone *zone = zone_of(plan, server->name);
        if (zone && !server->count && !has_address(plan, server->name))
            notes[count++] = (struct plan_note){
                server->name, str_printf(arena,
                                         "this name server stands in zone %.*s itself: write its address "
                                         "after its name, or no server will load the zone",
                                         STR_FMT(zone->name))};
    }
    return (struct zone_faults){notes, count};
}

/* ---- nsupdate ---- */

struct script {
    struct buf *out;
    size_t updates; /* in the message that is being written */
};

static void end_message(struct script *s) {
    if (s->updates)
        buf_str(s->out, STR("send\n"));
    s->updates = 0;
}

static void begin_update(struct script *s, struct str zone) {
    if (s->updates++ == 0)
        buf_printf(s->out, "zone %.*s.\n", STR_FMT(zone));
}

static struct str key_of(struct arena *arena, const struct plan *plan, const struct plan_record *r) {
    return str_lower(arena, str_printf(arena, "%.*s %.*s %s", STR_FMT(plan->zones[r->zone].name),
                                       STR_FMT(r->name), r->type));
}

/* Records of one name and type stand together in the plan, except where a name has several reasons to be:
 * then the later ones are added to the first. */
static void update_zone(struct script *s, const struct plan *plan, const struct plan_zone *zone,
                        struct arena *arena, struct map *seen) {
    struct str last = STR_NULL;
    for (size_t i = 0; i < zone->count; i++) {
        const struct plan_record *r = &plan->records[zone->first + i];
        struct str key = key_of(arena, plan, r);
        if (r->shared)
            continue;
        if (s->updates >= UPDATES_A_MESSAGE && !str_eq(key, last))
            end_message(s);
        begin_update(s, zone->name);
        if (!map_put(seen, key, seen))
            buf_printf(s->out, "update delete %.*s %s\n", STR_FMT(r->name), r->type);
        buf_printf(s->out, "update add %.*s %lld %s %.*s\n", STR_FMT(r->name), (long long)r->ttl, r->type,
                   STR_FMT(r->data));
        last = key;
    }
    end_message(s);
}

void zone_nsupdate(struct buf *out, const struct plan *plan) {
    struct script script = {.out = out};
    struct arena *arena = arena_new(0);
    struct map *seen = map_new(false);
    for (size_t i = 0; i < plan->zone_count; i++)
        if (plan->zones[i].owner == PLAN_OURS)
            update_zone(&script, plan, &plan->zones[i], arena, seen);
    map_free(seen);
    arena_free(arena);
}
