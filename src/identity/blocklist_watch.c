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
    int64_t since;
    int64_t answered; /* when the list was last believed about it */
    char *text;       /* ours, or NULL */
};

/* A trial of a family: what its two test addresses said. */
struct trial {
    bool wanted, listed_done, clear_done;
};

struct list_state {
    struct entry *entries; /* one an address */
    size_t *order;         /* the addresses that it takes */
    size_t order_count, next;
    int64_t step, turn; /* between two addresses; when the next one's slot begins */
    int64_t free_at;    /* the gap */
    int64_t trial_due;
    struct trial trials[2];
    bool believed;
    size_t passed; /* trials */
    size_t again;  /* the address to ask after the trial, + 1; 0: none */
    int64_t pause; /* 0: it answers */
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
    s->trials[0] = (struct trial){.wanted = w->lists[number].v4};
    s->trials[1] = (struct trial){.wanted = w->lists[number].v6};
    s->trial_due = now + BLOCKLIST_TRIAL_ROUNDS * w->pace.round_ms;
}

static void open_list(struct blocklist_watch *w, size_t number, int64_t now) {
    struct list_state *s = &w->states[number];
    s->entries = xcalloc(w->address_count + 1, sizeof *s->entries);
    s->order = xcalloc(w->address_count + 1, sizeof *s->order);
    for (size_t i = 0; i < w->address_count; i++)
        if (blocklist_covers(&w->lists[number], &w->addresses[i]))
            s->order[s->order_count++] = i;
    s->step = s->order_count ? w->pace.round_ms / (int64_t)s->order_count : w->pace.round_ms;
    s->step = s->step < w->pace.gap_ms ? w->pace.gap_ms : s->step;
    s->turn = now;
    s->free_at = now + (int64_t)(mix(w->seed, number) % (uint64_t)w->pace.gap_ms);
    s->why = STR("not tried yet");
    begin_trial(w, number, now);
}

static void set_why(struct list_state *s, struct str why) {
    why = str_head(why, sizeof s->why_text);
    if (why.len)
        memcpy(s->why_text, why.at, why.len);
    s->why = str_from(s->why_text, why.len);
}

/* A list that refuses is not asked sooner for a reload. */
static void take_over_pause(struct list_state *s, const struct list_state *from, int64_t now) {
    if (!from->pause || from->believed)
        return;
    s->pause = from->pause;
    s->free_at = from->free_at < now + from->pause ? from->free_at : now + from->pause;
    set_why(s, from->why);
}

/* Times in the future are of a clock that was set back. */
static void take_over_entry(struct entry *to, const struct entry *from, int64_t now) {
    to->answered = from->answered < now ? from->answered : now;
    if (!from->listed)
        return;
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
                    take_over_entry(&w->states[l].entries[i], &old->states[o].entries[at - 1], now);
            }
        }
    map_free(places);
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
        if (!t->wanted || (t->listed_done && t->clear_done))
            continue;
        ret->step = t->listed_done ? BLOCKLIST_TRY_CLEAR : BLOCKLIST_TRY_LISTED;
        ret->v6 = v6 != 0;
        return true;
    }
    return false;
}

/* When the list may be asked again, and has something to be asked. */
static int64_t due(const struct blocklist_watch *w, const struct list_state *s) {
    struct blocklist_question unused;
    int64_t when = s->trial_due;
    if (!s->order_count)
        return INT64_MAX;
    if (next_trial(s, &unused))
        when = 0;
    else if (s->believed && s->again)
        when = 0;
    else if (s->believed && s->turn < when) {
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
        return;
    }
    ret->address = s->order[s->next];
    s->next = (s->next + 1) % s->order_count;
    s->turn = (s->turn + s->step > now - s->step ? s->turn : now - s->step) + s->step;
}

bool blocklist_next(struct blocklist_watch *w, int64_t now, struct blocklist_question *ret,
                    int64_t *ret_when) {
    int64_t first = INT64_MAX;
    size_t at = 0;
    for (size_t i = 0; i < w->list_count; i++) {
        int64_t when = due(w, &w->states[i]);
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
    return blocklist_test_query(arena, list, q->v6, q->step == BLOCKLIST_TRY_LISTED);
}

/* ---- answers ---- */

/* The list is left alone for a while, longer each time, and then tried first. */
static void pause(struct blocklist_watch *w, size_t number, struct str why, int64_t now) {
    struct list_state *s = &w->states[number];
    int64_t most = BLOCKLIST_PAUSE_MOST_ROUNDS * w->pace.round_ms;
    s->pause = s->pause ? s->pause * 2 : BLOCKLIST_PAUSE_ROUNDS * w->pace.round_ms;
    s->pause = s->pause > most ? most : s->pause;
    s->believed = false;
    s->free_at = now + s->pause;
    set_why(s, why);
    begin_trial(w, number, now);
}

static void answer_trial(struct blocklist_watch *w, const struct blocklist_question *q,
                         const struct blocklist_reading *reading, int64_t now) {
    struct list_state *s = &w->states[q->list];
    struct trial *t = &s->trials[q->v6];
    struct blocklist_question unused;
    bool wants_listed = q->step == BLOCKLIST_TRY_LISTED;
    bool good = wants_listed ? reading->state == BLOCKLIST_LISTED : reading->state == BLOCKLIST_CLEAR;
    if (!good) {
        struct str why = reading->text;
        if (reading->state == BLOCKLIST_CLEAR)
            why = STR("it does not list the test address: the list is gone, or closed to this resolver");
        else if (reading->state == BLOCKLIST_LISTED)
            why = STR("it lists everything");
        pause(w, q->list, why, now);
        return;
    }
    s->free_at = now + w->pace.gap_ms;
    *(wants_listed ? &t->listed_done : &t->clear_done) = true;
    if (!next_trial(s, &unused))
        s->believed = true, s->pause = 0, s->passed++;
}

enum blocklist_change blocklist_answer(struct blocklist_watch *w, const struct blocklist_question *q,
                                       const struct dns_answer *answer, int64_t now) {
    struct blocklist_reading reading;
    blocklist_read(&w->lists[q->list], answer, &reading);
    if (q->step != BLOCKLIST_ASK) {
        answer_trial(w, q, &reading, now);
        return BLOCKLIST_SAME;
    }
    struct list_state *s = &w->states[q->list];
    struct entry *e = &s->entries[q->address];
    if (reading.state == BLOCKLIST_REFUSED || reading.state == BLOCKLIST_BROKEN)
        pause(w, q->list, reading.text, now);
    if (!s->believed || reading.state == BLOCKLIST_UNASKED)
        return BLOCKLIST_SAME;
    bool listed = reading.state == BLOCKLIST_LISTED;
    if (listed == e->listed) {
        e->doubt = 0, e->answered = now;
        return BLOCKLIST_SAME;
    }
#ifdef SLUICE_SEEDED_BUG_BLOCKLIST_UNTRIED
    e->doubt = s->passed;
#endif
    if (!e->doubt || s->passed < e->doubt) { /* is the list still one? */
        e->doubt = s->passed + 1;
        s->again = q->address + 1;
        begin_trial(w, q->list, now);
        return BLOCKLIST_SAME;
    }
    e->doubt = 0;
    e->listed = listed, e->since = e->answered = now;
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
    e->listed = true;
    e->answered = answered, e->since = since < answered ? since : answered;
    set_text(e, text);
}

struct blocklist_entry blocklist_entry(const struct blocklist_watch *w, size_t list, size_t address,
                                       int64_t now) {
    const struct list_state *s = &w->states[list];
    const struct entry *e = &s->entries[address];
    int64_t rounds = 2 * s->step * (int64_t)s->order_count;
    bool lately = now - e->answered <= (rounds > BLOCKLIST_HOLD_MS ? rounds : BLOCKLIST_HOLD_MS);
    return (struct blocklist_entry){.listed = e->listed && lately,
                                    .forgotten = e->listed && !lately,
                                    .since = e->listed ? e->since : 0,
                                    .answered = e->answered,
                                    .text = str_of(e->text)};
}

bool blocklist_believed(const struct blocklist_watch *w, size_t list, struct str *ret_why) {
    *ret_why = w->states[list].believed ? STR("") : w->states[list].why;
    return w->states[list].believed;
}
