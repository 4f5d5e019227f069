#include "limits/limit_table.h"
#include "base/error.h"
#include "base/map.h"
#include "limits/limit_pack.h"

#include <stdlib.h>

enum { BLOCK = 4096, HAND = 4, HAND_WHEN_FULL = 64, LONGEST_TURN = 65535, DAY = 24 * 3600 * 2 };

/* What is on its way to the spool. */
struct reserved {
    uint64_t external, internal;
    uint32_t messages;
};

struct limit_table {
    uint32_t capacity, senders;
    struct limit_record **blocks; /* of BLOCK records */
    uint32_t places;              /* that were ever used */
    uint32_t free;                /* place + 1 of the first free record; its `last` leads to the next */
    uint32_t hand;
    uint32_t *index; /* place + 1; open addressing, no graves */
    uint64_t slots;
    struct map *reserved; /* key -> struct reserved */
};

uint64_t limit_key(uint64_t seed, struct str sender) {
    uint64_t key = str_hash_nocase(sender, seed);
    return key ? key : 1;
}

struct limit_table *limit_table_new(uint32_t capacity) {
    struct limit_table *t = xcalloc(1, sizeof *t);
    t->capacity = capacity ? capacity : 1;
    t->slots = (uint64_t)t->capacity + t->capacity / 4 + 1;
    t->index = xcalloc(t->slots, sizeof *t->index);
    t->blocks = xcalloc(t->capacity / BLOCK + 1, sizeof(struct limit_record *));
    t->reserved = map_new(false);
    return t;
}

struct limit_table *limit_table_free(struct limit_table *t) {
    if (!t)
        return NULL;
    struct str key;
    void *reserved;
    for (size_t at = 0; map_next(t->reserved, &at, &key, &reserved);)
        free(reserved);
    map_free(t->reserved);
    for (uint32_t i = 0; i * BLOCK < t->places; i++)
        free(t->blocks[i]);
    free(t->blocks);
    free(t->index);
    free(t);
    return NULL;
}

/* ---- Records ---- */

static struct limit_record *record_at(const struct limit_table *t, uint32_t place) {
    return &t->blocks[place / BLOCK][place % BLOCK];
}

static uint64_t home_slot(const struct limit_table *t, uint64_t key) {
    return (uint64_t)((unsigned __int128)key * t->slots >> 64);
}

static uint64_t next_slot(const struct limit_table *t, uint64_t slot) {
    return slot + 1 == t->slots ? 0 : slot + 1;
}

/* The slot that holds the key, or the empty one that ends the search. */
static uint64_t find_slot(const struct limit_table *t, uint64_t key) {
    uint64_t slot = home_slot(t, key);
    while (t->index[slot] && record_at(t, t->index[slot] - 1)->key != key)
        slot = next_slot(t, slot);
    return slot;
}

static struct limit_record *find(const struct limit_table *t, uint64_t key) {
    uint32_t place = t->index[find_slot(t, key)];
    return place ? record_at(t, place - 1) : NULL;
}

/* Closes the gap, so that no search ends too early. */
static void clear_slot(struct limit_table *t, uint64_t gap) {
    for (uint64_t slot = next_slot(t, gap); t->index[slot]; slot = next_slot(t, slot)) {
        uint64_t home = home_slot(t, record_at(t, t->index[slot] - 1)->key);
        bool stays = gap < slot ? gap < home && home <= slot : gap < home || home <= slot;
        if (stays)
            continue;
        t->index[gap] = t->index[slot];
        gap = slot;
    }
    t->index[gap] = 0;
}

static void drop(struct limit_table *t, uint32_t place) {
    struct limit_record *r = record_at(t, place);
    clear_slot(t, find_slot(t, r->key));
    r->key = 0;
    r->last = t->free;
    t->free = place + 1;
    t->senders--;
}

/* Looks at the next records for one whose windows are all empty. */
static void turn_hand(struct limit_table *t, uint32_t now, unsigned steps) {
    const struct limit_span *day = &limit_spans[LIMIT_RECIPIENTS_DAY];
    for (; steps && t->places; steps--) {
        t->hand = t->hand + 1 < t->places ? t->hand + 1 : 0;
        const struct limit_record *r = record_at(t, t->hand);
        if (!r->key || now <= r->last || now / day->halves - r->last / day->halves <= day->ticks)
            continue;
        /* Turns reach at most nine hours ahead, so none is left after a day. */
        _Static_assert(LONGEST_TURN + 120 < DAY, "a turn outlives the day's window");
        drop(t, t->hand);
    }
}

static uint32_t take_place(struct limit_table *t) {
    if (t->free) {
        uint32_t place = t->free - 1;
        t->free = record_at(t, place)->last;
        return place;
    }
    if (t->places == t->capacity)
        return UINT32_MAX;
    if (t->places % BLOCK == 0)
        t->blocks[t->places / BLOCK] = xcalloc(BLOCK, sizeof(struct limit_record));
    return t->places++;
}

/* Finds or makes; NULL: full. */
static struct limit_record *record_of(struct limit_table *t, uint64_t key, uint32_t now) {
    struct limit_record *r = find(t, key);
    if (r)
        return r;
    turn_hand(t, now, HAND);
    uint32_t place = take_place(t);
    if (place == UINT32_MAX) {
        turn_hand(t, now, HAND_WHEN_FULL);
        place = take_place(t);
    }
    if (place == UINT32_MAX)
        return NULL;
    r = record_at(t, place);
    *r = (struct limit_record){.key = key, .last = now};
    t->index[find_slot(t, key)] = place + 1;
    t->senders++;
    return r;
}

/* ---- Windows ---- */

/* Spreads the record out as it is at `now`, with chunks for these limits. */
static void open_windows(const struct limit_record *r, uint32_t now, const struct limit_bounds *bounds,
                         struct limit_windows *w) {
    if (!r || !limit_unpack(now < r->last ? now : r->last, r->packed, w))
        *w = (struct limit_windows){.last = now, .turn = now};
    uint32_t turn = w->turn > now ? w->turn : now;
    for (enum limit_counter c = 0; c < LIMIT_COUNTERS; c++) {
        uint32_t base = limit_windows_base(w, c);
        uint32_t tick = (c == LIMIT_MESSAGES_MINUTE ? turn : now) / limit_spans[c].halves;
        limit_window_advance(&w->of[c], limit_spans[c].ticks, base, tick);
        limit_window_fit(&w->of[c], base, limit_unit(bounds->limit[c]));
    }
    w->last = now;
    w->turn = turn;
}

static void close_windows(struct limit_record *r, const struct limit_windows *w) {
    r->last = w->last;
    limit_pack(w, r->packed);
}

/* The half second in which one more message may leave. */
static uint32_t next_turn(const struct limit_windows *w, const struct limit_bounds *bounds) {
    uint32_t when = limit_window_when(&w->of[LIMIT_MESSAGES_MINUTE], limit_spans[LIMIT_MESSAGES_MINUTE].ticks,
                                      w->turn, 1, bounds->limit[LIMIT_MESSAGES_MINUTE]);
    return when > w->turn ? when : w->turn;
}

static void take_turn(struct limit_windows *w, uint32_t turn) {
    struct limit_window *minute = &w->of[LIMIT_MESSAGES_MINUTE];
    limit_window_advance(minute, limit_spans[LIMIT_MESSAGES_MINUTE].ticks, w->turn, turn);
    limit_window_add(minute, turn, 1);
    w->turn = turn;
}

static void count(struct limit_windows *w, const struct limit_use *use) {
    limit_window_add(&w->of[LIMIT_EXTERNAL_HOUR], limit_windows_base(w, LIMIT_EXTERNAL_HOUR), use->external);
    limit_window_add(&w->of[LIMIT_INTERNAL_HOUR], limit_windows_base(w, LIMIT_INTERNAL_HOUR), use->internal);
    limit_window_add(&w->of[LIMIT_RECIPIENTS_DAY], limit_windows_base(w, LIMIT_RECIPIENTS_DAY),
                     use->external + use->internal);
}

/* ---- Reservations ---- */

static struct str key_name(const uint64_t *key) { return str_from(key, sizeof *key); }

static void hold(struct limit_table *t, uint64_t key, const struct limit_use *use) {
    struct reserved *r = map_get(t->reserved, key_name(&key));
    if (!r) {
        r = xcalloc(1, sizeof *r);
        map_put(t->reserved, key_name(&key), r);
    }
    r->external += use->external;
    r->internal += use->internal;
    r->messages++;
}

static void give_back(struct limit_table *t, uint64_t key, const struct limit_use *use) {
    struct reserved *r = map_get(t->reserved, key_name(&key));
    if (!r)
        return;
    r->external -= use->external;
    r->internal -= use->internal;
    if (--r->messages == 0) {
        map_remove(t->reserved, key_name(&key));
        free(r);
    }
}

static uint32_t sum(uint32_t counted, uint64_t reserved) {
    return counted + reserved > UINT32_MAX ? UINT32_MAX : (uint32_t)(counted + reserved);
}

/* ---- The calls ---- */

void limit_table_look(const struct limit_table *t, uint64_t key, int64_t now,
                      const struct limit_bounds *bounds, struct limit_standing *ret) {
    struct limit_windows w;
    const struct reserved *r = map_get(t->reserved, key_name(&key));
    uint32_t half = limit_half(now);
    open_windows(find(t, key), half, bounds, &w);
    for (enum limit_counter c = 0; c < LIMIT_COUNTERS; c++)
        ret->used[c] = limit_window_count(&w.of[c]);
    if (r) {
        ret->used[LIMIT_EXTERNAL_HOUR] = sum(ret->used[LIMIT_EXTERNAL_HOUR], r->external);
        ret->used[LIMIT_INTERNAL_HOUR] = sum(ret->used[LIMIT_INTERNAL_HOUR], r->internal);
        ret->used[LIMIT_RECIPIENTS_DAY] = sum(ret->used[LIMIT_RECIPIENTS_DAY], r->external + r->internal);
    }
    uint32_t turn = next_turn(&w, bounds);
    ret->turn = turn > half ? limit_half_ms(turn) : now;
}

bool limit_table_room(struct limit_table *t, uint64_t key, int64_t now, uint32_t most) {
    if (find(t, key))
        return true;
    if (t->senders >= most)
        turn_hand(t, limit_half(now), HAND_WHEN_FULL);
    return t->senders < most;
}

/* LIMIT: too far ahead. With `take` the record has it. */
static int find_turn(struct limit_record *r, uint32_t half, const struct limit_bounds *bounds, bool take,
                     uint32_t *ret) {
    struct limit_windows w;
    open_windows(r, half, bounds, &w);
    *ret = next_turn(&w, bounds);
    if (*ret - half > LONGEST_TURN)
        return SLUICE_ELIMIT;
    if (take) {
        take_turn(&w, *ret);
        close_windows(r, &w);
    }
    return 0;
}

int limit_table_reserve(struct limit_table *t, uint64_t key, int64_t now, const struct limit_bounds *bounds,
                        const struct limit_use *use, int64_t *ret_turn) {
    uint32_t turn, half = limit_half(now);
    struct limit_record *r = record_of(t, key, half);
    if (!r)
        return SLUICE_EFULL;
    int error = find_turn(r, half, bounds, ret_turn != NULL, &turn);
    if (error)
        return error;
    hold(t, key, use);
    if (ret_turn)
        *ret_turn = turn > half ? limit_half_ms(turn) : now;
    return 0;
}

int limit_table_turn(struct limit_table *t, uint64_t key, int64_t now, const struct limit_bounds *bounds,
                     int64_t *ret_turn) {
    uint32_t turn, half = limit_half(now);
    struct limit_record *r = record_of(t, key, half);
    int error = r ? find_turn(r, half, bounds, true, &turn) : SLUICE_EFULL;
    if (!error)
        *ret_turn = turn > half ? limit_half_ms(turn) : now;
    return error;
}

void limit_table_settle(struct limit_table *t, uint64_t key, int64_t now, const struct limit_bounds *bounds,
                        const struct limit_use *use, bool committed) {
    struct limit_windows w;
    give_back(t, key, use);
    struct limit_record *r = committed ? record_of(t, key, limit_half(now)) : NULL;
    if (!r)
        return;
    open_windows(r, limit_half(now), bounds, &w);
    count(&w, use);
    close_windows(r, &w);
}

int limit_table_replay(struct limit_table *t, uint64_t key, int64_t now, int64_t turn,
                       const struct limit_bounds *bounds, const struct limit_use *use) {
    struct limit_windows w;
    uint32_t half = limit_half(now), turn_half = limit_half(turn);
    struct limit_record *r = record_of(t, key, half);
    if (!r)
        return SLUICE_EFULL;
    open_windows(r, half, bounds, &w);
    if (turn_half < w.turn)
        turn_half = w.turn;
    if (turn_half - half > LONGEST_TURN)
        turn_half = half + LONGEST_TURN;
    take_turn(&w, turn_half);
    count(&w, use);
    close_windows(r, &w);
    return 0;
}

const struct limit_record *limit_table_at(const struct limit_table *t, uint32_t at) {
    const struct limit_record *r = at < t->places ? record_at(t, at) : NULL;
    return r && r->key ? r : NULL;
}

uint32_t limit_table_places(const struct limit_table *t) { return t->places; }

int limit_table_put(struct limit_table *t, const struct limit_record *saved) {
    struct limit_windows w;
    if (!saved->key || !limit_unpack(saved->last, saved->packed, &w))
        return SLUICE_ECORRUPT;
    struct limit_record *r = record_of(t, saved->key, saved->last);
    if (!r)
        return SLUICE_EFULL;
    *r = *saved;
    return 0;
}

void limit_table_stats(const struct limit_table *t, struct limit_table_stats *ret) {
    uint64_t blocks = (t->places + (uint64_t)BLOCK - 1) / BLOCK;
    *ret = (struct limit_table_stats){
        .senders = t->senders,
        .capacity = t->capacity,
        .bytes = blocks * BLOCK * sizeof(struct limit_record) + t->slots * sizeof *t->index,
    };
}
