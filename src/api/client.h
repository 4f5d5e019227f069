/* client.h - asking a daemon's API through its Unix socket, for the command line: blocking, one request a
 * connection. */
#pragma once
#include "base/buf.h"
#include "base/error.h"

struct api_reply {
    int status;
    struct str body;
    struct str next, warning; /* of the headers; empty: none */
};

/* Appends `name=value` to a target, percent-encoded, after '?' or '&'. */
void api_target_add(struct buf *target, const char *name, struct str value);

/* One request. 0 when there was a reply, whatever its status. NOTFOUND: no socket; REFUSED: nobody listens;
 * DENIED; TIMEOUT; IO: broken off or not HTTP. The reply lives in the arena. */
[[nodiscard]] int api_call(const char *socket_path, const char *method, struct str target, struct str body,
                           int64_t timeout_ms, struct arena *, struct api_reply *ret);

/* The "error" of a reply that is not 200, or the empty view. In the arena. */
struct str api_reply_error(const struct api_reply *, struct arena *);
