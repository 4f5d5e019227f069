/* Which source goes next. The order of preference: the address of the last attempt, its neighbours, any. */
#include "pool/state.h"
#include <stdio.h>

const char *pick_reason_text(enum pick_reason reason) {
    static const char *const TEXTS[] = {
        [PICK_OK] = "picked",
        [PICK_EMPTY] = "the pool has no address",
        [PICK_NO_FAMILY] = "the pool has no address of the receiver's family",
        [PICK_RESTING] = "every address of the pool rests",
    };
    return TEXTS[reason];
}

static bool fits(const struct source *s, unsigned families) {
    return (families & (ip_is_v4(&s->ip) ? FAMILY_V4 : FAMILY_V6)) != 0;
}

static const struct source_record *record_of(const struct pool_state *state, const struct source *s) {
    return map_get(state->sources, str_from(&s->ip, sizeof s->ip));
}

/* In `pool`, which has it. 0: healthy. */
static int64_t rests_until(const struct pool_state *state, const struct pool *pool, const struct source *s,
                           int64_t now) {
    return pool_state_rests(record_of(state, s), pool, now);
}

static bool is_neighbour(const struct ip *a, const struct ip *b) {
    return ip_in(a, b, ip_is_v4(b) ? 24 : 64);
}

/* The next in turn that fits, is healthy and, when asked for, a neighbour. */
static const struct source *next_in_turn(const struct pool *pool, unsigned families, const struct ip *near,
                                         int64_t now, const struct pool_state *state, uint32_t *turn) {
    for (uint32_t i = 0; i < pool->source_count; i++) {
        uint32_t at = (uint32_t)(((uint64_t)*turn + i) % pool->source_count);
        const struct source *s = &pool->sources[at];
        if (!fits(s, families) || (near && !is_neighbour(&s->ip, near)) || rests_until(state, pool, s, now))
            continue;
        *turn = at + 1;
        return s;
    }
    return NULL;
}

static const struct source *same_address(const struct pools *pools, const struct pool *pool,
                                         unsigned families, const struct ip *sticky, int64_t now,
                                         const struct pool_state *state) {
    const struct source *s = source_find(pools, sticky);
    bool usable =
        s && &pools->pools[s->pool] == pool && fits(s, families) && !rests_until(state, pool, s, now);
    return usable ? s : NULL;
}

/* The first to wake, and why it rests. */
static void say_why(struct pick *pick, const struct pool *pool, const struct source *first, size_t resting,
                    int64_t now, const struct pool_state *state) {
    struct buf reasons __attribute__((cleanup(buf_free))) = {0};
    char ip[IP_TEXT_SIZE], others[48] = "";
    pool_state_reasons(record_of(state, first), pool, now, &reasons);
    struct str text = str_head(buf_view(&reasons), PICK_WHY_SIZE - IP_TEXT_SIZE - sizeof others - 2);
    if (resting > 1)
        snprintf(others, sizeof others, "; %zu other%s rest%s", resting - 1, resting > 2 ? "s" : "",
                 resting > 2 ? "" : "s");
    snprintf(pick->why, sizeof pick->why, "%s: %.*s%s", ip_text(&first->ip, ip), STR_FMT(text), others);
}

/* Nothing was healthy: why, and until when. */
static struct pick none(const struct pool *pool, unsigned families, int64_t now,
                        const struct pool_state *state) {
    struct pick pick = {.reason = pool->source_count ? PICK_NO_FAMILY : PICK_EMPTY};
    const struct source *first = NULL;
    size_t resting = 0;
    for (uint32_t i = 0; i < pool->source_count; i++) {
        if (!fits(&pool->sources[i], families))
            continue;
        int64_t until = rests_until(state, pool, &pool->sources[i], now);
        if (!resting++ || until < pick.earliest)
            pick.earliest = until, first = &pool->sources[i];
    }
    if (!first)
        return pick;
    pick.reason = PICK_RESTING;
    say_why(&pick, pool, first, resting, now, state);
    return pick;
}

struct pick pool_pick(const struct pools *pools, const struct pool *pool, unsigned families,
                      struct str receiver, const struct ip *sticky, int64_t now, struct pool_state *state) {
    const struct source *s = NULL;
    bool same = false;
    uint32_t *turn = pool_state_turn(state, pool, receiver);
    if (sticky && !ip_is_none(sticky)) {
        s = same_address(pools, pool, families, sticky, now, state);
        same = s != NULL;
        if (!s)
            s = next_in_turn(pool, families, sticky, now, state, turn);
    }
    if (!s)
        s = next_in_turn(pool, families, NULL, now, state, turn);
    if (!s)
        return none(pool, families, now, state);
    struct source_record *r = pool_state_record(state, &s->ip);
    r->picked++;
    r->last_used = now;
    return (struct pick){.source = s, .reason = PICK_OK, .sticky = same};
}
