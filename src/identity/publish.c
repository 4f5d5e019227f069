#include "identity/publish.h"
#include "base/map.h"
#include "seeded_bug.h"
#include <stdio.h>

/* A message holds up to 64 KiB (RFC 1035 4.2.2), in text more than in the wire form. */
enum { MESSAGE_TEXT_MAX = 32 * 1024 };

/* Before a line of the memory that may not have been sent: then nobody has seen what others have there. */
static const struct str UNSURE = {"? ", 2};

struct set {
    const struct live_set *live;
    size_t zone;
    struct str why; /* it could not be asked what stands there; else "" */
    bool replace;   /* all of it: nothing of others can stand beside, or something of the same kind does */
    const struct str *keep; /* the others that stand there */
    size_t keep_count;
};

struct zone {
    struct str name;
    size_t records;
    struct buf script;
    size_t message_at; /* where the message that is being written begins */
};

struct publication {
    struct arena *arena;
    const struct plan *plan;
    struct str published;
    struct map *planned, *known, *certain; /* lines: what may stand there of ours, and what does */
    struct map *planned_sets;              /* "zone name type" */
    struct set *sets;
    size_t set_count;
    struct buf zones; /* of struct zone */
    struct map *zone_numbers;
    const struct live_set **questions;
    size_t *question_sets, question_count;
};

static struct str set_key(struct arena *arena, struct str zone, const struct plan_record *r) {
    return str_lower(arena, str_printf(arena, "%.*s %.*s %s", STR_FMT(zone), STR_FMT(r->name), r->type));
}

static struct str line_of(struct arena *arena, struct str zone, const struct plan_record *r) {
    return str_printf(arena, "%.*s %.*s", STR_FMT(set_key(arena, zone, r)), STR_FMT(r->data));
}

/* ---- opening ---- */

static size_t zone_number(struct publication *p, struct str name) {
    size_t known = (size_t)(uintptr_t)map_get(p->zone_numbers, name);
    if (known)
        return known - 1;
    buf_add(&p->zones, &(struct zone){.name = name}, sizeof(struct zone));
    size_t count = p->zones.len / sizeof(struct zone);
    map_put(p->zone_numbers, name, (void *)(uintptr_t)count);
    return count - 1;
}

static struct zone *zone_at(const struct publication *p, size_t number) {
    return &((struct zone *)(void *)p->zones.at)[number];
}

static bool is_ours(const struct plan *plan, const struct plan_record *r) {
    return plan->zones[r->zone].owner == PLAN_OURS && !r->shared;
}

static void add_planned(struct publication *p) {
    const struct plan *plan = p->plan;
    for (size_t i = 0; i < plan->record_count; i++) {
        const struct plan_record *r = &plan->records[i];
        struct str zone = plan->zones[r->zone].name;
        if (!is_ours(plan, r))
            continue;
        map_put(p->planned, line_of(p->arena, zone, r), p);
        map_put(p->planned_sets, set_key(p->arena, zone, r), p);
        zone_at(p, zone_number(p, zone))->records++;
    }
}

/* The next line of the memory; *ret_certain: its zone was sent with it. */
static bool next_line(struct str *rest, struct str *ret, bool *ret_certain) {
    while (str_cut(rest, '\n', ret)) {
        *ret_certain = !str_starts(*ret, UNSURE);
        if (!*ret_certain)
            *ret = str_from_index(*ret, UNSURE.len);
        if (ret->len)
            return true;
    }
    return false;
}

static void add_known(struct publication *p) {
    struct str rest = p->published, line, zone;
    bool certain;
    while (next_line(&rest, &line, &certain)) {
        struct str words = line;
        str_cut(&words, ' ', &zone);
        map_put(p->known, line, p);
        if (certain)
            map_put(p->certain, line, p);
        zone_number(p, zone);
    }
}

/* As it was left there the last time? */
static bool unchanged(const struct publication *p, struct str zone, const struct live_set *set) {
    bool same = true;
    for (size_t i = 0; i < set->count && same; i++)
        same = map_get(p->certain, line_of(p->arena, zone, set->records[i]));
    return same;
}

static bool stands_alone(enum dns_type type) {
    return type == DNS_PTR || type == DNS_CNAME || type == DNS_NS;
}

static void add_sets(struct publication *p) {
    struct live_set *all;
    size_t count = live_sets(p->arena, p->plan, &all);
    p->sets = arena_array(p->arena, struct set, count);
    p->questions = arena_array(p->arena, const struct live_set *, count);
    p->question_sets = arena_array(p->arena, size_t, count);
    for (size_t i = 0; i < count; i++) {
        struct str zone = p->plan->zones[all[i].records[0]->zone].name;
        struct set *set = &p->sets[p->set_count];
        if (!is_ours(p->plan, all[i].records[0]))
            continue;
        p->set_count++;
        *set = (struct set){.live = &all[i],
                            .zone = zone_number(p, zone),
                            .why = STR(""),
                            .replace = stands_alone(all[i].type)};
        if (all[i].type != DNS_TXT || unchanged(p, zone, &all[i]))
            continue;
        set->why = STR("it was not asked");
        p->question_sets[p->question_count] = p->set_count - 1;
        p->questions[p->question_count++] = &all[i];
    }
}

struct publication *publication_new(const struct plan *plan, struct str published) {
    struct arena *arena = arena_new(0);
    struct publication *p = arena_new_of(arena, struct publication);
    *p = (struct publication){.arena = arena, .plan = plan, .published = published};
    p->planned = map_new(false), p->known = map_new(false), p->certain = map_new(false);
    p->planned_sets = map_new(false);
    p->zone_numbers = map_new(true);
    for (size_t i = 0; i < plan->zone_count; i++)
        if (plan->zones[i].owner == PLAN_OURS)
            zone_number(p, plan->zones[i].name);
    add_planned(p);
    add_known(p);
    add_sets(p);
    return p;
}

struct publication *publication_free(struct publication *p) {
    if (!p)
        return NULL;
    for (size_t i = 0; i < publication_zones(p); i++)
        buf_free(&zone_at(p, i)->script);
    map_free(p->planned), map_free(p->known), map_free(p->certain);
    map_free(p->planned_sets), map_free(p->zone_numbers);
    buf_free(&p->zones);
    arena_free(p->arena);
    return NULL;
}

/* ---- what stands there ---- */

size_t publication_questions(const struct publication *p, const struct live_set *const **ret) {
    *ret = p->questions;
    return p->question_count;
}

static bool is_among(const struct live_line *lines, size_t count, enum live_state state, struct str data) {
    for (size_t i = 0; i < count; i++)
        if (lines[i].state == state && str_eq(lines[i].data, data))
            return true;
    return false;
}

static bool is_planned(const struct live_set *set, struct str data) {
    for (size_t i = 0; i < set->count; i++)
        if (str_eq(set->records[i]->data, data))
            return true;
    return false;
}

void publication_answer(struct publication *p, size_t number, const struct dns_answer *answer) {
    struct set *set = &p->sets[p->question_sets[number]];
    struct buf found __attribute__((cleanup(buf_free))) = {0};
    struct str zone = zone_at(p, set->zone)->name;
    set->why = STR("");
    if (answer->status == DNS_FAILED) {
        set->why = answer->why.len ? str_copy(p->arena, answer->why) : STR("no answer");
        return;
    }
    live_compare(p->arena, set->live, answer, &found);
    const struct live_line *lines = (const void *)found.at;
    size_t line_count = found.len / sizeof *lines, count = answer->status == DNS_RECORDS ? answer->count : 0;
    struct str *keep = arena_array(p->arena, struct str, count);
    for (size_t i = 0; i < count; i++) {
        struct str data = plan_txt(p->arena, answer->records[i].text);
        struct plan_record was = *set->live->records[0];
        was.data = data;
        bool other = is_among(lines, line_count, LIVE_OTHER, data);
        set->replace |= other;
#ifdef SLUICE_SEEDED_BUG_PUBLISH_TAKES_OTHERS
        set->replace = true, other = true;
#endif
        if (!other && !is_planned(set->live, data) && !map_get(p->known, line_of(p->arena, zone, &was)))
            keep[set->keep_count++] = data;
    }
    set->keep = keep;
}

/* ---- the script ---- */

static void begin_update(struct zone *z) {
    if (z->script.len && z->script.len - z->message_at > MESSAGE_TEXT_MAX) {
        buf_str(&z->script, STR("send\n"));
        z->message_at = z->script.len;
    }
    if (z->script.len == z->message_at)
        buf_printf(&z->script, "zone %.*s.\n", STR_FMT(z->name));
}

/* What was published once and is planned no more goes first: where a CNAME comes nothing else may stand. */
static void remove_stale(struct publication *p) {
    struct str rest = p->published, line, zone, name, type;
    bool certain;
    while (next_line(&rest, &line, &certain)) {
        struct str data = line;
        if (map_get(p->planned, line) || !str_cut(&data, ' ', &zone) || !str_cut(&data, ' ', &name) ||
            !str_cut(&data, ' ', &type))
            continue;
        struct str set = str_head(line, zone.len + 1 + name.len + 1 + type.len);
        bool alone = str_eq(type, STR("ptr")) || str_eq(type, STR("cname")) || str_eq(type, STR("ns"));
        if (map_get(p->planned_sets, set) && (alone || !data.len)) /* replaced below */
            continue;
        struct zone *z = zone_at(p, zone_number(p, zone));
        begin_update(z);
        buf_printf(&z->script, "update delete %.*s %.*s%s%.*s\n", STR_FMT(name), STR_FMT(type),
                   data.len ? " " : "", STR_FMT(data));
    }
}

static void put(struct publication *p, const struct set *set) {
    const struct plan_record *first = set->live->records[0];
    struct zone *z = zone_at(p, set->zone);
    begin_update(z);
    if (set->replace)
        buf_printf(&z->script, "update delete %.*s %s\n", STR_FMT(first->name), first->type);
    for (size_t i = 0; set->replace && i < set->keep_count; i++)
        buf_printf(&z->script, "update add %.*s %lld %s %.*s\n", STR_FMT(first->name), (long long)first->ttl,
                   first->type, STR_FMT(set->keep[i]));
    for (size_t i = 0; i < set->live->count; i++) {
        const struct plan_record *r = set->live->records[i];
        buf_printf(&z->script, "update add %.*s %lld %s %.*s\n", STR_FMT(r->name), (long long)r->ttl, r->type,
                   STR_FMT(r->data));
    }
}

void publication_write(struct publication *p) {
    remove_stale(p);
    for (size_t i = 0; i < p->set_count; i++)
        put(p, &p->sets[i]);
    for (size_t i = 0; i < publication_zones(p); i++) {
        struct zone *z = zone_at(p, i);
        if (z->script.len > z->message_at)
            buf_str(&z->script, STR("send\n"));
    }
}

size_t publication_zones(const struct publication *p) { return p->zones.len / sizeof(struct zone); }

struct publication_zone publication_zone(struct publication *p, size_t number) {
    const struct zone *z = zone_at(p, number);
    struct publication_zone ret = {z->name, z->records, buf_view(&z->script), STR("")};
    for (size_t i = 0; i < p->set_count && !ret.why.len; i++)
        if (p->sets[i].zone == number && p->sets[i].why.len)
            ret.why = str_printf(p->arena, "the primary does not say what stands at %.*s TXT: %.*s",
                                 STR_FMT(p->sets[i].live->name), STR_FMT(p->sets[i].why));
    return ret;
}

/* ---- the memory ---- */

void publication_memory(const struct publication *p, const bool *done, struct buf *out) {
    struct map *written = map_new(false);
    struct str rest = p->published, line, zone;
    bool certain;
    for (size_t i = 0; i < p->plan->record_count; i++) {
        const struct plan_record *r = &p->plan->records[i];
        struct str name = p->plan->zones[r->zone].name, text = line_of(p->arena, name, r);
        if (!is_ours(p->plan, r) || map_put(written, text, out))
            continue;
        certain = done[(size_t)(uintptr_t)map_get(p->zone_numbers, name) - 1] || map_get(p->certain, text);
        buf_printf(out, "%s%.*s\n", certain ? "" : UNSURE.at, STR_FMT(text));
    }
    while (next_line(&rest, &line, &certain)) {
        struct str words = line;
        str_cut(&words, ' ', &zone);
        if (!map_get(p->planned, line) && !done[(size_t)(uintptr_t)map_get(p->zone_numbers, zone) - 1])
            buf_printf(out, "%s%.*s\n", certain ? "" : UNSURE.at, STR_FMT(line));
    }
    map_free(written);
}
