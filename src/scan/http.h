/* http.h - the answers of an HTTP/1.1 server that we asked something (RFC 9110, RFC 9112), read strictly.
 *
 * Just what an exchange with a scanner needs: a status, a body with a length or in chunks, whether the
 * connection stays. No redirects, no informational answers, no body until the end of the connection.
 */
#pragma once
#include "rt/stream.h"

enum { HTTP_HEAD_MAX = 16 * 1024 };

struct http_answer {
    unsigned status;
    struct str body; /* in the arena */
    bool keep;       /* the connection may take another request */
    bool began;      /* a byte came, also when the rest failed */
};

/* Reads one answer. 0; TIMEOUT, CANCELLED, CLOSED, IO; SYNTAX, TOOBIG (a body over `body_max`): *ret_why says
 * what is wrong, static. `ret->began` is always set. */
[[nodiscard]] int http_read(struct stream *, size_t body_max, int64_t deadline, struct arena *,
                            struct http_answer *ret, struct str *ret_why);
