#include "identity/gate.h"
#include "base/buf.h"
#include "base/map.h"
#include "seeded_bug.h"
#include <stdlib.h>

struct gate_address {
    bool known, wrong; /* the belief, and whether there is one */
    int64_t since;     /* when it began */
    int64_t answered;  /* the last answer that was one */
    int64_t denied;    /* the first denial that is not believed yet */
    bool doubted;      /* `denied` is set */
    int64_t next_ask;
    size_t reason_len;
    char reason[GATE_REASON_MAX];
};

struct gate {
    enum gate_require require;
    struct map *addresses;
    bool witnessed;
    int64_t witness; /* the last time the resolver was seen at work */
};

static struct str key_of(const struct ip *ip) { return str_from(ip->bytes, sizeof ip->bytes); }

struct gate *gate_new(enum gate_require require) {
    struct gate *g = xcalloc(1, sizeof *g);
    g->require = require;
    g->addresses = map_new(false);
    return g;
}

struct gate *gate_free(struct gate *g) {
    struct str key;
    void *value;
    if (!g)
        return NULL;
    for (size_t at = 0; map_next(g->addresses, &at, &key, &value);)
        free(value);
    map_free(g->addresses);
    free(g);
    return NULL;
}

void gate_reload(struct gate *g, enum gate_require require, const struct pools *pools) {
    struct buf gone __attribute__((cleanup(buf_free))) = {0};
    struct str key;
    void *value;
    g->require = require;
    for (size_t at = 0; map_next(g->addresses, &at, &key, &value);) {
        struct ip ip;
        memcpy(ip.bytes, key.at, sizeof ip.bytes);
        if (!source_find(pools, &ip))
            buf_add(&gone, &ip, sizeof ip);
    }
    for (size_t i = 0; i < gone.len; i += sizeof(struct ip))
        free(map_remove(g->addresses, str_from(gone.at + i, sizeof(struct ip))));
}

void gate_witness(struct gate *g, int64_t now) {
    g->witnessed = true;
    g->witness = now;
}

static struct gate_address *address_of(struct gate *g, const struct ip *ip) {
    struct gate_address *a = map_get(g->addresses, key_of(ip));
    if (!a) {
        a = xcalloc(1, sizeof *a);
        map_put(g->addresses, key_of(ip), a);
    }
    return a;
}

/* What is older than a day is no knowledge. */
static bool holds(const struct gate_address *a, int64_t now) {
    return a->known && now - a->answered <= GATE_HOLD_MS;
}

static bool rests(const struct gate *g, const struct gate_address *a, int64_t now) {
    return g->require == GATE_REQUIRE_FCRDNS && a && holds(a, now) && a->wrong;
}

static void believe(struct gate_address *a, bool wrong, struct str why, int64_t now) {
    if (!holds(a, now) || a->wrong != wrong)
        a->since = now;
    a->known = true, a->wrong = wrong, a->answered = now, a->doubted = false;
    why = str_head(why, GATE_REASON_MAX);
    if (why.len)
        memcpy(a->reason, why.at, why.len);
    a->reason_len = why.len;
}

static void deny(struct gate *g, struct gate_address *a, struct str why, int64_t now) {
    bool stands = holds(a, now) && a->wrong;
    if (!stands && (!a->doubted || now - a->denied > GATE_HOLD_MS)) {
        a->doubted = true, a->denied = now;
        return;
    }
    int64_t first = stands ? a->answered : a->denied;
#ifdef SLUICE_SEEDED_BUG_GATE_WITHOUT_WITNESS
    gate_witness(g, now);
#endif
    if (g->witnessed && g->witness >= first && now - first >= GATE_BELIEVE_MS)
        believe(a, true, why, now);
}

/* Not all at the same instant: up to a tenth earlier, by the address. */
static int64_t next_of(const struct ip *ip, const struct fcrdns *found, int64_t now) {
    int64_t wait = (int64_t)found->ttl * 1000;
    if (found->state != FCRDNS_RIGHT || wait < GATE_ASK_LEAST_MS)
        wait = GATE_ASK_LEAST_MS;
    else if (wait > GATE_ASK_MOST_MS)
        wait = GATE_ASK_MOST_MS;
    if (wait == GATE_ASK_LEAST_MS)
        return now + wait;
    int64_t early = (int64_t)(str_hash(key_of(ip), 0) % (uint64_t)(wait / 10));
    return now + (wait - early < GATE_ASK_LEAST_MS ? GATE_ASK_LEAST_MS : wait - early);
}

bool gate_answer(struct gate *g, const struct ip *ip, const struct fcrdns *found, int64_t now) {
    struct gate_address *a = address_of(g, ip);
    bool rested = rests(g, a, now);
    a->next_ask = next_of(ip, found, now);
    if (found->state == FCRDNS_RIGHT) {
        gate_witness(g, now);
        believe(a, false, STR(""), now);
    } else if (found->state != FCRDNS_UNASKED) {
        deny(g, a, found->why, now);
    }
    return rests(g, a, now) != rested;
}

struct gate_view gate_view(const struct gate *g, const struct ip *ip, int64_t now) {
    const struct gate_address *a = map_get(g->addresses, key_of(ip));
    struct gate_view view = {.usable = !rests(g, a, now)};
    if (!a)
        return view;
    view.next_ask = a->next_ask;
    view.since = holds(a, now) ? a->since : 0;
    if (!view.usable)
        view.reason = str_from(a->reason, a->reason_len);
    return view;
}
