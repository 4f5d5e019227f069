/* milter_inside.h - what the files of the milter client share; not for others. */
#pragma once
#include "scan/milter.h"

struct stream;

enum milter_state {
    MILTER_CLOSED, /* no connection yet, or one that was lost between messages */
    MILTER_OPEN,
    MILTER_ACCEPTED, /* the whole connection: it is asked no more */
    MILTER_REFUSED,  /* the whole connection: ->refusal */
    MILTER_FAILED,   /* until the next MAIL */
};

/* One milter in one session. */
struct milter {
    struct milters *chain;
    const struct milter_settings *settings;
    enum milter_state state;
    struct stream *stream;
    struct milter_options options;
    struct arena *symbols; /* of the options */
    struct outcome refusal;
    bool quiet;      /* a lost connection is no failure now: it was idle */
    bool in_message; /* MAIL was told, and not its end */
    bool satisfied;  /* accepted this message: it is asked no more about it */
    struct buf out, in;
};

struct milters {
    struct milter *at;
    size_t count;
    const struct milter_calls *calls;
    struct arena *arena;     /* of the session */
    struct buf client, helo; /* the data of CONNECT and HELO, to tell again */
    bool met, greeted;
    bool discarded; /* this message */
    struct str discarded_by;
};

/* A command with the bits of the steps that say that it is not wanted, or not answered. */
struct milter_event {
    char command;
    enum milter_stage stage; /* whose macros go before it; MILTER_STAGES: none */
    uint32_t unwanted, silent;
};

/* Tells it, with the macros of its stage, and waits for the answer: CONTINUE where none is due. Not 0: it
 * failed. `patience` is how long each answer may take; altogether until `deadline`. */
int milter_tell(struct milter *, const struct milter_event *, struct str data, int64_t patience,
                int64_t deadline, struct arena *, struct milter_answer *ret);
/* Carries an answer out: what it means for the connection and the message. Changes are not among them. */
void milter_obey(struct milter *, const struct milter_event *, const struct milter_answer *, struct arena *,
                 struct milter_result *ret);

/* Gathers a packet to send; what doesn't fit must be taken in the time of a command, and before `deadline`.
 */
int milter_send(struct milter *, char command, struct str data, int64_t deadline);
/* Waits for the next answer. Not 0: it failed. */
int milter_hear(struct milter *, int64_t patience, int64_t deadline, struct arena *,
                struct milter_answer *ret);

/* Closes the connection and tells calls->failed why: `what`, and the error unless it is 0. Returns -1. */
int milter_fail(struct milter *, const char *what, int error);
/* What its failure makes of a command. */
void milter_failure(const struct milter *, struct milter_result *ret);
/* Refused, failed, or satisfied: the command goes on to the next one only where *ret passes. False: it is to
 * be told. */
bool milter_is_out(const struct milter *, struct arena *, struct milter_result *ret);

/* Does it want to hear more of this message? */
static inline bool milter_listens(const struct milter *m) {
    return m->state == MILTER_OPEN && m->in_message && !m->satisfied;
}
