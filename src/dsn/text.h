/* text.h - the part of a report that people read. Private to this room. */
#pragma once
#include "dsn/dsn.h"

/* Writes the text, CRLF, UTF-8, lines of at most 76 columns where words allow. `subject` is decoded. */
void dsn_write_text(struct buf *, const struct dsn_facts *, struct str subject);

/* The Status of a recipient: its enhanced code, or 5.0.0 or 4.0.0. */
struct str dsn_status(const struct dsn_recipient *);
