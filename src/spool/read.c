/* Reading back: envelopes and bodies of live messages. */
#include "base/crc32c.h"
#include "base/error.h"
#include "spool/inside.h"

#include <errno.h>
#include <stdlib.h>

/* One run of body bytes: a part, or the end in the message's own record. */
struct unit {
    struct segment *at; /* pinned */
    uint64_t offset;
    uint32_t length, crc;
};

struct spool_reader {
    struct spool *spool;
    struct segment *at; /* pinned: the message's own */
    uint64_t size;
    struct unit *units;
    uint32_t count, unit;
    uint32_t done, crc; /* in the present unit */
};

static int read_exact(struct spool *s, const struct segment *g, void *buf, size_t len, uint64_t offset,
                      bool nowait) {
    ssize_t got = s->io->read(s->io->ctx, g->handle, buf, len, offset, nowait);
    if (got == -EAGAIN)
        return SLUICE_EBUSY;
    if (got < 0)
        return error_from_errno((int)-got);
    return (size_t)got == len ? 0 : SLUICE_ECORRUPT;
}

int read_head(struct spool *s, struct segment *g, uint32_t place, bool nowait, struct arena *arena,
              struct found *ret) {
    enum { FIRST = 2048 };
    uint64_t offset = (uint64_t)place * 8, size = s->options.segment_size;
    if (offset < SPOOL_DATA || offset + SPOOL_HEADER > size)
        return SLUICE_ENOTFOUND;
    size_t first = size - offset < FIRST ? (size_t)(size - offset) : FIRST;
    char *bytes = arena_alloc(arena, first);
    struct found f = {.at = g};
    int error = read_exact(s, g, bytes, first, offset, nowait);
    if (error)
        return error;
    if (!record_header_decode((unsigned char *)bytes, &f.header) || f.header.generation != g->generation ||
        f.header.key != g->key || f.header.place != place || f.header.type != RECORD_MESSAGE ||
        offset + record_size(f.header.head, f.header.body) > size)
        return SLUICE_ECORRUPT;
    size_t have = first - SPOOL_HEADER;
    if (f.header.head > have) {
        char *all = arena_alloc(arena, f.header.head);
        memcpy(all, bytes + SPOOL_HEADER, have);
        error = read_exact(s, g, all + have, f.header.head - have, offset + first, nowait);
        if (error)
            return error;
        f.head = str_from(all, f.header.head);
    } else {
        f.head = str_from(bytes + SPOOL_HEADER, f.header.head);
    }
    if (crc32c(0, f.head.at, f.head.len) != f.header.head_crc)
        return SLUICE_ECORRUPT;
    *ret = f;
    return 0;
}

/* Pins the segment of a live message; NULL: it isn't live. */
static struct segment *pin(struct spool *s, uint64_t message) {
    pthread_mutex_lock(&s->lock);
    struct segment *g = segment_find(s, message_generation(message));
    if (g && index_has(&g->index, message_place(message)))
        g->pins++;
    else
        g = NULL;
    pthread_mutex_unlock(&s->lock);
    return g;
}

/* Locked. True when the segment has become free. */
static bool unpin(struct segment *g) {
    segment_unpin(g);
    return g->pins == 0 && g->live == 0;
}

int spool_read(struct spool *s, uint64_t message, enum spool_mode mode, struct arena *arena,
               struct spool_message *ret) {
    struct segment *g = pin(s, message);
    struct found found;
    if (!g)
        return SLUICE_ENOTFOUND;
    int error = read_head(s, g, message_place(message), mode == SPOOL_NOWAIT, arena, &found);
    if (error == 0 && !message_decode(found.head, arena, ret))
        error = SLUICE_ECORRUPT;
    pthread_mutex_lock(&s->lock);
    if (unpin(g))
        segment_settle(s);
    pthread_mutex_unlock(&s->lock);
    return error;
}

/* Parts first, then what stands in the record itself. */
static int find_units(struct spool_reader *r, const struct found *found) {
    struct spool *s = r->spool;
    struct message_prelude prelude;
    if (!message_prelude_decode(found->head, &prelude))
        return SLUICE_ECORRUPT;
    r->size = prelude.body_size;
    r->units = xcalloc((size_t)prelude.parts + 1, sizeof *r->units);
    uint64_t total = 0;
    pthread_mutex_lock(&s->lock);
    /* It may have ended since its record was read; then its parts are pinned no more. */
    int error = index_has(&r->at->index, found->header.place) ? 0 : SLUICE_ENOTFOUND;
    for (uint32_t i = 0; i < prelude.parts && error == 0; i++) {
        struct part part;
        message_part_decode(found->head, i, &part);
        struct segment *at = segment_find(s, part.generation);
        uint64_t offset = (uint64_t)part.place * 8 + SPOOL_HEADER + PART_HEAD;
        if (!at || offset + part.length > s->options.segment_size) {
            error = SLUICE_ECORRUPT;
            break;
        }
        at->pins++;
        r->units[r->count++] = (struct unit){at, offset, part.length, part.crc};
        total += part.length;
    }
    pthread_mutex_unlock(&s->lock);
    if (error)
        return error;
    uint64_t offset = (uint64_t)found->header.place * 8 + SPOOL_HEADER + spool_align(found->header.head, 8);
    r->units[r->count] = (struct unit){NULL, offset, found->header.body, found->header.body_crc};
    total += found->header.body;
    return total == r->size ? 0 : SLUICE_ECORRUPT;
}

int spool_reader_open(struct spool *s, uint64_t message, enum spool_mode mode, struct spool_reader **ret) {
    struct segment *g = pin(s, message);
    struct found found;
    if (!g)
        return SLUICE_ENOTFOUND;
    struct spool_reader *r = xcalloc(1, sizeof *r);
    *r = (struct spool_reader){.spool = s, .at = g};
    struct arena *arena = arena_new(0);
    int error = read_head(s, g, message_place(message), mode == SPOOL_NOWAIT, arena, &found);
    if (error == 0)
        error = find_units(r, &found);
    arena_free(arena);
    if (error)
        spool_reader_close(r);
    else
        *ret = r;
    return error;
}

int spool_reader_next(struct spool_reader *r, enum spool_mode mode, void *buf, size_t len, size_t *ret_len) {
    while (r->unit <= r->count) {
        const struct unit *u = &r->units[r->unit];
        uint32_t left = u->length - r->done;
        size_t take = len < left ? len : left;
        uint32_t crc = r->crc;
        if (take) {
            int error = read_exact(r->spool, u->at ? u->at : r->at, buf, take, u->offset + r->done,
                                   mode == SPOOL_NOWAIT);
            if (error)
                return error;
            crc = crc32c(crc, buf, take);
        }
        if (take == left) {
            if (crc != u->crc)
                return SLUICE_ECORRUPT;
            r->unit++;
            r->done = 0;
            r->crc = 0;
        } else {
            r->done += (uint32_t)take;
            r->crc = crc;
        }
        if (take || len == 0) {
            *ret_len = take;
            return 0;
        }
    }
    *ret_len = 0;
    return 0;
}

uint64_t spool_reader_size(const struct spool_reader *r) { return r->size; }

void spool_reader_rewind(struct spool_reader *r) { r->unit = r->done = r->crc = 0; }

struct spool_reader *spool_reader_close(struct spool_reader *r) {
    if (!r)
        return NULL;
    pthread_mutex_lock(&r->spool->lock);
    bool freed = unpin(r->at);
    for (uint32_t i = 0; r->units && i < r->count; i++)
        freed = unpin(r->units[i].at) || freed;
    if (freed)
        segment_settle(r->spool);
    pthread_mutex_unlock(&r->spool->lock);
    free(r->units);
    free(r);
    return NULL;
}
