/* received.h - our Received field (RFC 5321 4.4) and the loop count.
 */
#pragma once
#include "mail/header.h"

struct received_facts {
    struct str helo;        /* what the client said; "" when it said nothing valid */
    struct str client_name; /* its verified host name; "" when none */
    struct str client_ip;   /* text form, RFC 5952; "" for mail that came by the API */
    struct str by;          /* this node's name */
    bool smtp;              /* came by SMTP: else `with HTTP` or, without client_ip, `with LOCAL` */
    bool ehlo, tls, auth,
        utf8;               /* RFC 3848 and RFC 6531 4.3: SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA, UTF8SMTP... */
    struct str tls_version; /* "TLSv1.3"; only with tls */
    struct str tls_cipher;
    struct str trace_id;
    struct str recipient; /* the only recipient, wire form; "" with several (its `for` would tell of Bcc) */
    int64_t wall_ms;
};

/* Writes the whole field with CRLF, folded; every word of the client's is made safe for a comment or token.
 */
void received_write(struct buf *, const struct received_facts *);

/* The number of Received fields; HEADER_RECEIVED_MAX or more are a loop. */
size_t received_count(const struct header *);
