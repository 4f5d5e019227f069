/* Whole sessions as text: what the client says, what it hears, what the hooks were asked. All over memory,
 * where the client's words are there at once: every dialogue is also a test of pipelining. */
#include "cmocka_setup.h"
#include "recorder.h"

#define GREETING "220 mx.example ESMTP\r\n"
#define EHLO_REPLY                                                                                           \
    "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 100\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n"        \
    "250-DSN\r\n250 SMTPUTF8\r\n"
#define EHLO_AUTH_REPLY                                                                                      \
    "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 100\r\n250-AUTH PLAIN LOGIN\r\n"                           \
    "250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n"
#define BYE "221 2.0.0 Bye\r\n"
#define MAIL_OK "250 2.1.0 Ok\r\n"
#define RCPT_OK "250 2.1.5 Ok\r\n"
#define GO "354 End data with <CR><LF>.<CR><LF>\r\n"
#define ACCEPTED "250 2.0.0 Accepted X\r\n"
#define EHLO_XFORWARD_REPLY                                                                                  \
    "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 100\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n"        \
    "250-DSN\r\n250-SMTPUTF8\r\n250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n"
#define XFORWARD_OK "250 2.0.0 Ok\r\n"
#define START "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
#define START_REPLY GREETING EHLO_REPLY MAIL_OK RCPT_OK
#define BARE_LF "550 5.6.11 The message contains a bare LF; lines must end with CRLF\r\n"
#define BARE_CR "550 5.6.11 The message contains a bare CR; lines must end with CRLF\r\n"

struct dialogue {
    const char *name;
    struct str in;
    const char *out;
    const char *calls; /* NULL: not compared */
    const char *body;
    enum smtp_server_tls tls;
    enum smtp_server_auth auth;
    unsigned max_recipients, max_commands, max_errors;
    int stop_at;
    bool refuse_connect;
    const char *xforward; /* who may; the peer is 192.0.2.9 */
    int error;            /* CLOSED where the input ends without QUIT */
};

static const struct dialogue dialogues[] = {
    {"one message", STR(START "DATA\r\nSubject: x\r\n\r\n..hi\r\n.\r\nQUIT\r\n"), START_REPLY GO ACCEPTED BYE,
     .calls = "helo c.example\nmail a@b.example\nrcpt c@d.example\nmessage 19 of 1 to 1 by ESMTP\n",
     .body = "Subject: x\r\n\r\n.hi\r\n"},
    {"two messages",
     STR(START "DATA\r\na\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<e@f.example>\r\nRCPT TO:<g@h.example>\r\n"
               "DATA\r\n.\r\nQUIT\r\n"),
     START_REPLY GO ACCEPTED MAIL_OK RCPT_OK RCPT_OK GO ACCEPTED BYE,
     .calls = "helo c.example\nmail a@b.example\nrcpt c@d.example\nmessage 3 of 1 to 1 by ESMTP\nmail\n"
              "rcpt e@f.example\nrcpt g@h.example\nmessage 0 of 2 to 2 by ESMTP\n",
     .body = "a\r\n"},
    {"HELO", STR("HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<postmaster>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"),
     GREETING "250 mx.example\r\n" MAIL_OK RCPT_OK GO ACCEPTED BYE,
     .calls = "helo c\nmail a@b.example\nrcpt postmaster\nmessage 3 of 1 to 1 by SMTP\n", .body = "x\r\n"},
    {"HELO has no parameters", STR("HELO c\r\nMAIL FROM:<a@b.example> SIZE=1\r\nAUTH PLAIN\r\nQUIT\r\n"),
     GREETING "250 mx.example\r\n555 5.5.4 Unknown parameter\r\n503 5.5.1 Send EHLO first, not HELO\r\n" BYE},
    {"UTF8SMTP",
     STR("EHLO c.example\r\nMAIL FROM:<\xc3\xa4@b.example> SMTPUTF8\r\nRCPT TO:<\xc3\xb6@d.example>\r\n"
         "DATA\r\n.\r\nQUIT\r\n"),
     START_REPLY GO ACCEPTED BYE,
     .calls = "helo c.example\nmail \xc3\xa4@b.example\nrcpt \xc3\xb6@d.example\nmessage 0 of 1 to 1 by "
              "UTF8SMTP\n"},
    {"UTF-8 without the parameter",
     STR("EHLO c.example\r\nMAIL FROM:<\xc3\xa4@b.example>\r\nMAIL FROM:<>\r\n"
         "RCPT TO:<\xc3\xb6@d.example>\r\nQUIT\r\n"),
     GREETING EHLO_REPLY "553 5.6.7 An address with non-ASCII characters needs SMTPUTF8\r\n" MAIL_OK
                         "553 5.6.7 An address with non-ASCII characters needs SMTPUTF8\r\n" BYE},
    {"small verbs",
     STR("NOOP\r\nNOOP with words\r\nVRFY a\r\nVRFY\r\nEXPN a\r\nHELP mail\r\nHELP x\r\nRSET\r\nRSET x\r\n"
         "quit\r\nNOOP\r\n"),
     GREETING
     "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n252 2.0.0 Cannot verify, but will take mail and try to deliver it\r\n"
     "501 5.5.4 Syntax: VRFY address\r\n502 5.5.1 This command is not supported\r\n"
     "214 2.0.0 Syntax: MAIL FROM:<address> [parameters]\r\n504 5.5.4 No help on that\r\n250 2.0.0 Ok\r\n"
     "501 5.5.4 This command takes no argument\r\n" BYE},
    {"HELP", STR("HELP\r\nQUIT\r\n"),
     GREETING "214 2.0.0 Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY HELP QUIT\r\n" BYE},
    {"unknown and malformed",
     STR("FOO\r\n\r\nN\xc3\xb6\r\nNOOP \xff\r\nNO\0OP\r\nNOOP \rx\r\nEHLO\r\nEHLO a b\r\nQUIT\r\n"),
     GREETING "500 5.5.1 Command not recognized\r\n500 5.5.2 A command was expected\r\n"
              "500 5.5.2 8-bit bytes are not allowed in a command\r\n"
              "501 5.5.4 The command's argument is neither ASCII nor UTF-8\r\n"
              "500 5.5.2 Control bytes are not allowed in a command; lines end with CRLF\r\n"
              "500 5.5.2 Control bytes are not allowed in a command; lines end with CRLF\r\n"
              "501 5.5.4 Syntax: EHLO host\r\n501 5.5.4 Syntax: EHLO host\r\n" BYE},
    {"out of sequence",
     STR("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nEHLO c.example\r\nRCPT TO:<c@d.example>\r\n"
         "MAIL FROM:<a@b.example>\r\nMAIL FROM:<a@b.example>\r\nAUTH PLAIN\r\nRSET\r\nRCPT "
         "TO:<c@d.example>\r\nQUIT\r\n"),
     GREETING "503 5.5.1 Send EHLO first\r\n503 5.5.1 Send EHLO first\r\n" EHLO_REPLY
              "503 5.5.1 Send MAIL first\r\n" MAIL_OK
              "503 5.5.1 Not within a transaction; send RSET first\r\n"
              "503 5.5.1 Not within a transaction; send RSET first\r\n250 2.0.0 Ok\r\n503 5.5.1 Send MAIL "
              "first\r\n" BYE},
    {"DATA without MAIL", STR("EHLO c.example\r\nDATA\r\n"),
     GREETING EHLO_REPLY "503 5.5.1 Send MAIL first\r\n", .error = SLUICE_ECLOSED},
    {"the message of a refused DATA is never a command",
     STR("EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<nobody@d.example>\r\nDATA\r\nRCPT "
         "TO:<x@y.example>\r\n"),
     GREETING EHLO_REPLY MAIL_OK "550 5.1.1 No such user\r\n554 5.5.1 No valid recipients\r\n"
                                 "421 4.7.0 The message may only follow a 354 reply\r\n",
     .calls = "helo c.example\nmail a@b.example\nrcpt nobody@d.example\nrefused 554 DATA\nrefused 421 "
              "DATA\nreset\n"},
    {"hooks refuse",
     STR("EHLO bad.example\r\nMAIL FROM:<>\r\nEHLO c.example\r\nMAIL FROM:<nobody@b.example>\r\n"
         "MAIL FROM:<later@b.example>\r\nMAIL FROM:<nodata@b.example>\r\nRCPT TO:<nobody@d.example>\r\n"
         "RCPT TO:<c@d.example>\r\nDATA\r\n"),
     GREETING "550 5.7.1 Not you\r\n503 5.5.1 Send EHLO first\r\n" EHLO_REPLY
              "550 5.1.1 No such user\r\n451 4.3.0 Later\r\n" MAIL_OK "550 5.1.1 No such user\r\n" RCPT_OK
              "451 4.3.0 Not now\r\n",
     .calls =
         "helo bad.example\nrefused 503 MAIL\nhelo c.example\nmail nobody@b.example\nmail later@b.example\n"
         "mail nodata@b.example\nrcpt nobody@d.example\nrcpt c@d.example\nreset\n",
     .error = SLUICE_ECLOSED},
    {"a hook that answers 421",
     STR("EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<close@d.example>\r\nNOOP\r\n"),
     GREETING EHLO_REPLY MAIL_OK "421 4.3.2 Closing\r\n"},
    {"connection refused", STR("QUIT\r\n"), "554 5.7.1 No\r\n", .refuse_connect = true},
    {"data_end without an answer is no 250",
     STR("EHLO c.example\r\nMAIL FROM:<zero@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n.\r\nQUIT\r\n"),
     START_REPLY GO "451 4.3.0 The message could not be stored\r\n" BYE},
    {"data_bytes wants no more",
     STR("EHLO c.example\r\nMAIL FROM:<full@b.example>\r\nRCPT "
         "TO:<c@d.example>\r\nDATA\r\na\r\n..b\r\n.\r\nQUIT\r\n"),
     START_REPLY GO "452 4.3.1 Full\r\n" BYE, .body = "a\r\n"},
    {"SIZE too big", STR("EHLO c.example\r\nMAIL FROM:<> SIZE=101\r\nMAIL FROM:<> SIZE=100\r\nQUIT\r\n"),
     GREETING EHLO_REPLY "552 5.3.4 The message is larger than this server accepts\r\n" MAIL_OK BYE,
     .calls = "helo c.example\nrefused 552 MAIL\nmail\nreset\n"},
    {"message too big",
     STR(START "DATA\r\n0123456789012345678901234567890123456789012345678901234567890123456789\r\n"
               "0123456789012345678901234567890123456789\r\n.\r\nQUIT\r\n"),
     START_REPLY GO "552 5.3.4 The message is larger than this server accepts\r\n" BYE,
     .calls = "helo c.example\nmail a@b.example\nrcpt c@d.example\nrefused 552 DATA\nreset\n"},
    {"bare LF", STR(START "DATA\r\na\nb\r\n.\r\nQUIT\r\n"), START_REPLY GO BARE_LF BYE},
    {"bare CR", STR(START "DATA\r\na\rb\r\n.\r\nQUIT\r\n"), START_REPLY GO BARE_CR BYE},
    {"smuggling", STR(START "DATA\r\na\n.\r\nMAIL FROM:<x@y.example>\r\n.\r\nQUIT\r\n"),
     START_REPLY GO BARE_LF BYE},
    {"NUL", STR(START "DATA\r\na\0b\r\n.\r\nQUIT\r\n"),
     START_REPLY GO "550 5.6.0 The message contains NUL bytes\r\n" BYE},
    {"lost in the data", STR(START "DATA\r\na\r\n.\r"), START_REPLY GO,
     .calls = "helo c.example\nmail a@b.example\nrcpt c@d.example\nreset\n", .error = SLUICE_ECLOSED},
    {"lost in the envelope", STR(START), START_REPLY, .error = SLUICE_ECLOSED},
    {"EHLO resets", STR(START "EHLO d.example\r\nRCPT TO:<c@d.example>\r\nQUIT\r\n"),
     START_REPLY EHLO_REPLY "503 5.5.1 Send MAIL first\r\n" BYE},
    {"too many recipients",
     STR(START "RCPT TO:<e@f.example>\r\nRCPT TO:<g@h.example>\r\nDATA\r\n.\r\nQUIT\r\n"),
     START_REPLY RCPT_OK "452 4.5.3 Too many recipients\r\n" GO ACCEPTED BYE, .max_recipients = 2},
    {"too many errors", STR("A\r\nB\r\nC\r\nD\r\n"),
     GREETING
     "500 5.5.1 Command not recognized\r\n500 5.5.1 Command not recognized\r\n421 4.7.0 Too many errors\r\n",
     .max_errors = 2},
    {"a message forgives errors", STR("A\r\n" START "DATA\r\n.\r\nB\r\nQUIT\r\n"),
     GREETING "500 5.5.1 Command not recognized\r\n" EHLO_REPLY MAIL_OK RCPT_OK GO ACCEPTED
              "500 5.5.1 Command not recognized\r\n" BYE,
     .max_errors = 2},
    {"too many commands", STR("NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n"),
     GREETING
     "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n421 4.7.0 Too many commands without a message\r\n",
     .max_commands = 3},
    {"bare LF in a command", STR("NOOP\nMAIL FROM:<>\r\n"),
     GREETING "500 5.5.2 Lines must end with CRLF; closing the connection\r\n"},
    {"a chunk is never a command", STR("EHLO c.example\r\nMAIL FROM:<>\r\nBDAT 14 LAST\r\nRSET\r\n"),
     GREETING EHLO_REPLY MAIL_OK "502 5.5.1 CHUNKING is not offered\r\n"},
    {"a browser", STR("POST / HTTP/1.1\r\nHost: x\r\n"), GREETING "421 4.7.0 This is an SMTP server\r\n"},
    {"shutdown at once", STR("NOOP\r\n"), GREETING "421 4.3.2 Shutting down, try again later\r\n",
     .stop_at = 1},
    {"shutdown between commands", STR("NOOP\r\nNOOP\r\n"),
     GREETING "250 2.0.0 Ok\r\n421 4.3.2 Shutting down, try again later\r\n", .stop_at = 3},
    {"a message is finished first", STR(START "DATA\r\n.\r\nNOOP\r\n"),
     START_REPLY GO ACCEPTED "421 4.3.2 Shutting down, try again later\r\n", .stop_at = 9},
    {"STARTTLS not offered", STR("EHLO c.example\r\nSTARTTLS\r\nQUIT\r\n"),
     GREETING EHLO_REPLY "502 5.5.1 STARTTLS is not offered here\r\n" BYE},
    {"TLS required",
     STR("EHLO c.example\r\nMAIL FROM:<>\r\nRSET\r\nVRFY a\r\nNOOP\r\nAUTH PLAIN AHUAcA==\r\nQUIT\r\n"),
     GREETING EHLO_REPLY "530 5.7.0 Must issue a STARTTLS command first\r\n"
                         "530 5.7.0 Must issue a STARTTLS command first\r\n"
                         "530 5.7.0 Must issue a STARTTLS command first\r\n250 2.0.0 Ok\r\n"
                         "538 5.7.11 Encryption required for authentication; issue STARTTLS first\r\n" BYE,
     .tls = SMTP_TLS_REQUIRED, .auth = SMTP_AUTH_REQUIRED},
    {"AUTH required", STR("EHLO c.example\r\nMAIL FROM:<>\r\nDATA\r\n"),
     GREETING EHLO_AUTH_REPLY "530 5.7.0 Authentication required\r\n530 5.7.0 Authentication required\r\n",
     .auth = SMTP_AUTH_REQUIRED, .error = SLUICE_ECLOSED},
    {"AUTH PLAIN with an initial response",
     STR("EHLO c.example\r\nAUTH PLAIN AHUAcA==\r\nMAIL FROM:<> AUTH=<>\r\nRCPT "
         "TO:<c@d.example>\r\nDATA\r\n.\r\n"
         "AUTH PLAIN AHUAcA==\r\nQUIT\r\n"),
     GREETING EHLO_AUTH_REPLY "235 2.7.0 Authenticated\r\n" MAIL_OK RCPT_OK GO ACCEPTED
                              "503 5.5.1 Already authenticated\r\n" BYE,
     .calls =
         "helo c.example\nauth u\nmail\nrcpt c@d.example\nmessage 0 of 1 to 1 by ESMTPA\nrefused 503 AUTH\n",
     .auth = SMTP_AUTH_REQUIRED},
    {"AUTH PLAIN with a challenge", STR("EHLO c.example\r\nauth plain\r\nAHUAcA==\r\nQUIT\r\n"),
     GREETING EHLO_AUTH_REPLY "334 \r\n235 2.7.0 Authenticated\r\n" BYE, .auth = SMTP_AUTH_OPTIONAL},
    {"AUTH LOGIN", STR("EHLO c.example\r\nAUTH LOGIN\r\ndQ==\r\ncA==\r\nQUIT\r\n"),
     GREETING EHLO_AUTH_REPLY "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 2.7.0 Authenticated\r\n" BYE,
     .auth = SMTP_AUTH_OPTIONAL},
    {"AUTH LOGIN with the user", STR("EHLO c.example\r\nAUTH LOGIN dQ==\r\ncA==\r\nQUIT\r\n"),
     GREETING EHLO_AUTH_REPLY "334 UGFzc3dvcmQ6\r\n235 2.7.0 Authenticated\r\n" BYE,
     .auth = SMTP_AUTH_OPTIONAL},
    {"AUTH, what goes wrong",
     STR("EHLO c.example\r\nAUTH\r\nAUTH CRAM-MD5\r\nAUTH PLAIN\r\n*\r\nAUTH PLAIN ?\r\nAUTH PLAIN =\r\n"
         "AUTH PLAIN AHQAcA==\r\nAUTH PLAIN eAB1AHA=\r\nAUTH PLAIN dQBwAHgAeQ==\r\nAUTH "
         "LOGIN\r\n?\r\nQUIT\r\n"),
     GREETING EHLO_AUTH_REPLY
     "501 5.5.4 Syntax: AUTH mechanism [initial-response]\r\n504 5.5.4 Unknown mechanism; PLAIN and LOGIN "
     "are offered\r\n"
     "334 \r\n501 5.7.0 Authentication cancelled\r\n501 5.5.2 Not base64\r\n501 5.5.2 Malformed PLAIN "
     "message\r\n"
     "454 4.7.0 Temporary authentication failure\r\n535 5.7.8 Acting for another user is not allowed\r\n"
     "535 5.7.8 Acting for another user is not allowed\r\n334 VXNlcm5hbWU6\r\n501 5.5.2 Not base64\r\n" BYE,
     .auth = SMTP_AUTH_OPTIONAL},
    {"AUTH, too many tries",
     STR("EHLO c.example\r\nAUTH PLAIN AHUAeA==\r\nAUTH PLAIN AHUAeA==\r\nAUTH PLAIN AHUAeA==\r\nAUTH PLAIN "
         "AHUAcA==\r\n"),
     GREETING EHLO_AUTH_REPLY "535 5.7.8 Authentication failed\r\n535 5.7.8 Authentication failed\r\n"
                              "421 4.7.0 Too many failed authentications\r\n",
     .auth = SMTP_AUTH_OPTIONAL},
    {"XFORWARD",
     STR("EHLO c.example\r\nXFORWARD NAME=spike.example ADDR=168.100.189.2 PORT=4711 PROTO=ESMTP\r\n"
         "xforward helo=[10.0.0.1] ident=4F+2B2 source=remote\r\nMAIL FROM:<a@b.example>\r\nRCPT "
         "TO:<c@d.example>\r\n"
         "DATA\r\n.\r\nMAIL FROM:<>\r\nRSET\r\n"
         "XFORWARD ADDR=IPV6:2001:db8::1 NAME=[unavailable]\r\nMAIL FROM:<>\r\nQUIT\r\n"),
     GREETING EHLO_XFORWARD_REPLY XFORWARD_OK XFORWARD_OK MAIL_OK RCPT_OK GO ACCEPTED MAIL_OK XFORWARD_OK
         XFORWARD_OK MAIL_OK BYE,
     .calls =
         "helo c.example\nmail a@b.example\nfor spike.example 168.100.189.2 4711 ESMTP [10.0.0.1] 4F+2 "
         "REMOTE\n"
         "rcpt c@d.example\nmessage 0 of 1 to 1 by ESMTP\nmail\nreset\nmail\nfor  2001:db8::1 0    \nreset\n",
     .xforward = "192.0.2.0/24"},
    {"XFORWARD, what ends it",
     STR("EHLO c.example\r\nXFORWARD NAME=a\r\nRSET\r\nMAIL FROM:<>\r\nRSET\r\nXFORWARD NAME=a\r\nEHLO "
         "c.example\r\nMAIL FROM:<>\r\n"
         "RSET\r\nXFORWARD NAME=a\r\nMAIL FROM:<nobody@b.example>\r\nMAIL FROM:<>\r\nQUIT\r\n"),
     GREETING EHLO_XFORWARD_REPLY XFORWARD_OK XFORWARD_OK MAIL_OK XFORWARD_OK XFORWARD_OK EHLO_XFORWARD_REPLY
         MAIL_OK XFORWARD_OK XFORWARD_OK "550 5.1.1 No such user\r\n" MAIL_OK BYE,
     .calls = "helo c.example\nmail\nreset\nhelo c.example\nmail\nreset\nmail nobody@b.example\nfor a  0    "
              "\nmail\nreset\n",
     .xforward = "192.0.2.9"},
    {"XFORWARD adds and takes away",
     STR("EHLO c.example\r\nXFORWARD NAME=a HELO=b\r\nXFORWARD NAME=[UNAVAILABLE] PROTO=c\r\nXFORWARD "
         "ADDR=nothing HELO=d\r\nMAIL FROM:<>\r\nQUIT\r\n"),
     GREETING EHLO_XFORWARD_REPLY XFORWARD_OK XFORWARD_OK "501 5.5.4 Bad ADDR syntax\r\n" MAIL_OK BYE,
     .calls = "helo c.example\nrefused 501 XFORWARD\nmail\nfor   0 c b  \nreset\n", .xforward = "192.0.2.9"},
    {"XFORWARD out of place",
     STR("XFORWARD NAME=a\r\nHELO c\r\nXFORWARD NAME=a\r\nEHLO c.example\r\nMAIL FROM:<>\r\nXFORWARD "
         "NAME=a\r\nHELP XFORWARD\r\nQUIT\r\n"),
     GREETING "503 5.5.1 Send EHLO first\r\n250 mx.example\r\n503 5.5.1 Send EHLO first, not "
              "HELO\r\n" EHLO_XFORWARD_REPLY MAIL_OK
              "503 5.5.1 Not within a transaction; send RSET first\r\n214 2.0.0 Syntax: XFORWARD "
              "attribute=value...\r\n" BYE,
     .calls = "refused 503 XFORWARD\nhelo c\nrefused 503 XFORWARD\nhelo c.example\nmail\nrefused 503 "
              "XFORWARD\nreset\n",
     .xforward = "192.0.2.9"},
    {"XFORWARD from another peer",
     STR("EHLO c.example\r\nXFORWARD NAME=a\r\nHELP XFORWARD\r\nMAIL FROM:<>\r\nQUIT\r\n"),
     GREETING EHLO_REPLY
     "550 5.7.0 Error: insufficient authorization\r\n504 5.5.4 No help on that\r\n" MAIL_OK BYE,
     .calls = "helo c.example\nrefused 550 XFORWARD\nrefused 504 HELP\nmail\nreset\n",
     .xforward = "192.0.2.8"},
    {"XFORWARD for nobody", STR("EHLO c.example\r\nXFORWARD NAME=a\r\nQUIT\r\n"),
     GREETING EHLO_REPLY "550 5.7.0 Error: insufficient authorization\r\n" BYE},
    {"AUTH not offered", STR("EHLO c.example\r\nAUTH PLAIN\r\nQUIT\r\n"),
     GREETING EHLO_REPLY "503 5.5.1 Authentication is not offered here\r\n" BYE},
};

static struct smtp_server_settings settings_of(const struct dialogue *d) {
    struct smtp_server_settings s = smtp_server_defaults();
    s.hostname = STR("mx.example");
    s.max_size = 100;
    s.tls = d->tls;
    s.auth = d->auth;
    if (d->max_recipients)
        s.max_recipients = d->max_recipients;
    if (d->max_commands)
        s.max_commands = d->max_commands;
    if (d->max_errors)
        s.max_errors = d->max_errors;
    return s;
}

/* The stream with a peer's address, where that counts. */
static struct stream *told(const struct dialogue *d, struct stream *stream,
                           struct smtp_server_settings *settings, struct ip_range *range) {
    struct ip peer;
    if (!d->xforward)
        return stream;
    assert_int_equal(ip_range_parse(str_of(d->xforward), range), 0);
    settings->xforward = range;
    settings->xforward_count = 1;
    assert_true(ip_parse(STR("192.0.2.9"), &peer));
    stream_set_peer(stream, &peer, 4025);
    return stream;
}

static void play(const struct dialogue *d, size_t piece) {
    struct buf out = {0};
    struct recorder r = {.stop_at = d->stop_at, .refuse_connect = d->refuse_connect};
    struct smtp_server_settings settings = settings_of(d);
    struct ip_range range;
    struct stream *stream = told(d, stream_memory(d->in, &out), &settings, &range);
    if (piece)
        stream = stream_faulty(stream, SIZE_MAX, SIZE_MAX, piece, 0);
    smtp_serve(stream, &settings, &recorder_hooks, &r);
    if (!str_eq(buf_view(&out), str_of(d->out)))
        fail_msg("%s, in pieces of %zu, says\n%.*s", d->name, piece, STR_FMT(buf_view(&out)));
    if (d->calls && !str_eq(buf_view(&r.calls), str_of(d->calls)))
        fail_msg("%s calls\n%.*s", d->name, STR_FMT(buf_view(&r.calls)));
    if (d->body && !piece && !str_eq(buf_view(&r.body), str_of(d->body)))
        fail_msg("%s receives\n%.*s", d->name, STR_FMT(buf_view(&r.body)));
    if (r.error != d->error)
        fail_msg("%s ends with %d", d->name, r.error);
    assert_int_equal(r.open, 0);
    assert_int_equal(r.connected, 0);
    recorder_free(&r);
    buf_free(&out);
}

static void test_dialogues(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(dialogues); i++)
        play(&dialogues[i], 0);
}

/* What the client says comes octet by octet: all but what depends on bytes that are there too early. */
static void test_pieces(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(dialogues); i++)
        if (!strstr(dialogues[i].out, "may only follow"))
            for (size_t piece = 1; piece < 8; piece += 3)
                play(&dialogues[i], piece);
}

/* The stream fails after each octet read or written: the hooks stay in balance, nothing leaks. */
static void test_faults(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(dialogues); i++) {
        const struct dialogue *d = &dialogues[i];
        struct smtp_server_settings settings = settings_of(d);
        static const int errors[] = {SLUICE_ECLOSED, SLUICE_ETIMEOUT, SLUICE_ECANCELLED, SLUICE_EIO};
        for (size_t at = 0; at < d->in.len + strlen(d->out); at++) {
            bool reading = at < d->in.len;
            int error = errors[at % COUNT(errors)];
            struct buf out = {0};
            struct ip_range range;
            struct recorder r = {.stop_at = d->stop_at, .refuse_connect = d->refuse_connect};
            struct stream *stream =
                stream_faulty(told(d, stream_memory(d->in, &out), &settings, &range), reading ? at : SIZE_MAX,
                              reading ? SIZE_MAX : at - d->in.len, 0, error);
            smtp_serve(stream, &settings, &recorder_hooks, &r);
            assert_int_equal(r.open, 0);
            assert_int_equal(r.connected, 0);
            if (r.error != 0 && r.error != error)
                fail_msg("%s at %zu ends with %d", d->name, at, r.error);
            if (reading && error == SLUICE_ETIMEOUT && r.error == error)
                assert_true(str_ends(buf_view(&out), STR("421 4.4.2 Timeout, closing the connection\r\n")));
            if (reading && error == SLUICE_ECANCELLED && r.error == error)
                assert_true(str_ends(buf_view(&out), STR("421 4.3.2 Shutting down, try again later\r\n")));
            recorder_free(&r);
            buf_free(&out);
        }
    }
}

/* Serves `in` with default settings but max_size. */
static void serve(struct str in, uint64_t max_size, struct recorder *r, struct buf *out) {
    struct smtp_server_settings settings = smtp_server_defaults();
    settings.hostname = STR("mx.example");
    settings.max_size = max_size;
    smtp_serve(stream_memory(in, out), &settings, &recorder_hooks, r);
}

static void repeat(struct buf *b, const char *text, size_t count) {
    while (count--)
        buf_str(b, str_of(text));
}

static void test_long_lines(void **state) {
    (void)state;
    static const struct {
        size_t len;
        bool good;
    } cases[] = {{100, true}, {2046 - 5, true}, {2047 - 5, false}, {5000, false}, {200000, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf in = {0}, out = {0};
        struct recorder r = {0};
        buf_str(&in, STR("NOOP "));
        repeat(&in, "x", cases[i].len);
        buf_str(&in, STR("\r\nQUIT\r\n"));
        serve(buf_view(&in), 100, &r, &out);
        struct str expected = cases[i].good ? STR(GREETING "250 2.0.0 Ok\r\n" BYE)
                                            : STR(GREETING "500 5.5.2 Line too long\r\n" BYE);
        if (!str_eq(buf_view(&out), expected))
            fail_msg("%zu: %.*s", cases[i].len, STR_FMT(buf_view(&out)));
        recorder_free(&r);
        buf_free(&in);
        buf_free(&out);
    }
    /* One that never ends is not read for ever. */
    struct buf in = {0}, out = {0};
    struct recorder r = {0};
    repeat(&in, "0123456789abcdef", 1 << 17);
    serve(buf_view(&in), 100, &r, &out);
    assert_true(str_eq(buf_view(&out),
                       STR(GREETING "500 5.5.2 Lines must end with CRLF; closing the connection\r\n")));
    recorder_free(&r);
    buf_free(&in);
    buf_free(&out);
}

/* A body passes exactly as it is, whatever its lines; long ones too. */
static void test_big_body(void **state) {
    (void)state;
    struct buf in = {0}, out = {0}, body = {0};
    struct recorder r = {0};
    repeat(&body, "x\xff", 100000);
    buf_str(&body, STR("\r\n"));
    for (int i = 0; i < 3000; i++) {
        repeat(&body, "line ", (size_t)i % 40);
        buf_str(&body, STR("\r\n"));
    }
    buf_str(&in, STR(START "DATA\r\n"));
    buf_str(&in, buf_view(&body));
    buf_str(&in, STR(".\r\nQUIT\r\n"));
    serve(buf_view(&in), 25 << 20, &r, &out);
    assert_true(str_ends(buf_view(&out), STR(GO ACCEPTED BYE)));
    assert_true(str_eq(buf_view(&r.body), buf_view(&body)));
    recorder_free(&r);
    buf_free(&in);
    buf_free(&out);
    buf_free(&body);
}

/* Far over the limit we stop reading, say so and close. */
static void test_hopeless_body(void **state) {
    (void)state;
    struct buf in = {0}, out = {0};
    struct recorder r = {0};
    buf_str(&in, STR(START "DATA\r\n"));
    repeat(&in, "0123456789abcdef0123456789abcdef\r\n", 100000);
    buf_str(&in, STR(".\r\nQUIT\r\n"));
    serve(buf_view(&in), 1000, &r, &out);
    assert_true(
        str_ends(buf_view(&out), STR(GO "552 5.3.4 The message is larger than this server accepts\r\n")));
    assert_true(r.body.len <= 65536);
    recorder_free(&r);
    buf_free(&in);
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dialogues), cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_faults),    cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_big_body),  cmocka_unit_test(test_hopeless_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
