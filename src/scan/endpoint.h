/* endpoint.h - where a scanner or milter is reached: by TCP or by a Unix socket. */
#pragma once
#include "base/ip.h"

struct resolver;
struct stream;

struct scan_endpoint {
    struct str text;  /* as it is shown: "127.0.0.1:783", "/run/spamd.sock" */
    const char *path; /* of the Unix socket; NULL: TCP */
    struct str host;  /* a name, to be looked up at each connection; empty: `ip` */
    struct ip ip;
    uint16_t port;
};

/* "192.0.2.1:783", "[2001:db8::1]:783", "name:783", "localhost"; a missing port gives `port` (0: it must be
 * there). "/path", "unix:/path", "unix:path" (relative: refused). False: nothing of these. In `arena`. */
bool scan_endpoint_parse(struct arena *, struct str text, uint16_t port, struct scan_endpoint *ret);

/* From a fiber. A name's addresses (A, then AAAA; `localhost` needs no DNS) are tried in order. REFUSED,
 * UNREACH, TIMEOUT, CANCELLED, NOTFOUND (no such name or path), DENIED, BUSY (the socket's queue is full),
 * IO. */
[[nodiscard]] int scan_endpoint_dial(const struct scan_endpoint *, struct resolver *, int64_t deadline,
                                     struct stream **ret_stream);

/* What such an error is to people. Static. */
const char *scan_endpoint_error(int error);
