/* deliver.h - steps 8 to 10: a session of the queue connects from an address of the pool and sends. */
#pragma once
#include "flow/flow.h"

/* queue_calls.deliver; the first argument is the struct flow. */
void deliver_session(void *flow, struct queue_session *);
