/* client.h - one SMTP session as the client (RFC 5321, 3207, 1870, 6152, 2920, 3461, 6531).
 *
 * Called from a fiber. It says what became of each recipient and whom that concerns;
 * it retries nothing. The stream stays the caller's. Every wait has the
 * timeout of RFC 5321 4.5.3.2 that belongs to it.
 */
#pragma once
#include "rt/stream.h"
#include "smtp/grammar.h"

struct smtp_client;

enum smtp_client_tls {
    SMTP_CLIENT_TLS_NONE,          /* never */
    SMTP_CLIENT_TLS_OPPORTUNISTIC, /* when offered; a refused STARTTLS goes on in clear */
};

/* Milliseconds. */
struct smtp_client_timeouts {
    int64_t greeting, hello, starttls, mail, rcpt, data_init, data_block, data_end, reset, quit;
};

/* Start from smtp_client_defaults(). The views must live as long as the client. */
struct smtp_client_settings {
    struct str ehlo;        /* our name */
    struct str server_name; /* for SNI; may be empty */
    enum smtp_client_tls tls;
    struct tls_context *tls_context;
    struct smtp_client_timeouts timeouts;
    size_t data_rate; /* octets per data_rate_ms that the server must take of a message; 0: no minimum */
    int64_t data_rate_ms;
};

/* 5 min greeting, EHLO, MAIL, RCPT; 2 min DATA; 3 min a block; 10 min the dot; 2 s QUIT; no TLS. */
struct smtp_client_settings smtp_client_defaults(void);

/* Greeting, EHLO (HELO when refused), STARTTLS when offered and wanted, EHLO again. *ret_outcome is always
 * set, its texts in `arena`, which must outlive the client; *ret_client is set on 0 only. 0: ready. TLS: the
 * handshake failed, or what came after it: try a new connection once in clear, from the same address.
 * REFUSED: the server said no. CANCELLED. Others (TIMEOUT, CLOSED, IO, SYNTAX): the connection failed. The
 * outcome's scope is the host; after a failure only stream_free is left to do. */
[[nodiscard]] int smtp_client_start(struct stream *, const struct smtp_client_settings *, struct arena *,
                                    struct smtp_client **ret_client, struct outcome *ret_outcome);

struct smtp_capabilities {
    unsigned extensions; /* bits of smtp_extension; 0 after HELO */
    uint64_t size;       /* the limit that SIZE names; 0: none named */
    struct str greeting; /* the text of the 220 */
    bool esmtp;
    const char *tls_version; /* NULL: in clear */
    const char *tls_cipher;
};
const struct smtp_capabilities *smtp_client_capabilities(const struct smtp_client *);

struct smtp_transaction_recipient {
    struct smtp_rcpt rcpt;  /* forward_path.whole, notify, orcpt */
    struct outcome outcome; /* set by smtp_client_send; texts in its arena */
    /* The server takes no more recipients in one transaction (452 4.5.3, 552): send this one in another at
     * once. The outcome is LATER meanwhile. */
    bool again;
    /* The connection was lost between the final dot and its answer: the server may have the message (RFC
     * 1047). The outcome is LATER. */
    bool uncertain;
};

struct smtp_transaction {
    /* reverse_path.whole, body, smtputf8, size (exact octets, or 0), ret, envid, auth */
    struct smtp_mail mail;
    struct smtp_transaction_recipient *recipients;
    size_t recipient_count;
    void *arg;
    /* Called right before each MAIL is written. Not 0: nothing is sent and the client is closed (invariant
     * 1); all recipients get LATER, scope session. May be NULL. */
    int (*before_mail)(void *arg, struct stream *);
    /* The next octets of the message as CRLF text without dot-stuffing; the view must live until the next
     * call. Empty: the end. Negative: the message can't be read; the client is closed without a final dot,
     * LATER. Called once more than there are chunks, and only after a 354. */
    int (*read)(void *arg, struct str *ret_chunk);
};

enum smtp_client_state {
    SMTP_CLIENT_READY,  /* may send more */
    SMTP_CLIENT_CLOSED, /* only stream_free is left to do */
};

/* One transaction: MAIL, RCPT to each, DATA, the message; in one write where PIPELINING is offered (in
 * batches that fit any socket buffer). Sets every recipient's outcome: by scope recipient (RCPT), message
 * (MAIL, DATA, final dot), session (421, lost connection, timeout) or host (malformed reply, scope as in
 * outcome.h). Without asking: size over the server's SIZE (552 5.3.4), 8-bit without 8BITMIME (5.6.3), UTF-8
 * without SMTPUTF8 (553 5.6.7), an address that can't be sent (5.1.3, 5.1.7): NEVER, `remote` false. A bare
 * CR, LF or NUL in the message: NEVER, 5.6.11, and the client is closed. */
enum smtp_client_state smtp_client_send(struct smtp_client *, struct smtp_transaction *, struct arena *);

/* RSET: tells whether an idle connection still lives. */
enum smtp_client_state smtp_client_reset(struct smtp_client *);

/* QUIT, and waits a little for its answer. The client is done; the stream can be freed. */
void smtp_client_quit(struct smtp_client *);
