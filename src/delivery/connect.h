/* connect.h - steps 8 and 9: from a pool's address to a receiver's host, greeting and TLS included.
 *
 * Every address is checked by the guard of invariant 1 before it is bound. There
 * is no fallback: without a source of the pool there is no connection.
 */
#pragma once
#include "delivery/settle.h"
#include "flow/flow.h"
#include "smtp/client.h"

struct connection {
    struct stream *stream; /* NULL: none */
    struct smtp_client *client;
    struct smtp_client_settings client_settings; /* the client looks at them while it lives */
    struct settings *settings;                   /* that it was made under; one reference */
    struct ip source;
    struct str pool, ehlo;
    struct route_target target;
    struct arena *arena; /* of the connection */
};

enum connect_result {
    CONNECT_OK,
    CONNECT_NO_SOURCE, /* our own affair: the mail waits until *ret_until */
    CONNECT_FAILED,    /* the receiver's: *ret_why */
};

/* Tries the route's hosts in order, for mail of `class`. `sticky` may be none. Wall ms in *ret_until.
 * *ret_where tells of the last attempt, for settle. Texts live in connection->arena, also on failure. */
enum connect_result connect_route(struct flow *, struct connection *, const struct route *, struct str pool,
                                  enum mail_class, const struct ip *sticky, struct settle_where *ret_where,
                                  struct outcome *ret_why, int64_t *ret_until);

/* The name that a source says in EHLO to a destination (NULL: none is configured); a view into both. */
struct str connect_ehlo(const struct pools *, const struct source *, const struct destination_settings *);

/* Closes, politely with `quit`; gives back everything but the arena. */
void connection_close(struct connection *, bool quit);

struct settle_where connection_where(const struct connection *);
