/* Opening, closing, and the calls that hand something to the committer. */
#include "spool/spool.h"

#include "base/clock.h"
#include "base/error.h"
#include "spool/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { LEAST_SEGMENT = 64 * 1024, LEAST_SEGMENTS = 4 };
#define DEFAULT_SEGMENT (64u * 1024 * 1024)
#define MOST_SEGMENT (1024u * 1024 * 1024)
#define DEFAULT_MEMORY (UINT64_C(64) * 1024 * 1024)

static uint32_t segment_size(const struct spool_options *o) {
    return o->segment_size ? o->segment_size : DEFAULT_SEGMENT;
}

static uint32_t part_size(uint32_t segment) {
    return segment / 4 - SPOOL_BLOCK < SPOOL_PART ? segment / 4 - SPOOL_BLOCK : SPOOL_PART;
}

/* The head holds 24 bytes for each part and may take a quarter of a segment; half of that is left to the
 * envelope. With a limit on the disk, what the reserve and two segments in use leave must hold the parts. */
uint64_t spool_largest_body(const struct spool_options *o) {
    uint64_t segment = segment_size(o), part = part_size((uint32_t)segment);
    uint64_t by_head = segment / 8 / MESSAGE_PART * part;
    if (o->disk_limit == 0)
        return by_head;
    uint64_t segments = o->disk_limit / segment;
    if (segments < LEAST_SEGMENTS)
        return 0;
    uint64_t parts_each = (segment * 3 / 4) / record_size(PART_HEAD, (uint32_t)part);
    uint64_t by_disk = (segments - LEAST_SEGMENTS + 1) * parts_each * part;
    return by_head < by_disk ? by_head : by_disk;
}

void spool_poke(struct spool *s) {
    pthread_mutex_lock(&s->queue_lock);
    s->poked = true;
    pthread_cond_signal(&s->queue_wake);
    pthread_mutex_unlock(&s->queue_lock);
}

void spool_trouble(struct spool *s, enum log_level level, const char *event, const char *path,
                   uint64_t offset, int errno_result) {
    char at[24];
    snprintf(at, sizeof at, "%llu", (unsigned long long)offset);
    log_event(s->options.log, level, event, "segment", path, "offset", offset ? at : NULL, "error",
              strerror(-errno_result), NULL);
    pthread_mutex_lock(&s->lock);
    s->stats.last_error = error_from_errno(-errno_result);
    s->stats.last_error_time = clock_wall_ms();
    pthread_mutex_unlock(&s->lock);
}

bool spool_segment_size_ok(uint64_t size) {
    return size >= LEAST_SEGMENT && size <= MOST_SEGMENT && size % SPOOL_BLOCK == 0;
}

static struct str check_options(const struct spool_options *o, struct arena *arena) {
    uint32_t size = segment_size(o);
    if (!o->dir || !*o->dir)
        return STR("spool: no folder is named");
    if (!spool_segment_size_ok(size))
        return str_printf(arena, "spool: a segment can't have %u bytes: 64 KiB to 1 GiB, a multiple of 4096",
                          size);
    if (o->disk_limit && o->disk_limit / size < LEAST_SEGMENTS)
        return str_printf(arena, "spool: a limit of %llu bytes holds no %d segments of %u bytes",
                          (unsigned long long)o->disk_limit, LEAST_SEGMENTS, size);
    return STR_NULL;
}

struct spool *spool_make(const struct spool_options *o) {
    struct spool *s = xcalloc(1, sizeof *s);
    pthread_condattr_t monotonic;
    s->options = *o;
    s->options.segment_size = segment_size(o);
    if (s->options.memory_limit == 0)
        s->options.memory_limit = DEFAULT_MEMORY;
    s->io = o->io ? o->io : &spool_disk;
    s->dir = xmalloc(strlen(o->dir) + 1);
    memcpy(s->dir, o->dir, strlen(o->dir) + 1);
    s->options.dir = s->dir;
    s->dir_lock = -1;
    s->sealed = true;
    s->next_generation = 1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->queue_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->queue_wake, &monotonic);
    pthread_cond_init(&s->helper_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&s->spare_ready, NULL);
    return s;
}

struct spool *spool_drop(struct spool *s) {
    for (uint32_t i = 0; i < s->log_count; i++)
        segment_free(s, s->log[i]);
    for (uint32_t i = 0; i < s->spare_count; i++)
        segment_free(s, s->spare[i]);
    if (s->dir_lock >= 0)
        s->io->close(s->io->ctx, s->dir_lock);
    pthread_cond_destroy(&s->spare_ready);
    pthread_cond_destroy(&s->helper_wake);
    pthread_cond_destroy(&s->queue_wake);
    pthread_mutex_destroy(&s->queue_lock);
    pthread_mutex_destroy(&s->lock);
    buf_free(&s->state);
    free(s->log);
    free(s->spare);
    free(s->dir);
    free(s);
    return NULL;
}

int spool_lock_dir(struct spool *s, bool shared, struct arena *arena, struct str *ret_why) {
    struct buf path __attribute__((cleanup(buf_free))) = {0};
    int holder = 0;
    buf_printf(&path, "%s/lock", s->dir);
    int handle = s->io->lock(s->io->ctx, buf_c(&path), shared, &holder);
    if (handle >= 0) {
        s->dir_lock = handle;
        return 0;
    }
    int error = error_from_errno(-handle);
    if (handle == -EWOULDBLOCK) {
        *ret_why = holder ? str_printf(arena, "spool %s is in use by process %d", s->dir, holder)
                          : str_printf(arena, "spool %s is in use by another process", s->dir);
        return SLUICE_EBUSY;
    }
    *ret_why = str_printf(arena, "spool: %s: %s", path.at, strerror(-handle));
    return error;
}

/* The first segment of a new spool; an old one without a spare gets it from the helper, so that a full disk
 * does not keep the queue from being delivered. */
static int first_segment(struct spool *s, struct arena *arena, struct str *ret_why) {
    struct segment *g;
    if (s->current || s->spare_count || s->log_count)
        return 0;
    int result = segment_create(s, 1, s->next_generation++, &g);
    if (result < 0) {
        *ret_why = str_printf(arena, "spool: can't write a segment of %u bytes in %s: %s",
                              s->options.segment_size, s->dir, strerror(-result));
        return error_from_errno(-result);
    }
    segment_spare(s, g);
    return 0;
}

static void log_damage(void *arg, const struct spool_damage *d) {
    struct spool *s = arg;
    char offset[24], length[24], segment[64], what[128], trace_id[64];
    snprintf(offset, sizeof offset, "%llu", (unsigned long long)d->offset);
    snprintf(length, sizeof length, "%llu", (unsigned long long)d->length);
    snprintf(segment, sizeof segment, "%.*s", STR_FMT(d->segment));
    snprintf(what, sizeof what, "%.*s", STR_FMT(d->what));
    snprintf(trace_id, sizeof trace_id, "%.*s", STR_FMT(d->trace_id));
    log_event(s->options.log, LOG_ERROR, "spool damage", "segment", segment, "offset", offset, "length",
              length, "what", what, "trace_id", d->trace_id.len ? trace_id : NULL, NULL);
}

struct forward {
    struct spool *spool;
    void (*recovered)(void *arg, const struct spool_recovered *);
    void *arg;
};

static void forward_damage(void *arg, const struct spool_damage *d) {
    log_damage(((struct forward *)arg)->spool, d);
}

static void forward_recovered(void *arg, const struct spool_recovered *r) {
    struct forward *f = arg;
    if (f->recovered)
        f->recovered(f->arg, r);
}

static int start_threads(struct spool *s) {
    if (pthread_create(&s->helper, NULL, helper_run, s) != 0)
        return SLUICE_ENOMEM;
    if (pthread_create(&s->committer, NULL, committer_run, s) != 0) {
        pthread_mutex_lock(&s->lock);
        s->helper_stop = true;
        pthread_cond_signal(&s->helper_wake);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->helper, NULL);
        return SLUICE_ENOMEM;
    }
    return 0;
}

static int open_spool(struct spool *s, struct forward *forward, struct arena *arena, struct str *ret_why) {
    int result = s->io->make_dir(s->io->ctx, s->dir);
    if (result < 0) {
        *ret_why = str_printf(arena, "spool: can't make %s: %s", s->dir, strerror(-result));
        return error_from_errno(-result);
    }
    int error = spool_lock_dir(s, false, arena, ret_why);
    if (error)
        return error;
    struct recovery recovery = {
        .spool = s, .damage = forward_damage, .waiting = forward_recovered, .arg = forward};
    error = spool_recover(&recovery, arena, ret_why);
    if (error)
        return error;
    s->stats.damages = recovery.damages;
    struct str wrong = check_options(&s->options, arena); /* with the size that its segments have */
    if (wrong.len) {
        *ret_why = wrong;
        return SLUICE_EINVALID;
    }
    s->part_size = part_size(s->options.segment_size);
    s->largest_body = spool_largest_body(&s->options);
    error = first_segment(s, arena, ret_why);
    if (error)
        return error;
    error = start_threads(s);
    if (error)
        *ret_why = str_printf(arena, "spool %s: can't start its threads", s->dir);
    return error;
}

int spool_open(const struct spool_options *o, void (*recovered)(void *arg, const struct spool_recovered *),
               void *arg, struct arena *arena, struct str *ret_why, struct spool **ret) {
    struct str wrong = check_options(o, arena);
    if (wrong.len) {
        *ret_why = wrong;
        return SLUICE_EINVALID;
    }
    struct spool *s = spool_make(o);
    struct forward forward = {s, recovered, arg};
    int error = open_spool(s, &forward, arena, ret_why);
    if (error)
        spool_drop(s);
    else
        *ret = s;
    return error;
}

struct spool *spool_close(struct spool *s) {
    if (!s)
        return NULL;
    pthread_mutex_lock(&s->queue_lock);
    s->closing = true;
    pthread_cond_signal(&s->queue_wake);
    pthread_mutex_unlock(&s->queue_lock);
    pthread_join(s->committer, NULL);
    pthread_mutex_lock(&s->lock);
    s->helper_stop = true;
    pthread_cond_signal(&s->helper_wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->helper, NULL);
    return spool_drop(s);
}

bool spool_full(const struct spool *s) { return atomic_load(&s->full); }

void spool_stats(struct spool *s, struct spool_stats *ret) {
    pthread_mutex_lock(&s->lock);
    *ret = s->stats;
    ret->segments = s->log_count;
    ret->spare_segments = s->spare_count;
    ret->bytes = (ret->segments + ret->spare_segments) * s->options.segment_size;
    for (uint32_t i = 0; i < s->log_count; i++)
        ret->index_bytes += index_bytes(&s->log[i]->index) + sizeof(struct segment) + s->log[i]->refs_bytes;
    pthread_mutex_unlock(&s->lock);
    ret->full = atomic_load(&s->full);
}

/* ---- To the committer ---- */

static bool storable(const struct spool_message *m) {
    for (size_t i = 0; i < m->group_count; i++) {
        const struct spool_group *g = &m->groups[i];
        if (g->recipient_count == 0 || !mail_class_name(g->mail_class))
            return false;
        for (size_t k = 0; k < g->recipient_count; k++)
            if (g->recipients[k].address.len == 0)
                return false;
    }
    return m->group_count > 0;
}

void spool_commit(struct spool *s, const struct spool_message *m, struct spool_body *body,
                  void (*done)(void *arg, int error, uint64_t message), void *arg) {
    if (!storable(m)) {
        spool_body_abort(body);
        done(arg, SLUICE_EINVALID, 0);
        return;
    }
    struct entry *e = entry_new(ENTRY_MESSAGE);
    message_encode(&e->head, m, body->size, body->part_count);
    if (e->head.len > s->options.segment_size / 4) {
        entry_free(e);
        spool_body_abort(body);
        done(arg, SLUICE_ETOOBIG, 0);
        return;
    }
    e->content = body->gathered;
    body->gathered = (struct buf){0};
    e->body = body;
    e->recipients = message_recipients(m);
    e->message_done = done;
    e->arg = arg;
    entry_finish(e);
    spool_submit(s, e);
}

void spool_outcome(struct spool *s, uint64_t message, uint32_t recipient, const struct spool_outcome *o,
                   void (*done)(void *arg, int error), void *arg) {
    struct entry *e = entry_new(ENTRY_OUTCOME);
    outcome_encode(&e->head, &(struct outcome_record){message, recipient, *o});
    e->message = message;
    e->recipient = recipient;
    e->fate = o->fate;
    e->outcome_done = done;
    e->arg = arg;
    entry_finish(e);
    spool_submit(s, e);
}
