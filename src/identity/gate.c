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
    int64_t expires; /* of the right answer seen last: one that a cache repeats does not move it */
    size_t reason_len;
    char reason[GATE_REASON_MAX]; /* what is wrong; of one that is right its name */
};

struct gate {
    enum gate_require require;
    int64_t again_ms;
    struct map *addresses;
    int64_t expires[2][GATE_WITNESSES]; /* of the witnesses */
    bool witnessed;
    int64_t witness; /* the last time the resolver was seen at work */
    int64_t denial;  /* the latest one that was the first of its address; 0: none */
};

static struct str key_of(const struct ip *ip) { return str_from(ip->bytes, sizeof ip->bytes); }

struct gate *gate_new(enum gate_require require, int64_t again_ms) {
    struct gate *g = xcalloc(1, sizeof *g);
    g->require = require, g->again_ms = again_ms;
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

void gate_reload(struct gate *g, enum gate_require require, int64_t again_ms, const struct pools *pools) {
    struct buf gone __attribute__((cleanup(buf_free))) = {0};
    struct str key;
    void *value;
    g->require = require, g->again_ms = again_ms;
    for (size_t at = 0; map_next(g->addresses, &at, &key, &value);) {
        struct ip ip;
        memcpy(ip.bytes, key.at, sizeof ip.bytes);
        if (!source_find(pools, &ip))
            buf_add(&gone, &ip, sizeof ip);
    }
    for (size_t i = 0; i < gone.len; i += sizeof(struct ip))
        free(map_remove(g->addresses, str_from(gone.at + i, sizeof(struct ip))));
}

/* Caches count whole seconds. */
enum { EXPIRY_SLACK_MS = 1500 };

static bool fetched(int64_t *expires, uint32_t ttl, int64_t now) {
    int64_t then = now + (int64_t)ttl * 1000;
    bool moved = then > *expires + EXPIRY_SLACK_MS || !*expires;
#ifdef SLUICE_SEEDED_BUG_CACHE_IS_WITNESS
    moved = true;
#endif
    if (moved)
        *expires = then;
    return moved;
}

static void works(struct gate *g, int64_t now) { g->witnessed = true, g->witness = now; }

const char *const gate_witnesses[2][GATE_WITNESSES] = {
    {"in-addr.arpa", "193.in-addr.arpa", "203.in-addr.arpa", "199.in-addr.arpa", "200.in-addr.arpa",
     "196.in-addr.arpa", "194.in-addr.arpa", "202.in-addr.arpa", "204.in-addr.arpa", "201.in-addr.arpa",
     "197.in-addr.arpa", "195.in-addr.arpa", "210.in-addr.arpa", "205.in-addr.arpa", "212.in-addr.arpa",
     "211.in-addr.arpa", "213.in-addr.arpa", "217.in-addr.arpa"},
    {"ip6.arpa", "0.a.2.ip6.arpa", "0.4.2.ip6.arpa", "0.6.2.ip6.arpa", "0.8.2.ip6.arpa", "0.c.2.ip6.arpa"},
};

bool gate_witness(struct gate *g, bool v6, size_t which, uint32_t ttl, int64_t now) {
    bool fresh = fetched(&g->expires[v6][which], ttl, now);
    if (fresh)
        works(g, now);
    return fresh;
}

/* Somebody was denied since the resolver was last seen at work. */
static bool wants_witness(const struct gate *g, int64_t now) {
    return g->denial && (!g->witnessed || g->witness < g->denial) && now - g->denial <= GATE_HOLD_MS;
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

static void set_reason(struct gate_address *a, struct str why) {
    why = str_head(why, GATE_REASON_MAX);
    if (why.len)
        memcpy(a->reason, why.at, why.len);
    a->reason_len = why.len;
}

static void believe(struct gate_address *a, bool wrong, struct str why, int64_t now) {
    if (!holds(a, now) || a->wrong != wrong)
        a->since = now;
    a->known = true, a->wrong = wrong, a->answered = now, a->doubted = false;
    set_reason(a, why);
}

static void deny(struct gate *g, struct gate_address *a, struct str why, int64_t now) {
    bool stands = holds(a, now) && a->wrong;
    if (!stands && (!a->doubted || now - a->denied > GATE_HOLD_MS)) {
        a->doubted = true, a->denied = g->denial = now;
        set_reason(a, why);
        return;
    }
    int64_t first = stands ? a->answered : a->denied;
#ifdef SLUICE_SEEDED_BUG_GATE_WITHOUT_WITNESS
    works(g, now);
#endif
    if (g->witnessed && g->witness >= first && now - first >= g->again_ms)
        believe(a, true, why, now);
}

/* Not all at the same instant: up to a tenth earlier, by the address. */
static int64_t next_of(const struct gate *g, const struct ip *ip, const struct fcrdns *found, int64_t now) {
    int64_t wait = (int64_t)found->ttl * 1000, most = g->again_ms * GATE_AGAIN_MOST;
    if (found->state != FCRDNS_RIGHT || wait <= g->again_ms)
        return now + g->again_ms;
    if (wait > most)
        wait = most;
    int64_t early = (int64_t)(str_hash(key_of(ip), 0) % (uint64_t)(wait / 10 + 1));
    return now + (wait - early < g->again_ms ? g->again_ms : wait - early);
}

bool gate_answer(struct gate *g, const struct ip *ip, const struct fcrdns *found, int64_t now) {
    struct gate_address *a = address_of(g, ip);
    bool rested = rests(g, a, now);
    a->next_ask = next_of(g, ip, found, now);
    if (found->state == FCRDNS_RIGHT) {
        if (fetched(&a->expires, found->ttl, now))
            works(g, now);
        believe(a, false, found->name, now);
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
    /* Later than that only by a clock that was set back. */
    view.next_ask = a->next_ask - now > g->again_ms * GATE_AGAIN_MOST ? now : a->next_ask;
    view.doubted = a->doubted;
    struct str text = str_from(a->reason, a->reason_len);
    if (holds(a, now)) {
        view.belief = a->wrong ? GATE_WRONG : GATE_RIGHT;
        view.since = a->since, view.answered = a->answered;
    }
    int64_t soon = a->answered + g->again_ms;
    if (view.belief == GATE_RIGHT && !view.doubted && wants_witness(g, now) && soon < view.next_ask)
        view.next_ask = soon;
    if (view.belief == GATE_WRONG || view.doubted)
        view.reason = text;
    else if (view.belief == GATE_RIGHT)
        view.name = text;
    return view;
}

void gate_restore(struct gate *g, const struct ip *ip, struct str reason, int64_t since, int64_t answered,
                  int64_t now) {
    struct gate_address *a = address_of(g, ip);
    answered = answered < now ? answered : now; /* the clock was set back */
    a->known = a->wrong = true;
    a->answered = answered, a->since = since < answered ? since : answered;
    set_reason(a, reason);
}
