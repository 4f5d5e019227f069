#include "limits/sending.h"
#include "base/clock.h"
#include "base/error.h"
#include "rt/fiber.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { RETRY_MS = 1000, TIDY_MS = 3600 * 1000 };

struct sending {
    struct sending_options options;
    struct worker *owner;
    struct limit_desk *desk;
    struct sending_count *waiters; /* for what was appended since the last batch was taken */
    bool writing, retrying;
    int error; /* of the last batch */
    struct sending_stats stats;
    _Atomic uint64_t restricted; /* how many may be: 0 is certain */
};

int64_t sending_now(const struct sending *s) {
    return s->options.clock ? s->options.clock() : clock_wall_ms();
}

/* ---- The journal, on the owner ---- */

struct writing {
    struct limit_batch *batch;
    int error;
};

static void write_offloaded(void *arg) {
    struct writing *w = arg;
    w->error = limit_batch_write(w->batch);
}

static void wake(struct sending_count *list, int error) {
    for (struct sending_count *next; list; list = next) {
        next = list->next;
        list->error = error;
        latch_set(&list->latch); /* it may be gone after this */
    }
}

static void retry_on_owner(void *arg);

static void wrote(struct sending *s, int error) {
    if (error && !s->error)
        log_event(s->options.log, LOG_ERROR,
                  "the journal of the limits can't be written: no mail is taken until it can", "folder",
                  s->options.dir, "error", error_text(error), NULL);
    if (!error && s->error)
        log_event(s->options.log, LOG_INFO, "the journal of the limits is written again", NULL);
    s->error = error;
    if (error && !s->retrying) {
        s->retrying = true;
        worker_after(s->owner, RETRY_MS, retry_on_owner, s);
    }
}

static void write_fiber(void *arg) {
    struct sending *s = arg;
    struct limit_store *store = limit_desk_store(s->desk);
    bool any = false;
    for (struct writing w; (w.batch = limit_store_take(store));) {
        any = true;
        struct sending_count *list = s->waiters;
        s->waiters = NULL;
        offload(write_offloaded, &w);
        limit_store_settle(store, w.batch, w.error);
        wrote(s, w.error);
        wake(list, w.error);
        if (w.error)
            break;
    }
    if (!any && s->error) /* what failed was an empty step of a sweep: nothing is owed to the disk */
        wrote(s, 0);
    s->writing = false;
    /* Who is left has nothing to be written, or came while a write failed. */
    struct sending_count *list = s->waiters;
    s->waiters = NULL;
    wake(list, s->error);
}

/* Where no fiber can be started any more, the runtime is ending: then the loop may wait. */
static void write_pending(struct sending *s) {
    if (s->writing)
        return;
    s->writing = true;
    if (fiber_start(write_fiber, s) == 0)
        return;
    s->writing = false;
    struct sending_count *list = s->waiters;
    s->waiters = NULL;
    wrote(s, limit_store_flush(limit_desk_store(s->desk)));
    wake(list, s->error);
}

static void retry_on_owner(void *arg) {
    struct sending *s = arg;
    s->retrying = false;
    write_pending(s);
}

static void wait_durable(struct sending *s, struct sending_count *w) {
    w->next = s->waiters;
    s->waiters = w;
    write_pending(s);
}

/* ---- Who is restricted, on the owner ---- */

static void count_restricted(struct sending *s) {
    const struct sender_book *book = limit_desk_book(s->desk);
    const struct sender_state *state;
    struct str name;
    uint64_t count = 0;
    int64_t now = sending_now(s);
    for (size_t at = 0; sender_book_next(book, &at, &name, &state);)
        count += sender_is_restricted(state, now);
    atomic_store(&s->restricted, count);
}

/* Enough until the next whole count: `restricted` is never too small. */
static void count_one_more(struct sending *s, enum sender_change change) {
    if (change == SENDER_RESTRICT)
        atomic_fetch_add(&s->restricted, 1);
}

static void tidy_on_owner(void *arg) {
    struct sending *s = arg;
    limit_desk_tidy(s->desk, sending_now(s));
    count_restricted(s);
    worker_after(s->owner, TIDY_MS, tidy_on_owner, s);
}

/* ---- Opening ---- */

int sending_open(const struct sending_options *options, struct arena *arena, struct str *ret_why,
                 struct limit_journal_report *ret_report, struct sending **ret) {
    struct sending *s = xcalloc(1, sizeof *s);
    s->options = *options;
    size_t size = strlen(options->dir) + 1;
    s->options.dir = memcpy(xmalloc(size), options->dir, size);
    s->owner = rt_owner(options->rt, STR("limits"), STR("desk"));
    const struct limit_desk_options desk = {
        .dir = s->options.dir, .io = options->io, .capacity = options->capacity, .now = sending_now(s)};
    int error = limit_desk_open(&desk, arena, ret_why, ret_report, &s->desk);
    if (error) {
        sending_close(s);
        return error;
    }
    if (ret_report->gaps || ret_report->unusable) {
        char gaps[24], unusable[24];
        snprintf(gaps, sizeof gaps, "%llu", (unsigned long long)ret_report->gaps);
        snprintf(unusable, sizeof unusable, "%llu", (unsigned long long)ret_report->unusable);
        log_event(options->log, LOG_WARNING,
                  "the journal of the limits is damaged: what it said there isn't counted", "folder",
                  options->dir, "gaps", gaps, "unusable", unusable, NULL);
    }
    count_restricted(s);
    worker_after(s->owner, TIDY_MS, tidy_on_owner, s);
    *ret = s;
    return 0;
}

struct sending *sending_close(struct sending *s) {
    if (!s)
        return NULL;
    int error = s->desk ? limit_store_flush(limit_desk_store(s->desk)) : 0;
    if (error)
        log_event(s->options.log, LOG_ERROR, "the journal of the limits lacks its end", "folder",
                  s->options.dir, "error", error_text(error), NULL);
    limit_desk_close(s->desk);
    free((char *)s->options.dir);
    free(s);
    return NULL;
}

/* ---- Asking ---- */

struct ask_call {
    struct sending *sending;
    const struct limit_question *question;
    struct arena *arena;
    struct limit_answer *answer;
};

static struct outcome unwritten(int error) {
    bool full = error == SLUICE_EFULL;
    return (struct outcome){
        .scope = OUTCOME_MESSAGE,
        .fate = OUTCOME_LATER,
        .code = full ? 452 : 451,
        .enhanced = full ? STR("4.3.1") : STR("4.3.0"),
        .text = full ? STR("Insufficient system storage")
                     : STR("What is sent can't be counted now, try again later"),
    };
}

static void ask_on_owner(void *arg) {
    struct ask_call *call = arg;
    struct sending *s = call->sending;
    s->stats.asked++;
    if (s->error && !call->question->report) {
        s->stats.refused++;
        limit_desk_look(s->desk, call->question, call->arena, call->answer);
        call->answer->decision = (struct limit_decision){
            .step = LIMIT_REFUSE,
            .limit = LIMIT_NAMES,
            .refusal = unwritten(s->error),
            .reason = STR("the journal of the limits can't be written"),
        };
        return;
    }
    limit_desk_ask(s->desk, call->question, call->arena, call->answer);
    s->stats.refused += call->answer->decision.step == LIMIT_REFUSE;
    if (call->answer->change == SENDER_UNCHANGED)
        return;
    count_one_more(s, call->answer->change);
    write_pending(s);
}

static void look_on_owner(void *arg) {
    struct ask_call *call = arg;
    limit_desk_look(call->sending->desk, call->question, call->arena, call->answer);
}

static void tell(struct sending *s, const struct sending_note *note) {
    if (s->options.tell && note->change != SENDER_UNCHANGED)
        s->options.tell(s->options.ctx, note);
}

void sending_ask(struct sending *s, struct limit_question *q, struct arena *arena, struct limit_answer *ret) {
    struct ask_call call = {s, q, arena, ret};
    q->now = sending_now(s);
    worker_call(s->owner, ask_on_owner, &call);
    const struct sending_note note = {
        .kind = ret->kind,
        .name = ret->kind == SENDER_TENANT ? q->tenant : q->sender,
        .tenant = q->tenant,
        .policy = q->rules.policy,
        .change = ret->change,
        .event = {.cause = ret->cause,
                  .action = q->rules.action,
                  .counts = {.recipients = ret->facts.sender.used[LIMIT_RECIPIENTS_DAY]},
                  .reason = ret->decision.reason,
                  .by = STR(""),
                  .now = q->now},
    };
    tell(s, &note);
}

struct turn_call {
    struct sending *sending;
    struct limit_ticket *ticket;
    int64_t hold_until;
    int error;
};

static void turn_on_owner(void *arg) {
    struct turn_call *call = arg;
    struct sending *s = call->sending;
    int64_t now = sending_now(s);
    call->error = limit_desk_turn(s->desk, call->ticket, now);
    call->hold_until = !call->error && call->ticket->turn > now ? call->ticket->turn : 0;
    s->stats.refused += call->error != 0;
    s->stats.held += call->hold_until > 0;
}

int sending_turn(struct sending *s, struct limit_ticket *ticket, int64_t *ret_hold_until) {
    struct turn_call call = {.sending = s, .ticket = ticket};
    worker_call(s->owner, turn_on_owner, &call);
    if (!call.error)
        *ret_hold_until = call.hold_until;
    return call.error;
}

void sending_look(struct sending *s, struct limit_question *q, struct arena *arena,
                  struct limit_answer *ret) {
    struct ask_call call = {s, q, arena, ret};
    q->now = sending_now(s);
    worker_call(s->owner, look_on_owner, &call);
}

static void count_on_owner(void *arg) {
    struct sending_count *count = arg;
    struct sending *s = count->sending;
    limit_desk_settle(s->desk, count->ticket, sending_now(s), true);
    wait_durable(s, count);
}

static void give_back_on_owner(void *arg) {
    struct sending_count *count = arg;
    limit_desk_settle(count->sending->desk, count->ticket, sending_now(count->sending), false);
}

static void undo_on_owner(void *arg) {
    struct sending_count *count = arg;
    limit_desk_undo(count->sending->desk, count->ticket, sending_now(count->sending));
}

void sending_count_begin(struct sending *s, const struct limit_ticket *ticket, struct sending_count *ret) {
    *ret = (struct sending_count){.sending = s, .ticket = ticket};
    if (!ticket->open)
        return;
    latch_init(&ret->latch);
    worker_post(s->owner, count_on_owner, ret);
}

int sending_count_end(struct sending_count *count, bool committed) {
    if (!count->ticket->open)
        return 0;
    latch_wait(&count->latch);
    if (committed)
        return count->error;
    worker_call(count->sending->owner, undo_on_owner, count);
    return 0;
}

int sending_settle(struct sending *s, const struct limit_ticket *ticket, bool committed) {
    struct sending_count count = {.sending = s, .ticket = ticket};
    if (committed) {
        sending_count_begin(s, ticket, &count);
        return sending_count_end(&count, true);
    }
    if (ticket->open)
        worker_call(s->owner, give_back_on_owner, &count);
    return 0;
}

struct may_call {
    struct sending *sending;
    const struct sending_names *names;
    struct arena *arena;
    struct outcome *refusal;
    struct str *reason;
    bool taken; /* before: it is no refusal */
    bool may;
};

static void may_on_owner(void *arg) {
    struct may_call *call = arg;
    struct limit_question q = {
        .tenant = call->names->tenant,
        .connector = call->names->connector,
        .sender = call->names->sender,
        .mailbox = call->names->mailbox,
        .rules = limit_rules_of(NULL, 0, 0),
        .now = sending_now(call->sending),
    };
    struct limit_answer answer;
    limit_desk_look(call->sending->desk, &q, call->arena, &answer);
    call->may = answer.decision.step != LIMIT_REFUSE;
    if (call->may)
        return;
    *call->refusal = answer.decision.refusal;
    *call->reason = answer.decision.reason;
    call->sending->stats.refused += !call->taken;
}

static bool may(struct sending *s, bool taken, const struct sending_names *names, struct arena *arena,
                struct outcome *ret_refusal, struct str *ret_reason) {
    if (!atomic_load(&s->restricted))
        return true;
    struct may_call call = {
        .sending = s,
        .taken = taken,
        .names = names,
        .arena = arena,
        .refusal = ret_refusal,
        .reason = ret_reason,
    };
    worker_call(s->owner, may_on_owner, &call);
    return call.may;
}

bool sending_may(struct sending *s, const struct sending_names *names, struct arena *arena,
                 struct outcome *ret_refusal, struct str *ret_reason) {
    return may(s, false, names, arena, ret_refusal, ret_reason);
}

bool sending_may_go_on(struct sending *s, const struct sending_names *names, struct arena *arena,
                       struct outcome *ret_refusal, struct str *ret_reason) {
    return may(s, true, names, arena, ret_refusal, ret_reason);
}

/* ---- Changing ---- */

enum change { CHANGE_EXCEED, CHANGE_RELEASE, CHANGE_ALLOW };

struct change_call {
    struct sending_count waiter;
    struct sending *sending;
    enum change what;
    enum sender_kind kind;
    struct str name, by;
    const struct sender_event *event;
    int64_t until;
    enum sender_change change;
    bool changed, for_good; /* it is restricted until it is released */
};

static bool is_for_good(const struct sending *s, enum sender_kind kind, struct str name) {
    const struct sender_state *state = sender_book_find(limit_desk_book(s->desk), kind, name);
    return state && state->restriction == SENDER_RESTRICTED;
}

static void change_on_owner(void *arg) {
    struct change_call *call = arg;
    struct sending *s = call->sending;
    int64_t now = sending_now(s);
    switch (call->what) {
    case CHANGE_EXCEED:
        call->change = limit_desk_exceed(s->desk, call->kind, call->name, call->event);
        call->changed = call->change != SENDER_UNCHANGED;
        call->for_good = is_for_good(s, call->kind, call->name);
        break;
    case CHANGE_RELEASE:
        call->changed = limit_desk_release(s->desk, call->kind, call->name, call->by, now);
        break;
    case CHANGE_ALLOW:
        limit_desk_allow(s->desk, call->kind, call->name, call->until, call->by, now);
        call->changed = true;
        break;
    }
    if (!call->changed) {
        latch_set(&call->waiter.latch);
        return;
    }
    if (call->what == CHANGE_EXCEED)
        count_one_more(s, call->change);
    else
        count_restricted(s);
    wait_durable(s, &call->waiter);
}

static void change(struct change_call *call) {
    latch_init(&call->waiter.latch);
    worker_post(call->sending->owner, change_on_owner, call);
    latch_wait(&call->waiter.latch);
}

enum sender_change sending_exceed(struct sending *s, enum sender_kind kind, struct str name,
                                  struct str tenant, const struct sender_event *event) {
    struct sender_event e = *event;
    e.now = e.now ? e.now : sending_now(s);
    struct change_call call = {.sending = s, .what = CHANGE_EXCEED, .kind = kind, .name = name, .event = &e};
    change(&call);
    if (call.change == SENDER_RESTRICT && call.for_good)
        e.action = LIMIT_RESTRICT;
    const struct sending_note note = {kind, name, tenant, STR(""), call.change, e};
    tell(s, &note);
    return call.change;
}

bool sending_release(struct sending *s, enum sender_kind kind, struct str name, struct str by) {
    struct change_call call = {.sending = s, .what = CHANGE_RELEASE, .kind = kind, .name = name, .by = by};
    change(&call);
    return call.changed;
}

void sending_allow(struct sending *s, enum sender_kind kind, struct str name, int64_t until, struct str by) {
    struct change_call call = {
        .sending = s, .what = CHANGE_ALLOW, .kind = kind, .name = name, .by = by, .until = until};
    change(&call);
}

/* ---- Looking ---- */

struct list_call {
    struct sending *sending;
    struct arena *arena;
    struct sending_entry *entries;
    size_t count;
};

static void list_on_owner(void *arg) {
    struct list_call *call = arg;
    const struct sender_book *book = limit_desk_book(call->sending->desk);
    const struct sender_state *state;
    struct str name;
    size_t room = 0;
    int64_t now = sending_now(call->sending);
    for (size_t at = 0; sender_book_next(book, &at, &name, &state);)
        room++;
    call->entries = arena_array(call->arena, struct sending_entry, room);
    for (size_t at = 0; sender_book_next(book, &at, &name, &state);)
        if (!sender_is_blank(state, now))
            call->entries[call->count++] = (struct sending_entry){str_copy(call->arena, name), *state};
}

size_t sending_list(struct sending *s, struct arena *arena, struct sending_entry **ret) {
    struct list_call call = {.sending = s, .arena = arena};
    worker_call(s->owner, list_on_owner, &call);
    *ret = call.entries;
    return call.count;
}

struct find_call {
    struct sending *sending;
    enum sender_kind kind;
    struct str name;
    struct sender_state *state;
    bool found;
};

static void find_on_owner(void *arg) {
    struct find_call *call = arg;
    const struct sender_state *state =
        sender_book_find(limit_desk_book(call->sending->desk), call->kind, call->name);
    call->found = state && !sender_is_blank(state, sending_now(call->sending));
    if (call->found)
        *call->state = *state;
}

bool sending_find(struct sending *s, enum sender_kind kind, struct str name, struct sender_state *ret) {
    struct find_call call = {s, kind, name, ret, false};
    worker_call(s->owner, find_on_owner, &call);
    return call.found;
}

struct stats_call {
    struct sending *sending;
    struct sending_stats *stats;
};

static void stats_on_owner(void *arg) {
    struct stats_call *call = arg;
    struct sending *s = call->sending;
    count_restricted(s);
    *call->stats = s->stats;
    limit_desk_stats(s->desk, &call->stats->senders);
    limit_store_stats(limit_desk_store(s->desk), &call->stats->journal);
    call->stats->restricted = atomic_load(&s->restricted);
    call->stats->error = s->error;
}

void sending_stats(struct sending *s, struct sending_stats *ret) {
    struct stats_call call = {s, ret};
    worker_call(s->owner, stats_on_owner, &call);
}
