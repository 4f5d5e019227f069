/* client_state.h - what the files of the client session share; private to this room. */
#pragma once
#include "base/clock.h"
#include "smtp/client.h"
#include "smtp/data.h"

struct smtp_client {
    struct stream *stream;
    const struct smtp_client_settings *settings;
    struct smtp_capabilities capabilities;
    bool dirty; /* a transaction is open at the server: RSET before the next MAIL */
    enum smtp_client_state state;
};

/* Waits for one reply. 0; SYNTAX or TOOBIG for what is none; or what the stream says. */
[[nodiscard]] int client_read(struct smtp_client *, int64_t deadline, struct arena *, struct smtp_reply *ret);
[[nodiscard]] int client_write(struct smtp_client *, struct str bytes, int64_t timeout);

/* The outcome of an error (never 0) that came instead of the reply to `what`: LATER; scope host for a
 * malformed reply, else `scope`. */
struct outcome client_error(struct arena *, int error, enum outcome_scope scope, const char *what);
/* The outcome of a reply that is neither what was asked for nor a refusal. */
struct outcome client_unexpected(struct arena *, const struct smtp_reply *, const char *what);
