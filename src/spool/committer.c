/* The committer: takes what has gathered, commits it, tells who waits. */
#include "base/clock.h"
#include "base/error.h"
#include "seeded_bug.h"
#include "spool/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void spool_submit(struct spool *s, struct entry *e) {
    pthread_mutex_lock(&s->queue_lock);
    entry_add(&s->queue, e);
    pthread_cond_signal(&s->queue_wake);
    pthread_mutex_unlock(&s->queue_lock);
}

void apply_message(struct spool *s, struct segment *g, uint32_t place, uint32_t recipients,
                   struct segment *const *pinned, uint32_t parts) {
    index_add(&g->index, place, recipients, pinned, parts);
    g->live++;
    s->stats.messages++;
    s->stats.recipients += recipients;
}

/* Parts of a message whose end is not on disk stay as long as a recovery could bring the message back. */
static void release_parts(struct segment *g, struct wide *w) {
    if (w->at_risk && !g->noted)
        g->limbo = xrealloc(g->limbo, ((size_t)g->limbo_count + w->parts + 1) * sizeof(struct segment *));
    for (uint32_t i = 0; i < w->parts; i++) {
        if (w->at_risk && !g->noted && w->pinned[i] != g)
            g->limbo[g->limbo_count++] = w->pinned[i];
        else
            segment_unpin(w->pinned[i]);
    }
    free(w->pinned);
    free(w);
}

bool apply_end(struct spool *s, uint64_t message, uint32_t recipient, bool durable) {
    struct segment *g = segment_find(s, message_generation(message));
    if (!g)
        return false;
    struct index_end end = index_end(&g->index, message_place(message), recipient, durable);
    s->stats.recipients -= end.ended;
    if (end.last) {
        s->stats.messages--;
        g->live--;
        if (end.wide)
            release_parts(g, end.wide);
    }
    return end.ended;
}

/* ---- What may be written where ---- */

enum room { ROOM_HERE, ROOM_NEXT, ROOM_AFTER /* what is gathered */, ROOM_NONE };

/* New mail leaves the last spare segment, or the last quarter of the only one, to outcomes. Waits while the
 * helper is making a segment. */
static enum room find_room(struct spool *s, const struct batch *batch, uint64_t size, bool outcome,
                           int *ret_error) {
    uint64_t limit = s->options.segment_size - SPOOL_BLOCK; /* the last block is for a seal */
    enum room room = ROOM_NONE;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        uint64_t end = s->current ? s->current->end + batch->bytes + size : UINT64_MAX;
        if (end <= limit && (outcome || s->spare_count || end + limit / 4 <= limit))
            room = ROOM_HERE;
        else if (end > limit && s->spare_count >= (outcome ? 1 : 2))
            room = batch->count ? ROOM_AFTER : ROOM_NEXT;
        else if (batch->count)
            room = ROOM_AFTER;
        if (room != ROOM_NONE || s->helper_error)
            break;
        pthread_cond_signal(&s->helper_wake);
        pthread_cond_wait(&s->spare_ready, &s->lock);
    }
    if (room == ROOM_NONE) {
        *ret_error = s->helper_error == SLUICE_EFULL ? SLUICE_EFULL : SLUICE_EIO;
        if (clock_mono_ms() >= s->helper_retry)
            pthread_cond_signal(&s->helper_wake);
    }
    pthread_mutex_unlock(&s->lock);
    return room;
}

/* False: the record would say nothing new. */
static bool is_news(struct spool *s, const struct entry *e, int *ret_error) {
    pthread_mutex_lock(&s->lock);
    struct segment *g = segment_find(s, message_generation(e->message));
    uint32_t place = message_place(e->message);
    bool news = g && (e->applied ? !g->noted : index_waits(&g->index, place, e->recipient));
    *ret_error = g && index_has(&g->index, place) ? 0 : SLUICE_ENOTFOUND;
    pthread_mutex_unlock(&s->lock);
    return news;
}

/* ---- How an entry ends ---- */

static void message_over(struct entry *e, int error, uint64_t message) {
    e->message_done(e->arg, error, message);
    /* A part of it may still be in the batch, when another one failed. */
    spool_body_abort(e->body);
}

static void outcome_over(struct entry *e, int error) {
    if (e->outcome_done)
        e->outcome_done(e->arg, error);
    e->outcome_done = NULL;
}

/* Only while it is so: once the helper has made room, nothing would take it back. */
static void note_full(struct spool *s) {
    pthread_mutex_lock(&s->lock);
    if (s->helper_error && s->spare_count < SPARES)
        atomic_store(&s->full, true);
    pthread_mutex_unlock(&s->lock);
}

/* Not on disk. An outcome counts all the same, and is written when that is possible again: all but a
 * deferral, whose loss only costs a count. */
static void not_written(struct spool *s, struct entry *e, int error) {
    switch (e->kind) {
    case ENTRY_MESSAGE:
        if (error == SLUICE_EFULL)
            note_full(s);
        message_over(e, error, 0);
        break;
    case ENTRY_PART:
        if (e->at) {
            pthread_mutex_lock(&s->lock);
            segment_unpin(e->at);
            pthread_mutex_unlock(&s->lock);
            e->at = NULL;
        }
        body_part_done(s, e, error);
        break;
    case ENTRY_OUTCOME:
        if (!e->applied && fate_ends(e->fate)) {
            pthread_mutex_lock(&s->lock);
            apply_end(s, e->message, e->recipient, false);
            segment_settle(s);
            pthread_mutex_unlock(&s->lock);
        }
        e->applied = true;
        outcome_over(e, error);
        if (e->fate != SPOOL_DEFERRED) {
            entry_add(&s->late, e);
            return;
        }
        break;
    case ENTRY_STATE:
        break;
    }
    entry_free(e);
}

static void late_first(struct spool *s) {
    entry_join(&s->late, &s->todo);
    entry_join(&s->todo, &s->late);
}

static struct segment **parts_of(struct spool_body *b) {
    struct segment **list = xcalloc((size_t)b->part_count + 1, sizeof *list);
    for (uint32_t i = 0; i < b->part_count; i++) {
        list[i] = b->parts[i].at; /* the pin is the message's from here on */
        b->parts[i].at = NULL;
    }
    return list;
}

/* Locked. */
static void apply(struct spool *s, struct entry *e) {
    if (e->kind == ENTRY_MESSAGE) {
        struct segment **pinned = parts_of(e->body);
        apply_message(s, e->at, e->place, e->recipients, pinned, e->body->part_count);
        free(pinned);
    } else if (e->kind == ENTRY_OUTCOME) {
        struct segment *g = segment_find(s, message_generation(e->message));
        if (g)
            segment_refer(e->at, g);
        if (!e->applied && fate_ends(e->fate))
            apply_end(s, e->message, e->recipient, true);
    }
}

static void tell(struct spool *s, struct entry *e) {
    if (e->kind == ENTRY_MESSAGE)
        message_over(e, 0, message_number(e->at->generation, e->place));
    else if (e->kind == ENTRY_PART)
        body_part_done(s, e, 0);
    else if (e->kind == ENTRY_OUTCOME)
        outcome_over(e, 0);
    entry_free(e);
}

static void commit_done(struct spool *s, struct batch *batch) {
    pthread_mutex_lock(&s->lock);
    commit_settle(s, batch);
    for (struct entry *e = batch->entries.first; e; e = e->next)
        apply(s, e);
    segment_settle(s);
    pthread_mutex_unlock(&s->lock);
    for (struct entry *e; (e = entry_take(&batch->entries));)
        tell(s, e);
}

static void commit(struct spool *s, struct batch *batch) {
    int result = commit_write(s, batch);
#if defined SLUICE_SEEDED_BUG_ACK_BEFORE_SYNC
    if (result == 0) {
        commit_done(s, batch);
        commit_sync(s);
        return;
    }
#endif
    if (result == 0)
        result = commit_sync(s);
    if (result == 0) {
        commit_done(s, batch);
        return;
    }
    commit_abandon(s, result);
    int error = error_from_errno(-result) == SLUICE_EFULL ? SLUICE_EFULL : SLUICE_EIO;
    for (struct entry *e; (e = entry_take(&batch->entries));)
        not_written(s, e, error);
    late_first(s);
}

/* ---- Batches ---- */

/* The first of `todo`: into the batch, or over. False: the batch must be written first. */
static bool take_one(struct spool *s, struct batch *batch) {
    struct entry *e = s->todo.first;
    int error = 0;
    if (e->kind == ENTRY_OUTCOME && !is_news(s, e, &error)) {
        entry_take(&s->todo);
        outcome_over(e, error);
        entry_free(e);
        return true;
    }
    if (e->kind == ENTRY_MESSAGE && (error = e->body->error)) {
        not_written(s, entry_take(&s->todo), error);
        return true;
    }
    /* Outcomes keep their order. */
    if (e->kind == ENTRY_OUTCOME && s->late.first) {
        not_written(s, entry_take(&s->todo), SLUICE_EFULL);
        return true;
    }
    switch (find_room(s, batch, entry_size(e), e->kind == ENTRY_OUTCOME, &error)) {
    case ROOM_HERE:
        commit_add(batch, entry_take(&s->todo));
        return batch->bytes < BATCH_BYTES;
    case ROOM_NEXT:
        commit_open(s, batch);
        return true;
    case ROOM_AFTER:
        return false;
    case ROOM_NONE:
        not_written(s, entry_take(&s->todo), error);
        return true;
    }
    return false;
}

/* Room is short, and the current segment is used up, but nothing in it is needed any more: with the last
 * spare as the current one it can be recycled, so that the reserve is back at once. */
static bool is_spent(struct spool *s) {
    pthread_mutex_lock(&s->lock);
    struct segment *g = s->current;
    bool spent = g && s->helper_error && s->spare_count == 1 && g->live == 0 && g->pins == 0 &&
                 g->end > s->options.segment_size / 2;
    for (uint32_t i = 0; spent && i < s->log_count; i++)
        spent = s->log[i]->live == 0 || !segment_refers(g, s->log[i]);
    pthread_mutex_unlock(&s->lock);
    return spent;
}

static void tend_state(struct spool *s) {
    struct batch batch = {0};
    if (is_spent(s))
        commit_open(s, &batch);
    else
        commit_state(s, &batch);
    if (batch.count)
        commit(s, &batch);
}

static void commit_all(struct spool *s) {
    while (s->todo.first) {
        struct batch batch = {0};
        commit_state(s, &batch);
        while (s->todo.first && take_one(s, &batch))
            continue;
        if (batch.count)
            commit(s, &batch);
    }
}

static void wait_a_second(struct spool *s) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    pthread_cond_timedwait(&s->queue_wake, &s->queue_lock, &until);
}

static bool short_of_room(struct spool *s) {
    pthread_mutex_lock(&s->lock);
    bool is_short = s->helper_error && s->spare_count < SPARES;
    pthread_mutex_unlock(&s->lock);
    return is_short;
}

/* Each commit takes whole blocks: while room is short, outcomes gather a little. */
static void gather_a_little(void) { nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL); }

/* Moves what has come to `todo`; false at the end. Late outcomes come first: they are older. */
static bool wait_for_work(struct spool *s) {
    bool is_short = short_of_room(s);
    if (is_short)
        gather_a_little();
    pthread_mutex_lock(&s->queue_lock);
    while (!s->queue.first && !s->closing && !s->poked) {
        if (!s->sealed) {
            pthread_mutex_unlock(&s->queue_lock);
            commit_seal(s, false);
            pthread_mutex_lock(&s->queue_lock);
        } else if (s->late.first || is_short) {
            wait_a_second(s);
            break;
        } else {
            pthread_cond_wait(&s->queue_wake, &s->queue_lock);
        }
    }
    bool end = s->closing && !s->queue.first;
    s->poked = false;
    entry_join(&s->todo, &s->queue);
    late_first(s);
    pthread_mutex_unlock(&s->queue_lock);
    return !end;
}

/* At the end, after the last try: the next start will not know of these. */
static void drop_late(struct spool *s) {
    char text[24];
    unsigned long long count = 0;
    for (; s->late.first; count++)
        entry_free(entry_take(&s->late));
    snprintf(text, sizeof text, "%llu", count);
    if (count)
        log_event(s->options.log, LOG_ERROR, "spool closes without room for outcomes", "outcomes", text,
                  NULL);
}

void *committer_run(void *arg) {
    struct spool *s = arg;
    while (wait_for_work(s)) {
        commit_all(s);
        if (short_of_room(s))
            tend_state(s);
    }
    commit_all(s);
    drop_late(s);
    tend_state(s);
    commit_seal(s, true);
    return NULL;
}
