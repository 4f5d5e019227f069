/* peer.h - a scripted SMTP server at the other end of a client under test.
 *
 * A script is lines: "< text" is sent, "> text" must be what the client says next, "=" nothing more may be
 * there (the client waits for replies), "~" is silence until the client goes, "!" closes; so does the end.
 */
#pragma once
#include "rt_run.h"
#include "smtp/client.h"

struct peer {
    struct stream *stream;
    const char *script;
    char failure[600]; /* empty: all went by the script */
    bool ended;
    struct waiters done;
};

/* Starts it on a fiber; returns the client's end. */
struct stream *peer_start(struct peer *, const char *script);
/* Waits until it has ended. */
void peer_end(struct peer *);

/* Gives a message chunk by chunk. */
struct message {
    struct str rest;
    size_t piece;
    int error;  /* at its end: this instead */
    int mails;  /* calls of before_mail */
    int refuse; /* the call of before_mail that says no */
};
int message_read(void *arg, struct str *ret_chunk);
int message_before(void *arg, struct stream *);
