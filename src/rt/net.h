/* net.h - sockets: listening and dialling.
 *
 * Listening sockets are opened before the workers start (and before privileges
 * are dropped), and are then shared by all workers.
 */
#pragma once
#include "rt/stream.h"
#include "rt/worker.h"

/* A bound, listening, non-blocking, close-on-exec socket (SO_REUSEADDR; IPV6_V6ONLY for IPv6). BUSY: port
 * taken. DENIED: needs privilege. BIND: not an address of this host. */
[[nodiscard]] int net_listen(const struct ip *, uint16_t port, int *ret_fd);

/* Accepts on `fd` on every worker; each connection gets a fiber that runs serve(arg, stream), which owns the
 * stream. When a worker has no room for a fiber (or descriptors are out), `full` is sent as is and the
 * connection closed. `full` is copied. Takes over `fd`. Any thread, before or after rt_start. */
struct net_acceptor;
struct net_acceptor *net_accept(struct rt *, int fd, void (*serve)(void *arg, struct stream *), void *arg,
                                struct str full);
/* The same on one worker only (the API's). */
struct net_acceptor *net_accept_on(struct worker *, int fd, void (*serve)(void *arg, struct stream *),
                                   void *arg, struct str full);
/* Stops accepting on all workers and closes the socket; connections live on. The acceptor is freed when the
 * last worker let go. Once; what is still accepting is stopped by rt_free. Any thread. */
void net_accept_stop(struct net_acceptor *);

/* A listening Unix socket at `path` with these permissions. Replaces one that nobody listens on any more.
 * BUSY: somebody does. EXISTS: something there is no socket. TOOBIG: over 107 bytes. DENIED, NOTFOUND, IO. */
[[nodiscard]] int net_listen_unix(const char *path, unsigned mode, int *ret_fd);

/* From a fiber. Connects from `source` (bound with IP_BIND_ADDRESS_NO_PORT; NULL: the kernel chooses - never
 * for mail) to `target`. BIND: the source can't be bound here. REFUSED, UNREACH, TIMEOUT, CANCELLED, IO,
 * LIMIT; INVALID when the families differ. There is no fallback of the source. */
[[nodiscard]] int net_dial(const struct ip *source, const struct ip *target, uint16_t port, int64_t deadline,
                           struct stream **ret_stream);

/* Can this address be bound here? 0, or BIND, DENIED, ... No fiber needed. */
[[nodiscard]] int net_bindable(const struct ip *);
