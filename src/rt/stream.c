#include "rt/stream.h"

#include "base/clock.h"
#include "rt/loop.h"
#include "rt/transport.h"
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>

enum {
    INPUT_MAX = 64 * 1024,
    INPUT_FIRST = 4096,
    INPUT_IDLE = 16 * 1024,
    OUTPUT_MAX = 16 * 1024,
    OUTPUT_IDLE = 4096
};

struct stream *stream_of_transport(struct transport *transport, int fd) {
    struct stream *s = xcalloc(1, sizeof *s);
    s->transport = transport;
    s->fd = fd;
    s->chunk = INPUT_FIRST;
    return s;
}

struct stream *stream_of_fd(int fd) {
    return stream_of_transport(socket_transport(fd), fd);
}

struct stream *stream_free(struct stream *s) {
    if (!s)
        return NULL;
    s->transport->table->free(s->transport);
    buf_free(&s->in);
    buf_free(&s->out);
    free(s);
    return NULL;
}

static int fail(struct stream *s, enum direction direction, int error) {
    return s->errors[direction] = error;
}

/* ---- waiting, with a minimum rate ---- */

/* What was written, but the other side hasn't acknowledged. */
static int64_t unacknowledged(const struct stream *s) {
    int queued;
    if (s->fd < 0 || ioctl(s->fd, SIOCOUTQ, &queued))
        return 0;
    return queued;
}

static void window_begin(struct stream *s, enum direction direction) {
    s->rates[direction] = (struct rate){.queued = direction == WRITING ? unacknowledged(s) : 0};
}

static bool window_trickles(const struct stream *s, enum direction direction) {
    const struct rate *r = &s->rates[direction];
    int64_t moved = (int64_t)r->moved;
    if (direction == WRITING)
        moved += r->queued - unacknowledged(s);
    return moved < (int64_t)s->rate_bytes;
}

void stream_set_min_rate(struct stream *s, size_t bytes, int64_t window_ms) {
    s->rate_bytes = bytes;
    s->rate_window = window_ms;
    window_begin(s, READING);
    window_begin(s, WRITING);
}

/* 0 means: try again. */
static int await(struct stream *s, enum direction direction, int64_t deadline) {
    const struct transport_table *table = s->transport->table;
    if (s->rate_window <= 0)
        return table->wait(s->transport, direction, deadline);
    struct rate *r = &s->rates[direction];
    if (r->waited >= s->rate_window) {
        if (window_trickles(s, direction))
            return SLUICE_ETIMEOUT;
        window_begin(s, direction);
    }
    int64_t now = clock_mono_ms(), limit = now + s->rate_window - r->waited;
    int e = table->wait(s->transport, direction, limit < deadline ? limit : deadline);
    r->waited += clock_mono_ms() - now;
    return e == SLUICE_ETIMEOUT && limit < deadline ? 0 : e;
}

/* ---- input ---- */

struct str stream_input(const struct stream *s) {
    return s->in.at ? str_from(s->in.at + s->head, s->in.len - s->head) : STR_NULL;
}

void stream_consume(struct stream *s, size_t len) {
    size_t there = s->in.len - s->head;
    s->head += len < there ? len : there;
    if (s->head == s->in.len)
        s->head = s->in.len = 0;
}

/* Room behind the input for about `s->chunk` bytes; 0 when the maximum is held. */
static size_t make_room(struct stream *s) {
    if (s->in.cap - s->in.len < s->chunk) {
        buf_consume(&s->in, s->head);
        s->head = 0;
        size_t most = INPUT_MAX - s->in.len;
        buf_reserve(&s->in, s->chunk < most ? s->chunk : most);
    }
    size_t there = s->in.cap - s->in.len, most = INPUT_MAX - (s->in.len - s->head);
    return there < most ? there : most;
}

/* Reads grow while they fill their room; who waits with nothing in hand gives a big buffer back. */
static void adapt(struct stream *s, size_t got, size_t room) {
    if (got == room && s->chunk < INPUT_MAX)
        s->chunk *= 2;
    if (!got && !s->in.len && s->in.cap > INPUT_IDLE) {
        buf_free(&s->in);
        s->chunk = INPUT_FIRST;
    }
}

int stream_fill(struct stream *s, int64_t deadline) {
    if (s->errors[READING])
        return s->errors[READING];
    if (stream_input(s).len >= INPUT_MAX)
        return SLUICE_EFULL;
    int e = fiber_breathe();
    while (!e) {
        size_t room = make_room(s);
        ssize_t n = s->transport->table->read(s->transport, s->in.at + s->in.len, room);
        adapt(s, n > 0 ? (size_t)n : 0, room);
        if (n > 0) {
            s->in.len += (size_t)n;
            s->rates[READING].moved += (size_t)n;
            return 0;
        }
        e = n < 0 ? (int)n : await(s, READING, deadline);
    }
    return fail(s, READING, e);
}

/* ---- output ---- */

/* Sends both parts, in order. */
static int send_all(struct stream *s, struct str first, struct str second, int64_t deadline) {
    int e = fiber_breathe();
    while (!e && first.len + second.len) {
        struct iovec parts[2] = {{(void *)(uintptr_t)first.at, first.len},
                                 {(void *)(uintptr_t)second.at, second.len}};
        struct iovec *from = first.len ? parts : parts + 1;
        ssize_t n = s->transport->table->write(s->transport, from, first.len && second.len ? 2 : 1);
        if (n <= 0) {
            e = n < 0 ? (int)n : await(s, WRITING, deadline);
            continue;
        }
        s->rates[WRITING].moved += (size_t)n;
        size_t of_first = (size_t)n < first.len ? (size_t)n : first.len;
        first = str_from_index(first, of_first);
        second = str_from_index(second, (size_t)n - of_first);
    }
    return e ? fail(s, WRITING, e) : 0;
}

int stream_write(struct stream *s, struct str bytes, int64_t deadline) {
    if (s->errors[WRITING])
        return s->errors[WRITING];
    if (s->out.len + bytes.len <= OUTPUT_MAX) {
        buf_str(&s->out, bytes);
        return 0;
    }
    int e = send_all(s, buf_view(&s->out), bytes, deadline);
    buf_clear(&s->out);
    return e;
}

int stream_flush(struct stream *s, int64_t deadline) {
    if (s->errors[WRITING])
        return s->errors[WRITING];
    int e = send_all(s, buf_view(&s->out), STR_NULL, deadline);
    if (s->out.cap > OUTPUT_IDLE)
        buf_free(&s->out);
    else
        buf_clear(&s->out);
    return e;
}

/* ---- TLS ---- */

int stream_start_tls(struct stream *s, struct tls_context *context, struct str name, int64_t deadline,
                     struct arena *arena, struct str *ret_why) {
    if (s->tls || stream_input(s).len)
        return SLUICE_EINVALID;
    if (s->errors[READING])
        return s->errors[READING];
    int e = stream_flush(s, deadline);
    if (e)
        return e;
    e = tls_handshake(s->transport, context, name, deadline, arena, ret_why, &s->tls);
    if (e) {
        s->errors[READING] = s->errors[WRITING] = e;
        return e;
    }
    s->transport = tls_transport(s->tls);
    return 0;
}

const char *stream_tls_version(const struct stream *s) { return s->tls ? tls_version(s->tls) : NULL; }
const char *stream_tls_cipher(const struct stream *s) { return s->tls ? tls_cipher(s->tls) : NULL; }

/* ---- addresses ---- */

int stream_fd(const struct stream *s) { return s->fd; }

void stream_set_peer(struct stream *s, const struct ip *ip, uint16_t port) {
    struct ip proxy = {0};
    stream_peer(s, &proxy, NULL);
    s->proxy = proxy;
    s->peer = *ip;
    s->peer_port = port;
    s->proxied = true;
}

bool stream_proxied(const struct stream *s, struct ip *ret_proxy) {
    if (s->proxied)
        *ret_proxy = s->proxy;
    return s->proxied;
}

bool stream_peer(const struct stream *s, struct ip *ret_ip, uint16_t *ret_port) {
    if (s->proxied) {
        *ret_ip = s->peer;
        if (ret_port)
            *ret_port = s->peer_port;
        return true;
    }
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    return s->fd >= 0 && getpeername(s->fd, (struct sockaddr *)&a, &len) == 0 &&
           ip_from_sockaddr((struct sockaddr *)&a, ret_ip, ret_port);
}

bool stream_local(const struct stream *s, struct ip *ret_ip, uint16_t *ret_port) {
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    return s->fd >= 0 && getsockname(s->fd, (struct sockaddr *)&a, &len) == 0 &&
           ip_from_sockaddr((struct sockaddr *)&a, ret_ip, ret_port);
}
