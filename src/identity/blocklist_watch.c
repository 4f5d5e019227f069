/* When which list is asked about which address, and what is believed. */
#include "base/buf.h"
#include "base/map.h"
#include "identity/blocklist.h"
#include "seeded_bug.h"
#include <stdlib.h>

enum { ANSWER_MS = 30 * 1000 };

struct entry {
    bool listed;
    size_t doubt; /* an answer said otherwise: the number of the trial that has to pass before it counts; 0:
                     none */
    int64_t asked;
    int64_t since;
    int64_t answered; /* when the list was last believed about it */
    char *text;       /* ours, or NULL */
};

/* A trial of a family: its two test addresses, and strangers until one is not on the list. */
struct trial {
    bool wanted, listed_done, clear_done, stranger_done, failed;
    size_t stranger;
};

struct list_state {
    struct entry *entries; /* one an address */
    size_t *order;         /* the addresses that it takes */
    size_t order_count, next, listed;
    int64_t step, turn; /* between two addresses; when the next one's slot begins */
    int64_t free_at;    /* the gap */
    int64_t trial_due;
    struct trial trials[2];
    bool has[2];      /* addresses of IPv4, of IPv6 */
    bool believes[2]; /* as of the last trial */
    size_t passed[2]; /* trials */
    size_t again;     /* the address to ask after the trial, + 1; 0: none */
    bool between;     /* the last question was about one that is listed, out of its turn */
    int64_t lapses;   /* when the first of the listed has lapsed and may be asked about; 0: to be looked up */
    int64_t pause;    /* 0: it answers */
    struct str why;
    char why_text[BLOCKLIST_TEXT_MAX];
};

struct blocklist_watch {
    const struct blocklist *lists;
    const struct ip *addresses;
    size_t list_count, address_count;
    struct blocklist_pace pace;
    uint64_t seed;
    struct list_state *states;
};

const struct blocklist_pace blocklist_usual_pace = {60 * 60 * 1000, 1000};

static uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t both[2] = {a, b};
    return str_hash(str_from(both, sizeof both), a);
}

static void set_text(struct entry *e, struct str text) {
    free(e->text);
    e->text = NULL;
    text = str_head(text, BLOCKLIST_TEXT_MAX);
    if (!text.len)
        return;
    e->text = xcalloc(text.len + 1, 1);
    for (size_t i = 0; i < text.len; i++) /* whatever a TXT record holds */
        e->text[i] = text.at[i] >= ' ' && text.at[i] < 127 ? text.at[i] : '?';
}

/* ---- opening ---- */

static void begin_trial(struct blocklist_watch *w, size_t number, int64_t now) {
    struct list_state *s = &w->states[number];
    for (int v6 = 0; v6 < 2; v6++)
        s->trials[v6] = (struct trial){.wanted = s->has[v6]};
    s->trial_due = now + BLOCKLIST_TRIAL_ROUNDS * w->pace.round_ms;
}

static void open_list(struct blocklist_watch *w, size_t number, int64_t now) {
    struct list_state *s = &w->states[number];
    s->entries = xcalloc(w->address_count + 1, sizeof *s->entries);
    s->order = xcalloc(w->address_count + 1, sizeof *s->order);
    for (size_t i = 0; i < w->address_count; i++)
        if (blocklist_covers(&w->lists[number], &w->addresses[i])) {
            s->order[s->order_count++] = i;
            s->has[!ip_is_v4(&w->addresses[i])] = true;
        }
    s->step = s->order_count ? w->pace.round_ms / (int64_t)s->order_count : w->pace.round_ms;
    s->step = s->step < w->pace.gap_ms ? w->pace.gap_ms : s->step;
    s->turn = now;
    s->free_at = now + (int64_t)(mix(w->seed, number) % (uint64_t)w->pace.gap_ms);
    s->why = STR("not tried yet");
    begin_trial(w, number, now);
}

static bool believed(const struct list_state *s) { return s->believes[0] || s->believes[1]; }

static void set_why(struct list_state *s, struct str why) {
    why = str_head(why, sizeof s->why_text);
    if (why.len)
        memcpy(s->why_text, why.at, why.len);
    s->why = str_from(s->why_text, why.len);
}

/* A list that refuses is not asked sooner for a reload. */
static void take_over_pause(struct list_state *s, const struct list_state *from, int64_t now) {
    if (!from->pause || believed(from))
        return;
    s->pause = from->pause;
    s->free_at = from->free_at < now + from->pause ? from->free_at : now + from->pause;
    set_why(s, from->why);
}

/* Times in the future are of a clock that was set back. */
static void take_over_entry(struct list_state *s, struct entry *to, const struct entry *from, int64_t now) {
    to->answered = from->answered < now ? from->answered : now;
    to->asked = from->asked < now ? from->asked : now;
    if (!from->listed)
        return;
    s->listed += !to->listed;
    to->listed = true, to->since = from->since < now ? from->since : now;
    set_text(to, str_of(from->text));
}

static void take_over(struct blocklist_watch *w, const struct blocklist_watch *old, int64_t now) {
    struct map *places = map_new(false);
    for (size_t i = 0; i < old->address_count; i++)
        map_put(places, str_from(&old->addresses[i], sizeof *old->addresses), (void *)(uintptr_t)(i + 1));
    for (size_t l = 0; l < w->list_count; l++)
        for (size_t o = 0; o < old->list_count; o++) {
            if (!str_eq_nocase(w->lists[l].zone, old->lists[o].zone))
                continue;
            take_over_pause(&w->states[l], &old->states[o], now);
            for (size_t i = 0; i < w->address_count; i++) {
                struct str key = str_from(&w->addresses[i], sizeof *w->addresses);
                size_t at = (size_t)(uintptr_t)map_get(places, key);
                if (at)
                    take_over_entry(&w->states[l], &w->states[l].entries[i], &old->states[o].entries[at - 1],
                                    now);
            }
        }
    map_free(places);
}

struct place {
    size_t address;
    int64_t asked;
    uint64_t any;
};

static int by_turn(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    if (x->asked != y->asked)
        return x->asked < y->asked ? -1 : 1;
    return (x->any > y->any) - (x->any < y->any);
}

/* A round may take a day: after a reload it goes on where it was, new addresses first; after a restart, which
 * forgets whose turn it was, it begins anywhere. */
static void put_in_order(struct blocklist_watch *w, size_t number, int64_t now) {
    struct list_state *s = &w->states[number];
    struct place *places = xcalloc(s->order_count + 1, sizeof *places);
    for (size_t i = 0; i < s->order_count; i++)
        places[i] = (struct place){s->order[i], s->entries[s->order[i]].asked,
                                   mix(w->seed ^ (uint64_t)now, s->order[i])};
    qsort(places, s->order_count, sizeof *places, by_turn);
    for (size_t i = 0; i < s->order_count; i++)
        s->order[i] = places[i].address;
    free(places);
}

struct blocklist_watch *blocklist_watch_new(const struct blocklist *lists, size_t list_count,
                                            const struct ip *addresses, size_t address_count,
                                            const struct blocklist_pace *pace, uint64_t seed, int64_t now,
                                            const struct blocklist_watch *old) {
    struct blocklist_watch *w = xcalloc(1, sizeof *w);
    *w = (struct blocklist_watch){.lists = lists,
                                  .addresses = addresses,
                                  .list_count = list_count,
                                  .address_count = address_count,
                                  .pace = *pace,
                                  .seed = seed};
    w->states = xcalloc(list_count + 1, sizeof *w->states);
    for (size_t i = 0; i < list_count; i++)
        open_list(w, i, now);
    if (old)
        take_over(w, old, now);
    for (size_t i = 0; i < list_count; i++)
        put_in_order(w, i, now);
    return w;
}

struct blocklist_watch *blocklist_watch_free(struct blocklist_watch *w) {
    if (!w)
        return NULL;
    for (size_t i = 0; i < w->list_count; i++) {
        for (size_t j = 0; j < w->address_count; j++)
            free(w->states[i].entries[j].text);
        free(w->states[i].entries);
        free(w->states[i].order);
    }
    free(w->states);
    free(w);
    return NULL;
}

/* ---- the schedule ---- */

/* A test address that is to be asked. */
static bool next_trial(const struct list_state *s, struct blocklist_question *ret) {
    for (int v6 = 0; v6 < 2; v6++) {
        const struct trial *t = &s->trials[v6];
        bool done = t->stranger_done;
#ifdef SLUICE_SEEDED_BUG_BLOCKLIST_WILDCARD_BELIEVED
        done |= t->clear_done;
#endif
        if (!t->wanted || t->failed || done)
            continue;
        ret->step = !t->listed_done  ? BLOCKLIST_TRY_LISTED
                    : !t->clear_done ? BLOCKLIST_TRY_CLEAR
                                     : BLOCKLIST_TRY_STRANGER;
        ret->v6 = v6 != 0;
        ret->address = t->stranger;
        return true;
    }
    return false;
}

static bool family_of(const struct blocklist_watch *w, size_t address) {
    return !ip_is_v4(&w->addresses[address]);
}

/* What a listing holds without the list's word; of many addresses two rounds. */
static int64_t hold_of(const struct list_state *s) {
    int64_t rounds = 2 * s->step * (int64_t)s->order_count;
    return rounds > BLOCKLIST_HOLD_MS ? rounds : BLOCKLIST_HOLD_MS;
}

/* Of what is believed. Looked up after each question and answer only: there may be many addresses. */
static int64_t first_lapse(const struct blocklist_watch *w, struct list_state *s) {
    if (s->lapses)
        return s->lapses;
    s->lapses = INT64_MAX;
    for (size_t i = 0; s->listed && i < s->order_count; i++) {
        const struct entry *e = &s->entries[s->order[i]];
        int64_t lapsed = e->answered + hold_of(s) + 1, due = e->asked + w->pace.round_ms;
        due = due > lapsed ? due : lapsed;
        if (e->listed && s->believes[family_of(w, s->order[i])] && due < s->lapses)
            s->lapses = due;
    }
    return s->lapses;
}

/* One that is listed, and not asked about for as long as a round should take: where rounds take longer than
 * that, or its listing has lapsed (the daemon was away, or the clock was set). The longest unasked. */
static bool find_listed(const struct blocklist_watch *w, const struct list_state *s, bool lapsed, int64_t now,
                        size_t *ret) {
    bool found = false;
    for (size_t i = 0; s->listed && i < s->order_count; i++) {
        const struct entry *e = &s->entries[s->order[i]];
        if (e->listed && now - e->asked >= w->pace.round_ms && s->believes[family_of(w, s->order[i])] &&
            (!lapsed || now - e->answered > hold_of(s)) && (!found || e->asked < s->entries[*ret].asked))
            *ret = s->order[i], found = true;
    }
    return found;
}

/* Every other time, unless it has lapsed. */
static bool out_of_turn(const struct blocklist_watch *w, struct list_state *s, int64_t now, size_t *ret) {
    s->between = !s->between;
    if (now >= first_lapse(w, s) && find_listed(w, s, true, now, ret))
        return true;
    return s->between && s->step * (int64_t)s->order_count > 2 * w->pace.round_ms &&
           find_listed(w, s, false, now, ret);
}

/* The next in order, of a family that the list is believed about. */
static size_t in_turn(struct blocklist_watch *w, struct list_state *s) {
    size_t address;
    do {
        address = s->order[s->next];
        s->next = (s->next + 1) % s->order_count;
    } while (!s->believes[family_of(w, address)]);
    return address;
}

/* When the list may be asked again, and has something to be asked. */
static int64_t due(const struct blocklist_watch *w, struct list_state *s, int64_t now) {
    struct blocklist_question unused;
    int64_t when = s->trial_due;
    if (!s->order_count)
        return INT64_MAX;
    if (next_trial(s, &unused))
        when = 0;
    else if (believed(s) && (s->again || now >= first_lapse(w, s)))
        when = 0;
    else if (believed(s) && s->turn < when) {
        int64_t room = s->step - w->pace.gap_ms;
        int64_t jitter = room > 0 ? (int64_t)(mix(w->seed ^ (uint64_t)s->turn, s->next) % (uint64_t)room) : 0;
        when = s->turn + jitter < when ? s->turn + jitter : when;
    }
    return when > s->free_at ? when : s->free_at;
}

static void give_out(struct blocklist_watch *w, size_t number, int64_t now, struct blocklist_question *ret) {
    struct list_state *s = &w->states[number];
    *ret = (struct blocklist_question){.list = number};
    s->free_at = now + w->pace.gap_ms;
    if (!next_trial(s, ret) && now >= s->trial_due)
        begin_trial(w, number, now);
    if (next_trial(s, ret)) { /* again only when its answer is lost */
        s->free_at = now + ANSWER_MS;
        return;
    }
    ret->step = BLOCKLIST_ASK;
    if (s->again) {
        ret->address = s->again - 1;
        s->again = 0;
    } else {
        if (!out_of_turn(w, s, now, &ret->address))
            ret->address = in_turn(w, s);
        s->turn = (s->turn + s->step > now - s->step ? s->turn : now - s->step) + s->step;
    }
    s->entries[ret->address].asked = now;
    s->lapses = 0;
}

bool blocklist_next(struct blocklist_watch *w, int64_t now, struct blocklist_question *ret,
                    int64_t *ret_when) {
    int64_t first = INT64_MAX;
    size_t at = 0;
    for (size_t i = 0; i < w->list_count; i++) {
        int64_t when = due(w, &w->states[i], now);
        if (when < first)
            first = when, at = i;
    }
    *ret_when = first;
    if (first > now || first == INT64_MAX)
        return false;
    give_out(w, at, now, ret);
    return true;
}

struct str blocklist_question_name(const struct blocklist_watch *w, const struct blocklist_question *q,
                                   struct arena *arena) {
    const struct blocklist *list = &w->lists[q->list];
    if (q->step == BLOCKLIST_ASK)
        return blocklist_query(arena, list, &w->addresses[q->address]);
    if (q->step == BLOCKLIST_TRY_STRANGER) {
        struct ip ip = blocklist_stranger(q->v6, q->address);
        return blocklist_query(arena, list, &ip);
    }
    return blocklist_test_query(arena, list, q->v6, q->step == BLOCKLIST_TRY_LISTED);
}

/* ---- answers ---- */

/* The list is left alone for a while, longer each time, and then tried first. */
static void pause(struct blocklist_watch *w, size_t number, struct str why, int64_t now) {
    struct list_state *s = &w->states[number];
    int64_t most = BLOCKLIST_PAUSE_MOST_ROUNDS * w->pace.round_ms;
    s->pause = s->pause ? s->pause * 2 : BLOCKLIST_PAUSE_ROUNDS * w->pace.round_ms;
    s->pause = s->pause > most ? most : s->pause;
    s->believes[0] = s->believes[1] = false;
    s->free_at = now + s->pause;
    set_why(s, why);
    begin_trial(w, number, now);
}

/* All that was asked has been answered: a family that failed is left out until the next trial. */
static void conclude(struct blocklist_watch *w, size_t number, int64_t now) {
    struct list_state *s = &w->states[number];
    size_t wanted = 0, failed = 0;
    for (int v6 = 0; v6 < 2; v6++)
        wanted += s->trials[v6].wanted, failed += s->trials[v6].failed;
    if (failed == wanted) {
        pause(w, number,
              STR("it does not list the test address: the list is gone, or closed to this resolver"), now);
        return;
    }
    for (int v6 = 0; v6 < 2; v6++) {
        s->believes[v6] = s->trials[v6].wanted && !s->trials[v6].failed;
        s->passed[v6] += s->believes[v6];
    }
    if (failed)
        set_why(s, STR("it does not list the test address of this family"));
    s->pause = 0;
}

static void answer_trial(struct blocklist_watch *w, const struct blocklist_question *q,
                         const struct blocklist_reading *reading, int64_t now) {
    struct list_state *s = &w->states[q->list];
    struct trial *t = &s->trials[q->v6];
    struct blocklist_question unused;
    bool listed = reading->state == BLOCKLIST_LISTED;
    if (!listed && reading->state != BLOCKLIST_CLEAR) {
        pause(w, q->list, reading->text, now);
        return;
    }
    s->free_at = now + w->pace.gap_ms;
    if (q->step == BLOCKLIST_TRY_LISTED)
        *(listed ? &t->listed_done : &t->failed) = true;
    else if (!listed)
        *(q->step == BLOCKLIST_TRY_CLEAR ? &t->clear_done : &t->stranger_done) = true;
    else if (q->step == BLOCKLIST_TRY_CLEAR || ++t->stranger == BLOCKLIST_STRANGERS) {
        pause(w, q->list, STR("it lists everything"), now);
        return;
    }
    if (!next_trial(s, &unused))
        conclude(w, q->list, now);
}

enum blocklist_change blocklist_answer(struct blocklist_watch *w, const struct blocklist_question *q,
                                       const struct dns_answer *answer, int64_t now) {
    struct blocklist_reading reading;
    blocklist_read(&w->lists[q->list], answer, &reading);
    w->states[q->list].lapses = 0;
    if (q->step != BLOCKLIST_ASK) {
        answer_trial(w, q, &reading, now);
        return BLOCKLIST_SAME;
    }
    struct list_state *s = &w->states[q->list];
    struct entry *e = &s->entries[q->address];
    bool v6 = family_of(w, q->address);
    if (reading.state == BLOCKLIST_REFUSED || reading.state == BLOCKLIST_BROKEN)
        pause(w, q->list, reading.text, now);
    if (!s->believes[v6] || reading.state == BLOCKLIST_UNASKED)
        return BLOCKLIST_SAME;
    bool listed = reading.state == BLOCKLIST_LISTED;
    if (listed == e->listed) {
        e->doubt = 0, e->answered = now;
        return BLOCKLIST_SAME;
    }
#ifdef SLUICE_SEEDED_BUG_BLOCKLIST_UNTRIED
    e->doubt = s->passed[v6];
#endif
    if (!e->doubt || s->passed[v6] < e->doubt) { /* is the list still one? */
        e->doubt = s->passed[v6] + 1;
        s->again = q->address + 1;
        begin_trial(w, q->list, now);
        return BLOCKLIST_SAME;
    }
    e->doubt = 0;
    e->listed = listed, e->since = e->answered = now;
    s->listed += listed ? 1 : (size_t)-1;
    set_text(e, reading.text);
    return listed ? BLOCKLIST_NOW_LISTED : BLOCKLIST_NOW_DELISTED;
}

void blocklist_explain(struct blocklist_watch *w, const struct blocklist_question *q, struct str text) {
    struct entry *e = &w->states[q->list].entries[q->address];
    if (q->step == BLOCKLIST_ASK && e->listed && text.len)
        set_text(e, text);
}

void blocklist_restore(struct blocklist_watch *w, size_t list, size_t address, struct str text, int64_t since,
                       int64_t answered, int64_t now) {
    struct entry *e = &w->states[list].entries[address];
    answered = answered < now ? answered : now; /* the clock was set back */
    w->states[list].listed += !e->listed;
    w->states[list].lapses = 0;
    e->listed = true;
    e->answered = answered, e->since = since < answered ? since : answered;
    set_text(e, text);
}

struct blocklist_entry blocklist_entry(const struct blocklist_watch *w, size_t list, size_t address,
                                       int64_t now) {
    const struct list_state *s = &w->states[list];
    const struct entry *e = &s->entries[address];
    bool lately = now - e->answered <= hold_of(s);
    return (struct blocklist_entry){.listed = e->listed && lately,
                                    .forgotten = e->listed && !lately,
                                    .since = e->listed ? e->since : 0,
                                    .answered = e->answered,
                                    .text = str_of(e->text)};
}

bool blocklist_believed(const struct blocklist_watch *w, size_t list, struct str *ret_why) {
    const struct list_state *s = &w->states[list];
    bool of_all = s->believes[0] >= s->has[0] && s->believes[1] >= s->has[1];
    *ret_why = of_all && believed(s) ? STR("") : s->why;
    return believed(s);
}

bool blocklist_believed_of(const struct blocklist_watch *w, size_t list, size_t address,
                           struct str *ret_why) {
    const struct list_state *s = &w->states[list];
    bool good = s->believes[family_of(w, address)];
    *ret_why = good ? STR("") : s->why;
    return good;
}
