/* unread.c - a transport that first gives bytes which were read too early, then what lies beneath. */
#include "rt/transport.h"
#include <stdlib.h>

struct unread {
    struct transport transport;
    struct transport *lower;
    struct buf bytes;
    size_t head;
};

static struct unread *of(struct transport *t) { return (struct unread *)t; }

static ssize_t unread_read(struct transport *t, void *at, size_t len) {
    struct unread *u = of(t);
    size_t left = u->bytes.len - u->head;
    if (!left)
        return u->lower->table->read(u->lower, at, len);
    size_t n = len < left ? len : left;
    memcpy(at, u->bytes.at + u->head, n);
    u->head += n;
    if (n == left) {
        buf_free(&u->bytes);
        u->head = 0;
    }
    return (ssize_t)n;
}

static ssize_t unread_write(struct transport *t, const struct iovec *parts, int count) {
    return of(t)->lower->table->write(of(t)->lower, parts, count);
}

static int unread_wait(struct transport *t, enum direction direction, int64_t deadline) {
    return of(t)->lower->table->wait(of(t)->lower, direction, deadline);
}

static void unread_free(struct transport *t) {
    struct unread *u = of(t);
    u->lower->table->free(u->lower);
    buf_free(&u->bytes);
    free(u);
}

static const struct transport_table unread_table = {unread_read, unread_write, unread_wait, unread_free};

void stream_unread(struct stream *s) {
    struct str bytes = stream_input(s);
    if (!bytes.len)
        return;
    struct unread *u = xcalloc(1, sizeof *u);
    u->transport.table = &unread_table;
    u->lower = s->transport;
    buf_str(&u->bytes, bytes);
    stream_consume(s, bytes.len);
    s->transport = &u->transport;
}
