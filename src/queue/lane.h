/* lane.h - what waits for a receiver on its owner's worker, and the sessions that take it (lane.c,
 * session.c). For the files of the queue only. */
#pragma once
#include "queue/parts.h"

struct track {
    struct lane *lane;
    struct route *route;
    struct delivery_list ready;
    size_t count;      /* deliveries ready */
    size_t runs;       /* transactions, about: neighbours of one message and group count as one */
    unsigned starting; /* sessions that have not asked yet */
    unsigned sessions;
    struct track *after, *before; /* among those with ready deliveries */
    bool listed;
};

struct lane {
    struct queue_worker *owner;
    struct str key, receiver;
    uint16_t pool;
    struct map *tracks;
    struct track *first, *last; /* tracks with ready deliveries, in turn */
    struct queue_session *sessions;
    unsigned session_count, idle_count;
    unsigned limit, messages_per_connection;
    unsigned reduced; /* as many connections as the receiver was content with; 0: not reduced */
    int64_t reduced_until;
    size_t ready, sending;
    int64_t closed_until; /* wall ms */
    unsigned failures;    /* closes in a row */
    struct reason reason;
};

enum session_state { SESSION_STARTING, SESSION_BUSY, SESSION_IDLE, SESSION_ENDING };

struct queue_session {
    struct queue *queue;
    struct worker *worker;
    struct route *route;
    uint16_t pool;
    uint32_t wanted;        /* source of the first deliveries */
    unsigned lane_failures; /* when it started */
    unsigned most;          /* transactions on one connection */

    /* the session's, until it asks */
    uint32_t source;
    size_t max; /* deliveries in a transaction */
    struct delivery *ahead;
    unsigned taken;
    bool asked, over, connected;
    bool failed; /* never ran */
    struct waiters waiters;

    /* the owner's, until it answers */
    struct delivery *answer;
    bool answer_over, answered;

    /* the owner's */
    struct lane *lane;
    struct track *track;
    enum session_state state;
    size_t in_hand; /* deliveries given since it last asked */
    bool works;     /* the receiver answered */
    bool refused;   /* it asked to close the lane */
    struct queue_session *after, *before;

    struct queue_session *all_after, *all_before; /* under all_lock */
};

/* A chain of deliveries (linked by `after`) of one domain; the first carries the route. */
void lane_accept(void *first_delivery);
/* The session's fiber asks; answered by session_answer at once or when there is work. */
void lane_ask(void *session);
/* It no longer wants to wait. */
void lane_unask(void *session);
void lane_connected(void *session);
void lane_session_ended(void *session);
struct lane_close {
    struct queue_session *session;
    int64_t until;
    bool chosen; /* `until` is the caller's */
    struct reason reason;
};
void lane_close(void *close);
struct lane_open {
    struct queue_worker *owner;
    struct str receiver;
    uint16_t pool;
};
void lane_open(void *open);
/* Takes a ready delivery out for an operator; false: it is not ready. */
bool lane_pull(struct queue_worker *, struct delivery *);
void lanes_settings(struct queue_worker *);
void lanes_drain(struct queue_worker *);
void lanes_tick(struct queue_worker *);
void lanes_free(struct queue_worker *);

/* ---- session.c ---- */

struct queue_session *session_new(struct lane *, struct track *, struct worker *, uint32_t wanted);
/* At the end of the queue. */
void session_free(struct queue_session *);
/* On the owner, when the session has ended: freed after what is on its way to it. */
void session_dispose(struct queue_session *);
void session_start(struct queue_session *);
/* The owner's answer: what is in `answer`, `answer_over`. */
void session_answer(struct queue_session *);
