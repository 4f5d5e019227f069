/* milter.h - filters by Sendmail's milter protocol (milter_wire.h), live in one SMTP session.
 *
 * A chain holds the milters of a configuration that see this session, each with a connection of its own, made
 * at the first event and kept until the session ends. Each event goes to them in order; the first that
 * refuses or discards decides. At the message stage a later one sees what the earlier ones changed.
 *
 * A milter that can't be reached, is too slow, or says what is no answer has failed: its connection is
 * closed, its `on-failure` decides about the command at hand and the rest of the message, and the next MAIL
 * tries it anew. What it changed of this message is then undone. A connection that the milter closed between
 * two messages is no failure: MAIL makes a new one.
 *
 * All from one fiber at a time. Refusals and texts of results live in the arena given.
 */
#pragma once
#include "base/outcome.h"
#include "mail/header.h"
#include "scan/copy.h"
#include "scan/milter_settings.h"
#include "scan/milter_wire.h"

struct milters;
struct stream;

struct milter_calls {
    void *arg;
    /* The value of a macro ("i", "{auth_authen}"); the NULL view: it has none now. */
    struct str (*macro)(void *arg, struct str name);
    /* For health: a milter failed (`why` in words; `silent`: it did not answer while the connection was
     * made), or a message went through it. May be NULL. */
    void (*failed)(void *arg, const struct milter_settings *, struct str why, bool silent);
    void (*worked)(void *arg, const struct milter_settings *);
    /* Asked before a connection is made: true, nobody is to wait for this one now. May be NULL. */
    bool (*rests)(void *arg, const struct milter_settings *);
    /* Connects; NULL: scan_endpoint_dial. */
    int (*dial)(void *arg, const struct milter_settings *, int64_t deadline, struct stream **ret);
    /* The calling worker's, of this moment: a session outlives those of earlier configurations. May be NULL.
     */
    struct resolver *(*resolver)(void *arg);
};

enum milter_fate {
    MILTER_PASSES,
    MILTER_REFUSES,  /* ->reply */
    MILTER_DISCARDS, /* taken, and thrown away */
};

struct milter_result {
    enum milter_fate fate;
    struct outcome reply;
    struct str milter; /* who decided; "" with PASSES */
    bool failed;       /* it decided by failing */
};

/* The milters that see sessions of this listener ("" : the API). NULL when there are none: the other calls
 * take NULL and pass everything. `settings` and `calls` must outlive it. */
struct milters *milters_new(const struct milters_settings *, struct str listener,
                            const struct milter_calls *);
/* Says good-bye and closes. Accepts NULL, returns NULL. */
struct milters *milters_free(struct milters *);

/* ---- the session ---- */

struct milter_client {
    struct str hostname; /* by its PTR, or "[192.0.2.1]" */
    struct ip ip;        /* none: "unknown" */
    uint16_t port;
};
/* A refusal here is one of the connection: all later events give it again. A failure is told by MAIL. */
void milters_connect(struct milters *, const struct milter_client *, struct arena *, struct milter_result *);
void milters_helo(struct milters *, struct str name, struct arena *, struct milter_result *);

/* ---- a message ---- */

/* `arguments`: "<a@b.example>", "SIZE=100"... of MAIL and RCPT. DISCARDS holds for the whole message: no
 * milter is asked any more, milters_message says it again. A refusal concerns the command; a session
 * that goes on calls milters_abort first, except after RCPT. */
void milters_mail(struct milters *, const struct str *arguments, size_t count, struct arena *,
                  struct milter_result *);
void milters_rcpt(struct milters *, const struct str *arguments, size_t count, struct arena *,
                  struct milter_result *);
/* A recipient that was refused before any milter was asked: told to those that want to hear of such. Their
 * answer counts as to any recipient (discard is of the message), but it is for the caller that the recipient
 * stays refused. */
void milters_refused_rcpt(struct milters *, const struct str *arguments, size_t count, struct arena *,
                          struct milter_result *);
void milters_data(struct milters *, struct arena *, struct milter_result *);

struct milter_rcpt_change {
    bool add; /* else: take out */
    struct str address, arguments;
    struct str milter; /* whose wish */
};

/* The message: what the milters are shown, and then what they made of it. Zeros where nothing is said. */
struct milter_message {
    struct arena *arena;         /* of all that is added */
    struct header_field *fields; /* theirs to change; `whole` is what is sent on */
    size_t count, room;
    struct scan_copy *copy; /* its bytes from `body_at` on are the body; the caller's */
    uint64_t body_at;
    const struct scan_copy_place *place; /* where a new body goes */
    struct scan_copy *body;              /* that replaced it; NULL: it stays. milter_message_end frees it */
    bool header_changed;
    size_t added;                     /* bytes of fields that were added */
    bool replacing;                   /* the milter at work gives a new body */
    char last;                        /* byte of it */
    struct milter_rcpt_change *rcpts; /* in order */
    size_t rcpt_count, rcpt_room;
    bool from_changed;
    struct str from,
        from_milter; /* the new reverse-path, as sent: with or without brackets; and whose wish */
    struct str held_by, held_why; /* quarantined by this milter; "": not */
    struct str changed_by;        /* the milters that changed something: "a, b" */
};

/* DATA's end. On REFUSES and DISCARDS the changes mean nothing. */
void milters_message(struct milters *, struct milter_message *, struct arena *, struct milter_result *);
/* The body's next bytes from `at` on: SCAN_COPY_CHUNK at most, empty at the end. From a fiber. */
[[nodiscard]] int milter_message_body(struct milter_message *, uint64_t at, struct str *ret);
void milter_message_end(struct milter_message *);

/* The message ends without its end of data (RSET, a lost client, a refusal). */
void milters_abort(struct milters *);

/* What a milter asked for can't be done (an address that may not stand): its `on-failure`, told to
 * calls->failed. */
void milters_failed(struct milters *, struct str milter, struct str why, struct milter_result *);

/* ---- changes (milter_change.c) ---- */

/* Applies one answer that is a change. NULL, or why it can't be (static text). From a fiber when it is a
 * piece of the body. `leading_space`: values come with the blanks after the colon. Views of the answer are
 * copied. */
const char *milter_message_change(struct milter_message *, const struct milter_answer *, bool leading_space,
                                  struct str milter);
/* The milter has said all: a last line gets its end. */
const char *milter_message_changed(struct milter_message *);
