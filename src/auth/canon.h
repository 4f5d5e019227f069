/* canon.h - the canonical forms of a message that DKIM and ARC sign (RFC 6376 3.4).
 *
 * Total: any bytes have a form. A body's lines end with CRLF; a lone CR or LF is an ordinary octet of its
 * line.
 */
#pragma once
#include "mail/header.h"

enum canon { CANON_SIMPLE, CANON_RELAXED };

/* Appends a whole field with its CRLF. */
void canon_field(struct buf *, enum canon, const struct header_field *);

/* Appends a signature's own field as it is signed: the `hole` (a view into field->value: the value of its b=
 * with the blanks around it) left out, and without the last CRLF (3.7). */
void canon_signature_field(struct buf *, enum canon, const struct header_field *, struct str hole);

/* A body on its way through. Zero-initialise, then set mode, sink and to. */
struct canon_body {
    enum canon mode;
    void (*sink)(void *to, struct str bytes);
    void *to;
    uint64_t line_ends; /* seen, and not yet known to be followed by more than empty lines */
    bool blank, cr;     /* seen likewise */
    bool any;           /* something went to the sink */
};

/* Cut anywhere: the sink sees the same bytes. */
void canon_body_feed(struct canon_body *, struct str bytes);
void canon_body_end(struct canon_body *);
