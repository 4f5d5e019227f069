/* A worker as owner of receivers: what is ready for each (receiver, pool), and the sessions that take it. */
#include "queue/lane.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SCAN_MAX = 64, /* deliveries looked at for one that fits a session's source */
    AHEAD_MAX = 8, /* transactions given to a session at once */
    JITTER_MAX_MS = 60 * 1000,
    REDUCED_MS = 60 * 1000,     /* then a receiver is offered more connections again */
    FORGET_MS = 60 * 60 * 1000, /* a failing receiver that nobody asked for again */
};

static bool same_transaction(const struct delivery *a, const struct delivery *b) {
    return a && b && a->message == b->message && a->group == b->group;
}

static int64_t lane_now(const struct lane *lane) { return queue_now(lane->owner->queue); }

/* ---- tracks: order of arrival. Fairness between senders will have its place in track_add and next_fitting
 * ---- */

static void track_list(struct track *track) {
    struct lane *lane = track->lane;
    track->listed = true;
    track->after = NULL;
    track->before = lane->last;
    *(lane->last ? &lane->last->after : &lane->first) = track;
    lane->last = track;
}

static void track_unlist(struct track *track) {
    struct lane *lane = track->lane;
    track->listed = false;
    *(track->before ? &track->before->after : &lane->first) = track->after;
    *(track->after ? &track->after->before : &lane->last) = track->before;
}

static void track_insert(struct track *track, struct delivery *delivery, struct delivery *before) {
    struct delivery *previous = before ? before->before : track->ready.last;
    delivery->before = previous;
    delivery->after = before;
    *(previous ? &previous->after : &track->ready.first) = delivery;
    *(before ? &before->before : &track->ready.last) = delivery;
    /* Each neighbour pair that differs, and the front, begins a run. */
    track->runs += !same_transaction(previous, delivery);
    if (before) {
        track->runs += !same_transaction(delivery, before);
        track->runs -= !same_transaction(previous, before);
    }
    delivery->track = track;
    atomic_store_explicit(&delivery->state, DELIVERY_READY, memory_order_relaxed);
    track->count++;
    track->lane->ready++;
    if (!track->listed)
        track_list(track);
}

static void track_remove(struct track *track, struct delivery *delivery) {
    struct delivery *previous = delivery->before, *next = delivery->after;
    *(previous ? &previous->after : &track->ready.first) = next;
    *(next ? &next->before : &track->ready.last) = previous;
    track->runs -= !same_transaction(previous, delivery);
    if (next) {
        track->runs -= !same_transaction(delivery, next);
        track->runs += !same_transaction(previous, next);
    }
    delivery->after = delivery->before = NULL;
    delivery->track = NULL;
    track->count--;
    track->lane->ready--;
    if (!track->count)
        track_unlist(track);
}

static struct track *track_get(struct lane *lane, struct route *route) {
    struct track *track = map_get(lane->tracks, route->hosts_key);
    if (!track) {
        track = xcalloc(1, sizeof *track);
        track->lane = lane;
        map_put(lane->tracks, route->hosts_key, track);
    }
    route_unref(track->route);
    track->route = route;
    return track;
}

static void track_settle(struct track *track) {
    if (track->count || track->sessions)
        return;
    map_remove(track->lane->tracks, track->route->hosts_key);
    route_unref(track->route);
    free(track);
}

/* ---- lanes ---- */

enum { LANE_KEY_MAX = 2048 };

static struct str lane_key(char memory[LANE_KEY_MAX], struct str receiver, uint16_t pool) {
    int len = snprintf(memory, LANE_KEY_MAX, "%u %.*s", (unsigned)pool, STR_FMT(receiver));
    return str_from(memory, len < LANE_KEY_MAX ? (size_t)len : LANE_KEY_MAX - 1);
}

/* By the owner's settings, not by a route, which may be older. */
static void set_limits(struct lane *lane) {
    const struct queue_settings *settings = settings_of(lane->owner);
    lane->limit = settings->delivery.connections;
    lane->messages_per_connection = settings->delivery.messages_per_connection;
    if (!str_starts(lane->receiver, STR("destination:")))
        return;
    const struct destination_settings *d =
        destination_named(settings, str_from_index(lane->receiver, strlen("destination:")));
    if (d && d->connections)
        lane->limit = d->connections;
    if (d && d->messages_per_connection)
        lane->messages_per_connection = d->messages_per_connection;
}

static struct lane *lane_get(struct queue_worker *w, const struct route *route, uint16_t pool) {
    char memory[LANE_KEY_MAX];
    struct str key = lane_key(memory, route->receiver, pool);
    struct lane *lane = map_get(w->lanes, key);
    if (!lane) {
        lane = xcalloc(1, sizeof *lane + key.len);
        char *text = (char *)(lane + 1);
        memcpy(text, key.at, key.len);
        lane->owner = w;
        lane->key = str_from(text, key.len);
        lane->receiver = str_from_index(lane->key, (size_t)str_index(lane->key, ' ') + 1);
        lane->pool = pool;
        lane->tracks = map_new(false);
        map_put(w->lanes, lane->key, lane);
        set_limits(lane);
    }
    return lane;
}

static void lane_free(struct lane *lane) {
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(lane->tracks, &at, &key, &value)) {
        route_unref(((struct track *)value)->route);
        free(value);
    }
    map_free(lane->tracks);
    reason_free(&lane->reason);
    free(lane);
}

/* Forgets a lane in which nothing is and that has nothing to remember. */
static void lane_settle(struct lane *lane) {
    if (lane->ready || lane->session_count || lane->failures)
        return;
    map_remove(lane->owner->lanes, lane->key);
    lane_free(lane);
}

static void go_home(struct lane *lane, struct delivery *delivery, int64_t until) {
    int64_t spread = (until - lane_now(lane)) / 8;
    spread = spread < 0 ? 0 : spread > JITTER_MAX_MS ? JITTER_MAX_MS : spread;
    delivery->again = until + (int64_t)(queue_random(lane->owner) % (uint64_t)(spread + 1000));
    delivery->sticky = 0;
    delivery->how = COME_RETURNED;
    atomic_store_explicit(&delivery->state, DELIVERY_ROUTING, memory_order_relaxed);
    home_send(delivery);
}

/* ---- handing out ---- */

static bool fits(const struct queue_session *session, const struct delivery *delivery) {
    return !delivery->source || delivery->source == session->wanted || delivery->source == session->source;
}

static struct delivery *next_fitting(const struct track *track, const struct queue_session *session) {
    struct delivery *d = track->ready.first;
    for (int i = 0; d && i < SCAN_MAX; i++, d = d->after)
        if (fits(session, d))
            return d;
    return NULL;
}

/* Moves one transaction to the end of the session's answer. */
static bool give_one(struct queue_session *session, struct delivery **tail) {
    struct track *track = session->track;
    struct delivery *first = next_fitting(track, session), *d = first;
    for (size_t i = 0; d && i < session->max; i++) {
        struct delivery *next = d->after;
        track_remove(track, d);
        atomic_store_explicit(&d->state, DELIVERY_SENDING, memory_order_relaxed);
        *(*tail ? &(*tail)->after : &session->answer) = d;
        *tail = d;
        session->in_hand++;
        track->lane->sending++;
        d = next && same_transaction(next, first) && fits(session, next) ? next : NULL;
    }
    return first != NULL;
}

/* Several transactions when there are many: a session on another worker then asks less often. */
static bool give(struct queue_session *session) {
    size_t share = session->track->runs / session->lane->session_count;
    size_t left = session->most - session->taken;
    size_t most = share < 1 ? 1 : share > AHEAD_MAX ? AHEAD_MAX : share;
    if (most > left)
        most = left;
    struct delivery *tail = NULL;
    session->answer = NULL;
    for (size_t i = 0; i < most; i++)
        if (!give_one(session, &tail))
            break;
    return tail != NULL;
}

static void answer(struct queue_session *session, bool over) {
    session->answer_over = over;
    session->state = over ? SESSION_ENDING : SESSION_BUSY;
    session_answer(session);
}

static void answer_idle(struct queue_session *session, bool over) {
    session->lane->idle_count--;
    answer(session, over);
}

/* ---- sessions ---- */

static unsigned lane_limit(const struct lane *lane) {
    if (lane->failures)
        return 1;
    bool reduced = lane->reduced && lane->reduced < lane->limit && lane->reduced_until > lane_now(lane);
    return reduced ? lane->reduced : lane->limit;
}

static unsigned working_sessions(const struct lane *lane) {
    unsigned count = 0;
    for (const struct queue_session *s = lane->sessions; s; s = s->after)
        count += s->works && !s->refused && s->state != SESSION_ENDING;
    return count;
}

/* How many more sessions may start: as many as work already, and two, so that a receiver is not met by all
 * connections at once and can say what it bears. */
static unsigned room_for_sessions(const struct lane *lane) {
    unsigned working = working_sessions(lane), limit = lane_limit(lane);
    unsigned ramp = 2 * working + 2;
    if (ramp < limit)
        limit = ramp;
    return limit > lane->session_count ? limit - lane->session_count : 0;
}

static bool lane_open_now(const struct lane *lane) {
    return lane->closed_until <= lane_now(lane) &&
           !atomic_load_explicit(&lane->owner->queue->draining, memory_order_relaxed);
}

/* The source that the next session should have: that of the first transaction no starting session is for. */
static uint32_t wanted_source(const struct track *track) {
    unsigned skip = track->starting;
    const struct delivery *d = track->ready.first;
    for (int i = 0; d->after && i < SCAN_MAX; i++, d = d->after) {
        if (i && !same_transaction(d->before, d) && skip)
            skip--;
        if (!skip)
            break;
    }
    return d->source;
}

static void start_session(struct lane *lane, struct track *track) {
    struct queue_worker *w = lane->owner;
    /* The first one stays with its lane; more of them spread over the workers. */
    unsigned index = lane->session_count ? w->turn++ % w->queue->count : w->index;
    struct queue_session *session =
        session_new(lane, track, w->queue->workers[index].worker, wanted_source(track));
    session->after = lane->sessions;
    if (lane->sessions)
        lane->sessions->before = session;
    lane->sessions = session;
    lane->session_count++;
    track->sessions++;
    track->starting++;
    session_start(session);
}

static struct track *track_to_start(struct lane *lane) {
    for (struct track *track = lane->first; track; track = track->after)
        if (track->starting < track->runs) {
            track_unlist(track);
            track_list(track);
            return track;
        }
    return NULL;
}

static void lane_work(struct lane *lane) {
    if (!lane->ready || !lane_open_now(lane))
        return;
    for (struct queue_session *s = lane->sessions; s && lane->idle_count; s = s->after)
        if (s->state == SESSION_IDLE && give(s))
            answer_idle(s, false);
    struct track *track;
    unsigned room = room_for_sessions(lane);
    while (!lane->owner->blocked && (track = track_to_start(lane))) {
        if (room) {
            start_session(lane, track);
            room--;
            continue;
        }
        /* Idle sessions serve other hosts or other sources than what waits: one makes room. */
        for (struct queue_session *s = lane->sessions; s && lane->idle_count; s = s->after)
            if (s->state == SESSION_IDLE) {
                answer_idle(s, true);
                break;
            }
        break;
    }
}

void lane_accept(void *arg) {
    struct delivery *delivery = arg;
    struct queue_worker *w = &delivery->domain->home->queue->workers[delivery->owner];
    struct route *route = delivery->route;
    struct lane *lane = lane_get(w, route, delivery->pool);
    if (lane->closed_until > lane_now(lane)) {
        home_note(delivery->domain, &lane->reason.outcome);
        for (struct delivery *next; delivery; delivery = next) {
            next = delivery->after;
            go_home(lane, delivery, lane->closed_until);
        }
        route_unref(route);
    } else {
        struct track *track = track_get(lane, route);
        for (struct delivery *next; delivery; delivery = next) {
            next = delivery->after;
            track_insert(track, delivery, NULL);
        }
        lane_work(lane);
    }
    lane_settle(lane);
}

void lane_ask(void *arg) {
    struct queue_session *session = arg;
    struct lane *lane = session->lane;
    bool first = session->state == SESSION_STARTING;
    if (first)
        session->track->starting--;
    lane->sending -= session->in_hand;
    session->in_hand = 0;
    session->answer = NULL;
    session->state = SESSION_BUSY;
    if (!lane_open_now(lane) || session->taken >= session->most || lane->session_count > lane->limit) {
        answer(session, true);
    } else if (give(session)) {
        answer(session, false);
    } else if (first || session->track->count || (lane->ready && lane->session_count >= lane_limit(lane))) {
        answer(session, true); /* what is ready is not for this one */
    } else {
        session->state = SESSION_IDLE;
        lane->idle_count++;
    }
    lane_work(lane);
}

void lane_unask(void *arg) {
    struct queue_session *session = arg;
    if (session->state == SESSION_IDLE)
        answer_idle(session, true);
}

void lane_connected(void *arg) {
    struct queue_session *session = arg;
    struct lane *lane = session->lane;
    lane->failures = 0;
    lane->closed_until = 0;
    session->works = true;
    if (!lane->reduced || lane->reduced_until <= lane_now(lane))
        reason_set(&lane->reason, NULL);
    lane_work(lane);
}

/* What a session did not use goes back to the front, in its order. */
static void take_back(struct queue_session *session) {
    struct lane *lane = session->lane;
    bool closed = lane->closed_until > lane_now(lane);
    struct delivery *front = session->track->ready.first;
    for (struct delivery *d = session->ahead, *next; d; d = next) {
        next = d->after;
        if (closed)
            go_home(lane, d, lane->closed_until);
        else
            track_insert(session->track, d, front);
    }
    session->ahead = NULL;
}

void lane_session_ended(void *arg) {
    struct queue_session *session = arg;
    struct lane *lane = session->lane;
    struct track *track = session->track;
    if (session->state == SESSION_STARTING)
        track->starting--;
    if (session->state == SESSION_IDLE)
        lane->idle_count--;
    if (session->failed)
        lane->owner->blocked = true;
    lane->sending -= session->in_hand;
    take_back(session);
    *(session->before ? &session->before->after : &lane->sessions) = session->after;
    if (session->after)
        session->after->before = session->before;
    lane->session_count--;
    track->sessions--;
    session_dispose(session);
    lane_work(lane);
    track_settle(track);
    lane_settle(lane);
}

/* ---- closing ---- */

static void send_all_home(struct lane *lane) {
    const struct queue_domain *noted = NULL;
    for (struct track *track; (track = lane->first);) {
        while (track->ready.first) {
            struct delivery *d = track->ready.first;
            track_remove(track, d);
            if (d->domain != noted)
                home_note(d->domain, &lane->reason.outcome);
            noted = d->domain;
            go_home(lane, d, lane->closed_until);
        }
        track_settle(track);
    }
}

/* Sessions that may yet get through: the last one to fail decides. */
static bool others_try(const struct lane *lane) {
    for (const struct queue_session *s = lane->sessions; s; s = s->after)
        if (s->state != SESSION_ENDING && !s->refused)
            return true;
    return false;
}

/* A receiver that serves some connections while it refuses one more has enough: so many it gets. */
void lane_close(void *arg) {
    struct lane_close *close = arg;
    struct lane *lane = close->session->lane;
    close->session->refused = true;
    reason_free(&lane->reason);
    lane->reason = close->reason;
    if (!close->chosen && others_try(lane)) {
        int64_t most = lane_now(lane) + REDUCED_MS;
        unsigned working = working_sessions(lane);
        lane->reduced = working ? working : 1;
        lane->reduced_until = close->until < most ? close->until : most;
    } else {
        if (lane->closed_until <= lane_now(lane))
            lane->failures++;
        if (close->until > lane->closed_until)
            lane->closed_until = close->until;
        send_all_home(lane);
    }
    free(close);
}

void lane_open(void *arg) {
    struct lane_open *open = arg;
    char memory[LANE_KEY_MAX];
    struct lane *lane = map_get(open->owner->lanes, lane_key(memory, open->receiver, open->pool));
    if (lane)
        lane->closed_until = 0;
    free(open);
}

bool lane_pull(struct queue_worker *w, struct delivery *delivery) {
    if (atomic_load_explicit(&delivery->state, memory_order_relaxed) != DELIVERY_READY)
        return false;
    struct track *track = delivery->track;
    struct lane *lane = track->lane;
    (void)w;
    track_remove(track, delivery);
    atomic_store_explicit(&delivery->state, DELIVERY_ROUTING, memory_order_relaxed);
    track_settle(track);
    lane_settle(lane);
    return true;
}

/* ---- all lanes of a worker ---- */

void lanes_settings(struct queue_worker *w) {
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(w->lanes, &at, &key, &value)) {
        set_limits(value);
        lane_work(value);
    }
}

void lanes_drain(struct queue_worker *w) {
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(w->lanes, &at, &key, &value))
        for (struct queue_session *s = ((struct lane *)value)->sessions; s; s = s->after)
            if (s->state == SESSION_IDLE)
                answer_idle(s, true);
}

/* Once a minute: forgets failing receivers that nothing was sent to for long. */
static void sweep(struct queue_worker *w) {
    struct lane *gone[256];
    size_t count = 0, at = 0;
    struct str key;
    void *value;
    while (count < 256 && map_next(w->lanes, &at, &key, &value)) {
        struct lane *lane = value;
        if (!lane->ready && !lane->session_count && lane->closed_until + FORGET_MS < lane_now(lane))
            gone[count++] = lane;
    }
    for (size_t i = 0; i < count; i++) {
        map_remove(w->lanes, gone[i]->key);
        lane_free(gone[i]);
    }
}

void lanes_tick(struct queue_worker *w) {
    if (++w->ticks % 60 == 0)
        sweep(w);
    if (!w->blocked)
        return;
    w->blocked = false;
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(w->lanes, &at, &key, &value))
        lane_work(value);
}

void lanes_free(struct queue_worker *w) {
    size_t at = 0;
    struct str key;
    void *value;
    while (w->lanes && map_next(w->lanes, &at, &key, &value))
        lane_free(value);
    map_free(w->lanes);
}
