/* exchange.h - one question to one scanner (inside the room only). */
#pragma once
#include "scan/service.h"

enum scan_fault {
    SCAN_FINE,
    SCAN_FAULT_SCANNER, /* it does not answer as it should */
    SCAN_FAULT_MESSAGE, /* it will not take this message */
    SCAN_FAULT_OURS,    /* the copy can't be read, or the daemon is stopping */
};

struct scan_question {
    const struct scan_settings *settings;
    const struct scanner_settings *scanner;
    struct scanner_state *state;
    struct resolver *resolver;
    const struct scan_facts *facts;
    struct scan_copy *copy;
    struct arena *arena;
};

/* Over a connection that is there, or a new one. FINE and *ret; else *ret_why, in the arena. */
enum scan_fault scan_ask(const struct scan_question *, int64_t deadline, struct scan_result *ret,
                         struct str *ret_why);

/* Does it live? 0, or an error and *ret_why, static. */
[[nodiscard]] int scan_ping(const struct scanner_settings *, struct resolver *, struct str *ret_why);
