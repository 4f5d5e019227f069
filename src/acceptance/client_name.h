/* client_name.h - what clients are called: the name of a PTR record whose addresses have the client's (RFC
 * 8601 2.7.3; Postfix's client_name).
 *
 * A session asks when somebody wants to know, once for each address, and no longer than it is given, whatever
 * the servers of the client's zone do. That they fail says nothing about the client (invariant 7).
 */
#pragma once
#include "base/ip.h"
#include "identity/survey.h"

struct flow;

enum { CLIENT_NAME_MAX = 255, CLIENT_NAME_MS = 3000 };

struct client_name {
    struct ip ip;
    bool asked;
    enum fcrdns_state state;
    struct str name; /* confirmed; "" when it isn't, or nobody knows */
    struct str ptr;  /* as the PTR record says, whether true or not; "" : it has none */
    char name_bytes[CLIENT_NAME_MAX], ptr_bytes[CLIENT_NAME_MAX];
};

/* Those of one session: of the peer, and of the last one before it that was asked for. Zero-initialise. */
struct client_names {
    struct client_name peer, before;
};

/* From a fiber; waits `timeout_ms` at most, and CLIENT_NAME_MS. 127.0.0.1 and ::1 are "localhost". `peer`: it
 * is the session's peer, whose answer stays; the other one's lives until another address is asked for. */
const struct client_name *client_name_ask(struct client_names *, struct flow *, const struct ip *, bool peer,
                                          int64_t timeout_ms);

/* "unknown" for a client without a confirmed name; "" for one that nobody could ask for. */
struct str client_name_said(const struct client_name *);
