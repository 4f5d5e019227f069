/* peer.h - who is at the other end of a connection that came in: what a proxy says of it, and its
 * certificate. */
#pragma once
#include "flow/flow.h"
#include "policy/certificate.h"
#include "smtp/server.h"

/* From one of the listener's proxies: reads the PROXY header, after which stream_peer gives the client.
 * False, with a log line: it did not come, or is bad; the connection must be closed. */
bool peer_told(struct flow *, const struct listener *, struct stream *);

/* What one connection's certificate is worth. Zero-initialise; peer_forget at the end. */
struct peer_certificate {
    struct settings *settings; /* under which it was judged; one reference */
    bool shown;
    struct certificate_facts facts;
};

/* The connectors that the client's certificate stands for, found once for a session and a configuration, and
 * logged. NULL: no TLS, a login, or it showed none. Lives as long as the connection. */
const struct certificate_facts *peer_certificate(struct peer_certificate *, struct flow *, struct settings *,
                                                 const struct smtp_session *);
void peer_forget(struct peer_certificate *);
