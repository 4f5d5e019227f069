#include "detection/pattern_record.h"
#include "base/clock.h"

enum { EPOCH = 1577836800, DAY = 86400 }; /* 2020-01-01 UTC */
enum { SHARE_BITS = (1 << SIGN_SHARES) - 1 };

uint32_t pattern_seconds(int64_t now) {
    int64_t seconds = now / 1000 - EPOCH;
    return seconds < 1 ? 1 : seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
}

/* ---- Windows ---- */

static const struct {
    uint32_t steps, step, first; /* the first cell, in rows of PATTERN_COUNTS */
} windows[] = {[WINDOW_HOUR] = {HOUR_STEPS, HOUR_STEP, 0}, [WINDOW_DAY] = {DAY_STEPS, DAY_STEP, HOUR_STEPS}};

static uint32_t cell_at(enum pattern_window w, uint32_t row, enum pattern_count c) {
    return (windows[w].first + row) * PATTERN_COUNTS + c;
}

static void clear_row(struct pattern_record *r, enum pattern_window w, uint32_t row) {
    uint32_t at = cell_at(w, row, 0);
    if (r->wide)
        memset(r->wide + at, 0, PATTERN_COUNTS * sizeof *r->wide);
    else
        memset(r->cell + at, 0, PATTERN_COUNTS * sizeof *r->cell);
}

static void clear_all(struct pattern_record *r) {
    for (enum pattern_window w = 0; w < PATTERN_WINDOWS; w++)
        for (uint32_t row = 0; row < windows[w].steps; row++)
            clear_row(r, w, row);
    r->votes = 0;
}

static void advance_window(struct pattern_record *r, enum pattern_window w, uint32_t seconds) {
    uint32_t from = r->last / windows[w].step, to = seconds / windows[w].step;
    uint32_t passed = to - from < windows[w].steps ? to - from : windows[w].steps;
    for (uint32_t i = 0; i < passed; i++)
        clear_row(r, w, (to - i) % windows[w].steps);
}

void record_add(struct pattern_record *r, enum pattern_count c, uint32_t amount) {
    for (enum pattern_window w = 0; w < PATTERN_WINDOWS; w++) {
        uint32_t at = cell_at(w, r->last / windows[w].step % windows[w].steps, c);
        if (r->wide) {
            uint32_t room = UINT32_MAX / DAY_STEPS - r->wide[at];
            r->wide[at] += amount < room ? amount : room;
        } else {
            uint32_t room = (uint32_t)UINT16_MAX - r->cell[at];
            r->cell[at] = (uint16_t)(r->cell[at] + (amount < room ? amount : room));
        }
    }
}

uint32_t record_count(const struct pattern_record *r, enum pattern_window w, enum pattern_count c) {
    uint32_t sum = 0;
    for (uint32_t row = 0; row < windows[w].steps; row++)
        sum += r->wide ? r->wide[cell_at(w, row, c)] : r->cell[cell_at(w, row, c)];
    return sum;
}

/* ---- What is usual ---- */

/* Half after two weeks. */
static uint32_t faded(uint32_t value, uint32_t days) {
    for (; days && value; days = days < 200 ? days - 1 : 200)
        value -= value < 20 ? 1 : value / 20;
    return value;
}

/* The day that has ended. After learning, what is usual at most doubles. */
static void learn_day(struct pattern_record *r, const struct pattern_rules *rules, bool learned) {
    const uint32_t floors[USUALS] = {[USUAL_HOUR] = rules->growth_hour / rules->growth,
                                     [USUAL_DAY] = rules->growth_day / rules->growth,
                                     [USUAL_DESTINATIONS] = rules->destinations / 3};
    for (unsigned i = 0; i < USUALS; i++) {
        uint32_t base = r->usual[i] > floors[i] ? r->usual[i] : floors[i];
        uint64_t most = learned ? 2 * (uint64_t)base : UINT32_MAX;
        uint32_t today = r->most[i] < most ? r->most[i] : (uint32_t)most;
        uint32_t before = faded(r->usual[i], 1);
        r->usual[i] = before > today ? before : today;
        r->most[i] = 0;
    }
}

bool record_learned(const struct pattern_record *r, const struct pattern_rules *rules) {
    return (int64_t)(r->last - r->first) * 1000 >= rules->learning_ms;
}

/* What was counted is of a time that has not come: a clock was ahead. */
static void go_back(struct pattern_record *r, uint32_t seconds) {
    clear_all(r);
    r->last = seconds;
    r->day = seconds / DAY;
    r->first = r->first < seconds ? r->first : seconds;
    r->told = r->told_restrict = 0;
    for (unsigned i = 0; i < PATTERN_NETWORKS; i++)
        if (r->networks[i].since > seconds)
            r->networks[i].since = seconds;
}

void record_advance(struct pattern_record *r, uint32_t seconds, const struct pattern_rules *rules) {
    if (seconds + RECORD_BACK < r->last)
        go_back(r, seconds);
    if (seconds <= r->last)
        return;
    uint32_t day = seconds / DAY;
    if (rules && day > r->day) {
        learn_day(r, rules, record_learned(r, rules));
        for (unsigned i = 0; i < USUALS; i++)
            r->usual[i] = faded(r->usual[i], day - r->day - 1);
        r->day = day;
        /* What a day has paid for doesn't count against the next. */
        if (r->told_restrict || (r->told & SHARE_BITS))
            clear_all(r);
        r->told = r->told_restrict = 0;
        r->votes /= 2;
    }
    for (enum pattern_window w = 0; w < PATTERN_WINDOWS; w++)
        advance_window(r, w, seconds);
    r->last = seconds;
}

static void take_most(uint32_t *most, uint32_t value) {
    if (value > *most)
        *most = value;
}

void record_note_most(struct pattern_record *r) {
    take_most(&r->most[USUAL_HOUR], record_count(r, WINDOW_HOUR, COUNT_RECIPIENTS));
    take_most(&r->most[USUAL_DAY], record_count(r, WINDOW_DAY, COUNT_RECIPIENTS));
    take_most(&r->most[USUAL_DESTINATIONS], record_count(r, WINDOW_DAY, COUNT_DESTINATIONS));
}

/* ---- Destinations ---- */

enum { SKETCH_HASHES = 4 };

static uint32_t sketch_bit(uint64_t hash, unsigned i) { return (uint32_t)(hash >> (16 * i)) % SKETCH_BITS; }

static bool sketch_has(const uint8_t *sketch, uint64_t hash) {
    for (unsigned i = 0; i < SKETCH_HASHES; i++) {
        uint32_t bit = sketch_bit(hash, i);
        if (!(sketch[bit / 8] & 1u << bit % 8))
            return false;
    }
    return true;
}

/* A sketch that is half full has one answer in 16 wrong; then it becomes the older one. */
bool record_destination(struct pattern_record *r, uint64_t hash) {
    if (sketch_has(r->sketch[0], hash))
        return false;
    bool known = sketch_has(r->sketch[1], hash);
    if (r->sketched >= SKETCH_BITS / 2) {
        memcpy(r->sketch[1], r->sketch[0], SKETCH_BYTES);
        memset(r->sketch[0], 0, SKETCH_BYTES);
        r->sketched = 0;
    }
    for (unsigned i = 0; i < SKETCH_HASHES; i++) {
        uint32_t bit = sketch_bit(hash, i);
        uint8_t mask = (uint8_t)(1u << bit % 8);
        r->sketched = (uint16_t)(r->sketched + !(r->sketch[0][bit / 8] & mask));
        r->sketch[0][bit / 8] |= mask;
    }
    return !known;
}

/* ---- Networks ---- */

uint32_t pattern_network_hash(const struct ip *ip, uint64_t seed) {
    struct str network = str_from(ip->bytes, ip_is_v4(ip) ? 15 : 6);
    uint32_t hash = (uint32_t)str_hash(network, seed);
    return hash ? hash : 1;
}

bool record_network(struct pattern_record *r, uint32_t hash) {
    struct pattern_network *list = r->networks, found = {hash, r->last};
    unsigned at = 0;
    bool known = false;
    while (at < PATTERN_NETWORKS - 1 && list[at].hash && list[at].hash != hash)
        at++;
    known = list[at].hash == hash;
    bool first = at == 0 && !list[0].hash;
    /* The ninth of a traveller: nothing can be said of those. But nobody is in nine places on one day: a
     * password in many hands is. */
    uint32_t known_for = r->last - list[at].since;
    bool many = !known && list[at].hash && known_for >= DAY && known_for < 30 * DAY;
    if (known)
        found = list[at];
    if (first || many)
        found.since = r->last > DAY ? r->last - DAY : 0;
    memmove(list + 1, list, at * sizeof *list);
    list[0] = found;
    return r->last - found.since < DAY;
}

void record_knows_networks(struct pattern_record *r) {
    uint32_t before = r->last > DAY ? r->last - DAY : 0;
    for (unsigned i = 0; i < PATTERN_NETWORKS; i++)
        if (r->networks[i].since > before)
            r->networks[i].since = before;
}

void record_vote(struct pattern_record *r, uint32_t who, uint32_t amount) {
    if (who == r->voted) {
        r->votes += amount < UINT32_MAX - r->votes ? amount : 0;
    } else if (amount > r->votes) {
        r->voted = who;
        r->votes = amount - r->votes;
    } else {
        r->votes -= amount;
    }
}
