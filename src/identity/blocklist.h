/* blocklist.h - is a sending address on a DNS list (RFC 5782)? What is asked when, and what the answers mean.
 *
 * Pure: the clock (milliseconds, any one clock) is passed in, answers come as struct dns_answer; whoever asks
 * the DNS is elsewhere. Touched by one worker. What is no answer of the list - a DNS that fails, "you asked
 * too much", an open resolver, a list that lists everything or is gone - neither lists nor delists: an answer
 * that would change anything counts only when the list has then told its test addresses apart, knows nothing
 * of a stranger, and says so again. Each family has its trial: a list without IPv6 is still one for IPv4.
 */
#pragma once
#include "rt/resolver.h"

/* ---- lists ---- */

enum blocklist_meaning {
    BLOCKLIST_LISTS,
    BLOCKLIST_REFUSES, /* asked too much, by an open resolver, without a key */
    BLOCKLIST_NOTHING, /* a code that says no harm */
};

struct blocklist_code {
    struct str first, last; /* addresses of the answer, inclusive */
    enum blocklist_meaning meaning;
    struct str text;
};

struct blocklist {
    struct str name; /* "Spamhaus ZEN" */
    struct str zone; /* "zen.spamhaus.org" */
    bool v4, v6;
    const struct blocklist_code *codes; /* none: all of 127.0.0.2 to 127.0.0.255 list */
    size_t code_count;
    struct str removal; /* page; "%" stands for the address; empty: none */
    bool own;           /* it may know private addresses too; the public ones do not, and are not asked */
    bool tells_only;    /* what it lists is told, and rests nowhere */
};

/* What is watched unless the configuration says otherwise: free for senders' own use at this rate. */
extern const struct blocklist blocklist_defaults[];
extern const size_t blocklist_default_count;

/* Is it asked about such an address? */
bool blocklist_covers(const struct blocklist *, const struct ip *);
/* "16.2.0.192.zen.spamhaus.org"; IPv6 by nibbles (RFC 5782 2.4). */
struct str blocklist_query(struct arena *, const struct blocklist *, const struct ip *);
/* The addresses that every list has, and has not (RFC 5782 5), of one family. */
struct str blocklist_test_query(struct arena *, const struct blocklist *, bool v6, bool listed);
/* Addresses that are on no list: they send no mail (root servers of the DNS). A wildcard over a zone that has
 * the test address leaves the other test address out (RFC 4592 2.2.2), so only these show it. */
enum { BLOCKLIST_STRANGERS = 3 };
struct ip blocklist_stranger(bool v6, size_t number);
/* The page to go to; "" when the list has none. */
struct str blocklist_removal(struct arena *, const struct blocklist *, const struct ip *);

/* ---- answers ---- */

enum blocklist_state {
    BLOCKLIST_CLEAR,
    BLOCKLIST_LISTED,
    BLOCKLIST_REFUSED,
    BLOCKLIST_BROKEN, /* an answer outside of 127.0.0.0/8: the zone is parked, or the resolver lies */
    BLOCKLIST_UNASKED,
};

struct blocklist_reading {
    enum blocklist_state state;
    struct str text; /* of the code, or why there is no answer; "" when clear */
};

/* Of the A records of a query. One code that lists is enough, except beside one that refuses or is foreign.
 */
void blocklist_read(const struct blocklist *, const struct dns_answer *, struct blocklist_reading *ret);

/* ---- the watch ---- */

enum {
    BLOCKLIST_HOLD_MS = 24 * 60 * 60 * 1000, /* how long a listing counts that the list no longer confirms */
    BLOCKLIST_TEXT_MAX = 250,
};

struct blocklist_pace {
    int64_t round_ms; /* all addresses once, when the gap allows */
    int64_t gap_ms;   /* between two questions to one list, at least */
};
extern const struct blocklist_pace blocklist_usual_pace; /* an hour, a second */
/* In rounds: between two looks at the test addresses; the pause after a refusal or a failed trial, which
 * doubles up to the last. */
enum { BLOCKLIST_TRIAL_ROUNDS = 6, BLOCKLIST_PAUSE_ROUNDS = 1, BLOCKLIST_PAUSE_MOST_ROUNDS = 24 };

enum blocklist_step { BLOCKLIST_TRY_LISTED, BLOCKLIST_TRY_CLEAR, BLOCKLIST_TRY_STRANGER, BLOCKLIST_ASK };

/* A question to put to the DNS now. */
struct blocklist_question {
    enum blocklist_step step;
    size_t list, address; /* indices; `address` with BLOCKLIST_ASK, and the stranger's number */
    bool v6;              /* of the test address */
};

enum blocklist_change { BLOCKLIST_SAME, BLOCKLIST_NOW_LISTED, BLOCKLIST_NOW_DELISTED };

struct blocklist_watch;
/* Lists and addresses must outlive it; `old` may have others. What `old` (may be NULL) knows of the same
 * address and zone is taken over. `seed` spreads the schedules of several nodes. */
struct blocklist_watch *blocklist_watch_new(const struct blocklist *, size_t list_count, const struct ip *,
                                            size_t address_count, const struct blocklist_pace *,
                                            uint64_t seed, int64_t now, const struct blocklist_watch *old);
struct blocklist_watch *blocklist_watch_free(struct blocklist_watch *); /* NULL is fine */
/* The next question that is due. Addresses that were never asked about go first, then the others, the longest
 * unasked first; where a round takes long, what is listed is asked about in between, and what has lapsed at
 * once. False: none is; *ret_when is when to come again. A question that was given out counts as asked,
 * whether an answer comes or not. */
bool blocklist_next(struct blocklist_watch *, int64_t now, struct blocklist_question *ret, int64_t *ret_when);
/* Its name, for an A look-up; for TXT after NOW_LISTED. */
struct str blocklist_question_name(const struct blocklist_watch *, const struct blocklist_question *,
                                   struct arena *);
enum blocklist_change blocklist_answer(struct blocklist_watch *, const struct blocklist_question *,
                                       const struct dns_answer *, int64_t now);
/* The list's own words, of the TXT record; copied. */
void blocklist_explain(struct blocklist_watch *, const struct blocklist_question *, struct str text);

/* What was believed before a restart: listed since then, as of an answer at `answered`. */
void blocklist_restore(struct blocklist_watch *, size_t list, size_t address, struct str text, int64_t since,
                       int64_t answered, int64_t now);

struct blocklist_entry {
    bool listed;      /* and confirmed lately: within HOLD, or two rounds where they take longer */
    bool forgotten;   /* listed once, but the list has not confirmed it since; not `listed` */
    int64_t since;    /* of the listing; 0: none */
    int64_t answered; /* when the list said so last, either way; 0: not asked yet */
    struct str text;  /* the list's own words, else what the code means; valid until the next call */
};
struct blocklist_entry blocklist_entry(const struct blocklist_watch *, size_t list, size_t address,
                                       int64_t now);
/* Is it believed at present, and if not why; true with a why: of one family only. */
bool blocklist_believed(const struct blocklist_watch *, size_t list, struct str *ret_why);
/* The same for one address. */
bool blocklist_believed_of(const struct blocklist_watch *, size_t list, size_t address, struct str *ret_why);
