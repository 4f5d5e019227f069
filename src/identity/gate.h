/* gate.h - which addresses rest because receivers could not confirm their names (identity { require = fcrdns
 * }).
 *
 * Pure: answers and the clock (milliseconds, any one clock) are passed in; touched by one worker.
 * An address rests when it was denied twice, `again_ms` apart or more, and the resolver has shown in
 * between that it works: by an address that is right, or by a witness. So a resolver that is dead, or that
 * denies everything, rests nothing; a reverse zone that is really gone does. One right answer ends the rest.
 * What a cache kept is no sign of work: a record counts when it was fetched after the last time.
 * A DNS that can't be asked changes nothing for GATE_HOLD_MS; then nothing is known, and that is no failure.
 */
#pragma once
#include "identity/survey.h"

enum gate_require { GATE_REQUIRE_NONE, GATE_REQUIRE_FCRDNS };

enum {
    GATE_AGAIN_MS = 5 * 60 * 1000, /* the usual: between two questions of an address, whatever the TTL */
    GATE_AGAIN_MOST = 72,          /* times that, at most */
    GATE_HOLD_MS = 24 * 60 * 60 * 1000,
    GATE_REASON_MAX = 200,
};

struct gate;
/* `again_ms`: how long after a denial the address is asked again, and the least between two questions. */
struct gate *gate_new(enum gate_require, int64_t again_ms);
struct gate *gate_free(struct gate *); /* NULL is fine */
/* After a reload: forgets the addresses that are gone. */
void gate_reload(struct gate *, enum gate_require, int64_t again_ms, const struct pools *);

/* Records that exist and are none of ours: SOA of the trees of reverse zones and of zones high in them, to be
 * asked for after a denial; where no address is right, only they let denials count. */
enum { GATE_WITNESSES = 24 };
extern const char *const gate_witnesses[2][GATE_WITNESSES]; /* of IPv4, of IPv6; NULL where there are fewer */
/* The resolver gave one; `ttl` as it came, seconds. False: a cache repeated it, which shows nothing. */
bool gate_witness(struct gate *, bool v6, size_t which, uint32_t ttl, int64_t now);
/* What was found about an address. True: it became usable or began to rest. */
bool gate_answer(struct gate *, const struct ip *, const struct fcrdns *, int64_t now);

enum gate_belief { GATE_UNKNOWN, GATE_RIGHT, GATE_WRONG };

struct gate_view {
    bool usable;
    enum gate_belief belief; /* UNKNOWN too when the last answer is older than a day */
    bool doubted;            /* denied once, and not believed yet */
    struct str reason;       /* WRONG, doubted: what is wrong; valid until the next call */
    struct str name;         /* RIGHT: the PTR name; valid until the next call */
    int64_t since;           /* of the belief; 0: nothing is known */
    int64_t answered;        /* the last answer that it rests on */
    int64_t
        next_ask; /* when it is to be asked again; in the past: now. Sooner while a denial lacks a witness */
};
/* Addresses never asked are usable. */
struct gate_view gate_view(const struct gate *, const struct ip *, int64_t now);

/* What was believed before a restart: the address is wrong since then, as of an answer at `answered`. */
void gate_restore(struct gate *, const struct ip *, struct str reason, int64_t since, int64_t answered,
                  int64_t now);
