/* delivery.h - one recipient of one accepted message that waits to be sent: 64 bytes.
 *
 * Only the queue writes these. A session may read the first part of what it
 * took until it gives it back (queue_finish, queue_defer, queue_return).
 */
#pragma once
#include "base/heap.h"
#include "base/mail_class.h"
#include "base/str.h"
#include <assert.h>
#include <stdatomic.h>

struct queue_domain;
struct track;
struct route;

enum delivery_state {
    DELIVERY_WAITING, /* for its time */
    DELIVERY_HELD,    /* by an operator */
    DELIVERY_ROUTING, /* its route is being found, or flow was told that it can't be sent */
    DELIVERY_READY,   /* in a lane */
    DELIVERY_SENDING, /* in a session */
};

struct delivery {
    uint64_t message; /* the spool's number of the message */
    uint32_t recipient : 24;
    uint32_t owner : 8; /* the worker whose lane it was given to */
    uint32_t source;    /* number of the address it is sticky to; 0: none */
    uint16_t group;
    uint16_t attempts; /* tries that are over */
    uint16_t pool;     /* number of the pool's name */
    uint8_t mail_class : 7;
    uint8_t let_go : 1; /* by an operator, whatever its sender may; written at home only */
    _Atomic uint8_t state;
    uint32_t arrival_s; /* wall clock */
    uint32_t next;      /* of the same message: place in its home's store + 1 */
    /* The rest is the queue's alone. */
    struct queue_domain *domain;
    union {
        struct heap_node due; /* at home */
        struct {
            struct delivery *after, *before; /* in a lane, or on the way */
        };
        struct {
            int64_t again; /* on the way home */
            uint32_t sticky;
            uint8_t how;
        };
    };
    union {
        struct track *track; /* in a lane */
        struct route *route; /* on the way to one */
    };
};

static_assert(sizeof(struct delivery) <= 64, "what a waiting recipient costs");
