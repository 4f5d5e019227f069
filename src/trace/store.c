#include "trace/store.h"

#include "base/clock.h"
#include "trace/day.h"
#include "trace/folder.h"
#include "trace/row.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    GATHER_MS = 20,       /* an event waits this long for company */
    RETRY_MS = 1000,      /* after a day's file refused */
    LOG_AGAIN_MS = 60000, /* one complaint a minute about the same trouble */
    OPEN_DAYS = 4,        /* files kept open */
};

/* A copied event; its strings follow it. */
struct item {
    struct item *next;
    uint64_t number;
    size_t bytes;
    struct trace_event event;
};

struct items {
    struct item *first, **last;
};

/* What waits for one day's file. */
struct pending {
    struct pending *next;
    int64_t day;
    struct day *file;
    struct items items;
    int64_t retry_at, complained_at; /* monotonic ms */
    bool failing;
    uint64_t used; /* the round of the last use */
};

struct trace {
    char folder[FOLDER_PATH_SIZE - 64];
    struct log *log;
    unsigned retention_days;
    int64_t (*now)(void *);
    void *now_arg;
    int lock_fd;
    pthread_t thread;
    bool started;

    pthread_mutex_t mutex; /* all below, until the writer's own */
    pthread_cond_t arrived, done;
    struct items queue;
    size_t backlog, backlog_bytes, max_events, max_bytes;
    uint64_t emitted, written, refused, failed, round;
    unsigned flushing;
    bool stop, failing;

    struct pending *days; /* the writer's own */
    int64_t swept;        /* the day of the last clearing */
};

static void items_init(struct items *items) { items->first = NULL, items->last = &items->first; }

static void items_add(struct items *items, struct item *item) {
    item->next = NULL;
    *items->last = item;
    items->last = &item->next;
}

static struct item *items_take(struct items *items) {
    struct item *item = items->first;
    if (item && !(items->first = item->next))
        items->last = &items->first;
    return item;
}

const char *store_folder(const struct trace *trace) { return trace->folder; }

/* Emitting */

enum { STRING_MAX = 4096, RECIPIENT_MAX = 450 };

static size_t kept(struct str s, size_t max) { return s.len < max ? s.len : max; }

static struct str keep(char **at, struct str s, size_t max) {
    if (!s.at)
        return s;
    struct str copy = {*at, kept(s, max)};
    if (copy.len)
        memcpy(*at, s.at, copy.len);
    *at += copy.len;
    return copy;
}

#define LENGTH_STR(member) +kept(event->member, STRING_MAX)
#define LENGTH_IP(member)
#define LENGTH_INT(member)
#define LENGTH_COUNT(member)
#define LENGTH_STATUS(member)
#define LENGTH_CLASS(member)
#define LENGTH_DIRECTION(member)
#define LENGTH(type, member, name, lasting) LENGTH_##type(member)
#define COPY_STR(member) item->event.member = keep(&at, event->member, STRING_MAX);
#define COPY_IP(member)
#define COPY_INT(member)
#define COPY_COUNT(member)
#define COPY_STATUS(member)
#define COPY_CLASS(member)
#define COPY_DIRECTION(member)
#define COPY(type, member, name, lasting) COPY_##type(member)

static struct item *copy_event(const struct trace_event *event, int64_t arrival) {
    size_t bytes = sizeof(struct item) + kept(event->recipient, RECIPIENT_MAX) TRACE_FIELDS(LENGTH);
    struct item *item = xmalloc(bytes);
    char *at = (char *)(item + 1);
    item->bytes = bytes;
    item->event = *event;
    item->event.recipient = keep(&at, event->recipient, RECIPIENT_MAX);
    TRACE_FIELDS(COPY)
    if (!item->event.status)
        item->event.status = row_status(event->event);
    if (row_is_attempt(event->event) && !event->latency_ms)
        item->event.latency_ms = event->time > arrival ? event->time - arrival : 1;
    return item;
}

int trace_emit(struct trace *trace, const struct trace_event *event) {
    int64_t arrival = trace_arrival(&event->trace_id);
    if (arrival < 0 || !trace_kind_name(event->event))
        return SLUICE_EINVALID;
    struct item *item = copy_event(event, arrival);
    pthread_mutex_lock(&trace->mutex);
    if (trace->backlog >= trace->max_events || trace->backlog_bytes + item->bytes > trace->max_bytes) {
        trace->refused++;
        pthread_mutex_unlock(&trace->mutex);
        free(item);
        return SLUICE_EFULL;
    }
    item->number = ++trace->emitted;
    trace->backlog++;
    trace->backlog_bytes += item->bytes;
    if (!trace->queue.first)
        pthread_cond_signal(&trace->arrived);
    items_add(&trace->queue, item);
    pthread_mutex_unlock(&trace->mutex);
    return 0;
}

int trace_flush(struct trace *trace) {
    if (!trace->started)
        return 0;
    pthread_mutex_lock(&trace->mutex);
    uint64_t number = trace->emitted, round = trace->round;
    trace->flushing++;
    pthread_cond_signal(&trace->arrived);
    /* Two more rounds: the first may have taken its events before ours came. */
    while (trace->written < number && !(trace->failing && trace->round >= round + 2))
        pthread_cond_wait(&trace->done, &trace->mutex);
    bool written = trace->written >= number;
    trace->flushing--;
    pthread_mutex_unlock(&trace->mutex);
    return written ? 0 : SLUICE_EIO;
}

void trace_counts(const struct trace *trace, struct trace_counts *ret) {
    pthread_mutex_t *mutex = (pthread_mutex_t *)&trace->mutex;
    pthread_mutex_lock(mutex);
    *ret = (struct trace_counts){.emitted = trace->emitted,
                                 .written = trace->written,
                                 .refused = trace->refused,
                                 .failed = trace->failed,
                                 .backlog = trace->backlog};
    pthread_mutex_unlock(mutex);
}

/* Writing */

static struct pending *pending_of(struct trace *trace, int64_t day) {
    for (struct pending *p = trace->days; p; p = p->next)
        if (p->day == day)
            return p;
    struct pending *p = xcalloc(1, sizeof *p);
    p->day = day;
    items_init(&p->items);
    p->next = trace->days;
    return trace->days = p;
}

static void complain(struct trace *trace, struct pending *p, int error, const char *why) {
    char path[FOLDER_PATH_SIZE];
    int64_t now = clock_mono_ms();
    if (p->failing && now < p->complained_at + LOG_AGAIN_MS)
        return;
    p->complained_at = now;
    log_event(trace->log, LOG_ERROR, "trace file can't be written, trying again", "file",
              folder_path(trace->folder, p->day, path), "error", error_text(error), "why", why, NULL);
}

static void set_aside(struct trace *trace, struct pending *p, const char *why) {
    char name[FOLDER_PATH_SIZE] = "", path[FOLDER_PATH_SIZE], reason[DAY_WHY_SIZE];
    snprintf(reason, sizeof reason, "%s", why); /* `why` may be the file's own */
    p->file = day_close(p->file);
    int bad = folder_set_aside(trace->folder, p->day, name);
    log_event(trace->log, LOG_WARNING, "trace file is damaged, set aside", "file",
              folder_path(trace->folder, p->day, path), "as", name, "why", reason, "error",
              bad ? error_text(bad) : NULL, NULL);
}

/* An event that SQLite will never take must not keep the others back. */
static void give_up(struct trace *trace, struct pending *p, const struct trace_event *event) {
    log_event(trace->log, LOG_ERROR, "trace event can't be stored", "trace_id", event->trace_id.text, "event",
              trace_kind_name(event->event), "why", day_why(p->file), NULL);
}

static int write_once(struct trace *trace, struct pending *p, char why[DAY_WHY_SIZE]) {
    int bad = p->file ? 0 : day_open(trace->folder, p->day, why, &p->file);
    if (bad)
        return bad;
    bad = day_begin(p->file);
    for (struct item *item = p->items.first; item && !bad; item = item->next) {
        bad = day_write(p->file, &item->event);
        if (bad == SLUICE_EINVALID) {
            give_up(trace, p, &item->event);
            bad = 0;
        }
    }
    if (!bad)
        bad = day_commit(p->file);
    if (bad) {
        snprintf(why, DAY_WHY_SIZE, "%s", day_why(p->file));
        day_rollback(p->file);
    }
    return bad;
}

/* Frees what was written; counts under the lock. */
static void settle(struct trace *trace, struct pending *p) {
    size_t count = 0, bytes = 0;
    for (struct item *item; (item = items_take(&p->items)); free(item))
        count++, bytes += item->bytes;
    pthread_mutex_lock(&trace->mutex);
    trace->backlog -= count;
    trace->backlog_bytes -= bytes;
    pthread_mutex_unlock(&trace->mutex);
}

static void write_day(struct trace *trace, struct pending *p) {
    char why[DAY_WHY_SIZE] = "";
    int bad = write_once(trace, p, why);
    if (bad == SLUICE_ECORRUPT)
        set_aside(trace, p, why);
    if (bad == SLUICE_ECLOSED)
        p->file = day_close(p->file);
    if (bad == SLUICE_ECORRUPT || bad == SLUICE_ECLOSED)
        bad = write_once(trace, p, why);
    p->used = trace->round;
    if (!bad) {
        if (p->failing)
            log_event(trace->log, LOG_INFO, "trace file is written again", NULL);
        p->failing = false;
        settle(trace, p);
        return;
    }
    complain(trace, p, bad, why);
    p->failing = true;
    p->retry_at = clock_mono_ms() + RETRY_MS;
    p->file = day_close(p->file);
    pthread_mutex_lock(&trace->mutex);
    trace->failed++;
    pthread_mutex_unlock(&trace->mutex);
}

/* The longest unused of the days for which nothing waits, when there are more than OPEN_DAYS. */
static struct pending *one_too_many(struct trace *trace) {
    size_t idle = 0;
    struct pending *oldest = NULL;
    for (struct pending *p = trace->days; p; p = p->next)
        if (!p->items.first) {
            idle++;
            if (!oldest || p->used < oldest->used)
                oldest = p;
        }
    return idle > OPEN_DAYS ? oldest : NULL;
}

static void close_old(struct trace *trace) {
    for (struct pending *old; (old = one_too_many(trace));) {
        struct pending **at = &trace->days;
        while (*at != old)
            at = &(*at)->next;
        *at = old->next;
        day_close(old->file);
        free(old);
    }
}

static void sweep(struct trace *trace) {
    int64_t today = folder_day(trace->now(trace->now_arg));
    if (today == trace->swept)
        return;
    size_t removed = 0;
    int64_t first = today - trace->retention_days;
    trace->swept = today;
    int bad = folder_expire(trace->folder, first, &removed);
    char count[24];
    snprintf(count, sizeof count, "%zu", removed);
    if (bad)
        log_event(trace->log, LOG_WARNING, "old trace files can't be removed", "error", error_text(bad),
                  NULL);
    else if (removed)
        log_event(trace->log, LOG_INFO, "old trace files removed", "files", count, NULL);
}

static void add_ms(struct timespec *t, int64_t ms) {
    clock_gettime(CLOCK_MONOTONIC, t);
    t->tv_sec += ms / 1000;
    t->tv_nsec += ms % 1000 * 1000000;
    if (t->tv_nsec >= 1000000000)
        t->tv_sec++, t->tv_nsec -= 1000000000;
}

/* Waits for events, with the lock held; gives the others GATHER_MS to join the first, unless somebody
 * flushes. */
static void wait_for_work(struct trace *trace) {
    struct timespec until;
    add_ms(&until, trace->failing ? RETRY_MS : 30000);
    while (!trace->queue.first && !trace->stop && !trace->flushing)
        if (pthread_cond_timedwait(&trace->arrived, &trace->mutex, &until) == ETIMEDOUT)
            return;
    add_ms(&until, GATHER_MS);
    while (!trace->stop && !trace->flushing)
        if (pthread_cond_timedwait(&trace->arrived, &trace->mutex, &until) == ETIMEDOUT)
            return;
}

/* One round: takes what has gathered, writes it day by day. */
static void write_round(struct trace *trace, struct items *taken, bool urgent) {
    int64_t now = clock_mono_ms();
    for (struct item *item; (item = items_take(taken));)
        items_add(&pending_of(trace, folder_day(trace_arrival(&item->event.trace_id)))->items, item);
    for (struct pending *p = trace->days; p; p = p->next)
        if (p->items.first && (!p->failing || urgent || now >= p->retry_at))
            write_day(trace, p);
    close_old(trace);
    sweep(trace);
}

/* Every event numbered below the first that still waits is written. */
static void end_round(struct trace *trace, uint64_t taken_up_to) {
    uint64_t first = taken_up_to + 1;
    trace->failing = false;
    for (struct pending *p = trace->days; p; p = p->next)
        if (p->items.first) {
            trace->failing = true;
            first = p->items.first->number < first ? p->items.first->number : first;
        }
    trace->written = first - 1;
    trace->round++;
    pthread_cond_broadcast(&trace->done);
}

static void *run(void *arg) {
    struct trace *trace = arg;
    bool stop = false;
    pthread_setname_np(pthread_self(), "trace");
    pthread_mutex_lock(&trace->mutex);
    while (!stop) {
        wait_for_work(trace);
        struct items taken = trace->queue;
        if (!taken.first)
            items_init(&taken);
        items_init(&trace->queue);
        uint64_t up_to = trace->emitted;
        bool urgent = trace->flushing || trace->stop;
        stop = trace->stop;
        pthread_mutex_unlock(&trace->mutex);
        write_round(trace, &taken, urgent);
        pthread_mutex_lock(&trace->mutex);
        end_round(trace, up_to);
    }
    pthread_mutex_unlock(&trace->mutex);
    return NULL;
}

/* Opening */

static int64_t wall_clock(void *arg) {
    (void)arg;
    return clock_wall_ms();
}

static struct trace *new_trace(const char *folder) {
    struct trace *trace = xcalloc(1, sizeof *trace);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&trace->mutex, NULL);
    pthread_cond_init(&trace->arrived, &monotonic);
    pthread_cond_init(&trace->done, NULL);
    pthread_condattr_destroy(&monotonic);
    items_init(&trace->queue);
    trace->lock_fd = -1;
    trace->swept = INT64_MIN;
    snprintf(trace->folder, sizeof trace->folder, "%s", folder);
    return trace;
}

static int lock_folder(struct trace *trace) {
    char path[FOLDER_PATH_SIZE];
    if (mkdir(trace->folder, 0750) != 0 && errno != EEXIST)
        return error_from_errno(errno);
    snprintf(path, sizeof path, "%s/lock", trace->folder);
    trace->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (trace->lock_fd < 0)
        return error_from_errno(errno);
    if (flock(trace->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? SLUICE_EBUSY : error_from_errno(errno);
    return 0;
}

/* Days of an earlier version can be asked only once they are of this one; to open them makes them so. */
static void upgrade_days(struct trace *trace) {
    int64_t *days = NULL;
    size_t count = 0;
    char why[DAY_WHY_SIZE];
    struct day *day;
    if (folder_days(trace->folder, &days, &count) != 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (day_open(trace->folder, days[i], why, &day) == 0)
            day_close(day);
        else
            log_event(trace->log, LOG_ERROR, "a day of the trace can't be opened", "why", why, NULL);
    }
    free(days);
}

int trace_open(const struct trace_settings *settings, struct log *log, struct arena *arena,
               struct str *ret_why, struct trace **ret_trace) {
    struct trace *trace = new_trace(settings->folder);
    trace->log = log;
    trace->retention_days = settings->retention_days ? settings->retention_days : 90;
    trace->max_events = settings->backlog_events ? settings->backlog_events : 200000;
    trace->max_bytes = settings->backlog_bytes ? settings->backlog_bytes : (size_t)256 << 20;
    trace->now = settings->now ? settings->now : wall_clock;
    trace->now_arg = settings->now_arg;
    int bad = lock_folder(trace);
    if (!bad)
        upgrade_days(trace);
    if (!bad && pthread_create(&trace->thread, NULL, run, trace) != 0)
        bad = SLUICE_ELIMIT;
    if (bad) {
        *ret_why = str_printf(arena, "trace folder %s: %s", settings->folder,
                              bad == SLUICE_EBUSY ? "in use by another daemon" : error_text(bad));
        trace_free(trace);
        return bad;
    }
    trace->started = true;
    *ret_trace = trace;
    return 0;
}

int trace_open_read(const char *folder, struct trace **ret_trace) {
    struct stat found;
    if (stat(folder, &found) != 0)
        return errno == ENOENT ? SLUICE_ENOTFOUND : error_from_errno(errno);
    if (!S_ISDIR(found.st_mode))
        return SLUICE_ENOTFOUND;
    *ret_trace = new_trace(folder);
    return 0;
}

static void free_days(struct trace *trace) {
    for (struct pending *p = trace->days, *next; p; p = next) {
        next = p->next;
        for (struct item *item; (item = items_take(&p->items)); free(item))
            log_event(trace->log, LOG_ERROR, "trace event lost at the end", "trace_id",
                      item->event.trace_id.text, "event", trace_kind_name(item->event.event), NULL);
        day_close(p->file);
        free(p);
    }
}

struct trace *trace_free(struct trace *trace) {
    if (!trace)
        return NULL;
    if (trace->started) {
        pthread_mutex_lock(&trace->mutex);
        trace->stop = true;
        pthread_cond_signal(&trace->arrived);
        pthread_mutex_unlock(&trace->mutex);
        pthread_join(trace->thread, NULL);
    }
    free_days(trace);
    if (trace->lock_fd >= 0)
        close(trace->lock_fd);
    pthread_mutex_destroy(&trace->mutex);
    pthread_cond_destroy(&trace->arrived);
    pthread_cond_destroy(&trace->done);
    free(trace);
    return NULL;
}
