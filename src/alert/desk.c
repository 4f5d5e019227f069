/* The desk: takes what is raised, decides by the book, tells it, writes it down. */
#include "alert/alerts.h"

#include "alert/hooks.h"
#include "alert/item.h"
#include "alert/store.h"
#include "alert/telling.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TURN_MS = 1000,   /* looks this often at what has become due */
    WRITE_MS = 2000,  /* counts are written this often */
    QUEUE_MAX = 4096, /* alerts that wait for the desk */
    QUEUE_BYTES = 8 << 20,
    WRITES_MAX = 2000, /* writes that wait for the disk */
    RESTORE_MAX = 10000,
    DROPPED_LOG_MS = 100, /* what finds no room is logged at most this often */
    HOUR_MS = 3600 * 1000,
    DAY_MS = 24 * HOUR_MS,
};

/* A configuration in use; `references` under the mutex. */
struct snapshot {
    struct arena *arena;
    struct alerts_config config;
    unsigned references;
};

/* Names given to the desk by the thread of the webhooks. */
struct settled {
    struct settled *next;
    struct store_write *write;
};

struct alerts {
    struct alerts_options options;
    struct arena *arena; /* of the options' strings */
    pthread_t thread;
    struct hooks *hooks;

    pthread_mutex_t mutex; /* from here to `counts` */
    pthread_cond_t arrived, done;
    struct alert_item *first, **last;
    size_t waiting, waiting_bytes;
    uint64_t taken_in, handled; /* numbers of alerts */
    uint64_t round;             /* of the desk; a flush waits for two */
    unsigned flushing;
    bool stop, written; /* written: the last round left nothing unwritten */
    struct snapshot *snapshot;
    struct settled *settled, **settled_last;
    uint64_t dropped;
    int64_t dropped_logged; /* monotonic ms */
    bool mails;
    pthread_mutex_t mailing; /* held while `mail` is called */

    atomic_ullong raised[ALERT_KINDS], open[ALERT_KINDS], told, mailed, untold;

    /* The desk's own. */
    struct book *book;
    struct alert_store *store;
    struct store_write *writes, **writes_last;
    size_t write_count;
    int64_t written_at; /* monotonic ms */
    bool forgets;       /* the history may hold open alerts that the book does not */
    size_t restored;
    struct map *budgets; /* name of a channel -> struct budget */
    bool owes;           /* a channel has a summary to come */
};

/* ---- raising ---- */

/* With the mutex held. What finds no room is at least in the log. */
static void drop(struct alerts *a, const struct alert_item *item) {
    char count[24];
    int64_t now = clock_mono_ms();
    a->dropped++;
    if (a->dropped > 1 && now < a->dropped_logged + DROPPED_LOG_MS)
        return;
    a->dropped_logged = now;
    snprintf(count, sizeof count, "%llu", (unsigned long long)a->dropped);
    log_event(a->options.log, LOG_ERROR, "an alert found no room: the desk does not keep up", "alert",
              alert_word(item->alert.kind).at, "subject", item->alert.subject.at, "tenant",
              item->alert.tenant.len ? item->alert.tenant.at : NULL, "why", item->alert.text.at, "dropped",
              count, NULL);
}

static void put(struct alerts *a, struct alert_item *item) {
    pthread_mutex_lock(&a->mutex);
    if (a->waiting >= QUEUE_MAX || a->waiting_bytes + item->bytes > QUEUE_BYTES) {
        drop(a, item);
        pthread_mutex_unlock(&a->mutex);
        free(item);
        return;
    }
    if (!a->first)
        pthread_cond_signal(&a->arrived);
    *a->last = item;
    a->last = &item->next;
    a->waiting++;
    a->waiting_bytes += item->bytes;
    a->taken_in++;
    pthread_mutex_unlock(&a->mutex);
}

void alert_raise(struct alerts *a, const struct alert *alert) {
    if (!a || !alert_word(alert->kind).len)
        return;
    atomic_fetch_add_explicit(&a->raised[alert->kind], !alert->over, memory_order_relaxed);
    put(a, alert_item_new(alert));
}

/* ---- configurations ---- */

static const struct str *copy_list(struct arena *arena, const struct str *list, size_t count) {
    struct str *copy = arena_array(arena, struct str, count);
    for (size_t i = 0; i < count; i++)
        copy[i] = str_copy(arena, list[i]);
    return copy;
}

static struct snapshot *snapshot_new(const struct alerts_config *from) {
    struct arena *arena = arena_new(0);
    struct snapshot *s = arena_new_of(arena, struct snapshot);
    struct alert_tenant *tenants = arena_array(arena, struct alert_tenant, from->tenant_count);
    struct alert_hook *hooks = arena_array(arena, struct alert_hook, from->settings.hook_count);
    *s = (struct snapshot){.arena = arena, .config = *from, .references = 1};
    s->config.node = str_copy(arena, from->node);
    s->config.settings.from = str_copy(arena, from->settings.from);
    s->config.settings.mail = copy_list(arena, from->settings.mail, from->settings.mail_count);
    for (size_t i = 0; i < from->tenant_count; i++) {
        tenants[i] = from->tenants[i];
        tenants[i].name = str_copy(arena, from->tenants[i].name);
        tenants[i].administrators =
            copy_list(arena, from->tenants[i].administrators, tenants[i].administrator_count);
    }
    for (size_t i = 0; i < from->settings.hook_count; i++) {
        hooks[i] = from->settings.hooks[i];
        hooks[i].name = str_copy(arena, hooks[i].name);
        hooks[i].url = str_copy(arena, hooks[i].url);
        hooks[i].secret = str_copy(arena, hooks[i].secret);
        hooks[i].ca = hooks[i].ca ? str_c(arena, str_of(hooks[i].ca)) : NULL;
    }
    s->config.tenants = tenants;
    s->config.settings.hooks = hooks;
    return s;
}

static struct snapshot *snapshot_take(struct alerts *a) {
    pthread_mutex_lock(&a->mutex);
    struct snapshot *s = a->snapshot;
    s->references++;
    pthread_mutex_unlock(&a->mutex);
    return s;
}

static void snapshot_give(struct alerts *a, struct snapshot *s) {
    pthread_mutex_lock(&a->mutex);
    bool last = --s->references == 0;
    pthread_mutex_unlock(&a->mutex);
    if (last)
        arena_free(s->arena);
}

void alerts_configure(struct alerts *a, const struct alerts_config *config) {
    struct snapshot *next = snapshot_new(config);
    pthread_mutex_lock(&a->mutex);
    struct snapshot *old = a->snapshot;
    a->snapshot = next;
    pthread_mutex_unlock(&a->mutex);
    hooks_configure(a->hooks, config->settings.hooks, config->settings.hook_count);
    snapshot_give(a, old);
}

/* ---- telling ---- */

static void add_write(struct alerts *a, struct store_write *w) {
    w->next = NULL;
    *a->writes_last = w;
    a->writes_last = &w->next;
    a->write_count++;
}

static struct budget *budget_of(struct alerts *a, struct str channel) {
    struct budget *b = map_get(a->budgets, channel);
    if (!b) {
        b = xcalloc(1, sizeof *b);
        map_put(a->budgets, channel, b);
    }
    return b;
}

static void send_mail(struct alerts *a, const struct alerts_config *c, const struct telling *t,
                      const struct audience *to) {
    struct buf message __attribute__((cleanup(buf_free))) = {0};
    telling_mail(&message, t, c->settings.from, to->to, to->to_count);
    pthread_mutex_lock(&a->mailing);
    if (a->mails && a->options.mail) {
        a->options.mail(a->options.mail_arg, &(struct alert_mail){.from = c->settings.from,
                                                                  .to = to->to,
                                                                  .to_count = to->to_count,
                                                                  .message = buf_view(&message)});
        a->mailed++;
    }
    pthread_mutex_unlock(&a->mailing);
}

static void call_hook(struct alerts *a, const struct alert_hook *hook, const struct telling *t) {
    struct buf body __attribute__((cleanup(buf_free))) = {0};
    struct arena *arena = arena_new(0);
    struct str call = telling_call(arena, t);
    telling_json(&body, t, call);
    hooks_call(a->hooks, hook->name, call, buf_view(&body), t->now);
    add_write(a, alert_write_unsent(hook->name, call, buf_view(&body), t->now));
    arena_free(arena);
}

/* How many did not find room in a channel's last hour is said before the next. */
static struct telling summary(struct alerts *a, const struct alerts_config *c, unsigned count, int64_t now,
                              struct arena *arena) {
    return (struct telling){
        .event = TELLING_MORE,
        .id = book_next_id(a->book),
        .node = c->node,
        .count = count,
        .now = now,
        .text =
            str_printf(arena,
                       "%u more alert%s in the last hour %s not sent here: that many are allowed in an hour "
                       "(alerts { per-hour = %u }). All of them are in the history: sluice alerts --since 2h",
                       count, count == 1 ? "" : "s", count == 1 ? "was" : "were", c->settings.per_hour),
    };
}

static void more_mail(struct alerts *a, const struct alerts_config *c, const struct audience *to, int64_t now,
                      struct arena *arena) {
    unsigned count = budget_summary(budget_of(a, to->name), now);
    if (!count)
        return;
    struct telling more = summary(a, c, count, now, arena);
    if (!str_eq(to->name, STR("operator"))) /* who is no operator has no `sluice alerts` */
        more.text = str_printf(arena, "%u more alert%s in the last hour %s not mailed.", count,
                               count == 1 ? "" : "s", count == 1 ? "was" : "were");
    send_mail(a, c, &more, to);
}

static struct budget *hook_budget(struct alerts *a, const struct alert_hook *hook, struct arena *arena) {
    return budget_of(a, str_printf(arena, "webhook %.*s", STR_FMT(hook->name)));
}

static void more_hook(struct alerts *a, const struct alerts_config *c, const struct alert_hook *hook,
                      int64_t now, struct arena *arena) {
    unsigned count = budget_summary(hook_budget(a, hook, arena), now);
    if (!count)
        return;
    struct telling more = summary(a, c, count, now, arena);
    call_hook(a, hook, &more);
}

static void untold(struct alerts *a) {
    a->untold++;
    a->owes = true;
}

static void tell_channels(struct alerts *a, const struct alerts_config *c, const struct telling *t,
                          const struct str *also, size_t also_count) {
    struct arena *arena = arena_new(0);
    struct audience audiences[AUDIENCES_MAX];
    size_t count = telling_audiences(arena, c, t->kind, t->tenant, also, also_count, audiences);
    for (size_t i = 0; i < count; i++) {
        more_mail(a, c, &audiences[i], t->now, arena);
        if (budget_take(budget_of(a, audiences[i].name), c->settings.per_hour, t->kind, t->now))
            send_mail(a, c, t, &audiences[i]);
        else
            untold(a);
    }
    for (size_t i = 0; i < c->settings.hook_count; i++) {
        const struct alert_hook *hook = &c->settings.hooks[i];
        if (!alert_hook_wants(hook, t->kind))
            continue;
        more_hook(a, c, hook, t->now, arena);
        if (budget_take(hook_budget(a, hook, arena), c->settings.per_hour, t->kind, t->now))
            call_hook(a, hook, t);
        else
            untold(a);
    }
    arena_free(arena);
}

static bool some_owed(const struct alerts *a) {
    size_t at = 0;
    struct str name;
    void *budget;
    while (map_next(a->budgets, &at, &name, &budget))
        if (((struct budget *)budget)->over)
            return true;
    return false;
}

/* What found no room in an hour that is over, where nothing else is told. */
static void tell_summaries(struct alerts *a, const struct alerts_config *c, int64_t now) {
    if (!a->owes)
        return;
    struct arena *arena = arena_new(0);
    more_mail(a, c, &(struct audience){STR("operator"), c->settings.mail, c->settings.mail_count}, now,
              arena);
    for (size_t i = 0; i < c->tenant_count; i++) {
        struct audience to = {str_printf(arena, "tenant %.*s", STR_FMT(c->tenants[i].name)),
                              c->tenants[i].administrators, c->tenants[i].administrator_count};
        more_mail(a, c, &to, now, arena);
    }
    for (size_t i = 0; i < c->settings.hook_count; i++)
        more_hook(a, c, &c->settings.hooks[i], now, arena);
    a->owes = some_owed(a);
    arena_free(arena);
}

static struct telling telling_of(const struct alerts_config *c, const struct book_entry *e, enum book_say say,
                                 int64_t now) {
    return (struct telling){
        .event = say == BOOK_FIRST   ? TELLING_RAISED
                 : say == BOOK_AGAIN ? TELLING_AGAIN
                                     : TELLING_OVER,
        .id = e->id,
        .kind = e->kind,
        .subject = str_of(e->subject),
        .tenant = str_of(e->tenant),
        .node = c->node,
        .count = e->count,
        .unsaid = e->unsaid,
        .first = e->first,
        .last = e->last,
        .now = now,
    };
}

/* `item` NULL: it has become due, with the text that the book kept. */
static void tell(struct alerts *a, const struct alerts_config *c, const struct book_entry *e,
                 enum book_say say, const struct alert_item *item, int64_t now) {
    static const struct alert_item NONE;
    struct arena *arena = arena_new(0);
    struct telling t = telling_of(c, e, say, now);
    t.text = item ? item->alert.text : str_copy(arena, str_of(e->text));
    item = item ? item : &NONE;
    t.advice = item->alert.advice;
    t.samples = item->alert.samples;
    a->told++;
    telling_log(a->options.log, &t);
    if (!item->only_written)
        tell_channels(a, c, &t, item->also, item->alert.also_count);
    book_told(a->book, e, now);
    if (say == BOOK_OVER) /* the texts of its beginning stay */
        add_write(a, alert_write_touch(e));
    else
        add_write(a, alert_write_told(e, t.text, t.advice, t.samples));
    arena_free(arena);
}

static int write_now(struct alerts *a);

/* The book has forgotten it, or never knew: the history may. */
static void end_unknown(struct alerts *a, const struct alerts_config *c, const struct alert_item *item) {
    size_t ended = 0;
    if (!a->forgets)
        return;
    (void)write_now(a);
    if (alert_store_end(a->store, item->alert.kind, item->alert.subject, item->alert.now, &ended) != 0 ||
        !ended)
        return;
    struct book_entry e = {
        .kind = item->alert.kind, .subject = item->alert.subject.at, .tenant = item->alert.tenant.at};
    struct telling t = telling_of(c, &e, BOOK_OVER, item->alert.now);
    t.text = item->alert.text;
    a->told++;
    telling_log(a->options.log, &t);
    tell_channels(a, c, &t, item->also, item->alert.also_count);
}

static void handle(struct alerts *a, const struct alerts_config *c, const struct alert_item *item) {
    const struct book_entry *e = NULL;
    enum book_say say = book_raise(a->book, &item->alert, item->alert.now, &e);
    if (say == BOOK_NOTHING)
        end_unknown(a, c, item);
    else if (say != BOOK_QUIET && say != BOOK_CLOSED)
        tell(a, c, e, say, item, item->alert.now);
}

/* ---- writing ---- */

static void touch(void *arg, const struct book_entry *e) { add_write(arg, alert_write_touch(e)); }

/* The book has no room for it. */
static void forgotten(void *arg, const struct book_entry *e) {
    struct alerts *a = arg;
    a->forgets |= !e->ended;
    touch(a, e);
}

static void free_writes(struct alerts *a, size_t keep) {
    while (a->writes && a->write_count > keep) {
        struct store_write *w = a->writes;
        a->writes = w->next;
        a->write_count--;
        free(w);
    }
    if (!a->writes)
        a->writes_last = &a->writes;
}

static int write_now(struct alerts *a) {
    pthread_mutex_lock(&a->mutex);
    struct settled *settled = a->settled;
    a->settled = NULL;
    a->settled_last = &a->settled;
    pthread_mutex_unlock(&a->mutex);
    for (struct settled *next; settled; settled = next) {
        next = settled->next;
        add_write(a, settled->write);
        free(settled);
    }
    int error = a->writes ? alert_store_apply(a->store, a->writes) : 0;
    if (error && a->write_count > WRITES_MAX)
        log_event(a->options.log, LOG_ERROR, "alerts are missing in the history: it can't be written", NULL);
    free_writes(a, error ? WRITES_MAX : 0);
    return error;
}

static void write_round(struct alerts *a, bool urgent) {
    int64_t now = clock_mono_ms();
    bool due = urgent || now >= a->written_at + WRITE_MS;
    if (due)
        book_clean(a->book, touch, a);
    if (due || a->writes) {
        int error = write_now(a);
        a->written_at = now;
        pthread_mutex_lock(&a->mutex);
        a->written = !error;
        pthread_mutex_unlock(&a->mutex);
    }
}

/* On the thread of the webhooks. */
static void hook_settled(void *arg, struct str hook, struct str call, bool taken) {
    struct alerts *a = arg;
    struct settled *s = xcalloc(1, sizeof *s);
    (void)taken; /* what was given up is not tried after a restart either */
    s->write = alert_write_sent(hook, call);
    pthread_mutex_lock(&a->mutex);
    *a->settled_last = s;
    a->settled_last = &s->next;
    pthread_mutex_unlock(&a->mutex);
}

/* ---- the thread ---- */

static void add_ms(struct timespec *t, int64_t ms) {
    clock_gettime(CLOCK_MONOTONIC, t);
    t->tv_sec += ms / 1000;
    t->tv_nsec += ms % 1000 * 1000000;
    if (t->tv_nsec >= 1000000000)
        t->tv_sec++, t->tv_nsec -= 1000000000;
}

static void one_round(struct alerts *a, struct alert_item *items, bool urgent) {
    struct snapshot *s = snapshot_take(a);
    book_set_quiet(a->book, s->config.settings.quiet_ms);
    for (struct alert_item *next; items; items = next) {
        next = items->next;
        handle(a, &s->config, items);
        free(items);
    }
    int64_t now = clock_wall_ms();
    for (const struct book_entry *e; (e = book_due(a->book, now));)
        tell(a, &s->config, e, BOOK_AGAIN, NULL, now);
    tell_summaries(a, &s->config, now);
    snapshot_give(a, s);
    write_round(a, urgent);
    alert_store_expire(a->store, now);
    for (enum alert_kind kind = 0; kind < ALERT_KINDS; kind++)
        a->open[kind] = book_open_count(a->book, kind);
}

static void restore(void *arg, const struct book_entry *e) {
    struct alerts *a = arg;
    book_restore(a->book, e, clock_wall_ms());
    a->forgets = ++a->restored >= RESTORE_MAX;
}

static void call_again(void *arg, struct str hook, struct str call, struct str body, int64_t created) {
    struct alerts *a = arg;
    hooks_call(a->hooks, hook, call, body, created);
}

/* What an earlier run left. */
static void take_up(struct alerts *a) {
    uint64_t last_id = 0;
    int64_t now = clock_wall_ms(), longest = HOUR_MS;
    struct snapshot *s = snapshot_take(a);
    struct book_options options = {
        .quiet_ms = s->config.settings.quiet_ms, .gone = forgotten, .gone_arg = a, .next_id = 1};
    for (size_t i = 0; i < s->config.settings.hook_count; i++)
        if (s->config.settings.hooks[i].expire_ms > longest)
            longest = s->config.settings.hooks[i].expire_ms;
    a->book = book_new(&options);
    if (alert_store_restore(a->store, now - DAY_MS, RESTORE_MAX, restore, a, &last_id) == 0 &&
        alert_store_unsent(a->store, now - longest, call_again, a) == 0) {
        book_ids_after(a->book, last_id);
    } else { /* numbers that no row of the file can have */
        log_event(a->options.log, LOG_WARNING,
                  "the history of alerts can't be read: what was open is not known", NULL);
        book_ids_after(a->book, (uint64_t)now / 1000);
        a->forgets = true;
    }
    snapshot_give(a, s);
}

static void *run(void *arg) {
    struct alerts *a = arg;
    bool stop = false;
    pthread_setname_np(pthread_self(), "alerts");
    take_up(a);
    pthread_mutex_lock(&a->mutex);
    while (!stop) {
        struct timespec until;
        add_ms(&until, TURN_MS);
        while (!a->first && !a->stop && !a->flushing)
            if (pthread_cond_timedwait(&a->arrived, &a->mutex, &until) == ETIMEDOUT)
                break;
        struct alert_item *items = a->first;
        uint64_t up_to = a->taken_in;
        bool urgent = a->flushing || a->stop;
        stop = a->stop;
        a->first = NULL;
        a->last = &a->first;
        a->waiting = a->waiting_bytes = 0;
        pthread_mutex_unlock(&a->mutex);
        one_round(a, items, urgent);
        pthread_mutex_lock(&a->mutex);
        a->handled = up_to;
        a->round += urgent;
        if (urgent)
            a->flushing = 0;
        pthread_cond_broadcast(&a->done);
    }
    pthread_mutex_unlock(&a->mutex);
    return NULL;
}

/* ---- outside ---- */

static void free_all(struct alerts *a) {
    if (a->book)
        book_clean(a->book, touch, a); /* what the webhooks' end has left */
    if (a->store)
        (void)write_now(a);
    free_writes(a, 0);
    book_free(a->book);
    alert_store_free(a->store);
    for (struct settled *s; (s = a->settled);) {
        a->settled = s->next;
        free(s->write);
        free(s);
    }
    size_t at = 0;
    void *budget;
    struct str name;
    while (map_next(a->budgets, &at, &name, &budget))
        free(budget);
    map_free(a->budgets);
    if (a->snapshot)
        arena_free(a->snapshot->arena);
    pthread_mutex_destroy(&a->mutex);
    pthread_mutex_destroy(&a->mailing);
    pthread_cond_destroy(&a->arrived);
    pthread_cond_destroy(&a->done);
    arena_free(a->arena);
    free(a);
}

static struct alerts *make(const struct alerts_options *options, const struct alerts_config *config) {
    struct alerts *a = xcalloc(1, sizeof *a);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&a->mutex, NULL);
    pthread_mutex_init(&a->mailing, NULL);
    pthread_cond_init(&a->arrived, &monotonic);
    pthread_cond_init(&a->done, NULL);
    pthread_condattr_destroy(&monotonic);
    a->arena = arena_new(0);
    a->options = *options;
    a->options.folder = str_c(a->arena, str_of(options->folder));
    a->options.agent = str_c(a->arena, str_of(options->agent));
    a->last = &a->first;
    a->settled_last = &a->settled;
    a->writes_last = &a->writes;
    a->mails = true;
    a->budgets = map_new(false);
    a->snapshot = snapshot_new(config);
    a->store = alert_store_new(a->options.folder, options->retain_ms, options->log);
    return a;
}

int alerts_open(const struct alerts_options *options, const struct alerts_config *config,
                struct alerts **ret) {
    struct alerts *a = make(options, config);
    struct hooks_options hooks = {
        .agent = a->options.agent, .log = options->log, .settled = hook_settled, .arg = a};
    int error = hooks_open(&hooks, &a->hooks);
    if (!error) {
        hooks_configure(a->hooks, config->settings.hooks, config->settings.hook_count);
        if (pthread_create(&a->thread, NULL, run, a) == 0) {
            *ret = a;
            return 0;
        }
        error = SLUICE_ELIMIT;
    }
    hooks_free(a->hooks);
    free_all(a);
    return error;
}

void alerts_stop_mail(struct alerts *a) {
    if (!a)
        return;
    pthread_mutex_lock(&a->mailing);
    a->mails = false;
    pthread_mutex_unlock(&a->mailing);
}

struct alerts *alerts_free(struct alerts *a) {
    if (!a)
        return NULL;
    pthread_mutex_lock(&a->mutex);
    a->stop = true;
    pthread_cond_signal(&a->arrived);
    pthread_mutex_unlock(&a->mutex);
    pthread_join(a->thread, NULL);
    a->hooks = hooks_free(a->hooks);
    free_all(a);
    return NULL;
}

int alerts_flush(struct alerts *a) {
    pthread_mutex_lock(&a->mutex);
    uint64_t number = a->taken_in, round = a->round;
    while (a->handled < number || a->round < round + 1) {
        a->flushing = 1;
        pthread_cond_signal(&a->arrived);
        pthread_cond_wait(&a->done, &a->mutex);
    }
    bool written = a->written;
    pthread_mutex_unlock(&a->mutex);
    return written ? 0 : SLUICE_EIO;
}

void alerts_counts(const struct alerts *alerts, struct alerts_counts *ret) {
    struct alerts *a = (struct alerts *)alerts;
    for (enum alert_kind kind = 0; kind < ALERT_KINDS; kind++) {
        ret->raised[kind] = a->raised[kind];
        ret->open[kind] = a->open[kind];
    }
    ret->told = a->told;
    ret->mails = a->mailed;
    ret->untold = a->untold;
    pthread_mutex_lock(&a->mutex);
    ret->dropped = a->dropped;
    pthread_mutex_unlock(&a->mutex);
}

size_t alerts_hooks(struct alerts *a, struct arena *arena, struct alerts_hook_counts **ret) {
    struct str name;
    struct hook_counts counts;
    size_t count = 0;
    while (hooks_counts(a->hooks, count, arena, &name, &counts))
        count++;
    *ret = arena_array(arena, struct alerts_hook_counts, count);
    for (size_t i = 0; i < count; i++)
        if (hooks_counts(a->hooks, i, arena, &name, &counts))
            (*ret)[i] = (struct alerts_hook_counts){name, counts.sent, counts.failed, counts.given_up,
                                                    counts.waiting};
    return count;
}

/* ---- a test of the channels ---- */

static struct telling test_telling(const struct alerts_config *c, struct arena *arena) {
    char time[CLOCK_RFC3339_SIZE];
    int64_t now = clock_wall_ms();
    return (struct telling){
        .event = TELLING_TEST,
        .kind = ALERT_TEST,
        .subject = str_printf(arena, "test of %s", clock_rfc3339(now, time)),
        .node = c->node,
        .text = STR("Somebody ran `sluice alerts test`: nothing has happened."),
        .advice = STR("Nothing: this channel works."),
        .count = 1,
        .first = now,
        .last = now,
        .now = now,
    };
}

void alerts_test(struct alerts *a, void (*said)(void *, const struct alerts_said *), void *arg) {
    struct snapshot *s = snapshot_take(a);
    struct arena *arena = arena_new(0);
    struct buf body __attribute__((cleanup(buf_free))) = {0};
    struct telling t = test_telling(&s->config, arena);
    struct alert alert = {
        .kind = ALERT_TEST, .subject = t.subject, .text = t.text, .advice = t.advice, .now = t.now};
    struct alert_item *item = alert_item_new(&alert);
    item->only_written = true;
    atomic_fetch_add_explicit(&a->raised[ALERT_TEST], 1, memory_order_relaxed);
    put(a, item);
    int error = alerts_flush(a);
    said(arg, &(struct alerts_said){STR("log"), true, STR("written")});
    said(arg,
         &(struct alerts_said){STR("history"), !error, error ? str_of(error_text(error)) : STR("written")});
    struct str call = telling_call(arena, &t);
    telling_json(&body, &t, call);
    for (size_t i = 0; i < s->config.settings.hook_count; i++) {
        const struct alert_hook *hook = &s->config.settings.hooks[i];
        char answer[HOOK_SAID_SIZE];
        bool taken = hooks_try(hook, a->options.agent, call, buf_view(&body), answer);
        said(arg, &(struct alerts_said){str_printf(arena, "webhook %.*s", STR_FMT(hook->name)), taken,
                                        str_of(answer)});
    }
    arena_free(arena);
    snapshot_give(a, s);
}

bool alerts_test_mail(struct alerts *a, struct arena *arena, struct alert_mail *ret) {
    struct snapshot *s = snapshot_take(a);
    const struct alert_settings *settings = &s->config.settings;
    struct buf message __attribute__((cleanup(buf_free))) = {0};
    struct telling t = test_telling(&s->config, arena);
    telling_mail(&message, &t, settings->from, settings->mail, settings->mail_count);
    *ret = (struct alert_mail){.from = str_copy(arena, settings->from),
                               .to = copy_list(arena, settings->mail, settings->mail_count),
                               .to_count = settings->mail_count,
                               .message = str_copy(arena, buf_view(&message))};
    snapshot_give(a, s);
    return ret->to_count > 0;
}
