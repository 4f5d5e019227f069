/* settle.h - step 11: what became of each recipient goes to spool, trace, queue, and back to the sender.
 *
 * A failure's report is durable before the failure is: a crash between repeats the
 * report, never loses it. Every delivery given here is the queue's again afterwards.
 */
#pragma once
#include "base/outcome.h"
#include "flow/flow.h"
#include "spool/spool.h"

/* Where an attempt was made; all absent when there was none. */
struct settle_where {
    struct ip source; /* our address */
    struct str ehlo;  /* our name */
    struct ip server; /* theirs */
    struct str server_name;
    const char *tls; /* "TLSv1.3" or NULL */
};

struct settle_recipient {
    struct delivery *delivery;
    struct outcome outcome;
};

/* Ends an attempt for recipients of one message: delivered, deferred or failed, each by its outcome. LATER
 * counts a try. From a fiber; `message` is what spool_read gave. */
void settle(struct flow *, const struct spool_message *, const struct settle_recipient *, size_t count,
            const struct settle_where *, struct arena *);

/* What can't leave for a reason of our own (no source): not tried again before `due`, no try counted; log and
 * trace say why. */
void settle_wait(struct flow *, const struct spool_message *, struct delivery *const *, size_t count,
                 int64_t due, const struct outcome *why, struct arena *);

/* Stops a message at an operator's desk: held, with an alarm (invariant 1). */
void settle_park(struct flow *, const struct spool_message *, struct delivery *const *, size_t count,
                 struct str why, struct arena *);

/* Held for an operator, without an alarm: log and trace say why. */
void settle_hold(struct flow *, const struct spool_message *, struct delivery *const *, size_t count,
                 struct str why, struct arena *);

/* queue_calls.unroutable and .expired. */
void settle_unroutable(void *flow, struct delivery *const *, size_t count, const struct outcome *why);
void settle_expired(void *flow, struct delivery *const *, size_t count, const struct outcome *last);

/* The envelope of a message, read without blocking the loop: the page cache first, else an offload thread. */
[[nodiscard]] int settle_read(struct flow *, uint64_t message, struct arena *, struct spool_message *ret);
