/* convert.h - 8-bit messages made 7-bit for receivers without 8BITMIME (RFC 6152 3).
 *
 * Parts with 8-bit bytes become quoted-printable and their fields say so;
 * multiparts and message/rfc822 are walked, everything else stays byte for byte.
 * Two passes over the same bytes, in chunks of any size: the first finds what
 * has to change, the second writes. Memory is bounded by the longest part header.
 * What can't be converted (554 5.6.3): raw 8-bit in a header, what is signed,
 * message/partial, 8-bit bytes in a part that claims base64 or an unknown
 * encoding, nesting over 32. Bytes over 127 outside of all parts (preamble,
 * epilogue) become '?'. Use: scan every chunk, scan_end; write every chunk, write_end.
 */
#pragma once
#include "base/buf.h"

struct convert;

struct convert *convert_new(void);
/* NULL is fine; returns NULL. */
struct convert *convert_free(struct convert *);

/* First pass. SLUICE_EDENIED when it can't be converted (convert_why says the reason), SLUICE_ETOOBIG for a
 * header over HEADER_BYTES_MAX. */
[[nodiscard]] int convert_scan(struct convert *, struct str chunk);
[[nodiscard]] int convert_scan_end(struct convert *);
/* After scan_end: is there anything to change? */
bool convert_needed(const struct convert *);

/* Second pass, over the same bytes: adds to `out`, which the caller empties when it likes. Output is 7-bit.
 */
[[nodiscard]] int convert_write(struct convert *, struct str chunk, struct buf *out);
[[nodiscard]] int convert_write_end(struct convert *, struct buf *out);

/* The second pass is made once more, from the start. */
void convert_again(struct convert *);

/* For people, after an error; "" before. Static text. */
const char *convert_why(const struct convert *);

/* Both passes over a message in memory. *ret_why (may be NULL) as convert_why. */
[[nodiscard]] int convert_message(struct str message, struct buf *out, const char **ret_why);
