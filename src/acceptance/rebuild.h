/* rebuild.h - a message with another header or body than it came with: what milters made of it, and what a
 * scanner wants of its header.
 */
#pragma once
#include "acceptance/accept.h"
#include "scan/milter.h"

/* The message of an acceptance whose content has ended and has a copy, as it stands; nothing is changed yet.
 * Its end is milter_message_end. */
struct milter_message rebuild_begin(const struct acceptance *);

/* The content anew, from its copy and the changes: spool, digest, facts and the next copy are all of this
 * one. `again`: somebody will look at a copy of it. From a fiber. Not 0: the new content's error. */
[[nodiscard]] int rebuild(struct flow *, struct acceptance *, struct milter_message *, bool again);

/* Carries out what the scanner that judged the message wants of its header, under these rules: fields by
 * which the message is attributed, classified, stopped in a loop or read as MIME, and what speaks in our
 * name, are not the scanner's. False: *ret_refusal. */
bool rebuild_as_scanned(struct flow *, struct acceptance *, struct outcome *ret_refusal);
