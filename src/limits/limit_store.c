#include "limits/limit_store.h"

#include "base/entry.h"
#include "base/error.h"
#include "seeded_bug.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define SEGMENT_SIZE UINT64_C(67108864)
#define SLACK UINT64_C(4194304)
enum { SWEEP_STEP = 1024, PENDING_MOST = 16 << 20, PATH = 4096 };

struct limit_store {
    struct limit_store_options options;
    char *dir;
    struct limit_segment segment; /* the newest */
    uint64_t oldest;              /* the first that there is; over segment.number: none */
    int lock, handle;             /* handle -1: the next batch begins a segment */
    uint64_t offset;
    struct buf pending;
    struct limit_batch *under_way;
    uint64_t bytes; /* in all segments */
    /* The sweep. */
    bool sweeping;
    uint32_t place;      /* the next of the table's */
    uint64_t sweep_from; /* segments before this one go when it is over */
    uint64_t remove;     /* segments before this one go with the next batch */
    uint64_t fresh;      /* bytes since the sweep began */
    uint64_t baseline;   /* bytes after the last one */
    struct limit_store_stats stats;
};

struct limit_batch {
    struct limit_store *store; /* constant while it is written: its options, its dir */
    struct buf bytes;
    struct limit_segment segment;
    bool begins;
    int handle;              /* -1: it begins one; when it is written: the segment's */
    int old;                 /* to be closed, or -1 */
    uint64_t offset;         /* where it is written */
    uint64_t oldest, remove; /* the segments from one to before the other are removed after it */
};

static void path_of(char path[PATH], const struct limit_store *s, uint64_t number) {
    snprintf(path, PATH, "%s/%016llx.limits", s->dir, (unsigned long long)number);
}

/* ---- Opening ---- */

struct found {
    uint64_t *numbers;
    size_t count, cap;
};

static void list_name(void *arg, const char *name) {
    struct found *f = arg;
    uint64_t number = 0;
    struct str s = str_of(name);
    if (s.len != 23 || !str_ends(s, STR(".limits")))
        return;
    for (int i = 0; i < 16; i++) {
        char c = s.at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return;
        number = number << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (f->count == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 16;
        f->numbers = xrealloc(f->numbers, f->cap * sizeof *f->numbers);
    }
    f->numbers[f->count++] = number;
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The whole file; 0 or a negative errno. */
static int read_file(const struct spool_io *io, const char *path, struct buf *ret) {
    uint64_t size = 0;
    int handle = io->open(io->ctx, path, SPOOL_OPEN_READ);
    if (handle < 0)
        return handle;
    int error = io->size(io->ctx, handle, &size);
    while (!error && ret->len < size) {
        buf_reserve(ret, size - ret->len);
        ssize_t got = io->read(io->ctx, handle, ret->at + ret->len, size - ret->len, ret->len, false);
        if (got <= 0) {
            error = got < 0 ? (int)got : 0;
            break;
        }
        ret->len += (size_t)got;
    }
    io->close(io->ctx, handle);
    return error;
}

static int complain(int error, struct arena *arena, struct str *ret_why, const char *path, const char *what) {
    *ret_why = str_printf(arena, "%s: %s", path, what);
    return error;
}

static int complain_errno(int error, struct arena *arena, struct str *ret_why, const char *path) {
    *ret_why = str_printf(arena, "%s: %s", path, strerror(-error));
    return error_from_errno(-error);
}

static int read_segment(struct limit_store *s, uint64_t number, struct arena *arena, struct str *ret_why,
                        struct limit_journal_report *report) {
    char path[PATH];
    struct buf bytes __attribute__((cleanup(buf_free))) = {0};
    struct limit_segment header;
    path_of(path, s, number);
    int error = read_file(s->options.io, path, &bytes);
    if (error)
        return complain_errno(error, arena, ret_why, path);
    s->bytes += bytes.len;
    error = limit_segment_decode(buf_view(&bytes), &header);
    if (error == SLUICE_EINVALID)
        return complain(error, arena, ret_why, path, "written by a later version of this program");
    /* A crash while it began leaves nothing behind the header; damage does. */
    report->gaps += error && bytes.len > LIMIT_SEGMENT_HEADER;
#ifdef SLUICE_SEEDED_BUG_ALLOWANCE_RESET_AT_RESTART
    return 0;
#endif
    limit_journal_read(str_from_index(buf_view(&bytes), LIMIT_SEGMENT_HEADER), &s->options.kept,
                       s->options.now, report);
    return 0;
}

/* Without the seed the keys of senders say nothing. The first whole header gives it. */
static int find_seed(struct limit_store *s, const struct found *f, struct arena *arena, struct str *ret_why) {
    for (size_t i = 0; i < f->count && !s->segment.seed; i++) {
        char path[PATH];
        struct buf bytes __attribute__((cleanup(buf_free))) = {0};
        struct limit_segment header;
        path_of(path, s, f->numbers[i]);
        int error = read_file(s->options.io, path, &bytes);
        if (error)
            return complain_errno(error, arena, ret_why, path);
        if (limit_segment_decode(buf_view(&bytes), &header) == 0)
            s->segment.seed = header.seed;
    }
    return 0;
}

static int read_all(struct limit_store *s, struct arena *arena, struct str *ret_why,
                    struct limit_journal_report *report) {
    const struct spool_io *io = s->options.io;
    struct found f = {0};
    int error = io->list(io->ctx, s->dir, list_name, &f);
    if (error) {
        free(f.numbers);
        return complain_errno(error, arena, ret_why, s->dir);
    }
    if (f.count)
        qsort(f.numbers, f.count, sizeof *f.numbers, by_number);
    error = find_seed(s, &f, arena, ret_why);
    for (size_t i = 0; i < f.count && !error; i++)
        error = read_segment(s, f.numbers[i], arena, ret_why, report);
    s->oldest = f.count ? f.numbers[0] : 1;
    s->segment.number = f.count ? f.numbers[f.count - 1] : 0;
    free(f.numbers);
    while (!s->segment.seed)
        if (getrandom(&s->segment.seed, sizeof s->segment.seed, 0) != sizeof s->segment.seed)
            s->segment.seed = 0;
    return error;
}

int limit_store_open(const struct limit_store_options *options, struct arena *arena, struct str *ret_why,
                     struct limit_journal_report *ret_report, struct limit_store **ret) {
    struct limit_store *s = xcalloc(1, sizeof *s);
    char path[PATH];
    int holder = 0;
    s->options = *options;
    if (!s->options.io)
        s->options.io = &spool_disk;
    if (!s->options.segment_size)
        s->options.segment_size = SEGMENT_SIZE;
    if (!s->options.sweep_step)
        s->options.sweep_step = SWEEP_STEP;
    if (!s->options.slack)
        s->options.slack = SLACK;
    size_t dir_size = strlen(options->dir) + 1;
    s->dir = memcpy(xmalloc(dir_size), options->dir, dir_size);
    s->lock = s->handle = -1;
    *ret_report = (struct limit_journal_report){0};
    const struct spool_io *io = s->options.io;
    int error = options->read_only ? 0 : io->make_dir(io->ctx, s->dir);
    if (error) {
        error = complain_errno(error, arena, ret_why, s->dir);
        goto failed;
    }
    snprintf(path, sizeof path, "%s/lock", s->dir);
    s->lock = io->lock(io->ctx, path, options->read_only, &holder);
    if (s->lock < 0) {
        error = s->lock == -EWOULDBLOCK
                    ? complain(SLUICE_EBUSY, arena, ret_why, path, "another process has it")
                    : complain_errno(s->lock, arena, ret_why, path);
        goto failed;
    }
    error = read_all(s, arena, ret_why, ret_report);
    if (error)
        goto failed;
    *ret = s;
    return 0;
failed:
    limit_store_close(s);
    return error;
}

struct limit_store *limit_store_close(struct limit_store *s) {
    if (!s)
        return NULL;
    const struct spool_io *io = s->options.io;
    if (s->handle >= 0)
        io->close(io->ctx, s->handle);
    if (s->lock >= 0)
        io->close(io->ctx, s->lock);
    buf_free(&s->pending);
    free(s->dir);
    free(s);
    return NULL;
}

uint64_t limit_store_seed(const struct limit_store *s) { return s->segment.seed; }

/* ---- Appending ---- */

void limit_store_message(struct limit_store *s, uint64_t key, int64_t now, int64_t turn,
                         const struct limit_bounds *bounds, const struct limit_use *use) {
    limit_journal_message(&s->pending, key, now, turn, bounds, use);
}

void limit_store_tenant(struct limit_store *s, struct str tenant, int64_t now, uint32_t limit,
                        uint32_t external) {
    limit_journal_tenant(&s->pending, tenant, now, limit, external);
}

void limit_store_restriction(struct limit_store *s, struct str name, const struct sender_state *state) {
    limit_journal_restriction(&s->pending, name, state);
}

/* ---- The sweep ---- */

static bool sweep_is_due(const struct limit_store *s) {
    struct limit_table_stats stats;
    limit_table_stats(s->options.kept.senders, &stats);
    uint64_t records = (uint64_t)stats.senders * (ENTRY_HEADER + sizeof(struct limit_record));
    uint64_t known = records > s->baseline ? records : s->baseline;
    return !s->sweeping && !s->remove && s->bytes > 2 * known + s->options.slack;
}

static void begin_sweep(struct limit_store *s) {
    s->sweeping = true;
    s->place = 0;
    s->fresh = 0;
    s->sweep_from = s->segment.number + 1;
#ifdef SLUICE_SEEDED_BUG_LIMITS_REMOVED_EARLY
    s->remove = s->sweep_from;
#endif
    if (s->handle >= 0) { /* what is new goes into a segment that stays */
        const struct spool_io *io = s->options.io;
        io->close(io->ctx, s->handle);
        s->handle = -1;
    }
}

/* Tenants and restrictions are few: all at once, at the end. */
static void end_sweep(struct limit_store *s) {
    const struct limit_kept *kept = &s->options.kept;
    struct str name;
    const struct limit_total *total;
    const struct sender_state *state;
    for (size_t at = 0; limit_tenants_next(kept->tenants, &at, &name, &total);)
        limit_journal_tenant_record(&s->pending, name, total);
    for (size_t at = 0; sender_book_next(kept->book, &at, &name, &state);)
        limit_journal_restriction(&s->pending, name, state);
    s->sweeping = false;
    s->remove = s->sweep_from;
    s->stats.sweeps++;
}

static void sweep(struct limit_store *s) {
    const struct limit_table *table = s->options.kept.senders;
    uint32_t places = limit_table_places(table);
    for (unsigned i = 0; i < s->options.sweep_step && s->place < places; i++, s->place++) {
        const struct limit_record *r = limit_table_at(table, s->place);
        if (r)
            limit_journal_sender_record(&s->pending, r);
    }
    if (s->place == places)
        end_sweep(s);
}

/* ---- Batches ---- */

struct limit_batch *limit_store_take(struct limit_store *s) {
    if (s->under_way || (!s->pending.len && !s->sweeping))
        return NULL;
    if (sweep_is_due(s))
        begin_sweep(s);
    if (s->sweeping)
        sweep(s);
    struct limit_batch *b = xcalloc(1, sizeof *b);
    b->store = s;
    b->old = -1;
    b->begins = s->handle < 0 || s->offset + s->pending.len > s->options.segment_size;
    if (b->begins) {
        b->old = s->handle;
        s->handle = -1;
        s->segment.number++;
        s->offset = 0;
        limit_segment_encode(&b->bytes, &s->segment);
    }
    buf_str(&b->bytes, buf_view(&s->pending));
    buf_clear(&s->pending);
    b->segment = s->segment;
    b->handle = s->handle;
    b->offset = s->offset;
    b->oldest = s->oldest;
    b->remove = s->remove;
    s->under_way = b;
    return b;
}

/* In order, so that what an older one says is never heard without what a later one said. What can't be
 * removed costs room, and is tried again after the next sweep. */
static void remove_old(struct limit_batch *b) {
    const struct spool_io *io = b->store->options.io;
    char path[PATH];
    for (; b->oldest < b->remove; b->oldest++) {
        path_of(path, b->store, b->oldest);
        int error = io->remove(io->ctx, path);
        if (error == -ENOENT)
            continue;
        if (error || io->sync_dir(io->ctx, b->store->dir))
            return;
    }
}

int limit_batch_write(struct limit_batch *b) {
    const struct spool_io *io = b->store->options.io;
    char path[PATH];
    int error = 0;
    if (b->old >= 0)
        io->close(io->ctx, b->old);
    if (b->begins) {
        path_of(path, b->store, b->segment.number);
        b->handle = io->open(io->ctx, path, SPOOL_OPEN_CREATE);
        error = b->handle < 0 ? b->handle : 0;
    }
    struct iovec vector = {b->bytes.at, b->bytes.len};
    if (!error)
        error = io->write(io->ctx, b->handle, &vector, 1, b->offset);
    if (!error)
        error = io->sync(io->ctx, b->handle);
    if (!error && b->begins)
        error = io->sync_dir(io->ctx, b->store->dir);
    if (!error)
        remove_old(b);
    else if (b->begins && b->handle >= 0) /* else a disk that is full for a night leaves one a second */
        (void)io->remove(io->ctx, path);
    return error ? error_from_errno(-error) : 0;
}

static void put_back(struct limit_store *s, const struct limit_batch *b) {
    size_t header = b->begins ? LIMIT_SEGMENT_HEADER : 0;
    struct str entries = str_from_index(buf_view(&b->bytes), header);
    if (entries.len + s->pending.len > PENDING_MOST) {
        buf_clear(&s->pending);
        s->remove = 0;
        s->stats.dropped++;
        begin_sweep(s);
        return;
    }
    struct buf all = {0};
    buf_str(&all, entries);
    buf_str(&all, buf_view(&s->pending));
    buf_free(&s->pending);
    s->pending = all;
}

void limit_store_settle(struct limit_store *s, struct limit_batch *b, int error) {
    const struct spool_io *io = s->options.io;
    s->under_way = NULL;
    s->stats.batches++;
    if (error) { /* nothing is written behind what may be torn */
        s->stats.failed++;
        if (b->handle >= 0)
            io->close(io->ctx, b->handle);
        s->handle = -1;
        put_back(s, b);
    } else {
        s->handle = b->handle;
        s->offset += b->bytes.len;
        s->bytes += b->bytes.len;
        s->fresh += b->bytes.len;
        if (b->remove) {
            s->oldest = b->oldest;
            s->remove = 0;
            s->bytes = s->baseline = s->fresh;
        }
    }
    buf_free(&b->bytes);
    free(b);
}

int limit_store_flush(struct limit_store *s) {
    for (struct limit_batch *b; (b = limit_store_take(s));) {
        int error = limit_batch_write(b);
        limit_store_settle(s, b, error);
        if (error)
            return error;
    }
    return 0;
}

void limit_store_stats(const struct limit_store *s, struct limit_store_stats *ret) {
    *ret = s->stats;
    ret->segments = s->segment.number + 1 - s->oldest;
    ret->bytes = s->bytes;
}
