/* server.h - one SMTP session as the server (RFC 5321, 3207, 4954, 1870, 6152, 2920, 2034, 3461, 6531).
 *
 * smtp_serve runs from greeting to close on the calling fiber. It knows the protocol;
 * what mail is wanted, and where it goes, the hooks say. A reply is sent only after its hook
 * returned: a 250 to the data means whatever data_end made sure of. Memory is bounded: an arena per
 * connection, one per transaction, and the stream's buffers; bodies pass through.
 */
#pragma once
#include "base/ip_range.h"
#include "rt/stream.h"
#include "smtp/grammar.h"

enum smtp_server_tls { SMTP_TLS_NONE, SMTP_TLS_OPTIONAL, SMTP_TLS_REQUIRED, SMTP_TLS_IMPLICIT };
enum smtp_server_auth { SMTP_AUTH_NONE, SMTP_AUTH_OPTIONAL, SMTP_AUTH_REQUIRED };

/* Start from smtp_server_defaults(). Must outlive the session. */
struct smtp_server_settings {
    struct str hostname; /* in the greeting and EHLO */
    struct str listener; /* for logs */
    enum smtp_server_tls tls;
    struct tls_context *tls_context; /* not NULL unless tls is none */
    enum smtp_server_auth auth;
    unsigned offers;         /* extensions that may be offered; those that tls and auth rule out never are */
    uint64_t max_size;       /* octets of a message */
    unsigned max_recipients; /* of a transaction: 452 4.5.3 */
    unsigned max_commands;   /* since the last accepted message, accepted RCPTs not counted: 421 4.7.0 */
    unsigned max_errors;     /* 5xx replies since the last accepted message: 421 4.7.0 */
    unsigned max_auth;       /* failed AUTHs of the session: 421 4.7.0 */
    int64_t command_ms;      /* for a whole command line to arrive */
    int64_t data_ms;         /* for the next octets of data */
    int64_t tls_ms;          /* for a handshake */
    int64_t write_ms;        /* for the client to take our replies */
    const struct ip_range
        *xforward; /* peers that may tell who their client was; EHLO offers it to them only */
    size_t xforward_count;
    size_t data_rate; /* in data: at least so many octets per data_rate_ms (0: no minimum) */
    int64_t data_rate_ms;
};

/* RFC 5321 4.5.3: 5 min per command, 3 min per data block, 25 MiB, 1,000 recipients, 1,000 commands, 20
 * errors, 3 AUTHs, 1 KiB per minute of data, TLS none, AUTH none. */
struct smtp_server_settings smtp_server_defaults(void);

/* What a trusted peer says of the client that gave it the next message (XFORWARD). It ends with the
 * transaction. */
struct smtp_xforward {
    bool given;     /* at least one attribute came since the last transaction */
    struct ip addr; /* none: not told, or unavailable */
    uint16_t port;  /* 0: the same */
    struct str name, helo, proto, ident,
        source; /* printable, 255 octets at most; "": not told, or unavailable */
};

/* The argument of XFORWARD, over what `ret` has already. The views live in `arena`. Code 0, or 501 with *ret
 * untouched. */
struct smtp_reply smtp_xforward_parse(struct str argument, struct arena *, struct smtp_xforward *ret);

/* What the hooks may see. Views live in `arena`, as long as the connection. */
struct smtp_session {
    const struct smtp_server_settings *settings;
    struct ip peer, local; /* all zero where the stream has none */
    uint16_t peer_port, local_port;
    struct ip proxied_by; /* peer is what this proxy said (PROXY protocol); none: it is the socket's */
    struct smtp_xforward xforward; /* for this transaction, or the next */
    struct stream *stream;         /* for its certificate (rt/tls_peer.h) only */
    struct str helo;               /* empty before EHLO or HELO; forgotten by STARTTLS */
    bool esmtp;                    /* it was EHLO */
    const char *tls_version;       /* NULL without TLS */
    const char *tls_cipher;        /* NULL without TLS */
    struct str user;               /* as the auth hook names it; empty: not authenticated */
    struct str mechanism;          /* of that login: "PLAIN", "LOGIN" */
    bool idle;                     /* waits for a command */
    unsigned accepted;             /* messages so far */
    struct arena *arena;           /* of the connection */
    struct arena *transaction;     /* of the transaction: from the mail hook to data_end or reset */
    struct smtp_mail mail;         /* the transaction's, while it is open */
    unsigned recipients;           /* accepted in this transaction */
};

/* "SMTP", "ESMTP", "ESMTPS", "ESMTPSA", "UTF8SMTP..." for Received (RFC 3848, 6531 4.3). */
const char *smtp_session_protocol(const struct smtp_session *);

enum smtp_auth_result { SMTP_AUTH_OK, SMTP_AUTH_FAILED, SMTP_AUTH_TEMPORARY };

/* All may wait, all may be NULL. A reply with code 0 is the usual positive answer; its texts must live until
 * the next hook is called. A hook that answers 421 ends the session. */
struct smtp_server_hooks {
    /* 220, or a refusal (the connection is closed after it). */
    struct smtp_reply (*connect)(void *arg, const struct smtp_session *);
    /* 250, or a refusal of this name. */
    struct smtp_reply (*helo)(void *arg, const struct smtp_session *);
    /* *user comes as sent and may be replaced by its full form (in session->arena). Without it: AUTH fails.
     */
    enum smtp_auth_result (*auth)(void *arg, const struct smtp_session *, struct str *user,
                                  struct str password);
    struct smtp_reply (*mail)(void *arg, const struct smtp_session *, const struct smtp_mail *);
    /* The views of `rcpt` live as long as the transaction. */
    struct smtp_reply (*rcpt)(void *arg, const struct smtp_session *, const struct smtp_rcpt *);
    /* 354, or a refusal: the transaction is then over, reset follows. */
    struct smtp_reply (*data_begin)(void *arg, const struct smtp_session *);
    /* The next octets of the message, dots unstuffed. Not 0: no more of them are wanted; the rest is read and
     * thrown away, then data_end gives the reply. */
    int (*data_bytes)(void *arg, const struct smtp_session *, struct str bytes);
    /* The message is complete: `size` octets. The transaction is over after it, whatever it answers; code 0
     * is here 451 4.3.0, never a 250. */
    struct smtp_reply (*data_end)(void *arg, const struct smtp_session *, uint64_t size);
    /* The transaction that `mail` opened with a 2xx ends without data_end: RSET, EHLO, a defect in the data
     * (bare CR or LF, too big), a lost connection. */
    void (*reset)(void *arg, const struct smtp_session *);
    /* For trace and log: a refusal (4xx, 5xx) that no hook made; `command` is the verb or "". */
    void (*refused)(void *arg, const struct smtp_session *, const struct smtp_reply *, struct str command);
    /* Last of all, always, once. `error`: 0 after QUIT or our own close, else TIMEOUT, CLOSED, CANCELLED,
     * TLS... */
    void (*closed)(void *arg, const struct smtp_session *, int error);
    /* True: 421 4.3.2 at the next command; a message in DATA is finished first. */
    bool (*stopping)(void *arg);
};

/* For shutdown, when `stopping` has become true: a session that waits for a command notices it now and says
 * 421; others are left alone. From the session's own worker, between its connect and closed hooks. */
void smtp_session_wake(const struct smtp_session *);

/* Serves the connection to its end and frees the stream. */
void smtp_serve(struct stream *, const struct smtp_server_settings *, const struct smtp_server_hooks *,
                void *arg);
