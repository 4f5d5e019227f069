/* surge.h - surges of non-delivery reports, and which of their four usual causes it is. Pure.
 *
 * Counted of each tenant, over the last half hour in steps of ten minutes: recipients that failed for good (a
 * report was made, or withheld), and reports that came in; not those of a sender of whom less than a tenth
 * fail and whose mail isn't judged spam: a mailing's ordinary loss. A surge is `ndr-surge` of them and
 * `ndr-growth` times the usual (the mean of about a day; at most it doubles in a day). The causes by their
 * signs, in this order:
 *   spoofing  half of all came in for mail that nobody here sent: one forged domain
 *   server    half of the failures come from one connector, or one client address, and are of many senders
 *   spam      half of the failed mail was judged spam here, or refused as spam
 *   harvest   half of the failed recipients don't exist, and half of the failures are one sender's
 *   mixed     none of these
 *
 * Told once a surge, and again when the cause becomes another one; over when it is below half.
 *
 * A tenant costs up to SURGE_BYTES; of more than SURGE_TENANTS those without an event for the longest time
 * make room. Belongs to one worker. Time is wall ms, taken as standing still when it goes back.
 */
#pragma once
#include "base/buf.h"
#include "detection/pattern_reply.h"
#include "detection/pattern_rules.h"

enum { SURGE_TENANTS = 1000, SURGE_BYTES = 12500 };

#define SURGE_CAUSES(X)                                                                                      \
    X(MIXED, "mixed", "of no single cause")                                                                  \
    X(SPOOFING, "spoofing", "a spoofing campaign: somebody forges this domain, and its bounces come here")   \
    X(HARVEST, "harvest", "a directory harvest: one sender tries addresses that don't exist")                \
    X(SPAM, "spam", "a spam attack: the mail that fails is spam")                                            \
    X(SERVER, "server", "a rogue server: one connector or host sends what fails")

enum surge_cause {
#define X(name, word, text) SURGE_##name,
    SURGE_CAUSES(X)
#undef X
};
const char *surge_cause_word(enum surge_cause);

struct surge;

struct surge *surge_new(const struct pattern_rules *);
/* NULL is fine; returns NULL. */
struct surge *surge_free(struct surge *);
void surge_configure(struct surge *, const struct pattern_rules *);

/* One recipient that failed, or one report that came in. */
struct surge_event {
    struct str tenant; /* "": of none */
    bool incoming;
    /* Incoming: the domain that it came to; to about how many recipients in a day the address (`recipient`)
     * has sent through here lately. More reports than that in half an hour are for mail of somebody else. */
    struct str domain;
    uint32_t sent;
    /* Failed: whose mail, the connector ("TENANT/NAME") or "", the client's address or "". */
    struct str sender, connector, host;
    enum reply_kind kind;
    bool bad;         /* the mail was judged spam or malware */
    uint32_t failing; /* of the sender, per mille (pattern_failing) */
    /* For samples. */
    struct str trace_id, recipient, reply;
    int64_t now;
};

struct surge_alert {
    struct str tenant;
    enum surge_cause cause;
    struct str subject; /* the domain, sender, connector or host; "" for spam of many and mixed */
    bool over;
    uint32_t count;
    struct str text, advice, samples; /* in the arena */
};

/* True: tell. */
bool surge_event(struct surge *, const struct surge_event *, struct arena *, struct surge_alert *ret);
/* Every few minutes: each surge that is over in turn, from *at = 0; false when there is no other. */
bool surge_next_over(struct surge *, size_t *at, int64_t now, struct arena *, struct surge_alert *ret);

/* What is usual and the windows, to be kept over a restart; stands behind the snapshot of pattern.h. */
void surge_save(const struct surge *, struct buf *);
/* False: damaged from *ret_damage on (an offset in `bytes`), what stands before is taken. The form that knew
 * no windows is read too. */
bool surge_restore(struct surge *, struct str bytes, int64_t now, size_t *ret_damage);
