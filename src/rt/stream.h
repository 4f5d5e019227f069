/* stream.h - bytes in and out, whatever is beneath: TCP, TLS, memory, or one that fails on purpose.
 *
 * Called from fibers only (a memory stream from anywhere: it never waits), and all on
 * one worker: where a stream has waited once, it stays. One fiber may read while another writes. Reads come
 * through an input buffer of the stream, writes gather in an output buffer until stream_flush or until it is
 * full. A deadline is absolute, monotonic milliseconds. With a minimum rate set, a read or write whose side
 * trickles below it over its window ends with TIMEOUT too. Errors: TIMEOUT, CANCELLED, CLOSED (end of file or
 * reset), IO, TLS. An error stays: all later calls of that direction give it again. After a read that failed,
 * writes may still succeed: so a last reply can be sent.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/ip.h"

struct stream;
struct tls_context;

/* Closes (TLS: sends close_notify, does not wait) and frees; what was not flushed is lost. No other fiber may
 * be waiting in it. Accepts NULL, returns NULL. */
struct stream *stream_free(struct stream *);

/* What is in the input buffer; valid until the next fill, consume or free. */
struct str stream_input(const struct stream *);
/* Waits for more input and appends it to the buffer. FULL: the buffer already holds its maximum (64 KiB). */
[[nodiscard]] int stream_fill(struct stream *, int64_t deadline);
/* Puts what is in the input buffer back: the next stream_fill, or the handshake of stream_start_tls, reads it
 * first. For a header before the protocol proper. */
void stream_unread(struct stream *);
/* Drops `len` bytes off the front of the input buffer. */
void stream_consume(struct stream *, size_t len);

[[nodiscard]] int stream_write(struct stream *, struct str bytes, int64_t deadline);
[[nodiscard]] int stream_flush(struct stream *, int64_t deadline);

/* Ends a read or write that moves fewer than `bytes` per `window_ms` of waiting: only time that passes in
 * waits counts, and of writes what the other side has acknowledged. 0, 0: no minimum (the default). */
void stream_set_min_rate(struct stream *, size_t bytes, int64_t window_ms);

/* TLS on an open stream (flushes first). The input buffer must be empty: bytes sent before the handshake are
 * the caller's error to report (INVALID). `name` is the server's name (SNI) for a client; not verified unless
 * the context says so. On TLS, *ret_why (may be NULL) says why, in `arena`. */
[[nodiscard]] int stream_start_tls(struct stream *, struct tls_context *, struct str name, int64_t deadline,
                                   struct arena *arena, struct str *ret_why);
/* "TLSv1.3", or NULL without TLS. Static memory. */
const char *stream_tls_version(const struct stream *);
const char *stream_tls_cipher(const struct stream *);

/* The descriptor, -1 where there is none. */
int stream_fd(const struct stream *);
/* The addresses by getpeername and getsockname, asked anew at each call. False where there are none. After
 * stream_set_peer the peer is what was set. */
bool stream_peer(const struct stream *, struct ip *ret_ip, uint16_t *ret_port);
bool stream_local(const struct stream *, struct ip *ret_ip, uint16_t *ret_port);

/* The true client, told by a proxy that is trusted (proxy.h). */
void stream_set_peer(struct stream *, const struct ip *, uint16_t port);
/* True after stream_set_peer: *ret_proxy is the address that connected to us, all zero where there is none.
 */
bool stream_proxied(const struct stream *, struct ip *ret_proxy);

/* Takes over a connected socket, and makes it non-blocking. */
struct stream *stream_of_fd(int fd);
/* Two ends connected in memory, for tests: what one writes and flushes the other reads. Both on one worker.
 */
void stream_pair(struct stream **ret_a, struct stream **ret_b);
/* Reads `input`, then end of file; what is written collects in `output` (may be NULL), which must outlive the
 * stream. */
struct stream *stream_memory(struct str input, struct buf *output);
/* Passes through to `inner` (which it owns) until `read_limit` bytes were read or `write_limit` written; then
 * `error`. SIZE_MAX: no limit. Returns `inner` itself, changed. `piece` > 0 also cuts every read into pieces
 * of that many bytes. */
struct stream *stream_faulty(struct stream *inner, size_t read_limit, size_t write_limit, size_t piece,
                             int error);

/* A server's certificate and key from PEM files; on failure *ret_why is in `arena`. */
[[nodiscard]] int tls_server_context(const char *certificate, const char *key, struct arena *arena,
                                     struct str *ret_why, struct tls_context **ret_context);
/* For opportunistic TLS: any certificate will do (RFC 7435). */
[[nodiscard]] int tls_client_context(struct tls_context **ret_context);
struct tls_context *tls_context_free(struct tls_context *);
