/* server_state.h - what the files of the server session share; private to this room. */
#pragma once
#include "base/clock.h"
#include "smtp/data.h"
#include "smtp/server.h"

enum { HELO_MAX = 255, SKIP_MAX = 1 << 20, DRAIN_MIN = 1 << 20, EXCESS_MAX = 10000 };

struct server {
    struct smtp_session session;
    struct stream *stream;
    const struct smtp_server_settings *settings;
    const struct smtp_server_hooks *hooks;
    void *arg;
    struct buf out;  /* one reply, before it goes into the stream's buffer */
    struct buf line; /* the line that was read last, without CRLF */
    bool open;       /* a transaction: MAIL was accepted */
    bool over;       /* the session ends */
    int error;       /* why, when it was not we or QUIT */
    unsigned commands, errors, auth_failures;
    unsigned excess;                /* recipients over the limit, in this transaction */
    struct xforward_room *xforward; /* NULL until it is needed */
    char helo[HELO_MAX + 1];
};

/* Queues a reply; flushed before the next wait for input. After a failure the session is over. */
void server_reply(struct server *, const struct smtp_reply *);
/* The same for a refusal of our own making, told to the `refused` hook. */
void server_refuse(struct server *, const struct smtp_reply *, struct str command);
void server_flush(struct server *);
/* Sends the reply (421...) and ends the session. */
void server_close(struct server *, const struct smtp_reply *, struct str command);
/* The stream failed: says so to the client where it can still hear it, and ends the session. */
void server_failed(struct server *, int error);

/* Reads one line into ->line. 0; TOOBIG: it was longer than `limit` octets (0: a command's) and is skipped;
 * SYNTAX: it ends with LF alone; or what the stream says. */
[[nodiscard]] int server_read_line(struct server *, size_t limit);

/* After a reply to DATA that is not 354. */
void server_data_refused(struct server *);

/* Ends the transaction without a message: calls the reset hook when one is open. */
void server_reset(struct server *);
/* Ends the transaction after data_end. */
void server_transaction_done(struct server *);

/* Is the peer one of those who may say XFORWARD? */
bool server_takes_xforward(const struct server *);
/* " NAME ADDR..." */
void smtp_xforward_attributes(struct buf *);

/* The extensions that EHLO offers now. */
unsigned server_offered(const struct server *);

/* The handlers of verbs, `argument` a view into ->line. */
void server_ehlo(struct server *, struct str argument);
void server_helo(struct server *, struct str argument);
void server_starttls(struct server *, struct str argument);
void server_auth(struct server *, struct str argument);
void server_mail(struct server *, struct str argument);
void server_rcpt(struct server *, struct str argument);
void server_data(struct server *, struct str argument);
void server_rset(struct server *, struct str argument);
void server_xforward(struct server *, struct str argument);
void server_noop(struct server *, struct str argument);
void server_vrfy(struct server *, struct str argument);
void server_help(struct server *, struct str argument);
void server_quit(struct server *, struct str argument);
