/* milter_wire.h - the packets of Sendmail's milter protocol, version 6 (mfdef.h of libmilter). Pure.
 *
 *   packet = length (4 bytes, big-endian, of what follows) command (1 byte) data
 *
 * Numbers are big-endian, strings end with NUL. What a milter says is read strictly: a packet that is not
 * exactly what its command allows is no answer at all.
 */
#pragma once
#include "base/buf.h"
#include "base/outcome.h"

enum {
    MILTER_VERSION = 6,
    MILTER_CHUNK = 65535,         /* bytes of body in one packet */
    MILTER_PACKET_MAX = 1 << 20,  /* of an answer: far over what libmilter sends */
    MILTER_CHANGES_MAX = 10000,   /* changes of one message by one milter */
    MILTER_SYMBOLS_MAX = 4 << 10, /* bytes of one list of macros */
    MILTER_ADDRESS_MAX = 1000,    /* of an address, of its parameters, of a reason: we keep each */
};

/* What it is told, and says. */
enum milter_command {
    MILTER_ABORT = 'A',
    MILTER_BODY = 'B',
    MILTER_CONNECT = 'C',
    MILTER_MACRO = 'D',
    MILTER_END_OF_BODY = 'E',
    MILTER_HELO = 'H',
    MILTER_HEADER = 'L',
    MILTER_MAIL = 'M',
    MILTER_END_OF_HEADER = 'N',
    MILTER_NEGOTIATE = 'O',
    MILTER_QUIT = 'Q',
    MILTER_RCPT = 'R',
    MILTER_DATA = 'T',
};

/* What it may ask for at the end of the message (SMFIF_...). */
enum milter_action {
    MILTER_MAY_ADD_HEADERS = 0x001,
    MILTER_MAY_CHANGE_BODY = 0x002,
    MILTER_MAY_ADD_RCPT = 0x004,
    MILTER_MAY_DELETE_RCPT = 0x008,
    MILTER_MAY_CHANGE_HEADERS = 0x010,
    MILTER_MAY_QUARANTINE = 0x020,
    MILTER_MAY_CHANGE_FROM = 0x040,
    MILTER_MAY_ADD_RCPT_ARGS = 0x080,
    MILTER_MAY_SET_SYMBOLS = 0x100,
    MILTER_ACTIONS = 0x1ff,
};

/* What it wants not to be told, or does not answer (SMFIP_...). */
enum milter_step {
    MILTER_NO_CONNECT = 0x000001,
    MILTER_NO_HELO = 0x000002,
    MILTER_NO_MAIL = 0x000004,
    MILTER_NO_RCPT = 0x000008,
    MILTER_NO_BODY = 0x000010,
    MILTER_NO_HEADERS = 0x000020,
    MILTER_NO_END_OF_HEADER = 0x000040,
    MILTER_SILENT_HEADER = 0x000080,
    MILTER_NO_UNKNOWN = 0x000100,
    MILTER_NO_DATA = 0x000200,
    MILTER_CAN_SKIP = 0x000400,
    MILTER_WANTS_REFUSED_RCPT = 0x000800,
    MILTER_SILENT_CONNECT = 0x001000,
    MILTER_SILENT_HELO = 0x002000,
    MILTER_SILENT_MAIL = 0x004000,
    MILTER_SILENT_RCPT = 0x008000,
    MILTER_SILENT_DATA = 0x010000,
    MILTER_SILENT_UNKNOWN = 0x020000,
    MILTER_SILENT_END_OF_HEADER = 0x040000,
    MILTER_SILENT_BODY = 0x080000,
    MILTER_LEADING_SPACE = 0x100000,
    /* What we offer, as Postfix 3.7 does: all but larger chunks of the body. */
    MILTER_STEPS = 0x1fffff,
};

/* The stages, by the numbers of a list of macros (SMFIM_...). */
enum milter_stage {
    MILTER_AT_CONNECT,
    MILTER_AT_HELO,
    MILTER_AT_MAIL,
    MILTER_AT_RCPT,
    MILTER_AT_DATA,
    MILTER_AT_END,
    MILTER_AT_END_OF_HEADER,
    MILTER_STAGES,
};

/* What both sides agreed on. */
struct milter_options {
    uint32_t version, actions, steps;
    struct str symbols[MILTER_STAGES]; /* "i {auth_authen}"; at == NULL: it asked for none in particular */
};

/* ---- out ---- */

/* Our offer, whole. */
void milter_write_offer(struct buf *);
/* Begins a packet; returns the place that milter_packet_end wants. */
size_t milter_packet_begin(struct buf *, char command);
void milter_packet_end(struct buf *, size_t begun);
/* With its NUL; one inside ends it there. */
void milter_put_string(struct buf *, struct str);
void milter_put_u16(struct buf *, uint16_t);
void milter_put_u32(struct buf *, uint32_t);

/* ---- in ---- */

/* The answer to our offer (the data of MILTER_NEGOTIATE). NULL, or what is wrong with it (static text): a
 * version that is not 2 to 6, actions that we did not offer, a list that is malformed. Steps that
 * we did not offer, and those that its version does not know, count as not asked for. In `arena`. */
const char *milter_read_options(struct str data, struct arena *, struct milter_options *ret);

enum milter_answer_kind {
    MILTER_SAYS_CONTINUE,
    MILTER_SAYS_ACCEPT,
    MILTER_SAYS_REFUSE, /* ->reply: its own, or 550 5.7.1 and 451 4.7.1 for a plain reject and tempfail */
    MILTER_SAYS_DISCARD,
    MILTER_SAYS_SKIP,
    MILTER_SAYS_PROGRESS,
    /* Changes; only at the end of the message. */
    MILTER_SAYS_ADD_HEADER,    /* ->name, ->value */
    MILTER_SAYS_INSERT_HEADER, /* ->index, ->name, ->value */
    MILTER_SAYS_CHANGE_HEADER, /* the same; an empty value takes the field out */
    MILTER_SAYS_REPLACE_BODY,  /* ->value: the next piece */
    MILTER_SAYS_ADD_RCPT,      /* ->name: address; ->value: parameters of RCPT, or empty */
    MILTER_SAYS_DELETE_RCPT,   /* ->name */
    MILTER_SAYS_CHANGE_FROM,   /* ->name: address; ->value: parameters of MAIL, or empty */
    MILTER_SAYS_QUARANTINE,    /* ->value: why */
};

struct milter_answer {
    enum milter_answer_kind kind;
    uint32_t index; /* as sent: of INSERT_HEADER from 0, of CHANGE_HEADER from 1 */
    struct str name, value;
    struct outcome reply;
};

/* Reads one answer. NULL, or what is wrong with it (static text). Views look at `data`; the reply is in
 * `arena`. Names of fields are checked (RFC 5322 2.2); values and addresses are as sent. */
const char *milter_read_answer(char command, struct str data, struct arena *, struct milter_answer *ret);
/* Printable ASCII without the colon (RFC 5322 2.2), 255 bytes at most. */
bool milter_is_field_name(struct str);
/* What the milter must have asked for to send this (milter_action bits, any of them); 0: nothing. */
uint32_t milter_answer_needs(enum milter_answer_kind);

/* "550 5.7.1 text", "550-5.7.1 one\r\n550 5.7.1 two": codes of 4xx and 5xx that agree in all lines, and an
 * enhanced code of the same class (without one: 4.7.1 or 5.7.1). `%%` is one percent sign, as
 * libmilter's callers must write it. False: no reply. */
bool milter_read_reply(struct str text, struct arena *, struct outcome *ret);

#define MILTER_REFUSAL_LATER                                                                                 \
    ((struct outcome){OUTCOME_MESSAGE, OUTCOME_LATER, 451, STR("4.7.1"),                                     \
                      STR("Service unavailable - try again later"), false})
#define MILTER_REFUSAL_NEVER                                                                                 \
    ((struct outcome){OUTCOME_MESSAGE, OUTCOME_NEVER, 550, STR("5.7.1"), STR("Command rejected"), false})
