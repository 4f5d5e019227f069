/* received_chain.h - the client that a Received field tells of (RFC 5321 4.4).
 *
 * Received is a trace, and each server writes it in its own way. What counts is the address that the
 * writing host saw itself (the TCP-info of the standard), never what the client said of itself in HELO.
 * Read are the forms of Postfix, Sendmail, Exim, qmail, Exchange and Microsoft 365, Gmail, OpenSMTPD and our
 * own. Total: any bytes are read or refused.
 */
#pragma once
#include "base/ip.h"

struct received_client {
    struct ip ip;
    struct str helo;    /* what the client called itself; "" when the field doesn't say */
    struct str name;    /* the client's name as the writing host looked it up; "" when it doesn't say */
    struct str by;      /* the writing host */
    bool authenticated; /* `with` says so: ESMTPA, ESMTPSA and the like (RFC 3848) */
};

/* No client at all: the writing host made the message itself ("by mx1 (Postfix, from userid 0) id 7", "by mx1
 * with local (Exim)", "(qmail 7 invoked by uid 0)"). "by mx1 with SMTP id 7" hides one. */
bool received_is_local(struct str value);

/* `value` is that of the field, folded or not. True: *ret is set, views into `arena`. False: the field names
 * no client address, or it isn't certain which one was seen: two addresses, two `from` or `by` or no `by` (a
 * client that may say anything in HELO could have written one of them). *ret is then untouched. */
bool received_client(struct arena *, struct str value, struct received_client *ret);
