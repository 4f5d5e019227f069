/* senders.h - who is restricted and where a sender stands, gathered for the API and for `sluice explain`
 * without a daemon. */
#pragma once
#include "api/senders.h"
#include "limits/sender_name.h"
#include "limits/sending.h"

/* What is asked: the daemon's service, or a desk that was opened to be read. */
struct senders {
    struct sending *sending; /* from a fiber; NULL: the desk */
    struct limit_desk *desk;
    const struct policy *policy;
    int64_t now; /* wall ms */
};

struct senders_one {
    struct sender_name name;   /* kind TENANT: only `tenant` and `whole` are set */
    struct sender_state state; /* the zero value: nothing is known */
};

/* NOTFOUND and *ret_why: nobody is called that, and nothing is known of the name either. */
[[nodiscard]] int senders_find(const struct senders *, struct str name, bool tenant, struct arena *,
                               struct senders_one *ret, struct buf *ret_why);
void senders_row(const struct senders *, struct str name, struct str tenant, const struct sender_state *,
                 struct arena *, struct api_sender *ret);
/* As senders_find. */
[[nodiscard]] int senders_standing(const struct senders *, const struct api_sender_query *, struct arena *,
                                   struct api_standing *ret, struct buf *ret_why);
