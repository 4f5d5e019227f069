/* One commit on its way to the disk: records in a row, one write, one sync. */
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "seeded_bug.h"
#include "spool/inside.h"

#include <stdlib.h>

static const unsigned char zeros[SPOOL_BLOCK];

/* Locked. What the new segment says of the older ones, and which of them it says that of. */
static void encode_state(struct spool *s) {
    struct segment_state *states = xcalloc(s->log_count + 1, sizeof *states);
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->log_count; i++) {
        struct segment *g = s->log[i];
        if (g == s->current)
            continue;
        g->state_noted = g->live == 0;
        g->state_going = g->going;
        states[count++] = (struct segment_state) {
            .generation = g->generation, .key = g->key, .commit = g->commit, .slot = g->slot,
#if defined SLUICE_SEEDED_BUG_SPOOL_REVIVES_FAILED
            .end = s->options.segment_size,
#else
            .end = (uint32_t)g->end,
#endif
            .flags = (g->state_noted ? STATE_DEAD : 0) | (g->state_going ? STATE_GOING : 0) |
                     (g->failed ? STATE_FAILED : 0),
        };
    }
    buf_clear(&s->state);
    state_encode(&s->state, states, count);
    free(states);
}

/* Locked. The state record is durable: outcomes of dead segments are needed no more. */
static void state_done(struct spool *s) {
    s->stated = s->current->generation;
    for (uint32_t i = 0; i < s->log_count; i++) {
        struct segment *g = s->log[i];
        if (g == s->current)
            continue;
        g->may_go = g->state_going;
        if (g->state_noted && !g->noted) {
            g->noted = true;
            segment_forget(s, g);
            segment_end_limbo(g);
        }
    }
}

static void add_state(struct spool *s, struct batch *batch) {
    struct entry *e = entry_new(ENTRY_STATE);
    buf_str(&e->head, buf_view(&s->state));
    entry_finish(e);
    commit_add(batch, e);
}

void commit_open(struct spool *s, struct batch *batch) {
    pthread_mutex_lock(&s->lock);
    s->current = s->spare[0];
    s->spare_count--;
    memmove(s->spare, s->spare + 1, s->spare_count * sizeof(struct segment *));
    segment_log(s, s->current);
    encode_state(s);
    pthread_cond_signal(&s->helper_wake);
    pthread_mutex_unlock(&s->lock);
    add_state(s, batch);
    batch->new_state = true;
}

/* Short of segments, and some are held only by outcomes that a state record makes needless. */
static bool state_would_help(struct spool *s) {
    if (!s->current || !s->helper_error || s->spare_count >= SPARES)
        return false;
    for (uint32_t i = 0; i < s->log_count; i++)
        if (s->log[i] != s->current && s->log[i]->live == 0 && !s->log[i]->noted)
            return true;
    return false;
}

void commit_state(struct spool *s, struct batch *batch) {
    pthread_mutex_lock(&s->lock);
    bool fresh = state_would_help(s);
    if (fresh)
        encode_state(s);
    uint64_t end =
        s->current ? s->current->end + record_size((uint32_t)s->state.len, 0) + SPOOL_BLOCK : UINT64_MAX;
    pthread_mutex_unlock(&s->lock);
    if (s->state.len == 0 || end > s->options.segment_size)
        return;
    add_state(s, batch);
    batch->new_state = fresh;
    if (!fresh)
        buf_clear(&s->state);
}

void commit_add(struct batch *batch, struct entry *e) {
    entry_add(&batch->entries, e);
    batch->bytes += entry_size(e);
    batch->count++;
}

static void place_part(struct spool *s, struct entry *e) {
    pthread_mutex_lock(&s->lock);
    e->at->pins++;
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&s->queue_lock);
    e->body->parts[e->part] = (struct placed_part){.part = {.generation = e->at->generation,
                                                            .place = e->place,
                                                            .length = e->content_len,
                                                            .crc = e->body_crc},
                                                   .at = e->at};
    pthread_mutex_unlock(&s->queue_lock);
}

/* A message's parts have their places by now: they stand before it. */
static void name_parts(struct entry *e) {
    unsigned char *head = (unsigned char *)e->head.at + SPOOL_HEADER;
    for (uint32_t i = 0; i < e->body->part_count; i++)
        message_set_part(head, i, &e->body->parts[i].part);
    if (e->body->part_count)
        e->head_crc = crc32c(0, head, e->head_len);
}

static void place(struct spool *s, struct entry *e, uint64_t offset, uint64_t start, bool last) {
    static const uint8_t types[] = {[ENTRY_MESSAGE] = RECORD_MESSAGE,
                                    [ENTRY_PART] = RECORD_PART,
                                    [ENTRY_OUTCOME] = RECORD_OUTCOME,
                                    [ENTRY_STATE] = RECORD_STATE};
    e->at = s->current;
    e->place = (uint32_t)(offset / 8);
    if (e->kind == ENTRY_PART)
        place_part(s, e);
    if (e->kind == ENTRY_MESSAGE)
        name_parts(e);
    record_header_encode(&(struct record_header){.generation = e->at->generation,
                                                 .key = e->at->key,
                                                 .commit = s->commit,
                                                 .place = e->place,
                                                 .start = (uint32_t)(start / 8),
                                                 .head = e->head_len,
                                                 .body = e->content_len,
                                                 .type = types[e->kind],
                                                 .flags = last ? RECORD_LAST : 0,
                                                 .head_crc = e->head_crc,
                                                 .body_crc = e->body_crc},
                         (unsigned char *)e->head.at);
}

int commit_write(struct spool *s, struct batch *batch) {
    struct segment *g = s->current;
    uint64_t offset = g->end;
    struct iovec *vectors = xcalloc(2 * (size_t)batch->count + 1, sizeof *vectors);
    size_t count = 0;
    s->commit++;
    s->sealed = false;
    for (struct entry *e = batch->entries.first; e; e = e->next) {
        place(s, e, offset, g->end, e->next == NULL);
        vectors[count++] = (struct iovec){e->head.at, e->head.len};
        if (e->content.len)
            vectors[count++] = (struct iovec){e->content.at, e->content.len};
        offset += entry_size(e);
    }
    uint64_t padding = spool_align(offset, SPOOL_BLOCK) - offset;
    if (padding)
        vectors[count++] = (struct iovec){(void *)(uintptr_t)zeros, padding};
    int result = s->io->write(s->io->ctx, g->handle, vectors, count, g->end);
    free(vectors);
    return result;
}

int commit_sync(struct spool *s) { return s->io->sync(s->io->ctx, s->current->handle); }

void commit_settle(struct spool *s, const struct batch *batch) {
    struct segment *g = s->current;
    uint64_t bytes = spool_align(batch->bytes, SPOOL_BLOCK);
    if (batch->new_state)
        state_done(s);
    g->end += bytes;
    g->commit = s->commit;
    if (s->failures) {
        s->failures = 0;
        s->helper_error = 0;
        pthread_cond_signal(&s->helper_wake);
    }
    s->stats.commits++;
    s->stats.syncs++;
    s->stats.records += batch->count;
    s->stats.written += bytes;
    if (batch->count > s->stats.largest_batch)
        s->stats.largest_batch = batch->count;
}

/* A new segment is made only after a while, longer with each failure in a row: a broken disk shall not be
 * filled with segments. */
void commit_abandon(struct spool *s, int result) {
    struct buf path __attribute__((cleanup(buf_free))) = {0};
    struct segment *g = s->current;
    segment_path(s, g->slot, "segment", &path);
    spool_trouble(s, LOG_ERROR, "spool can't write a commit", path.at, g->end, result);
    pthread_mutex_lock(&s->lock);
    g->failed = true;
    s->current = NULL;
    s->stats.failed_commits++;
    s->helper_error = error_from_errno(-result);
    s->helper_retry = clock_mono_ms() + (RETRY_MS << s->failures);
    if (s->failures < 6)
        s->failures++;
    segment_settle(s);
    pthread_mutex_unlock(&s->lock);
}

void commit_seal(struct spool *s, bool closing) {
    struct segment *g = s->current;
    unsigned char block[SPOOL_BLOCK] = {0};
    struct iovec v = {block, sizeof block};
    if (!closing)
        s->sealed = true;
    if (!g || g->end == SPOOL_DATA || g->end + SPOOL_BLOCK > s->options.segment_size)
        return;
    record_header_encode(&(struct record_header){.generation = g->generation,
                                                 .key = g->key,
                                                 .commit = s->commit,
                                                 .place = (uint32_t)(g->end / 8),
                                                 .start = (uint32_t)(g->end / 8),
                                                 .type = RECORD_SEAL,
                                                 .flags = RECORD_LAST | (closing ? RECORD_CLOSED : 0)},
                         block);
    int result = s->io->write(s->io->ctx, g->handle, &v, 1, g->end);
    if (result == 0 && closing)
        result = commit_sync(s);
    if (result < 0)
        commit_abandon(s, result);
}
