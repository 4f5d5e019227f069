/* proxy.h - the PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): who the client is, as told
 * by the proxy that connected in its place, before anything else on the connection.
 *
 * Only a peer that is known to be a proxy is asked: from anybody else the header is a lie.
 */
#pragma once
#include "rt/stream.h"

enum proxy_result {
    PROXY_MORE, /* a beginning: come again with more bytes */
    PROXY_DONE, /* ->len bytes are the header; what follows is the client's */
    PROXY_BAD,  /* ->why */
};

/* Header, addresses and extensions of version 2 at most; a v1 line has 107. */
enum { PROXY_HEADER_MAX = 16 * 1024, PROXY_LINE_MAX = 107 };

struct proxy_header {
    unsigned version; /* 1 or 2 */
    bool own;         /* LOCAL, UNKNOWN, or no TCP address: the connection's own address stays */
    struct ip source, destination;
    uint16_t source_port, destination_port;
    size_t len;
    const char *why; /* static text */
};

/* Reads a header at the front of `bytes`. Pure. Refused: what is neither version, addresses that aren't
 * written as the protocol has them, an unspecified client address (it would be nobody), transports other than
 * TCP, extensions that don't fit their length, a checksum (PP2_TYPE_CRC32C) that is wrong. */
enum proxy_result proxy_header_parse(struct str bytes, struct proxy_header *ret);

/* Reads the header off a stream on which nothing was read yet. stream_peer then gives the client, and
 * stream_proxied the proxy. What came behind the header is left for stream_fill and stream_start_tls alike.
 * SYNTAX: a bad header; CLOSED, TIMEOUT...: none came; *ret_why is static text. */
[[nodiscard]] int proxy_read(struct stream *, int64_t deadline, const char **ret_why);
