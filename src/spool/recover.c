/* Recovery: reads every segment in order of generation, keeps what waits, reports what is damaged. */
#include "base/crc32c.h"
#include "base/error.h"
#include "base/map.h"
#include "spool/inside.h"
#include "spool/scan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* What the last outcome of a recipient that waits told. */
struct waiting_state {
    uint32_t attempts;
    int64_t due;
    struct ip source;
    bool held, let_go;
    size_t reply_len;
    char reply[];
};

struct work {
    struct recovery *r;
    struct spool *s;
    unsigned char *bytes; /* of the segment at hand */
    struct segment *g;
    struct map *states;  /* by message and recipient */
    struct map *damaged; /* messages whose body can't be read back */
};

struct recipient_key {
    char bytes[12];
};

static struct recipient_key recipient_key(uint64_t message, uint32_t recipient) {
    struct recipient_key k;
    memcpy(k.bytes, &message, 8);
    memcpy(k.bytes + 8, &recipient, 4);
    return k;
}

static struct str key_view(const struct recipient_key *k) { return str_from(k->bytes, sizeof k->bytes); }

static struct str message_key(const uint64_t *message) { return str_from(message, sizeof *message); }

static void damage(struct work *w, uint64_t offset, uint64_t length, const char *what, uint64_t message,
                   struct str trace_id) {
    w->g->damaged = true;
    report(w->r, w->g->slot, offset, length, what, message, trace_id);
}

/* ---- Bytes of a segment ---- */

enum { STEP = 1024 * 1024, SMALL_STEP = 4096 };

/* What can't be read counts as zeros; `damage` tells where. */
static void read_in_small_steps(struct work *w, uint64_t from, uint64_t to) {
    uint64_t bad = 0, bad_length = 0;
    for (uint64_t at = from; at < to; at += SMALL_STEP) {
        ssize_t got = w->s->io->read(w->s->io->ctx, w->g->handle, w->bytes + at, SMALL_STEP, at, false);
        if (got >= 0)
            continue;
        bad = bad_length ? bad : at;
        bad_length = at + SMALL_STEP - bad;
        memset(w->bytes + at, 0, SMALL_STEP);
    }
    if (bad_length)
        damage(w, bad, bad_length, "the disk can't read this", 0, STR_NULL);
}

static void read_segment(struct work *w) {
    uint64_t size = w->s->options.segment_size;
    memset(w->bytes, 0, size);
    for (uint64_t at = 0; at < size; at += STEP) {
        size_t want = size - at < STEP ? (size_t)(size - at) : STEP;
        if (w->s->io->read(w->s->io->ctx, w->g->handle, w->bytes + at, want, at, false) < 0)
            read_in_small_steps(w, at, at + want);
    }
}

/* ---- Records ---- */

static struct str head_of(const struct work *w, const struct scan_item *item) {
    return str_from(w->bytes + item->offset + SPOOL_HEADER, item->header.head);
}

/* The segments of its parts, pinned once a part; *ret_count of them can be found. */
static struct segment **pin_parts(struct work *w, struct str head, uint32_t parts, uint32_t *ret_count) {
    struct segment **list = xcalloc((size_t)parts + 1, sizeof *list);
    *ret_count = 0;
    for (uint32_t i = 0; i < parts; i++) {
        struct part part;
        struct segment *at = message_part_decode(head, i, &part) ? segment_find(w->s, part.generation) : NULL;
        if (at) {
            at->pins++;
            list[(*ret_count)++] = at;
        }
    }
    return list;
}

static void see_message(struct work *w, const struct scan_item *item) {
    struct str head = head_of(w, item);
    struct message_prelude prelude;
    uint64_t message = message_number(w->g->generation, item->header.place);
    if (!item->head_ok || !message_prelude_decode(head, &prelude)) {
        damage(w, item->offset, item->length, "a message's envelope is damaged", message, STR_NULL);
        return;
    }
    w->r->messages++;
    struct arena *arena = arena_new(0);
    struct spool_message m = {0};
    bool known = message_decode(head, arena, &m);
    if (!known)
        damage(w, item->offset, item->length, "a message's envelope can't be understood", message, STR_NULL);
    if (!item->body_ok) {
        damage(w, item->offset, item->length, "a message's body is damaged", message, m.trace_id);
        map_put(w->damaged, message_key(&message), w);
    }
    arena_free(arena);
    if (w->g->noted)
        return;
    uint32_t found;
    struct segment **pinned = pin_parts(w, head, prelude.parts, &found);
    apply_message(w->s, w->g, item->header.place, prelude.recipients, pinned, found);
    free(pinned);
}

static void keep_state(struct work *w, const struct outcome_record *o) {
    struct recipient_key key = recipient_key(o->message, o->recipient);
    const struct waiting_state *before = map_get(w->states, key_view(&key));
    struct str reply = o->outcome.reply;
    bool deferred = o->outcome.fate == SPOOL_DEFERRED;
    if (!deferred && before)
        reply = str_from(before->reply, before->reply_len);
    struct waiting_state *state = xcalloc(1, sizeof *state + reply.len);
    *state = before ? *before : (struct waiting_state){0};
    state->held = o->outcome.fate == SPOOL_HELD || (deferred && before && before->held);
    state->let_go = o->outcome.fate == SPOOL_LET_GO || (deferred && before && before->let_go);
    if (deferred) {
        state->attempts = o->outcome.attempts;
        state->source = o->outcome.source;
    }
    if (o->outcome.fate != SPOOL_HELD)
        state->due = o->outcome.due;
    state->reply_len = reply.len;
    if (reply.len)
        memcpy(state->reply, reply.at, reply.len);
    free(map_put(w->states, key_view(&key), state));
}

static void see_outcome(struct work *w, const struct scan_item *item) {
    struct outcome_record o;
    if (!item->head_ok || !outcome_decode(head_of(w, item), &o)) {
        damage(w, item->offset, item->length, "an outcome is damaged: its recipient may be tried again", 0,
               STR_NULL);
        return;
    }
    struct segment *g = segment_find(w->s, message_generation(o.message));
    if (!g)
        return;
    segment_refer(w->g, g);
    if (fate_ends(o.outcome.fate))
        apply_end(w->s, o.message, o.recipient, true);
    else if (index_waits(&g->index, message_place(o.message), o.recipient))
        keep_state(w, &o);
}

static void see(struct work *w, const struct scan_item *item) {
    if (item->gap) {
        damage(w, item->offset, item->length, "records are missing or damaged", 0, STR_NULL);
        return;
    }
    w->r->records++;
    switch (item->header.type) {
    case RECORD_MESSAGE:
        see_message(w, item);
        break;
    case RECORD_PART:
        if (!item->head_ok || !item->body_ok)
            damage(w, item->offset, item->length, "a part of a message's body is damaged", 0, STR_NULL);
        break;
    case RECORD_OUTCOME:
        see_outcome(w, item);
        break;
    case RECORD_STATE:
        if (!item->head_ok)
            damage(w, item->offset, item->length, "a state record is damaged", 0, STR_NULL);
        break;
    default:
        damage(w, item->offset, item->length, "a record of an unknown type", 0, STR_NULL);
    }
}

/* After a kill the last commit may stand in the page cache only; from here on it counts as written. */
static int make_durable(struct work *w, struct arena *arena, struct str *ret_why) {
    int result = w->s->readonly ? 0 : w->s->io->sync(w->s->io->ctx, w->g->handle);
    if (result == 0)
        return 0;
    struct buf path __attribute__((cleanup(buf_free))) = {0};
    segment_path(w->s, w->g->slot, "segment", &path);
    *ret_why = str_printf(arena, "spool: can't sync %s: %s", path.at, strerror(-result));
    return error_from_errno(-result);
}

/* The last commit, before it is synced: when a sync has failed, the page cache calls its pages clean, and the
 * next sync would not write them. The bytes are the same, so a torn write does no harm. */
static void write_again(struct work *w, uint64_t from, uint64_t to) {
    struct iovec v = {w->bytes + from, to - from};
    if (!w->s->readonly)
        w->s->io->write(w->s->io->ctx, w->g->handle, &v, 1, from);
}

/* The header of a segment without records, so that what it replaced can't come back. Written again, too: when
 * a sync of it has failed, the page cache calls it clean while the medium has the old one. A disk without
 * room for that must not keep the queue from being delivered. */
static int make_header_durable(struct work *w, struct arena *arena, struct str *ret_why) {
    struct spool *s = w->s;
    unsigned char block[SPOOL_BLOCK];
    struct iovec v = {block, sizeof block};
    uint64_t offset = (uint64_t)w->g->copy * SPOOL_BLOCK;
    if (!s->readonly &&
        s->io->read(s->io->ctx, w->g->handle, block, sizeof block, offset, false) == (ssize_t)sizeof block)
        s->io->write(s->io->ctx, w->g->handle, &v, 1, offset);
    return make_durable(w, arena, ret_why);
}

/* Older than the newest state record, and not in it: it was recycled or removed, and that has not reached the
 * disk. Its outcomes may be gone by now; nothing in it counts. */
static bool is_void(const struct recovery *r, const struct segment *g, bool listed) {
    return !listed && g->generation < r->state_generation;
}

/* Reads one segment. Only the last one that was in use may go on being written, and only when it was closed:
 * behind a cut commit there may be records of it. */
static int read_one(struct work *w, struct segment *g, struct arena *arena, struct str *ret_why) {
    struct segment_state state = {0};
    struct scan scan;
    struct spool *s = w->s;
    bool listed = files_state(w->r, g->generation, &state);
    w->g = g;
    g->noted = listed && (state.flags & STATE_DEAD);
    g->failed = listed && (state.flags & STATE_FAILED);
    g->used = listed;
    if (is_void(w->r, g, listed)) {
        g->noted = true;
        return 0;
    }
    read_segment(w);
    scan_segment(w->bytes, s->options.segment_size, g->generation, g->key, listed ? state.end : 0, &scan);
    for (uint32_t i = 0; i < scan.usable; i++)
        see(w, &scan.items[i]);
    g->used = g->used || scan.any;
    g->end = scan.end;
    g->commit = scan.commit;
    if (scan.commit > s->commit)
        s->commit = scan.commit;
    if (g->used)
        s->current = scan.closed && !g->damaged ? g : NULL;
    int error = 0;
    if (scan.unproven && !listed)
        write_again(w, scan.proven, scan.end);
    if (!g->used)
        error = make_header_durable(w, arena, ret_why);
    else if (!listed)
        error = make_durable(w, arena, ret_why);
    scan_free(&scan);
    return error;
}

/* ---- What waits ---- */

static bool part_is_whole(struct work *w, const struct part *p, struct arena *arena) {
    struct segment *g = segment_find(w->s, p->generation);
    uint64_t offset = (uint64_t)p->place * 8 + SPOOL_HEADER + PART_HEAD;
    if (!g || offset + p->length > w->s->options.segment_size || p->length > SPOOL_PART)
        return false;
    char *bytes = arena_alloc(arena, p->length);
    return w->s->io->read(w->s->io->ctx, g->handle, bytes, p->length, offset, false) == (ssize_t)p->length &&
           crc32c(0, bytes, p->length) == p->crc;
}

static bool parts_are_whole(struct work *w, struct str head) {
    struct message_prelude prelude;
    struct arena *arena = arena_new(SPOOL_PART + 64);
    bool whole = message_prelude_decode(head, &prelude);
    for (uint32_t i = 0; whole && i < prelude.parts; i++) {
        struct part part;
        arena_reset(arena);
        whole = message_part_decode(head, i, &part) && part_is_whole(w, &part, arena);
    }
    arena_free(arena);
    return whole;
}

static struct str domain_of(struct str address) {
    ptrdiff_t at = str_rindex(address, '@');
    return at < 0 ? address : str_from_index(address, (size_t)at + 1);
}

static void tell_recipients(struct work *w, struct spool_recovered *r) {
    struct segment *g = segment_find(w->s, message_generation(r->message));
    uint32_t recipients = message_recipients(r->envelope);
    for (uint32_t i = 0; i < recipients; i++) {
        if (!index_waits(&g->index, message_place(r->message), i))
            continue;
        struct recipient_key key = recipient_key(r->message, i);
        const struct waiting_state *state = map_get(w->states, key_view(&key));
        struct spool_recovered one = *r;
        one.recipient = i;
        one.held = r->envelope->held; /* until an outcome says otherwise */
        one.domain = domain_of(spool_recipient_at(r->envelope, i, &one.group)->address);
        if (state) {
            one.attempts = state->attempts;
            one.due = state->due;
            one.source = state->source;
            one.held = state->held;
            one.let_go = state->let_go;
            one.last_reply = str_from(state->reply, state->reply_len);
        }
        w->r->waiting_recipients++;
        if (w->r->waiting)
            w->r->waiting(w->r->arg, &one);
    }
}

static void tell_message(struct work *w, struct segment *g, uint32_t place, struct arena *arena) {
    uint64_t message = message_number(g->generation, place);
    struct found found;
    struct spool_message envelope;
    w->g = g;
    w->r->waiting_messages++;
    if (read_head(w->s, g, place, false, arena, &found) != 0 || !message_decode(found.head, arena, &envelope))
        return; /* was reported; it stays in the log, for a program that can read it */
    bool bad = map_get(w->damaged, message_key(&message)) != NULL;
    if (!parts_are_whole(w, found.head)) {
        damage(w, (uint64_t)place * 8, record_size(found.header.head, found.header.body),
               "a part of this message's body is damaged or missing", message, envelope.trace_id);
        bad = true;
    }
    tell_recipients(w, &(struct spool_recovered){.message = message, .damaged = bad, .envelope = &envelope});
}

static void tell_all(struct work *w) {
    struct arena *arena = arena_new(0);
    for (uint32_t i = 0; i < w->s->log_count; i++) {
        struct segment *g = w->s->log[i];
        uint32_t *places = index_places(&g->index), count = g->index.count;
        for (uint32_t k = 0; k < count; k++) {
            tell_message(w, g, places[k], arena);
            arena_reset(arena);
        }
        free(places);
    }
    arena_free(arena);
}

/* ---- All of it ---- */

static bool was_replaced(const struct recovery *r, uint64_t generation) {
    for (uint32_t i = 0; i < r->replaced_count; i++)
        if (r->replaced[i] == generation)
            return true;
    return false;
}

static void look_for_missing(struct recovery *r) {
    int64_t count = r->state.at ? state_count(r->state) : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct segment_state state = state_at(r->state, i);
        if (!(state.flags & STATE_GOING) && !segment_find(r->spool, state.generation) &&
            !was_replaced(r, state.generation))
            report(r, state.slot, 0, 0, "the segment is missing", 0, STR_NULL);
        if (state.generation >= r->spool->next_generation)
            r->spool->next_generation = state.generation + 1;
        if (state.commit > r->spool->commit)
            r->spool->commit = state.commit;
    }
}

/* Segments behind the last used one that hold nothing are spares; others that hold nothing are recycled, so
 * that generations follow the order of writing. */
static void sort_out(struct spool *s, uint64_t stated) {
    uint32_t kept = 0, count = s->log_count;
    uint64_t last_used = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (s->log[i]->used)
            last_used = s->log[i]->generation;
        if (s->log[i]->generation >= s->next_generation)
            s->next_generation = s->log[i]->generation + 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (s->log[i]->generation > last_used && !s->log[i]->damaged)
            segment_spare(s, s->log[i]);
        else
            s->log[kept++] = s->log[i];
    }
    s->log_count = kept;
    s->stated = stated;
}

static void free_states(struct map *states) {
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(states, &at, &key, &value))
        free(value);
    map_free(states);
}

/* A removed segment must not come back when the outcomes of its messages are gone. */
static int make_names_durable(struct spool *s, struct arena *arena, struct str *ret_why) {
    int result = s->readonly ? 0 : s->io->sync_dir(s->io->ctx, s->dir);
    if (result == 0)
        return 0;
    *ret_why = str_printf(arena, "spool: can't sync %s: %s", s->dir, strerror(-result));
    return error_from_errno(-result);
}

int spool_recover(struct recovery *r, struct arena *arena, struct str *ret_why) {
    struct spool *s = r->spool;
    r->arena = arena_new(0);
    int error = files_open(r, arena, ret_why);
    if (error == 0) {
        struct work w = {.r = r,
                         .s = s,
                         .bytes = xmalloc(s->options.segment_size),
                         .states = map_new(false),
                         .damaged = map_new(false)};
        for (uint32_t i = 0; i < s->log_count && error == 0; i++)
            error = read_one(&w, s->log[i], arena, ret_why);
        look_for_missing(r);
        if (error == 0)
            error = make_names_durable(s, arena, ret_why);
        if (error == 0)
            tell_all(&w);
        sort_out(s, r->state_generation);
        free_states(w.states);
        map_free(w.damaged);
        free(w.bytes);
    }
    r->arena = arena_free(r->arena);
    r->state = STR_NULL;
    return error;
}
