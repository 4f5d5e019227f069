/* data.h - the text after DATA: dot-stuffing out and in (RFC 5321 4.5.2).
 *
 * Only CRLF ends a line and only CRLF.CRLF ends the data. A CR without LF, a LF without
 * CR and a NUL are defects: the decoder notes them (the message is refused after it was read to
 * its end), the encoder refuses to send them. So no other reading of line ends, by whatever server comes
 * next, finds an end of data that we did not see. Long lines and 8-bit text pass unchanged.
 */
#pragma once
#include "base/error.h"
#include "base/str.h"

enum smtp_data_state {
    SMTP_DATA_LINE_START,
    SMTP_DATA_DOT,
    SMTP_DATA_DOT_CR,
    SMTP_DATA_TEXT,
    SMTP_DATA_TEXT_CR
};

/* Zero-initialise for each message. */
struct smtp_data_decoder {
    enum smtp_data_state state;
    bool ended, bare_cr, bare_lf, nul;
    uint64_t size; /* octets of message given out */
};

static inline bool smtp_data_defective(const struct smtp_data_decoder *d) {
    return d->bare_cr || d->bare_lf || d->nul;
}

/* Takes the front of `input`, gives in *ret_text the part of the message in it (a view into `input`, perhaps
 * empty), and returns how many octets of `input` it used. Call again with the rest until the input is used
 * or ->ended: what follows then is not part of the message. After a defect the text is no longer exact. */
size_t smtp_data_decode(struct smtp_data_decoder *, struct str input, struct str *ret_text);

/* Zero-initialise for each message. */
struct smtp_data_encoder {
    bool in_line; /* something stands before the next octet on its line */
    bool held_cr; /* the last octet was a CR, not yet given out */
};

/* Takes the front of *rest and gives in *ret_piece what to send for it: a view into the input, or a constant.
 * Loop while rest->len > 0. SYNTAX: a bare CR, bare LF or NUL comes next; nothing of it was given out. The
 * connection must then be closed without a final dot. */
[[nodiscard]] int smtp_data_encode(struct smtp_data_encoder *, struct str *rest, struct str *ret_piece);

/* The end: ".\r\n", and before it the CRLF when the last line had none. SYNTAX: the text ends in a bare CR.
 */
[[nodiscard]] int smtp_data_encode_end(struct smtp_data_encoder *, struct str *ret_piece);
