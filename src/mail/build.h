/* build.h - writing header fields of our own: Message-ID, encoded words, what a submission lacks.
 */
#pragma once
#include "mail/header.h"

/* Writes "Name: text" with CRLF, folded; text of UTF-8 becomes encoded words (RFC 2047) where it must. */
void header_write_text(struct buf *, struct str name, struct str utf8_text);

/* The text of an unstructured value with its encoded words decoded, when they are UTF-8, US-ASCII or
 * ISO-8859-1 (RFC 2047); others stay as they are. Unfolded; control bytes become blanks. For trace and
 * people. */
struct str header_decode_text(struct arena *, struct str value);

/* "<trace-id@domain>" (RFC 5322 3.6.4). */
struct str message_id_of(struct arena *, struct str trace_id, struct str domain);

/* What a submission lacks (RFC 6409 8.1-8.3, RFC 5322 3.6). */
struct submission_lacks {
    bool date, message_id, from;
};
struct submission_lacks submission_lacks(const struct header *);

struct submission_facts {
    struct str trace_id;
    struct str domain; /* the sender's, or this node's: right side of a new Message-ID */
    struct str from;   /* the authenticated user's address, wire form; "" writes no From */
    int64_t wall_ms;
};
/* Writes the fields that are lacking, to stand in front of the message. */
void submission_complete(struct buf *, struct submission_lacks, const struct submission_facts *);
