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
 * connection closed. Any thread, before or after rt_start. */
struct net_acceptor;
struct net_acceptor *net_accept(struct rt *, int fd, void (*serve)(void *arg, struct stream *), void *arg,
                                struct str full);
/* Stops accepting on all workers and closes the socket. The acceptor is freed when the last worker let go. */
void net_accept_stop(struct net_acceptor *);

/* From a fiber. Connects from `source` (bound with IP_BIND_ADDRESS_NO_PORT; NULL: the kernel chooses - never
 * for mail) to `target`. BIND: the source can't be bound here. REFUSED, UNREACH, TIMEOUT, CANCELLED, IO,
 * LIMIT. There is no fallback of the source. */
[[nodiscard]] int net_dial(const struct ip *source, const struct ip *target, uint16_t port, int64_t deadline,
                           struct stream **ret_stream);

/* Can this address be bound here? 0, or BIND, DENIED, ... No fiber needed. */
[[nodiscard]] int net_bindable(const struct ip *);
