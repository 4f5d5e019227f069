/* transport.h - what lies beneath a stream (inside this room only).
 *
 * Transports stack: TLS and the faulty one own a lower transport. They never
 * wait in read and write, so that OpenSSL's error queue (one per thread) is never
 * held across a switch of fibers.
 */
#pragma once
#include "rt/stream.h"
#include <sys/types.h>
#include <sys/uio.h>

enum direction { READING, WRITING };

struct transport {
    const struct transport_table *table;
};

struct transport_table {
    /* > 0: bytes moved; 0: would have to wait; < 0: an error (end of file: CLOSED). */
    ssize_t (*read)(struct transport *, void *at, size_t len);
    ssize_t (*write)(struct transport *, const struct iovec *, int count);
    /* Until the last call in this direction may do better: 0, TIMEOUT, CANCELLED. */
    int (*wait)(struct transport *, enum direction, int64_t deadline);
    /* Closes and frees. */
    void (*free)(struct transport *);
};

struct rate {
    int64_t waited; /* ms in the present window */
    size_t moved;
    int64_t queued; /* in the kernel when the window began (WRITING) */
};

struct tls;

struct stream {
    struct transport *transport;
    struct tls *tls; /* the transport, when it is TLS */
    int fd;          /* -1: none */
    struct buf in;   /* its bytes before `head` are consumed */
    size_t head;
    size_t chunk; /* how much a read asks for */
    struct buf out;
    int errors[2];
    size_t rate_bytes;
    int64_t rate_window;
    struct rate rates[2];
    struct ip peer, proxy; /* as a proxy told; that proxy. When `proxied` */
    uint16_t peer_port;
    bool proxied;
};

struct stream *stream_of_transport(struct transport *, int fd);

/* socket.c */
struct transport *socket_transport(int fd);
/* tls.c: drives the handshake over the stream's present transport. Gives the new one, which owns the old. */
int tls_handshake(struct transport *lower, struct tls_context *, struct str name, int64_t deadline,
                  struct arena *arena, struct str *ret_why, struct tls **ret_tls);
struct transport *tls_transport(struct tls *);
struct ssl_st *tls_ssl(const struct tls *);
const char *tls_version(const struct tls *);
const char *tls_cipher(const struct tls *);
