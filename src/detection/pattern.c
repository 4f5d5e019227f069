#include "detection/pattern.h"
#include "detection/pattern_inside.h"

#include <stdlib.h>

/* What one subject costs: the record, and its share of the index. */
_Static_assert(sizeof(struct pattern_record) + 2 * sizeof(uint32_t) <= PATTERN_BYTES, "PATTERN_BYTES");
_Static_assert(PATTERN_CELLS * sizeof(uint32_t) <= PATTERN_BYTES, "twice for the wide ones");

/* ---- The table ---- */

struct pattern *pattern_new(const struct pattern_rules *rules, uint64_t seed, int64_t now) {
    struct pattern *p = xcalloc(1, sizeof *p);
    uint32_t heads = 64;
    p->born = pattern_seconds(now);
    p->rules = *rules;
    p->seed = seed;
    p->capacity = rules->senders ? rules->senders : 1;
    while (heads < p->capacity)
        heads *= 2;
    p->mask = heads - 1;
    p->heads = xcalloc(heads, sizeof *p->heads);
    p->blocks = xcalloc(p->capacity / BLOCK + 1, sizeof(struct pattern_record *));
    for (unsigned kind = 0; kind < PATTERN_KINDS; kind++)
        p->suspects[kind] = map_new(true);
    return p;
}

struct pattern *pattern_free(struct pattern *p) {
    if (!p)
        return NULL;
    for (uint32_t place = 0; place < p->used; place++)
        free(pattern_at(p, place)->wide);
    for (uint32_t i = 0; i < p->capacity / BLOCK + 1; i++)
        free(p->blocks[i]);
    for (unsigned kind = 0; kind < PATTERN_KINDS; kind++) {
        struct str name;
        void *suspect;
        for (size_t at = 0; map_next(p->suspects[kind], &at, &name, &suspect);)
            free(suspect);
        map_free(p->suspects[kind]);
    }
    free(p->blocks);
    free(p->heads);
    free(p);
    return NULL;
}

void pattern_configure(struct pattern *p, const struct pattern_rules *rules) { p->rules = *rules; }

struct pattern_record *pattern_at(const struct pattern *p, uint32_t place) {
    return &p->blocks[place / BLOCK][place % BLOCK];
}

static uint64_t key_of(const struct pattern *p, enum pattern_kind kind, struct str name) {
    uint64_t key = str_hash_nocase(name, p->seed + (uint64_t)kind * UINT64_C(0x9e3779b97f4a7c15));
    return key ? key : 1;
}

static uint32_t place_of(const struct pattern *p, uint64_t key) {
    for (uint32_t at = p->heads[key & p->mask]; at; at = pattern_at(p, at - 1)->chain)
        if (pattern_at(p, at - 1)->key == key)
            return at;
    return 0;
}

static void unlink_order(struct pattern *p, struct pattern_record *r) {
    struct pattern_order *o = &p->orders[r->settled];
    *(r->newer ? &pattern_at(p, r->newer - 1)->older : &o->newest) = r->older;
    *(r->older ? &pattern_at(p, r->older - 1)->newer : &o->oldest) = r->newer;
    o->count--;
}

static void put_first(struct pattern *p, struct pattern_record *r, uint32_t at) {
    struct pattern_order *o = &p->orders[r->settled];
    r->newer = 0;
    r->older = o->newest;
    *(o->newest ? &pattern_at(p, o->newest - 1)->newer : &o->oldest) = at;
    o->newest = at;
    o->count++;
}

void pattern_settle(struct pattern *p, struct pattern_record *r) {
    if (r->settled || r->last - r->first < SETTLED_AFTER)
        return;
    uint32_t at = place_of(p, r->key);
    unlink_order(p, r);
    r->settled = true;
    put_first(p, r, at);
}

/* A flood of senders that nobody saw before puts out others of its kind, not those who have a history: the
 * new ones have an eighth of the places, more while there is room. */
static uint32_t least_recent(const struct pattern *p) {
    const struct pattern_order *new = &p->orders[false], *settled = &p->orders[true];
    return new->count > p->capacity / 8 || !settled->count ? new->oldest : settled->oldest;
}

static void unlink_chain(struct pattern *p, uint32_t at) {
    struct pattern_record *r = pattern_at(p, at - 1);
    uint32_t *link = &p->heads[r->key & p->mask];
    while (*link != at)
        link = &pattern_at(p, *link - 1)->chain;
    *link = r->chain;
}

/* A free place + 1: a new one, or that of the least recently active. */
static uint32_t take_place(struct pattern *p) {
    if (p->used < p->capacity) {
        if (!p->blocks[p->used / BLOCK])
            p->blocks[p->used / BLOCK] = xcalloc(BLOCK, sizeof(struct pattern_record));
        return ++p->used;
    }
    uint32_t at = least_recent(p);
    struct pattern_record *r = pattern_at(p, at - 1);
    unlink_chain(p, at);
    unlink_order(p, r);
    free(r->wide);
    p->evicted++;
    return at;
}

struct pattern_record *pattern_by_key(struct pattern *p, uint64_t key, bool wide) {
    uint32_t at = place_of(p, key);
    struct pattern_record *r;
    if (at) {
        r = pattern_at(p, at - 1);
        unlink_order(p, r);
    } else {
        at = take_place(p);
        r = pattern_at(p, at - 1);
        *r = (struct pattern_record){.key = key, .chain = p->heads[key & p->mask]};
        r->wide = wide ? xcalloc(PATTERN_CELLS, sizeof *r->wide) : NULL;
        p->heads[key & p->mask] = at;
    }
    put_first(p, r, at);
    return r;
}

struct pattern_record *pattern_of(struct pattern *p, enum pattern_kind kind, struct str name,
                                  uint32_t seconds) {
    struct pattern_record *r = pattern_by_key(p, key_of(p, kind, name), kind != PATTERN_USER);
    if (!r->first) {
        r->first = r->last = seconds;
        r->day = seconds / 86400;
        r->actions = p->rules.actions;
    }
    record_advance(r, seconds, &p->rules);
    pattern_settle(p, r);
    return r;
}

struct pattern_record *pattern_find(const struct pattern *p, enum pattern_kind kind, struct str name) {
    uint32_t at = place_of(p, key_of(p, kind, name));
    return at ? pattern_at(p, at - 1) : NULL;
}

/* ---- Events ---- */

static uint32_t name_hash(struct str name) {
    uint32_t hash = (uint32_t)str_hash_nocase(name, 1);
    return hash ? hash : 1;
}

static bool has_no_server(const struct pattern_whose *w) { return !w->connector.len; }

uint32_t pattern_receiver(const struct ip *server) {
    return ip_is_none(server) ? 0 : pattern_network_hash(server, 3);
}

static void add_message(struct pattern_record *r, const struct pattern_message *m) {
    record_add(r, COUNT_MAIL, 1);
    record_add(r, COUNT_RECIPIENTS, m->recipients);
    if (m->bad)
        record_add(r, COUNT_BAD, 1);
}

/* What may happen to it, as of its latest message. */
static void set_actions(struct pattern_record *r, const struct pattern_actions *actions, bool only_told) {
    r->actions = *actions;
    for (int i = 0; i < SIGNS && only_told; i++)
        if (r->actions.of[i] > PATTERN_ALERT)
            r->actions.of[i] = PATTERN_ALERT;
}

static void add_user(struct pattern *p, struct pattern_record *r, const struct pattern_message *m) {
    set_actions(r, m->actions ? m->actions : &p->rules.actions, m->only_told);
    for (size_t i = 0; i < m->domain_count; i++)
        if (record_destination(r, str_hash_nocase(m->domains[i], p->seed)))
            record_add(r, COUNT_DESTINATIONS, 1);
    if (!ip_is_none(&m->client) && !m->whose.connector.len &&
        record_network(r, pattern_network_hash(&m->client, p->seed)))
        record_add(r, COUNT_ELSEWHERE, m->recipients);
}

static void forward_message(struct pattern *p, const struct pattern_message *m, struct arena *arena,
                            struct pattern_findings *ret) {
    uint32_t seconds = pattern_seconds(m->now);
    for (size_t i = 0; i < m->forward_count; i++) {
        struct pattern_record *r = pattern_of(p, PATTERN_FORWARD, m->forwards[i], seconds);
        record_add(r, COUNT_MAIL, 1);
        record_add(r, COUNT_RECIPIENTS, 1);
        record_note_most(r);
        pattern_judge(&(struct pattern_case){p, r, PATTERN_FORWARD, m->forwards[i], m->whose.tenant, m->now,
                                             arena, ret, false});
    }
}

void pattern_message(struct pattern *p, const struct pattern_message *m, struct arena *arena,
                     struct pattern_findings *ret) {
    const struct str names[] = {
        [PATTERN_USER] = m->whose.sender,
        [PATTERN_CONNECTOR] = m->whose.connector,
        [PATTERN_TENANT] = m->whose.tenant,
    };
    for (enum pattern_kind kind = 0; kind < PATTERN_FORWARD; kind++) {
        if (!names[kind].len || m->outside)
            continue;
        struct pattern_record *r = pattern_of(p, kind, names[kind], pattern_seconds(m->now));
        add_message(r, m);
        if (kind == PATTERN_USER)
            add_user(p, r, m);
        else if (m->bad)
            record_vote(r, name_hash(m->whose.sender), 1);
        if (kind == PATTERN_CONNECTOR)
            set_actions(r, &p->rules.actions, m->only_told);
        record_note_most(r);
        pattern_judge(&(struct pattern_case){p, r, kind, names[kind], m->whose.tenant, m->now, arena, ret,
                                             has_no_server(&m->whose)});
    }
    forward_message(p, m, arena, ret);
}

void pattern_answer(struct pattern *p, const struct pattern_answer *a, struct arena *arena,
                    struct pattern_findings *ret) {
    const struct str names[] = {[PATTERN_USER] = a->whose.sender, [PATTERN_CONNECTOR] = a->whose.connector};
    for (enum pattern_kind kind = 0; kind <= PATTERN_CONNECTOR; kind++) {
        if (!names[kind].len)
            continue;
        struct pattern_record *r = pattern_of(p, kind, names[kind], pattern_seconds(a->now));
        record_add(r, COUNT_ANSWERED, a->recipients);
        if (a->kind == REPLY_UNKNOWN)
            record_add(r, COUNT_UNKNOWN, a->recipients);
        if (a->kind == REPLY_SPAM)
            record_add(r, COUNT_REFUSED, a->recipients);
        if (kind == PATTERN_USER && a->kind == REPLY_SPAM)
            record_vote(r, a->receiver, a->recipients);
        else if (kind != PATTERN_USER && (a->kind == REPLY_UNKNOWN || a->kind == REPLY_SPAM))
            record_vote(r, name_hash(a->whose.sender), a->recipients);
        pattern_judge(&(struct pattern_case){p, r, kind, names[kind], a->whose.tenant, a->now, arena, ret,
                                             has_no_server(&a->whose)});
    }
}

/* ---- Asking ---- */

struct sender_counts pattern_counts_of(const struct pattern_record *r) {
    return (struct sender_counts){
        .spam = record_count(r, WINDOW_DAY, COUNT_BAD),
        .mail = record_count(r, WINDOW_DAY, COUNT_MAIL),
        .recipients = record_count(r, WINDOW_DAY, COUNT_RECIPIENTS),
        .unknown = record_count(r, WINDOW_DAY, COUNT_UNKNOWN),
        .destinations = record_count(r, WINDOW_DAY, COUNT_DESTINATIONS),
        .refusals = record_count(r, WINDOW_DAY, COUNT_REFUSED),
    };
}

bool pattern_counts(struct pattern *p, enum pattern_kind kind, struct str name, int64_t now,
                    struct sender_counts *ret) {
    struct pattern_record *r = pattern_find(p, kind, name);
    if (!r)
        return false;
    record_advance(r, pattern_seconds(now), &p->rules);
    *ret = pattern_counts_of(r);
    return true;
}

uint32_t pattern_sent(struct pattern *p, enum pattern_kind kind, struct str name, int64_t now) {
    struct pattern_record *r = pattern_find(p, kind, name);
    if (!r)
        return 0;
    record_advance(r, pattern_seconds(now), &p->rules);
    uint32_t sent = record_count(r, WINDOW_DAY, COUNT_RECIPIENTS);
    sent = sent > r->most[USUAL_DAY] ? sent : r->most[USUAL_DAY];
    return sent > r->usual[USUAL_DAY] ? sent : r->usual[USUAL_DAY];
}

uint32_t pattern_failing(struct pattern *p, enum pattern_kind kind, struct str name, int64_t now) {
    struct pattern_record *r = name.len ? pattern_find(p, kind, name) : NULL;
    if (!r)
        return 1000;
    record_advance(r, pattern_seconds(now), &p->rules);
    uint64_t all = record_count(r, WINDOW_HOUR, COUNT_ANSWERED),
             bad = (uint64_t)record_count(r, WINDOW_HOUR, COUNT_UNKNOWN) +
                   record_count(r, WINDOW_HOUR, COUNT_REFUSED);
    return all < 20 ? 1000 : (uint32_t)(bad * 1000 / all);
}

void pattern_stats(const struct pattern *p, struct pattern_stats *ret) {
    *ret = (struct pattern_stats){
        .subjects = p->used,
        .capacity = p->capacity,
        .suspects = (uint32_t)pattern_suspect_count(p),
        .evicted = p->evicted,
        .found = p->found,
    };
}
