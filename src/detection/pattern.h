/* pattern.h - the patterns of sending that a hacked account, a harvest or a rogue server show. Pure.
 *
 * Facts come in as events; findings come out, each with the cause, the counts and the reason in words. Kept
 * of each subject (a sender, a connector, a tenant, a forward): eight counts over the last hour (in steps of
 * ten minutes) and the last 24 hours (of three hours), the most that it usually has in an hour and a day (it
 * halves in two weeks and at most doubles a day, so that an attack doesn't become usual at once), 88 to 176
 * destinations in a hash sketch, eight networks: PATTERN_BYTES a subject, of connectors, tenants and forwards
 * twice that. The least recently active make room; those known for less than an hour among themselves, so
 * that a flood of invented senders costs nobody their history.
 *
 * Rules, with their thresholds in pattern_rules.h:
 *   shares       of the last hour or the last 24, whichever shows it; a connector needs three times the least
 *                count, a tenant ten times, and neither is found while three quarters are one sender's
 *   growth       the hour's, or the day's, recipients are `growth` times the usual, and above a floor
 *   destinations as many domains that it never wrote to, and three times what is usual
 *   network      as many recipients in an hour from networks first seen within a day; the first network of a
 *                sender is none, nor is the ninth in thirty days, unless all came on one day
 *   together     two of: network; growth or destinations; half of the share of spam or of refusals; or half
 *                of all three
 *
 * Refusals that are three quarters one receiver's restrict nobody: that may be an enemy of the sender. Of who
 * was found by a share, or restricted, the counts begin anew with the next UTC day. Growth, destinations and
 * network are judged after `learning`; growth and destinations also of a user who logs in and never did
 * before, when there is history for so long and nobody had to make room: an account that nobody uses is the
 * best one to steal. A sign is told once a UTC day, and once more when it comes to a restriction.
 *
 * Belongs to one worker. Time is wall ms, taken as standing still when it goes back.
 */
#pragma once
#include "base/ip.h"
#include "detection/pattern_reply.h"
#include "detection/pattern_rules.h"
#include "detection/sender_cause.h"

enum { PATTERN_BYTES = 544 };

/* Connectors are "TENANT/NAME", users as in limit_sender_name. A forward's name is its address. */
enum pattern_kind {
    PATTERN_USER = SENDER_USER,
    PATTERN_CONNECTOR = SENDER_CONNECTOR,
    PATTERN_TENANT = SENDER_TENANT,
    PATTERN_FORWARD, /* only told about */
    PATTERN_KINDS
};

/* "spam-share", "together"; of the finding. */
const char *pattern_sign_word(enum pattern_sign);

struct pattern;

/* `seed`: of the keys; a snapshot's replaces it. */
struct pattern *pattern_new(const struct pattern_rules *, uint64_t seed, int64_t now);
/* NULL is fine; returns NULL. */
struct pattern *pattern_free(struct pattern *);
/* After a reload; `senders` is of the start. */
void pattern_configure(struct pattern *, const struct pattern_rules *);

/* ---- Events ---- */

/* Whose mail it is; "" : none. */
struct pattern_whose {
    struct str sender, connector, tenant;
};

/* A message was accepted, or refused for what is in it. */
struct pattern_message {
    struct pattern_whose whose;
    struct ip client;
    bool bad; /* judged spam or malware */
    uint32_t recipients, external;
    const struct str *domains; /* of the external recipients; doublets are fine */
    size_t domain_count;
    bool outside;               /* nobody of the tenant's sent it: only the forwards count */
    const struct str *forwards; /* the forward of each copy that leaves the tenant */
    size_t forward_count;
    const struct pattern_actions *actions; /* of the policy; NULL: of `detection` */
    bool only_told; /* nothing more than an alert happens to the sender and its connector */
    int64_t now;
};

/* What became of recipients: a RCPT refused here as unknown, delivered, refused for good. */
struct pattern_answer {
    struct pattern_whose whose;
    enum reply_kind kind;
    uint32_t recipients;
    int64_t now;
    uint32_t receiver; /* who says so (pattern_receiver); 0: we do */
};
/* Of the network of the server, so that one who has many names is one. 0 for no address. */
uint32_t pattern_receiver(const struct ip *server);

struct pattern_finding {
    enum pattern_kind kind;
    struct str name, tenant;
    enum pattern_sign sign;
    enum sender_cause cause;
    enum pattern_action action; /* never OFF */
    bool over;                  /* high-risk no longer; only kind, name, tenant, reason are set beside */
    struct sender_counts counts;
    struct str reason; /* in words, with the counts and the threshold */
    int64_t until;     /* HIGH_RISK: at the latest */
};

enum { PATTERN_FINDINGS = 16 };
/* Names are views of the event, reasons in the arena. What finds no room is found by the next event. */
struct pattern_findings {
    struct pattern_finding at[PATTERN_FINDINGS];
    size_t count;
};

/* Add to `ret`, which starts with count 0. */
void pattern_message(struct pattern *, const struct pattern_message *, struct arena *,
                     struct pattern_findings *ret);
void pattern_answer(struct pattern *, const struct pattern_answer *, struct arena *,
                    struct pattern_findings *ret);

/* ---- Who is suspicious ---- */

/* NULL, or why its mail is high-risk now; valid until the next call. */
const char *pattern_suspicion(const struct pattern *, enum pattern_kind, struct str name, int64_t now);
struct pattern_suspect {
    enum pattern_kind kind;
    struct str name;
    const char *reason;
    int64_t since, until;
};
/* Each in turn, from *at = 0; false at the end. No change meanwhile. */
bool pattern_next_suspect(const struct pattern *, size_t *at, int64_t now, struct pattern_suspect *ret);

/* Some times an hour: whose day has ended is suspicious no longer. Names in the arena. */
void pattern_tidy(struct pattern *, int64_t now, struct arena *, struct pattern_findings *ret);

/* An operator says that it is fine: no longer suspicious, and until then only told about. When nothing but
 * growth, new destinations and new networks was found of it today, what it does is usual from now on. The
 * bits of what was found today, or is suspected; 0: nothing, or that was said already. */
uint32_t pattern_release(struct pattern *, enum pattern_kind, struct str name, int64_t until, int64_t now);

/* Of the last 24 hours; false: nothing is known. */
bool pattern_counts(struct pattern *, enum pattern_kind, struct str name, int64_t now,
                    struct sender_counts *ret);

/* To about how many recipients it has sent in a day lately: today, or the most that is usual. */
uint32_t pattern_sent(struct pattern *, enum pattern_kind, struct str name, int64_t now);

/* Of a thousand recipients of the last hour that had a final answer, how many don't exist or were refused as
 * spam; 1000 while there are fewer than twenty. For surge_event. */
uint32_t pattern_failing(struct pattern *, enum pattern_kind, struct str name, int64_t now);

/* ---- The snapshot: its format is described in pattern_save.c ---- */

/* Appends a part: from *at = 0 on up to `most` subjects; false when it was the last. Events may come between.
 */
bool pattern_save(const struct pattern *, size_t *at, uint32_t most, int64_t now, struct buf *);
struct pattern_saved {
    uint64_t subjects, suspects;
    uint32_t seconds; /* since 2020, when it was written */
    bool damaged;     /* the rest was left out */
    size_t end;       /* offset of its end, or of the damage */
    struct str rest;  /* what stands behind it */
};
/* Into an empty one. What is readable is taken. INVALID: written by a later version; CORRUPT: no snapshot. */
[[nodiscard]] int pattern_restore(struct pattern *, struct str bytes, int64_t now, struct pattern_saved *ret);

struct pattern_stats {
    uint32_t subjects, capacity, suspects;
    uint64_t evicted, found;
};
void pattern_stats(const struct pattern *, struct pattern_stats *ret);
