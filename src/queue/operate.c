/* What operators ask of the queue: changes of a message's deliveries, lists, counts. */
#include "queue/lane.h"

#include "base/clock.h"

#include <stdlib.h>

/* ---- rows ---- */

static void fill_row(struct queue_worker *w, const struct delivery *d, struct arena *arena,
                     struct queue_row *row) {
    enum delivery_state state = atomic_load_explicit(&d->state, memory_order_relaxed);
    struct queue *queue = w->queue;
    *row = (struct queue_row){.message = d->message,
                              .recipient = d->recipient,
                              .group = d->group,
                              .attempts = d->attempts,
                              .mail_class = (enum mail_class)d->mail_class,
                              .state = state,
                              .pool = str_copy(arena, names_at(&queue->pools, d->pool)),
                              .domain = str_copy(arena, d->domain->name),
                              .via = str_copy(arena, d->domain->via),
                              .arrival = (int64_t)d->arrival_s * 1000,
                              .due = state == DELIVERY_WAITING ? d->due.key : 0,
                              .source = queue_delivery_source(queue, d),
                              .let_go = d->let_go};
}

struct rows {
    struct queue_row *at;
    size_t count, cap;
};

/* Memory of the old array stays in the arena: rows are few or the array was made with room. */
static struct queue_row *new_row(struct rows *rows, struct arena *arena) {
    if (rows->count == rows->cap) {
        size_t cap = rows->cap ? rows->cap * 2 : 16;
        struct queue_row *more = arena_array(arena, struct queue_row, cap);
        if (rows->count)
            memcpy(more, rows->at, rows->count * sizeof *more);
        rows->at = more;
        rows->cap = cap;
    }
    return &rows->at[rows->count++];
}

/* ---- changes ---- */

struct asked {
    struct delivery *delivery;
    uint8_t owner;
    bool pulled;
};

struct operation {
    struct queue_worker *home;
    enum queue_operation what;
    uint64_t message;
    int32_t group, recipient;
    struct arena *arena;
    struct rows rows;
    struct asked *asked; /* in a lane or session: their owners must be asked */
    size_t asked_count, asked_cap;
    unsigned owner;
};

static bool wanted(const struct operation *op, const struct delivery *d) {
    return (op->group == QUEUE_ALL || d->group == op->group) &&
           (op->recipient == QUEUE_ALL || d->recipient == (uint32_t)op->recipient);
}

/* Changes one that is at home and in no list. */
static void change(struct operation *op, struct delivery *d) {
    struct queue_worker *w = op->home;
    int64_t now = queue_now(w->queue);
    struct queue_row *row = new_row(&op->rows, op->arena);
    fill_row(w, d, op->arena, row);
    row->due = 0;
    switch (op->what) {
    case QUEUE_CANCEL:
        home_forget(w, d);
        return;
    case QUEUE_HOLD:
        home_hold(w, d);
        break;
    case QUEUE_RETRY:
        d->next |= NEXT_FORCED;
        d->domain->route_until = 0;
        home_place(w, d, now);
        break;
    case QUEUE_LET_GO:
        d->let_go = true;
        home_place(w, d, now);
        break;
    case QUEUE_RELEASE:
        home_place(w, d, now);
        break;
    }
    row->state = op->what == QUEUE_HOLD ? DELIVERY_HELD : DELIVERY_WAITING;
}

static bool applies(enum queue_operation what, enum delivery_state state) {
    switch (what) {
    case QUEUE_RETRY:
        return state == DELIVERY_WAITING;
    case QUEUE_RELEASE:
        return state == DELIVERY_HELD;
    case QUEUE_LET_GO:
        return state == DELIVERY_HELD || state == DELIVERY_WAITING;
    case QUEUE_HOLD:
        return state != DELIVERY_HELD;
    case QUEUE_CANCEL:
        return true;
    }
    return false;
}

static void add_busy(struct operation *op, struct delivery *d) {
    struct queue_row *row = new_row(&op->rows, op->arena);
    fill_row(op->home, d, op->arena, row);
    row->busy = true;
}

static void ask_owner(struct operation *op, struct delivery *d) {
    if (op->asked_count == op->asked_cap) {
        op->asked_cap = op->asked_cap ? op->asked_cap * 2 : 16;
        op->asked = xrealloc(op->asked, op->asked_cap * sizeof *op->asked);
    }
    op->asked[op->asked_count++] = (struct asked){d, (uint8_t)d->owner, false};
    d->next |= NEXT_PINNED;
}

static void begin(void *arg) {
    struct operation *op = arg;
    struct queue_worker *w = op->home;
    for (struct delivery *d = store_first(&w->store, op->message), *next; d; d = next) {
        next = store_next(&w->store, d);
        enum delivery_state state = atomic_load_explicit(&d->state, memory_order_relaxed);
        if (!wanted(op, d) || !applies(op->what, state))
            continue;
        if (d->next & NEXT_PINNED)
            add_busy(op, d); /* another operator is at it */
        else if (home_take(w, d))
            change(op, d);
        else if (state == DELIVERY_READY)
            ask_owner(op, d);
        else
            add_busy(op, d);
    }
}

static void pull(void *arg) {
    struct operation *op = arg;
    struct queue_worker *owner = &op->home->queue->workers[op->owner];
    for (size_t i = 0; i < op->asked_count; i++)
        if (op->asked[i].owner == op->owner)
            op->asked[i].pulled = lane_pull(owner, op->asked[i].delivery);
}

static void end(void *arg) {
    struct operation *op = arg;
    for (size_t i = 0; i < op->asked_count; i++) {
        struct delivery *d = op->asked[i].delivery;
        bool back = d->next & NEXT_BACK;
        d->next &= ~(NEXT_PINNED | NEXT_BACK);
        if (op->asked[i].pulled) {
            change(op, d);
        } else if (!back) {
            add_busy(op, d);
        } else if (home_settle(op->home, d)) {
            change(op, d);
        }
    }
}

size_t queue_operate(struct queue *queue, enum queue_operation what, uint64_t message, int32_t group,
                     int32_t recipient, struct arena *arena, struct queue_row **ret_rows) {
    struct operation op = {.home = queue_home(queue, message),
                           .what = what,
                           .message = message,
                           .group = group,
                           .recipient = recipient,
                           .arena = arena};
    worker_call(op.home->worker, begin, &op);
    for (op.owner = 0; op.owner < queue->count && op.asked_count; op.owner++) {
        bool any = false;
        for (size_t i = 0; i < op.asked_count && !any; i++)
            any = op.asked[i].owner == op.owner;
        if (any)
            worker_call(queue->workers[op.owner].worker, pull, &op);
    }
    if (op.asked_count)
        worker_call(op.home->worker, end, &op);
    free(op.asked);
    *ret_rows = op.rows.at;
    return op.rows.count;
}

/* ---- lists ---- */

enum { LIST_STEP = 4096 }; /* places looked at before others get their turn */

struct listing {
    struct queue_worker *worker;
    const struct queue_filter *filter;
    struct arena *arena;
    struct rows rows;
    size_t limit;
    uint32_t place;
    bool end;
};

static bool passes(const struct listing *l, const struct delivery *d) {
    const struct queue_filter *f = l->filter;
    return (!f->message || d->message == f->message) &&
           (!f->pool.len || str_eq(f->pool, names_at(&l->worker->queue->pools, d->pool))) &&
           (!f->domain.len || str_eq_nocase(f->domain, d->domain->name)) &&
           (!f->arrived_before || (int64_t)d->arrival_s * 1000 < f->arrived_before) &&
           (!f->held_only || atomic_load_explicit(&d->state, memory_order_relaxed) == DELIVERY_HELD);
}

/* At home, so the domain's last reason may be read. */
static void list_one(struct listing *l, const struct delivery *d) {
    struct queue_row *row = new_row(&l->rows, l->arena);
    const struct outcome *last = &d->domain->last.outcome;
    fill_row(l->worker, d, l->arena, row);
    if (last->fate != OUTCOME_DONE && row->state != DELIVERY_SENDING)
        row->why = str_copy(l->arena, outcome_line(l->arena, last));
}

static void list_step(void *arg) {
    struct listing *l = arg;
    struct store *store = &l->worker->store;
    for (int i = 0; i < LIST_STEP && l->rows.count < l->limit; i++, l->place++) {
        if (l->place >= store->used) {
            l->end = true;
            return;
        }
        struct delivery *d = store_at(store, l->place);
        if (d && passes(l, d))
            list_one(l, d);
    }
}

static void list_message(void *arg) {
    struct listing *l = arg;
    struct store *store = &l->worker->store;
    struct delivery *d = store_first(store, l->filter->message);
    for (; d && l->rows.count < l->limit; d = store_next(store, d))
        if (passes(l, d))
            list_one(l, d);
}

size_t queue_list(struct queue *queue, const struct queue_filter *filter, size_t limit, uint64_t *cursor,
                  struct arena *arena, struct queue_row **ret_rows) {
    struct listing l = {.filter = filter, .arena = arena, .limit = limit, .place = (uint32_t)*cursor};
    unsigned index = (unsigned)(*cursor >> 32);
    if (filter->message) {
        l.worker = queue_home(queue, filter->message);
        worker_call(l.worker->worker, list_message, &l);
        index = queue->count;
    }
    while (index < queue->count && l.rows.count < limit) {
        l.worker = &queue->workers[index];
        worker_call(l.worker->worker, list_step, &l);
        if (l.end) {
            index++;
            l.place = 0;
            l.end = false;
        }
    }
    *cursor = index < queue->count ? (uint64_t)index << 32 | l.place : 0;
    *ret_rows = l.rows.at;
    return l.rows.count;
}

/* ---- counts ---- */

struct counting {
    struct queue_worker *worker;
    struct arena *arena;
    struct queue_status *status;
    size_t cap;
};

static void count_lane(struct counting *c, const struct lane *lane) {
    enum { LANES_MAX = 10000 };
    struct queue_status *status = c->status;
    if (status->lane_count >= LANES_MAX)
        return;
    if (status->lane_count == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 64;
        struct queue_lane_status *more = arena_array(c->arena, struct queue_lane_status, cap);
        if (c->cap)
            memcpy(more, status->lanes, c->cap * sizeof *more);
        status->lanes = more;
        c->cap = cap;
    }
    int64_t now = queue_now(c->worker->queue);
    status->lanes[status->lane_count++] =
        (struct queue_lane_status){.receiver = str_copy(c->arena, lane->receiver),
                                   .pool = str_copy(c->arena, names_at(&c->worker->queue->pools, lane->pool)),
                                   .reason = outcome_line(c->arena, &lane->reason.outcome),
                                   .ready = lane->ready,
                                   .sending = lane->sending,
                                   .sessions = lane->session_count,
                                   .idle = lane->idle_count,
                                   .limit = lane->limit,
                                   .closed_until = lane->closed_until > now ? lane->closed_until : 0};
}

static void count_worker(void *arg) {
    struct counting *c = arg;
    struct queue_worker *w = c->worker;
    c->status->deliveries += w->store.count;
    c->status->waiting += w->due.count;
    c->status->held += w->held;
    c->status->away += w->store.count - w->due.count - w->held;
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(w->lanes, &at, &key, &value))
        count_lane(c, value);
}

void queue_status(struct queue *queue, struct arena *arena, struct queue_status *ret) {
    *ret = (struct queue_status){0};
    struct counting c = {.arena = arena, .status = ret};
    for (unsigned i = 0; i < queue->count; i++) {
        c.worker = &queue->workers[i];
        worker_call(c.worker->worker, count_worker, &c);
    }
}
