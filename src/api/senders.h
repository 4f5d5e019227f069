/* senders.h - who is restricted and where a sender stands, as plain rows (api.h). */
#pragma once
#include "base/buf.h"

/* A sender, connector or tenant of whom something is known. Absent strings are empty, absent times 0. */
struct api_sender {
    struct str name, kind, tenant; /* kind: "sender", "connector", "tenant" */
    struct str
        state; /* "free", "restricted today", "restricted", "released", "allowed", "alerted", "suspicious" */
    struct str cause, reason, by; /* of the (last) restriction; by whom it was changed last */
    struct str exempt, alerted;   /* causes: for which it isn't restricted today; that were told today */
    struct str allowed;           /* "always", or until when */
    struct str suspicion;         /* why its mail is high-risk now; "" it isn't */
    int64_t since, until;         /* of the restriction; until 0: until it is released */
    int64_t spam_per_mille, spam, mail, recipients, unknown, destinations,
        refusals; /* when it was restricted; else of the last 24 hours */
};

struct api_limit {
    struct str limit, words; /* "external-per-hour", "external recipients in an hour" */
    int64_t used, most;      /* most 0: none */
};

/* Where it stands. */
struct api_standing {
    struct api_sender sender;
    struct str counted; /* "bounces+7@x.y counts as bounces@x.y (VERP)"; "" : by the name that was asked */
    struct str policy, policy_why, action; /* policy "": the service's own limits */
    const struct api_limit *limits;
    size_t limit_count;
    int64_t turn;       /* when its next message may leave; 0: at once */
    struct str verdict; /* of the message that was asked about: "pass", "hold", "refuse" */
    struct str reply, reason;
};

struct api_sender_query {
    struct str name; /* sender_name.h; of a tenant its name */
    bool tenant;
    struct str from;            /* what From says; "": the sender's own address */
    int64_t external, internal; /* recipients of the message to ask about; 0, 0: none */
};

enum api_sender_verb { API_SENDER_RESTRICT, API_SENDER_RELEASE, API_SENDER_ALLOW };

struct api_sender_change {
    enum api_sender_verb verb;
    struct str name;
    bool tenant;
    struct str reason, by;
    int64_t until; /* ALLOW: wall ms, 0: no longer, INT64_MAX: for good */
};

/* Of struct api_backend, as its other functions. */
struct api_sender_calls {
    /* Who is restricted, released, allowed; with `tenants` every tenant. `tenant`: "" of all. */
    int (*list)(void *arg, bool tenants, struct str tenant, void (*row)(void *to, const struct api_sender *),
                void *to, struct buf *ret_why);
    /* Where one stands. NOTFOUND: nobody here is called that. */
    int (*show)(void *arg, const struct api_sender_query *,
                void (*row)(void *to, const struct api_standing *), void *to, struct buf *ret_why);
    /* NOTFOUND; EXISTS: there was nothing to change. The row is how it is now. */
    int (*change)(void *arg, const struct api_sender_change *,
                  void (*row)(void *to, const struct api_sender *), void *to, struct buf *ret_why);
};

/* One JSON object on a line each. */
void api_sender_json(struct buf *, const struct api_sender *);
void api_standing_json(struct buf *, const struct api_standing *);
