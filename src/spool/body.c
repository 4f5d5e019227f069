/* Bodies on their way in: gathered in memory, the rest in part records. */
#include "base/error.h"
#include "spool/inside.h"

#include <stdlib.h>

struct spool_body *spool_body_new(struct spool *s) {
    struct spool_body *b = xcalloc(1, sizeof *b);
    b->spool = s;
    b->stream = atomic_fetch_add(&s->streams, 1);
    return b;
}

uint64_t spool_body_size(const struct spool_body *b) { return b->size; }

void body_free(struct spool_body *b) {
    struct spool *s = b->spool;
    pthread_mutex_lock(&s->lock);
    bool unpinned = false;
    for (uint32_t i = 0; i < b->part_count; i++)
        if (b->parts[i].at) {
            segment_unpin(b->parts[i].at);
            unpinned = true;
        }
    if (unpinned)
        segment_settle(s);
    pthread_mutex_unlock(&s->lock);
    atomic_fetch_sub(&s->memory, b->charged);
    free(b->parts);
    buf_free(&b->gathered);
    free(b);
}

/* Room for `more` bytes behind what is gathered, and the padding of the record. */
static void reserve(struct spool_body *b, size_t more) {
    size_t before = b->gathered.cap, need = b->gathered.len + more + 8, most = b->spool->part_size + 8;
    if (need <= before)
        return;
    size_t cap = before ? 2 * before : 8192;
    if (cap > most)
        cap = most;
    if (cap < need)
        cap = need;
    b->gathered.at = xrealloc(b->gathered.at, cap);
    b->gathered.cap = cap;
    b->charged += cap - before;
    atomic_fetch_add(&b->spool->memory, cap - before);
}

/* What is gathered becomes a part record. */
static void flush(struct spool_body *b) {
    struct spool *s = b->spool;
    struct entry *e = entry_new(ENTRY_PART);
    e->body = b;
    e->content = b->gathered;
    e->charged = b->gathered.cap;
    b->charged -= e->charged;
    b->gathered = (struct buf){0};
    pthread_mutex_lock(&s->queue_lock);
    if (b->part_count == b->part_cap) {
        b->part_cap = b->part_cap ? 2 * b->part_cap : 8;
        b->parts = xrealloc(b->parts, b->part_cap * sizeof *b->parts);
    }
    e->part = b->part_count++;
    b->parts[e->part] = (struct placed_part){0};
    b->under_way++;
    pthread_mutex_unlock(&s->queue_lock);
    part_encode(&e->head, b->stream, e->part);
    entry_finish(e);
    spool_submit(s, e);
}

/* The size of the next part: smaller when memory is short, so that what many slow clients send goes to the
 * disk. */
static size_t part_limit(const struct spool *s) {
    size_t least = s->part_size / 8;
    return atomic_load(&s->memory) < s->options.memory_limit ? s->part_size : least;
}

int spool_body_add(struct spool_body *b, const void *bytes, size_t len) {
    struct spool *s = b->spool;
    pthread_mutex_lock(&s->queue_lock);
    int error = b->error;
    bool crowded = b->under_way >= PARTS_UNDER_WAY;
    pthread_mutex_unlock(&s->queue_lock);
    if (error)
        return error;
    if (b->size + len > s->largest_body)
        return SLUICE_ETOOBIG;
    if (atomic_load(&s->memory) > 2 * s->options.memory_limit)
        return SLUICE_EFULL;
    if (crowded && b->gathered.len + len > part_limit(s))
        return SLUICE_EBUSY;
    b->size += len;
    while (len) {
        size_t limit = part_limit(s);
        if (b->gathered.len >= limit) {
            flush(b);
            continue;
        }
        size_t take = len < limit - b->gathered.len ? len : limit - b->gathered.len;
        reserve(b, take);
        buf_add(&b->gathered, bytes, take);
        bytes = (const char *)bytes + take;
        len -= take;
    }
    return 0;
}

void spool_body_wait(struct spool_body *b, void (*ready)(void *arg), void *arg) {
    struct spool *s = b->spool;
    pthread_mutex_lock(&s->queue_lock);
    bool now = b->error || b->under_way < PARTS_UNDER_WAY;
    if (!now) {
        b->ready = ready;
        b->ready_arg = arg;
    }
    pthread_mutex_unlock(&s->queue_lock);
    if (now)
        ready(arg);
}

struct spool_body *spool_body_abort(struct spool_body *b) {
    if (!b)
        return NULL;
    struct spool *s = b->spool;
    pthread_mutex_lock(&s->queue_lock);
    bool later = b->under_way > 0;
    b->aborted = true;
    b->ready = NULL;
    pthread_mutex_unlock(&s->queue_lock);
    if (!later)
        body_free(b);
    return NULL;
}

void body_part_done(struct spool *s, struct entry *e, int error) {
    struct spool_body *b = e->body;
    atomic_fetch_sub(&s->memory, e->charged);
    pthread_mutex_lock(&s->queue_lock);
    if (error && !b->error)
        b->error = error;
    /* When it was written, its place is known since then, and its pin may be the message's by now. */
    if (error)
        b->parts[e->part].at = NULL;
    b->under_way--;
    bool gone = b->aborted && b->under_way == 0;
    /* Within the lock: after spool_body_abort has returned, nothing calls back. */
    if (b->ready)
        b->ready(b->ready_arg);
    b->ready = NULL;
    pthread_mutex_unlock(&s->queue_lock);
    if (gone)
        body_free(b);
}
