/* tls_peer.h - the certificate of the other side of a TLS stream: which names it bears, and who vouches for
 * them.
 *
 * The handshake proves that the peer holds the key of its certificate, and nothing else: any certificate, or
 * none, ends it well. Whether the chain is to be believed is asked afterwards, against as many sets of
 * anchors as there are.
 */
#pragma once
#include "rt/stream.h"

/* A server's context then asks its clients for a certificate, which they may have or not. Before its first
 * use. Sessions of such a context are not resumed: a ticket keeps the certificate without its chain. */
void tls_server_ask_certificate(struct tls_context *);

struct tls_peer {
    struct str *names; /* dNSName of its subjectAltName, or without any its common names: lower case, each a
                          host name or
                          "*." and one (RFC 9525 6); others are left out */
    size_t name_count;
    struct str subject; /* for people: "CN=mail.contoso.com,O=Contoso" (RFC 2253) */
};

/* False: no TLS, or no certificate. All in `arena`. */
bool stream_tls_peer(const struct stream *, struct arena *, struct tls_peer *ret);

/* Whose certificates are believed. Immutable, for all threads. */
struct tls_trust;

/* The certificates of a PEM file, each an anchor, roots or not. NOTFOUND: the file has none; IO: it can't be
 * read; SYNTAX: a block is damaged. *ret_why is in `arena`, without the file's name. */
[[nodiscard]] int tls_trust_of_file(const char *path, struct arena *, struct str *ret_why,
                                    struct tls_trust **ret);
/* What the system trusts (OpenSSL's default file and folder, SSL_CERT_FILE and SSL_CERT_DIR). */
[[nodiscard]] int tls_trust_of_system(struct tls_trust **ret);
/* NULL is fine; returns NULL. */
struct tls_trust *tls_trust_free(struct tls_trust *);

/* Builds the peer's chain up to an anchor, and checks signatures, times, purposes (a client of TLS: a
 * certificate whose extended key usage leaves clientAuth out is refused), name constraints. The names are the
 * caller's to compare. 0; NOTFOUND: no certificate; DENIED with *ret_why in `arena`. May read files and takes
 * a while: for offload(), while nothing else uses the stream. */
[[nodiscard]] int stream_tls_verify_peer(const struct stream *, const struct tls_trust *, struct arena *,
                                         struct str *ret_why);
