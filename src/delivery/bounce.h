/* bounce.h - the report to the sender about recipients that failed: accepted like any mail, as class
 * high-risk. */
#pragma once
#include "delivery/settle.h"
#include "flow/flow.h"

struct bounce_result {
    struct trace_id report; /* text empty: none was sent */
    struct str *why_not;    /* for each recipient: why no report is due; empty view: it is in the report */
};

/* From a fiber. 0: the report is durable, or none is due. Else it could not be made: try again later. */
[[nodiscard]] int bounce_send(struct flow *, const struct spool_message *, const struct settle_recipient *,
                              size_t count, const struct settle_where *, struct arena *,
                              struct bounce_result *ret);

/* Emits the DSN event of recipient `at`, or logs why there is no report. `failed` is the event of its
 * failure. */
void bounce_trace(struct flow *, const struct bounce_result *, size_t at, const struct trace_event *failed);

/* Is this message a report of our own making? */
bool bounce_is_report(const struct spool_message *);

/* Why nobody may be told of its failure: its sender is forged, as far as we know. "" with most mail. */
struct str bounce_forbidden(const struct spool_message *);
