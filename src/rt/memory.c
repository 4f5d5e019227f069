#include "rt/fiber.h"
#include "rt/transport.h"
#include <stdlib.h>

/* ---- a pair ---- */

enum { PIPE_MAX = 64 * 1024 };

/* One way of a pair. */
struct pipe {
    struct buf bytes;
    bool reader_gone, writer_gone;
    struct waiters readers, writers;
};

struct pair {
    struct pipe ways[2];
    int ends;
};

struct end {
    struct transport transport;
    struct pair *pair;
    struct pipe *in, *out;
};

static struct end *end_of(struct transport *t) { return (struct end *)t; }

static ssize_t end_read(struct transport *t, void *at, size_t len) {
    struct pipe *p = end_of(t)->in;
    if (!p->bytes.len)
        return p->writer_gone ? SLUICE_ECLOSED : 0;
    size_t n = len < p->bytes.len ? len : p->bytes.len;
    memcpy(at, p->bytes.at, n);
    buf_consume(&p->bytes, n);
    waiters_wake_all(&p->writers);
    return (ssize_t)n;
}

static ssize_t end_write(struct transport *t, const struct iovec *parts, int count) {
    struct pipe *p = end_of(t)->out;
    if (p->reader_gone)
        return SLUICE_ECLOSED;
    size_t moved = 0;
    for (int i = 0; i < count; i++) {
        size_t room = PIPE_MAX - p->bytes.len, n = parts[i].iov_len < room ? parts[i].iov_len : room;
        buf_add(&p->bytes, parts[i].iov_base, n);
        moved += n;
    }
    if (moved)
        waiters_wake_all(&p->readers);
    return (ssize_t)moved;
}

static int end_wait(struct transport *t, enum direction direction, int64_t deadline) {
    struct end *e = end_of(t);
    return waiters_wait(direction == READING ? &e->in->readers : &e->out->writers, deadline);
}

static void end_free(struct transport *t) {
    struct end *e = end_of(t);
    e->in->reader_gone = e->out->writer_gone = true;
    waiters_wake_all(&e->in->writers);
    waiters_wake_all(&e->out->readers);
    if (--e->pair->ends == 0) {
        buf_free(&e->pair->ways[0].bytes);
        buf_free(&e->pair->ways[1].bytes);
        free(e->pair);
    }
    free(e);
}

static const struct transport_table end_table = {end_read, end_write, end_wait, end_free};

static struct stream *end_new(struct pair *pair, int side) {
    struct end *e = xcalloc(1, sizeof *e);
    e->transport.table = &end_table;
    e->pair = pair;
    e->in = &pair->ways[side];
    e->out = &pair->ways[!side];
    pair->ends++;
    return stream_of_transport(&e->transport, -1);
}

void stream_pair(struct stream **ret_a, struct stream **ret_b) {
    struct pair *pair = xcalloc(1, sizeof *pair);
    *ret_a = end_new(pair, 0);
    *ret_b = end_new(pair, 1);
}

/* ---- memory ---- */

struct memory {
    struct transport transport;
    struct str input;
    struct buf *output;
};

static struct memory *memory_of(struct transport *t) { return (struct memory *)t; }

static ssize_t memory_read(struct transport *t, void *at, size_t len) {
    struct memory *m = memory_of(t);
    size_t n = len < m->input.len ? len : m->input.len;
    if (!n)
        return SLUICE_ECLOSED;
    memcpy(at, m->input.at, n);
    m->input = str_from_index(m->input, n);
    return (ssize_t)n;
}

static ssize_t memory_write(struct transport *t, const struct iovec *parts, int count) {
    size_t moved = 0;
    for (int i = 0; i < count; i++) {
        if (memory_of(t)->output)
            buf_add(memory_of(t)->output, parts[i].iov_base, parts[i].iov_len);
        moved += parts[i].iov_len;
    }
    return (ssize_t)moved;
}

static int memory_wait(struct transport *t, enum direction direction, int64_t deadline) {
    (void)t;
    (void)direction;
    (void)deadline;
    return SLUICE_EINVALID; /* it never has to wait */
}

static void memory_free(struct transport *t) { free(memory_of(t)); }

static const struct transport_table memory_table = {memory_read, memory_write, memory_wait, memory_free};

struct stream *stream_memory(struct str input, struct buf *output) {
    struct memory *m = xcalloc(1, sizeof *m);
    m->transport.table = &memory_table;
    m->input = input;
    m->output = output;
    return stream_of_transport(&m->transport, -1);
}

/* ---- one that fails on purpose ---- */

struct faulty {
    struct transport transport;
    struct transport *lower;
    size_t read_left, write_left, piece;
    int error;
};

static struct faulty *faulty_of(struct transport *t) { return (struct faulty *)t; }

static void spend(size_t *left, ssize_t moved) {
    if (moved > 0 && *left != SIZE_MAX)
        *left -= (size_t)moved;
}

static ssize_t faulty_read(struct transport *t, void *at, size_t len) {
    struct faulty *f = faulty_of(t);
    if (!f->read_left)
        return f->error;
    if (f->piece && len > f->piece)
        len = f->piece;
    ssize_t n = f->lower->table->read(f->lower, at, len < f->read_left ? len : f->read_left);
    spend(&f->read_left, n);
    return n;
}

static ssize_t faulty_write(struct transport *t, const struct iovec *parts, int count) {
    (void)count;
    struct faulty *f = faulty_of(t);
    if (!f->write_left)
        return f->error;
    struct iovec part = parts[0];
    if (part.iov_len > f->write_left)
        part.iov_len = f->write_left;
    ssize_t n = f->lower->table->write(f->lower, &part, 1);
    spend(&f->write_left, n);
    return n;
}

static int faulty_wait(struct transport *t, enum direction direction, int64_t deadline) {
    return faulty_of(t)->lower->table->wait(faulty_of(t)->lower, direction, deadline);
}

static void faulty_free(struct transport *t) {
    struct faulty *f = faulty_of(t);
    f->lower->table->free(f->lower);
    free(f);
}

static const struct transport_table faulty_table = {faulty_read, faulty_write, faulty_wait, faulty_free};

struct stream *stream_faulty(struct stream *inner, size_t read_limit, size_t write_limit, size_t piece,
                             int error) {
    struct faulty *f = xcalloc(1, sizeof *f);
    f->transport.table = &faulty_table;
    f->lower = inner->transport;
    f->read_left = read_limit;
    f->write_left = write_limit;
    f->piece = piece;
    f->error = error;
    inner->transport = &f->transport;
    return inner;
}
