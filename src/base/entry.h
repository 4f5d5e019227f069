/* entry.h - how the limits' journal and the patterns' snapshot frame what they hold: u32 CRC32C of all that
 * follows, u16 length of the body, u8 type, u8 zero, the body. Little-endian.
 */
#pragma once
#include "base/buf.h"

enum { ENTRY_HEADER = 8 };

/* What is added to the buffer in between is the body. */
size_t entry_begin(struct buf *, uint8_t type);
/* A body over 65,535 octets can't be framed: it is taken out again. */
void entry_end(struct buf *, size_t begun);

/* The size of the whole entry with which the bytes begin, 0 when there is none; the body is a view. */
size_t entry_read(struct str bytes, uint8_t *ret_type, struct str *ret_body);
