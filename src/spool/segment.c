/* Segments: made of zeros ahead of need, recycled, given back; and the thread that does it. */
#include "base/clock.h"
#include "base/error.h"
#include "seeded_bug.h"
#include "spool/inside.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

void segment_path(const struct spool *s, uint32_t slot, const char *suffix, struct buf *ret) {
    buf_clear(ret);
    buf_printf(ret, "%s/%08x.%s", s->dir, slot, suffix);
    buf_c(ret);
}

struct segment *segment_free(struct spool *s, struct segment *g) {
    if (g) {
        if (g->handle >= 0)
            s->io->close(s->io->ctx, g->handle);
        index_free(&g->index);
        free(g->limbo);
        free(g->refs);
        free(g);
    }
    return NULL;
}

struct segment *segment_find(const struct spool *s, uint64_t generation) {
    uint32_t low = 0, high = s->log_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->log[middle]->generation < generation)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->log_count && s->log[low]->generation == generation ? s->log[low] : NULL;
}

static void insert(struct segment ***list, uint32_t *count, uint32_t *cap, struct segment *g) {
    if (*count == *cap) {
        *cap = *cap ? 2 * *cap : 16;
        *list = xrealloc(*list, *cap * sizeof(struct segment *));
    }
    uint32_t at = (*count)++;
    for (; at > 0 && (*list)[at - 1]->generation > g->generation; at--)
        (*list)[at] = (*list)[at - 1];
    (*list)[at] = g;
}

void segment_log(struct spool *s, struct segment *g) { insert(&s->log, &s->log_count, &s->log_cap, g); }

void segment_spare(struct spool *s, struct segment *g) {
    insert(&s->spare, &s->spare_count, &s->spare_cap, g);
}

static void take_from_log(struct spool *s, const struct segment *g) {
    uint32_t at = 0;
    while (s->log[at] != g)
        at++;
    s->log_count--;
    memmove(s->log + at, s->log + at + 1, (s->log_count - at) * sizeof(struct segment *));
}

void segment_refer(struct segment *holder, const struct segment *to) {
    if (holder == to || to->noted)
        return;
    uint32_t byte = to->slot / 8;
    uint8_t bit = (uint8_t)(1u << to->slot % 8);
    if (byte >= holder->refs_bytes) {
        holder->refs = xrealloc(holder->refs, byte + 1);
        memset(holder->refs + holder->refs_bytes, 0, byte + 1 - holder->refs_bytes);
        holder->refs_bytes = byte + 1;
    }
    holder->ref_count += !(holder->refs[byte] & bit);
    holder->refs[byte] |= bit;
}

bool segment_refers(const struct segment *holder, const struct segment *to) {
    uint32_t byte = to->slot / 8;
    return byte < holder->refs_bytes && (holder->refs[byte] >> to->slot % 8 & 1);
}

void segment_forget(struct spool *s, const struct segment *to) {
    uint32_t byte = to->slot / 8;
    uint8_t bit = (uint8_t)(1u << to->slot % 8);
    for (uint32_t i = 0; i < s->log_count; i++) {
        struct segment *g = s->log[i];
        if (byte < g->refs_bytes && (g->refs[byte] & bit)) {
            g->refs[byte] &= (uint8_t)~bit;
            g->ref_count--;
        }
    }
}

void segment_unpin(struct segment *g) {
    assert(g->pins > 0);
    g->pins--;
}

void segment_end_limbo(struct segment *g) {
    for (uint32_t i = 0; i < g->limbo_count; i++)
        segment_unpin(g->limbo[i]);
    free(g->limbo);
    g->limbo = NULL;
    g->limbo_count = 0;
}

static uint64_t random_key(void) {
    uint64_t key = 0;
    while (getrandom(&key, sizeof key, 0) != sizeof key)
        continue;
    return key;
}

static int write_bytes(struct spool *s, int handle, const void *bytes, size_t len, uint64_t offset) {
    struct iovec v = {(void *)(uintptr_t)bytes, len};
    return s->io->write(s->io->ctx, handle, &v, 1, offset);
}

static int write_header(struct spool *s, const struct segment *g) {
    unsigned char block[SPOOL_BLOCK] = {0};
    segment_header_encode(&(struct segment_header){.slot = g->slot,
                                                   .size = s->options.segment_size,
                                                   .spool = s->id,
                                                   .generation = g->generation,
                                                   .key = g->key,
                                                   .replaced = g->replaced,
                                                   .written = clock_wall_ms()},
                          block);
    return write_bytes(s, g->handle, block, sizeof block, (uint64_t)g->copy * SPOOL_BLOCK);
}

/* Zeros in steps, each synced, so that a commit's sync never waits behind the whole segment. */
static int write_zeros(struct spool *s, int handle) {
    enum { STEP = 1024 * 1024, SYNC_EVERY = 4 };
    uint64_t size = s->options.segment_size;
    void *zeros = xcalloc(1, STEP);
    int result = 0, steps = 0;
    for (uint64_t at = 0; at < size && result == 0; at += STEP) {
        result = write_bytes(s, handle, zeros, size - at < STEP ? size - at : STEP, at);
        if (result == 0 && ++steps % SYNC_EVERY == 0)
            result = s->io->sync(s->io->ctx, handle);
        if (s->helper_stop && result == 0)
            result = -ECANCELED;
    }
    free(zeros);
    return result;
}

static int room_on_disk(struct spool *s) {
    uint64_t left;
    if (s->options.min_free == 0 || s->io->free_bytes(s->io->ctx, s->dir, &left) != 0)
        return 0;
    return left < s->options.min_free + s->options.segment_size ? -ENOSPC : 0;
}

int segment_create(struct spool *s, uint32_t slot, uint64_t generation, struct segment **ret) {
    struct buf fresh __attribute__((cleanup(buf_free))) = {0};
    struct buf path __attribute__((cleanup(buf_free))) = {0};
    segment_path(s, slot, "new", &fresh);
    segment_path(s, slot, "segment", &path);
    int result = room_on_disk(s);
    if (result < 0)
        return result;
    s->io->remove(s->io->ctx, fresh.at);
    int handle = s->io->open(s->io->ctx, fresh.at, SPOOL_OPEN_CREATE);
    if (handle < 0)
        return handle;
    struct segment *g = xcalloc(1, sizeof *g);
    *g = (struct segment){
        .slot = slot, .handle = handle, .generation = generation, .key = random_key(), .end = SPOOL_DATA};
    result = write_zeros(s, handle);
    if (result == 0)
        result = write_header(s, g);
    if (result == 0)
        result = s->io->sync(s->io->ctx, handle);
    if (result == 0)
        result = s->io->rename(s->io->ctx, fresh.at, path.at);
    if (result == 0)
        result = s->io->sync_dir(s->io->ctx, s->dir);
    if (result < 0) {
        segment_free(s, g);
        s->io->remove(s->io->ctx, fresh.at);
        return result;
    }
    *ret = g;
    return 0;
}

/* The new header goes where the old one isn't, so that one of them is whole at any time. Then the old one and
 * the first records go, so that nothing but the new header says what this segment is. `g` stays as it was: it
 * is still in the log. */
int segment_recycle(struct spool *s, const struct segment *g, uint64_t generation, struct segment *ret) {
    static const unsigned char zeros[SPOOL_BLOCK];
    struct segment next = {.slot = g->slot,
                           .handle = g->handle,
                           .generation = generation,
                           .key = random_key(),
                           .replaced = g->generation,
                           .copy = !g->copy,
                           .end = SPOOL_DATA};
    int result = write_header(s, &next);
    if (result == 0)
        result = s->io->sync(s->io->ctx, g->handle);
    if (result == 0)
        result = write_bytes(s, g->handle, zeros, sizeof zeros, (uint64_t)g->copy * SPOOL_BLOCK);
    if (result == 0)
        result = write_bytes(s, g->handle, zeros, sizeof zeros, SPOOL_DATA);
    if (result == 0)
        result = s->io->sync(s->io->ctx, g->handle);
    if (result == 0)
        *ret = next;
    return result;
}

static bool free_of_use(const struct spool *s, const struct segment *g) {
#if defined SLUICE_SEEDED_BUG_SPOOL_RECYCLES_OUTCOMES
    return g != s->current && g->generation < s->stated && g->live == 0 && g->pins == 0;
#endif
    return g != s->current && g->generation < s->stated && g->live == 0 && g->pins == 0 && g->ref_count == 0;
}

void segment_settle(struct spool *s) {
    uint32_t idle = s->spare_count;
    bool work = s->spare_count < SPARES;
    for (uint32_t i = 0; i < s->log_count; i++) {
        struct segment *g = s->log[i];
        work = work || g->may_go;
        if (g->going || !free_of_use(s, g))
            continue;
        if (g->failed || g->damaged || idle >= SPARES_MOST)
            g->going = true;
        else
            idle++;
    }
    if (work)
        pthread_cond_signal(&s->helper_wake);
}

/* ---- The helper ---- */

enum job_kind { JOB_NONE, JOB_REMOVE, JOB_RECYCLE, JOB_CREATE };
struct job {
    enum job_kind kind;
    struct segment *segment;
    struct segment next; /* recycled: what it is now */
    uint64_t generation;
    uint32_t slot;
};

static uint32_t free_slot(const struct spool *s) {
    uint32_t most = s->log_count + s->spare_count + 1, slot = 1;
    bool *used = xcalloc(most + 1, sizeof *used);
    for (uint32_t i = 0; i < s->log_count; i++)
        if (s->log[i]->slot <= most)
            used[s->log[i]->slot] = true;
    for (uint32_t i = 0; i < s->spare_count; i++)
        if (s->spare[i]->slot <= most)
            used[s->spare[i]->slot] = true;
    while (used[slot])
        slot++;
    free(used);
    return slot;
}

static bool may_create(const struct spool *s) {
    uint64_t after = ((uint64_t)s->log_count + s->spare_count + 1) * s->options.segment_size;
    return (s->options.disk_limit == 0 || after <= s->options.disk_limit) &&
           STATE_HEAD + (uint64_t)STATE_ENTRY * (s->log_count + s->spare_count + 1) <=
               s->options.segment_size / 8;
}

static struct job next_job(struct spool *s) {
    for (uint32_t i = 0; i < s->log_count; i++)
        if (s->log[i]->may_go && free_of_use(s, s->log[i]))
            return (struct job){.kind = JOB_REMOVE, .segment = s->log[i]};
    if (s->spare_count >= SPARES)
        return (struct job){0};
    for (uint32_t i = 0; i < s->log_count; i++) {
        struct segment *g = s->log[i];
        if (!g->going && !g->failed && !g->damaged && free_of_use(s, g)) {
            g->going = true;
            return (struct job){.kind = JOB_RECYCLE, .segment = g, .generation = s->next_generation++};
        }
    }
    if (s->helper_error && clock_mono_ms() < s->helper_retry)
        return (struct job){0};
    if (!may_create(s)) {
        s->helper_error = SLUICE_EFULL;
        s->helper_retry = clock_mono_ms() + RETRY_MS;
        pthread_cond_broadcast(&s->spare_ready);
        return (struct job){0};
    }
    return (struct job){.kind = JOB_CREATE, .slot = free_slot(s), .generation = s->next_generation++};
}

static int remove_segment(struct spool *s, struct segment *g) {
    struct buf path __attribute__((cleanup(buf_free))) = {0};
    struct buf aside __attribute__((cleanup(buf_free))) = {0};
    segment_path(s, g->slot, "segment", &path);
    buf_printf(&aside, "%s/%08x-%llx.damaged", s->dir, g->slot, (unsigned long long)g->generation);
    int result =
        g->damaged ? s->io->rename(s->io->ctx, path.at, buf_c(&aside)) : s->io->remove(s->io->ctx, path.at);
    if (result == 0 || result == -ENOENT) /* gone already: only its sync had failed, or a person did it */
        result = s->io->sync_dir(s->io->ctx, s->dir);
    return result;
}

static int do_job(struct spool *s, struct job *job) {
    switch (job->kind) {
    case JOB_REMOVE:
        return remove_segment(s, job->segment);
    case JOB_RECYCLE:
        return segment_recycle(s, job->segment, job->generation, &job->next);
    default:
        return segment_create(s, job->slot, job->generation, &job->segment);
    }
}

/* Locked again. A segment whose recycling failed is in an unknown state: it stays listed as going. Returns
 * what is to be freed without the lock: the last close of a removed file takes as long as the disk needs. */
static struct segment *finish_job(struct spool *s, const struct job *job, int result) {
    struct segment *g = job->segment, *gone = NULL;
    if (result < 0) {
        if (job->kind != JOB_CREATE) {
            g->failed = true;
            g->may_go = false;
        }
        if (job->kind != JOB_REMOVE) {
            s->helper_error = error_from_errno(-result);
            s->helper_retry = clock_mono_ms() + RETRY_MS;
        }
    } else if (job->kind == JOB_CREATE) {
        segment_spare(s, g);
    } else {
        take_from_log(s, g);
        segment_forget(s, g);
        segment_end_limbo(g);
        if (job->kind == JOB_RECYCLE) {
            index_free(&g->index);
            free(g->refs);
            *g = job->next;
            segment_spare(s, g);
        } else {
            gone = g;
        }
    }
    if (result == 0 && job->kind != JOB_REMOVE)
        s->helper_error = 0;
    return gone;
}

static void tell_failure(struct spool *s, const struct job *job, int result) {
    struct buf path __attribute__((cleanup(buf_free))) = {0};
    segment_path(s, job->segment ? job->segment->slot : job->slot, "segment", &path);
    spool_trouble(s, result == -ENOSPC ? LOG_WARNING : LOG_ERROR,
                  job->kind == JOB_REMOVE    ? "spool can't remove a segment"
                  : job->kind == JOB_RECYCLE ? "spool can't recycle a segment"
                                             : "spool can't make a new segment",
                  path.at, 0, result);
}

/* Locked. After a failure: not for long, since nobody tells when the disk has room again. */
static void wait_for_job(struct spool *s) {
    if (!s->helper_error) {
        pthread_cond_wait(&s->helper_wake, &s->lock);
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += RETRY_MS / 1000;
    pthread_cond_timedwait(&s->helper_wake, &s->lock, &until);
}

/* One job; false when there was none. Takes and leaves the lock. */
static bool work(struct spool *s) {
    pthread_mutex_lock(&s->lock);
    struct job job = next_job(s);
    int before = s->helper_error;
    while (job.kind == JOB_NONE && !s->helper_stop) {
        wait_for_job(s);
        job = next_job(s);
    }
    pthread_mutex_unlock(&s->lock);
    if (job.kind == JOB_NONE)
        return false;
    int result = do_job(s, &job);
    /* Retries come every second: one line for each new reason. */
    if (result < 0 && result != -ECANCELED && error_from_errno(-result) != before)
        tell_failure(s, &job, result);
    pthread_mutex_lock(&s->lock);
    struct segment *gone = finish_job(s, &job, result);
    if (result == 0) {
        atomic_store(&s->full, false);
        segment_settle(s);
    }
    pthread_cond_broadcast(&s->spare_ready);
    pthread_mutex_unlock(&s->lock);
    segment_free(s, gone);
    spool_poke(s);
    return true;
}

void *helper_run(void *arg) {
    struct spool *s = arg;
    while (!s->helper_stop && work(s))
        continue;
    return NULL;
}
