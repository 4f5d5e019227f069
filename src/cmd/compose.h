/* compose.h - a message from a program's or a person's hands, made ready for submission, as sendmail does it.
 */
#pragma once
#include "base/str.h"

struct compose_request {
    bool from_header;  /* -t: recipients of To, Cc, Bcc join the given ones */
    bool dot_ends;     /* a line with a single dot ends the message (without -i) */
    struct str sender; /* -f; at == NULL: the address of Sender or From, else user@host; "" or "<>": null */
    struct str full_name; /* -F: for a From that is lacking */
    const char *const *recipients;
    size_t recipient_count;
    const char *user, *host;
};

struct composed {
    struct str sender; /* reverse-path; empty: null */
    struct str *recipients;
    size_t recipient_count;
    struct str message; /* lines end with CRLF, Bcc is gone */
};

/* All in `arena`. SYNTAX, TOOBIG: *ret_why says what is wrong. */
[[nodiscard]] int compose(struct arena *, struct str input, const struct compose_request *,
                          struct composed *ret, struct str *ret_why);
