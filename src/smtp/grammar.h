/* grammar.h - the commands of SMTP: verbs, paths, parameters (RFC 5321 4.1, 1870, 6152, 3461, 4954, 6531).
 *
 * Both sessions, server and client, take their syntax from here. Parsers take one
 * line without its CRLF; what they give are views into that line or copies in the arena.
 */
#pragma once
#include "base/buf.h"
#include "mail/address.h"
#include "smtp/reply.h"

/* RFC 5321 4.5.3.1, and what the extensions add (RFC 3461 4.2: ORCPT 500, 4954 4.3: 12,288). */
enum {
    SMTP_COMMAND_MAX = 2048,    /* octets of a command with its CRLF */
    SMTP_AUTH_LINE_MAX = 12288, /* octets of a line of AUTH */
    SMTP_ENVID_MAX = 100,
    SMTP_ORCPT_MAX = 500,
};

/* What must be true before a verb is carried out; checked in one place, in this order. */
enum smtp_verb_flags {
    SMTP_NEEDS_NO_ARGUMENT = 1 << 0, /* 501 5.5.4 with one */
    SMTP_NEEDS_TLS = 1 << 1,         /* where TLS is required: 530 5.7.0 */
    SMTP_NEEDS_HELLO = 1 << 2,       /* 503 5.5.1 */
    SMTP_NEEDS_EHLO = 1 << 3,        /* 503 5.5.1 after HELO too */
    SMTP_NEEDS_AUTH = 1 << 4,        /* where AUTH is required: 530 5.7.0 */
    SMTP_NEEDS_MAIL = 1 << 5,        /* 503 5.5.1 */
    SMTP_NEEDS_NO_MAIL = 1 << 6,     /* 503 5.5.1 within a transaction */
    SMTP_NOT_IMPLEMENTED = 1 << 7,   /* 502 5.5.1 */
};

/* name, flags, syntax. HELP, EHLO and the server's handlers derive from it. */
#define SMTP_VERBS(X)                                                                                        \
    X(EHLO, 0, "EHLO host")                                                                                  \
    X(HELO, 0, "HELO host")                                                                                  \
    X(STARTTLS, SMTP_NEEDS_NO_ARGUMENT | SMTP_NEEDS_EHLO, "STARTTLS")                                        \
    X(AUTH, SMTP_NEEDS_EHLO | SMTP_NEEDS_NO_MAIL, "AUTH mechanism [initial-response]")                       \
    X(MAIL, SMTP_NEEDS_TLS | SMTP_NEEDS_HELLO | SMTP_NEEDS_AUTH | SMTP_NEEDS_NO_MAIL,                        \
      "MAIL FROM:<address> [parameters]")                                                                    \
    X(RCPT, SMTP_NEEDS_TLS | SMTP_NEEDS_HELLO | SMTP_NEEDS_AUTH | SMTP_NEEDS_MAIL,                           \
      "RCPT TO:<address> [parameters]")                                                                      \
    X(DATA, SMTP_NEEDS_NO_ARGUMENT | SMTP_NEEDS_TLS | SMTP_NEEDS_HELLO | SMTP_NEEDS_AUTH | SMTP_NEEDS_MAIL,  \
      "DATA")                                                                                                \
    X(RSET, SMTP_NEEDS_NO_ARGUMENT | SMTP_NEEDS_TLS, "RSET")                                                 \
    X(XFORWARD, SMTP_NEEDS_TLS | SMTP_NEEDS_EHLO | SMTP_NEEDS_NO_MAIL, "XFORWARD attribute=value...")        \
    X(NOOP, 0, "NOOP [text]")                                                                                \
    X(VRFY, SMTP_NEEDS_TLS | SMTP_NEEDS_AUTH, "VRFY address")                                                \
    X(EXPN, SMTP_NOT_IMPLEMENTED, "EXPN list")                                                               \
    X(HELP, SMTP_NEEDS_TLS, "HELP [verb]")                                                                   \
    X(QUIT, SMTP_NEEDS_NO_ARGUMENT, "QUIT")

enum smtp_verb {
#define X(name, flags, syntax) SMTP_##name,
    SMTP_VERBS(X)
#undef X
        SMTP_VERB_COUNT,
    SMTP_UNKNOWN = SMTP_VERB_COUNT,
};

struct smtp_verb_entry {
    struct str name;
    unsigned flags;
    struct str syntax;
};
extern const struct smtp_verb_entry smtp_verbs[SMTP_VERB_COUNT];

/* The extensions of EHLO that we know, on both sides. */
#define SMTP_EXTENSIONS(X)                                                                                   \
    X(PIPELINING, 0)                                                                                         \
    X(SIZE, 1)                                                                                               \
    X(STARTTLS, 2)                                                                                           \
    X(AUTH, 3)                                                                                               \
    X(ENHANCEDSTATUSCODES, 4)                                                                                \
    X(8BITMIME, 5)                                                                                           \
    X(DSN, 6)                                                                                                \
    X(SMTPUTF8, 7)                                                                                           \
    X(CHUNKING, 8)                                                                                           \
    X(XFORWARD, 9)

enum smtp_extension {
#define X(name, bit) SMTP_EXTENSION_##name = 1 << (bit),
    SMTP_EXTENSIONS(X)
#undef X
};

/* The bit of an EHLO keyword (any case), 0 when unknown; and its name. */
unsigned smtp_extension_of(struct str keyword);
struct str smtp_extension_name(enum smtp_extension);

struct smtp_command {
    enum smtp_verb verb;
    struct str name;     /* the verb as sent */
    struct str argument; /* after the spaces behind it; without spaces at its end */
};

/* A line into verb and argument. The reply has code 0 when it is fine, else it is the refusal: 500 5.5.2 for
 * control bytes (NUL, bare CR) or 8-bit in the verb, 501 5.5.4 for text that is not UTF-8 behind it. */
struct smtp_reply smtp_command_parse(struct str line, struct smtp_command *ret);

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };
enum smtp_notify {
    SMTP_NOTIFY_NEVER = 1,
    SMTP_NOTIFY_SUCCESS = 2,
    SMTP_NOTIFY_FAILURE = 4,
    SMTP_NOTIFY_DELAY = 8
};

struct smtp_mail {
    struct address reverse_path; /* whole is empty for <> */
    enum smtp_body body;         /* 7BIT when not given */
    bool smtputf8;
    bool has_size;
    uint64_t size; /* octets, as the client declares them */
    enum smtp_ret ret;
    struct str envid; /* decoded; at == NULL: not given */
    struct str auth;  /* decoded; at == NULL: not given; "<>": unknown (RFC 4954 5) */
};

struct smtp_rcpt {
    struct address forward_path; /* domain is empty for "postmaster" alone (RFC 5321 4.5.1) */
    unsigned notify;             /* bits of smtp_notify; 0: not given */
    struct str orcpt;            /* "rfc822;user@domain", the address decoded; at == NULL: not given */
};

/* The argument of MAIL or RCPT. `offered`: the extensions whose parameters are allowed (others: 555 5.5.4).
 * A reply with code 0: fine. Else the refusal: 501 5.5.4 syntax, 501 5.1.7 or 5.1.3 bad address, 553 5.6.7
 * UTF-8 without SMTPUTF8. */
struct smtp_reply smtp_mail_parse(struct str argument, unsigned offered, struct arena *,
                                  struct smtp_mail *ret);
struct smtp_reply smtp_rcpt_parse(struct str argument, unsigned offered, bool smtputf8, struct arena *,
                                  struct smtp_rcpt *ret);

/* Appends "MAIL FROM:<...> ..." CRLF, with parameters only of extensions in `offered`. INVALID: the path
 * holds bytes that can't be sent (control bytes, spaces outside quotes, '<', '>'), or UTF-8 without SMTPUTF8.
 */
[[nodiscard]] int smtp_mail_write(struct buf *, const struct smtp_mail *, unsigned offered);
[[nodiscard]] int smtp_rcpt_write(struct buf *, const struct smtp_rcpt *, unsigned offered, bool smtputf8);

/* xtext (RFC 3461 4). Decoding: false when malformed. */
bool smtp_xtext_decode(struct arena *, struct str text, struct str *ret);
void smtp_xtext_encode(struct buf *, struct str text);

/* base64 (RFC 4648 4), as AUTH needs it: strict, with padding. False when malformed. */
bool smtp_base64_decode(struct arena *, struct str text, struct str *ret);
void smtp_base64_encode(struct buf *, struct str bytes);
