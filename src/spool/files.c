/* What is in the folder: which segment each file holds, as its headers, its first record and the state
 * records of the others tell. */
#include "base/error.h"
#include "spool/inside.h"
#include "spool/scan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

struct file {
    uint32_t slot;
    int handle;
    unsigned copy;
    bool valid;   /* `header` says what it is */
    bool torn[2]; /* a copy of the header is neither whole nor empty */
    struct segment_header header;
    bool has_first; /* a record stands where the first one does */
    struct record_header first;
};

struct files {
    struct recovery *r;
    struct file *list;
    uint32_t count, cap;
};

void report(struct recovery *r, uint32_t slot, uint64_t offset, uint64_t length, const char *what,
            uint64_t message, struct str trace_id) {
    char name[32];
    snprintf(name, sizeof name, "%08x.segment", slot);
    r->damages++;
    if (r->damage)
        r->damage(r->arg, &(struct spool_damage){.segment = str_of(name),
                                                 .offset = offset,
                                                 .length = length,
                                                 .what = str_of(what),
                                                 .message = message,
                                                 .trace_id = trace_id});
}

static bool slot_of(const char *name, const char *suffix, uint32_t *ret_slot) {
    struct str s = str_of(name);
    uint32_t slot = 0;
    if (s.len < 9 || s.at[8] != '.' || !str_eq(str_from_index(s, 9), str_of(suffix)))
        return false;
    for (int i = 0; i < 8; i++) {
        char c = s.at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        slot = slot << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret_slot = slot;
    return true;
}

static void list_name(void *arg, const char *name) {
    struct files *f = arg;
    struct spool *s = f->r->spool;
    uint32_t slot;
    if (slot_of(name, "new", &slot) && !s->readonly) {
        struct buf path __attribute__((cleanup(buf_free))) = {0};
        segment_path(s, slot, "new", &path);
        s->io->remove(s->io->ctx, path.at);
    }
    if (!slot_of(name, "segment", &slot))
        return;
    if (f->count == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 16;
        f->list = xrealloc(f->list, f->cap * sizeof *f->list);
    }
    f->list[f->count++] = (struct file){.slot = slot, .handle = -1};
}

static bool all_zero(const unsigned char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (bytes[i])
            return false;
    return true;
}

static void read_headers(struct recovery *r, struct file *f, uint32_t *ret_version) {
    struct spool *s = r->spool;
    unsigned char bytes[SPOOL_DATA + SPOOL_HEADER] = {0};
    struct segment_header header;
    if (s->io->read(s->io->ctx, f->handle, bytes, sizeof bytes, 0, false) < 0)
        memset(bytes, 0xff, sizeof bytes);
    for (unsigned copy = 0; copy < 2; copy++) {
        const unsigned char *at = bytes + (size_t)copy * SPOOL_BLOCK;
        uint32_t version;
        if (segment_header_decode(at, &header, &version) && spool_segment_size_ok(header.size)) {
            if (!f->valid || header.generation > f->header.generation) {
                f->header = header;
                f->copy = copy;
            }
            f->valid = true;
        } else if (version != SPOOL_VERSION) {
            *ret_version = version;
        } else {
            f->torn[copy] = !all_zero(at, SPOOL_SEGMENT_HEADER);
        }
    }
    f->has_first = record_header_decode(bytes + SPOOL_DATA, &f->first) && f->first.place == SPOOL_DATA / 8 &&
                   f->first.start == f->first.place;
}

static int open_file(struct recovery *r, struct file *f, struct arena *arena, struct str *ret_why) {
    struct spool *s = r->spool;
    struct buf path __attribute__((cleanup(buf_free))) = {0};
    uint32_t version = SPOOL_VERSION;
    segment_path(s, f->slot, "segment", &path);
    f->handle = s->io->open(s->io->ctx, path.at, s->readonly ? SPOOL_OPEN_READ : SPOOL_OPEN_WRITE);
    if (f->handle < 0) {
        *ret_why = str_printf(arena, "spool: can't open %s: %s", path.at, strerror(-f->handle));
        return error_from_errno(-f->handle);
    }
    read_headers(r, f, &version);
    if (version != SPOOL_VERSION) {
        *ret_why = str_printf(arena, "spool: %s has format %u; this program knows %d", path.at, version,
                              SPOOL_VERSION);
        return SLUICE_EINVALID;
    }
    return 0;
}

/* A whole spool has one id and one segment size: those that most of its headers name. */
static void learn_id(struct files *f) {
    struct spool *s = f->r->spool;
    uint32_t votes = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        const struct segment_header *h = &f->list[i].header;
        if (!f->list[i].valid)
            continue;
        if (votes == 0) {
            s->id = h->spool;
            s->options.segment_size = (uint32_t)h->size;
        }
        votes = votes == 0 || h->spool == s->id ? votes + 1 : votes - 1;
    }
    if (s->id == 0)
        while (getrandom(&s->id, sizeof s->id, 0) != sizeof s->id || s->id == 0)
            continue;
}

/* A first record of a later generation than the header means that the newer copy of the header is lost. */
static void believe_first(struct files *f, struct file *file) {
    bool newer = file->has_first && (!file->valid || file->first.generation > file->header.generation);
    if (file->torn[0] || file->torn[1] || newer || !file->valid)
        report(f->r, file->slot, file->torn[1] && !file->torn[0] ? SPOOL_BLOCK : 0, SPOOL_SEGMENT_HEADER,
               "the segment's header is damaged", 0, STR_NULL);
    if (!newer)
        return;
    file->valid = true;
    file->header = (struct segment_header){.slot = file->slot,
                                           .size = f->r->spool->options.segment_size,
                                           .spool = f->r->spool->id,
                                           .generation = file->first.generation,
                                           .key = file->first.key};
}

/* ---- When the headers don't tell ---- */

/* All bytes of a file, zeros where it can't be read; malloc'ed. */
static unsigned char *read_all(struct recovery *r, const struct file *f) {
    enum { STEP = 64 * 1024 };
    uint64_t size = r->spool->options.segment_size;
    unsigned char *bytes = xcalloc(1, size);
    for (uint64_t at = 0; at < size; at += STEP) {
        size_t want = size - at < STEP ? (size_t)(size - at) : STEP;
        if (r->spool->io->read(r->spool->io->ctx, f->handle, bytes + at, want, at, false) < 0)
            memset(bytes + at, 0, want);
    }
    return bytes;
}

/* What most records in it say that it is. One of them could be forged in a mail's body, most can't: a record
 * also names its place. */
static void vote(struct file *f, const unsigned char *bytes, uint64_t size, uint64_t id) {
    struct record_header h, winner = {0};
    uint64_t votes = 0;
    for (uint64_t at = SPOOL_DATA; at + SPOOL_HEADER <= size; at += 8) {
        if (!record_header_decode(bytes + at, &h) || (uint64_t)h.place * 8 != at)
            continue;
        if (votes == 0)
            winner = h;
        votes =
            votes == 0 || (h.generation == winner.generation && h.key == winner.key) ? votes + 1 : votes - 1;
    }
    f->valid = votes > 0;
    f->header = (struct segment_header){
        .slot = f->slot, .size = size, .spool = id, .generation = winner.generation, .key = winner.key};
}

/* The last whole state record of a segment. What it says is true even when its commit was cut. */
static struct str last_state(struct recovery *r, const struct file *f, const unsigned char *bytes,
                             uint64_t size) {
    struct str state = STR_NULL;
    struct scan scan;
    scan_segment(bytes, size, f->header.generation, f->header.key, 0, &scan);
    for (uint32_t i = scan.count; i-- > 0 && !state.at;) {
        const struct scan_item *item = &scan.items[i];
        struct str head = str_from(bytes + item->offset + SPOOL_HEADER, item->header.head);
        if (!item->gap && item->header.type == RECORD_STATE && item->head_ok && state_count(head) >= 0)
            state = str_copy(r->arena, head);
    }
    scan_free(&scan);
    return state;
}

static int newest_first(const void *a, const void *b) {
    const struct file *x = a, *y = b;
    uint64_t gx = x->valid ? x->header.generation : 0, gy = y->valid ? y->header.generation : 0;
    return gx > gy ? -1 : gx < gy;
}

/* Who a segment without a header is; and the newest state record: in the newest segment that has one. */
static void learn_state(struct files *f) {
    struct recovery *r = f->r;
    uint64_t size = r->spool->options.segment_size;
    for (uint32_t i = 0; i < f->count; i++) {
        if (f->list[i].valid)
            continue;
        unsigned char *bytes = read_all(r, &f->list[i]);
        vote(&f->list[i], bytes, size, r->spool->id);
        free(bytes);
    }
    if (f->count)
        qsort(f->list, f->count, sizeof *f->list, newest_first);
    for (uint32_t i = 0; i < f->count && !r->state.at; i++) {
        const struct file *file = &f->list[i];
        if (!file->valid || file->header.spool != r->spool->id || file->header.size != size)
            continue;
        unsigned char *bytes = read_all(r, file);
        r->state = last_state(r, file, bytes, size);
        r->state_generation = r->state.at ? file->header.generation : 0;
        free(bytes);
    }
}

bool files_state(const struct recovery *r, uint64_t generation, struct segment_state *ret) {
    int64_t low = 0, high = r->state.at ? state_count(r->state) : 0;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        struct segment_state at = state_at(r->state, (uint32_t)middle);
        if (at.generation == generation) {
            *ret = at;
            return true;
        }
        if (at.generation < generation)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* Out of the way, so that its name is free and nothing is lost. */
static void set_aside(struct files *f, struct file *file, const char *why) {
    struct spool *s = f->r->spool;
    struct buf from __attribute__((cleanup(buf_free))) = {0};
    struct buf to __attribute__((cleanup(buf_free))) = {0};
    report(f->r, file->slot, 0, 0, why, 0, STR_NULL);
    s->io->close(s->io->ctx, file->handle);
    file->handle = -1;
    file->valid = false;
    if (s->readonly)
        return;
    segment_path(s, file->slot, "segment", &from);
    buf_printf(&to, "%s/%08x-%llx.damaged", s->dir, file->slot, (unsigned long long)file->header.generation);
    if (s->io->rename(s->io->ctx, from.at, buf_c(&to)) == 0)
        s->io->sync_dir(s->io->ctx, s->dir);
}

static void take_file(struct files *f, struct file *file) {
    struct recovery *r = f->r;
    struct spool *s = r->spool;
    if (!file->valid)
        set_aside(f, file, "nothing says which segment this is");
    else if (file->header.spool != s->id || file->header.size != s->options.segment_size)
        set_aside(f, file, "the segment belongs to another spool");
    else if (segment_find(s, file->header.generation))
        set_aside(f, file, "the segment is a copy of another one");
    if (!file->valid)
        return;
    struct segment *g = xcalloc(1, sizeof *g);
    *g = (struct segment){.slot = file->slot,
                          .handle = file->handle,
                          .generation = file->header.generation,
                          .key = file->header.key,
                          .replaced = file->header.replaced,
                          .copy = file->copy,
                          .end = SPOOL_DATA,
                          .damaged = false};
    if (g->replaced)
        r->replaced[r->replaced_count++] = g->replaced;
    file->handle = -1;
    segment_log(s, g);
}

int files_open(struct recovery *r, struct arena *arena, struct str *ret_why) {
    struct spool *s = r->spool;
    struct files f = {.r = r};
    int error = 0, result = s->io->list(s->io->ctx, s->dir, list_name, &f);
    if (result < 0) {
        *ret_why = str_printf(arena, "spool: can't read %s: %s", s->dir, strerror(-result));
        error = error_from_errno(-result);
    }
    for (uint32_t i = 0; i < f.count && !error; i++)
        error = open_file(r, &f.list[i], arena, ret_why);
    if (!error) {
        r->replaced = arena_array(r->arena, uint64_t, f.count + 1);
        learn_id(&f);
        for (uint32_t i = 0; i < f.count; i++)
            believe_first(&f, &f.list[i]);
        learn_state(&f);
        for (uint32_t i = 0; i < f.count; i++)
            take_file(&f, &f.list[i]);
    }
    for (uint32_t i = 0; i < f.count; i++)
        if (f.list[i].handle >= 0)
            s->io->close(s->io->ctx, f.list[i].handle);
    free(f.list);
    return error;
}
