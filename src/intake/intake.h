/* intake.h - steps 1 to 4 of a message that comes in by SMTP: the hooks of the server's sessions. */
#pragma once
#include "flow/flow.h"
#include "smtp/server.h"

struct stream;
struct tls_context;

/* What all connections of one listener share. */
struct intake_listener {
    struct flow *flow;
    struct str name; /* of `listener` in the configuration; its other values are read at each connection */
    struct tls_context *_Atomic tls; /* the server's certificate; NULL: none */
    _Atomic unsigned connections;
};

/* Serves one connection to its end; `arg` is a struct intake_listener. Given to net_accept. */
void intake_serve(void *arg, struct stream *);

/* From the thread of a worker: ends this worker's sessions that wait for a command (421 4.3.2); those that
 * are in the middle of a message finish it first (flow->stopping is set). */
void intake_stop_idle(struct flow *);

/* The sessions open on this worker. */
size_t intake_open(struct flow *);
