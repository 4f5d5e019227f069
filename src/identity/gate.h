/* gate.h - which addresses rest because receivers could not confirm their names (identity { require = fcrdns
 * }).
 *
 * Pure: answers and the clock (milliseconds, any one clock) are passed in; touched by one worker.
 * An address rests when it was denied twice, GATE_BELIEVE_MS apart or more, and the resolver has shown in
 * between that it works: by an address that is right, or by a witness. So a resolver that is dead, or that
 * denies everything, rests nothing; a reverse zone that is really gone does. One right answer ends the rest.
 * A DNS that can't be asked changes nothing for GATE_HOLD_MS; then nothing is known, and that is no failure.
 */
#pragma once
#include "identity/survey.h"

enum gate_require { GATE_REQUIRE_NONE, GATE_REQUIRE_FCRDNS };

enum {
    GATE_BELIEVE_MS = 5 * 60 * 1000,
    GATE_HOLD_MS = 24 * 60 * 60 * 1000,
    GATE_ASK_LEAST_MS = 5 * 60 * 1000, /* between two questions of an address, whatever the TTL */
    GATE_ASK_MOST_MS = 6 * 60 * 60 * 1000,
    GATE_REASON_MAX = 200,
};

struct gate;
struct gate *gate_new(enum gate_require);
struct gate *gate_free(struct gate *); /* NULL is fine */
/* After a reload: forgets the addresses that are gone. */
void gate_reload(struct gate *, enum gate_require, const struct pools *);

/* The resolver gave a record that is known to exist and is none of ours (say, the SOA of in-addr.arpa). Ask
 * for it beside a denial: where no address is right, only this lets denials count. */
void gate_witness(struct gate *, int64_t now);
/* What was found about an address. True: it became usable or began to rest. */
bool gate_answer(struct gate *, const struct ip *, const struct fcrdns *, int64_t now);

struct gate_view {
    bool usable;
    struct str reason; /* when not usable; valid until the next call */
    int64_t since;     /* of the last right or wrong answer's beginning; 0: nothing is known */
    int64_t next_ask;  /* when it is to be asked again; in the past: now */
};
/* Addresses never asked are usable. */
struct gate_view gate_view(const struct gate *, const struct ip *, int64_t now);
