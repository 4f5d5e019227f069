#include "samples.h"

#define WHEN 1795309323000
#define PLAIN                                                                                                \
    "From: bob@a.example\r\nTo: eve@b.example\r\nSubject: Quarterly figures\r\nMessage-ID: "                 \
    "<m1@a.example>\r\n"                                                                                     \
    "\r\nHello\r\n"

static const struct dsn_recipient unknown[] = {
    {.final = STR("eve@b.example"),
     .original = STR("rfc822;Eve@b.example"),
     .outcome = {.fate = OUTCOME_NEVER,
                 .code = 550,
                 .enhanced = STR("5.1.1"),
                 .text = STR("<eve@b.example>: no such user here"),
                 .remote = true},
     .remote_mta = STR("mx1.b.example"),
     .last_attempt_ms = WHEN},
};
static const struct dsn_recipient several[] = {
    {.final = STR("eve@b.example"),
     .outcome = {.fate = OUTCOME_NEVER,
                 .code = 552,
                 .enhanced = STR("5.2.2"),
                 .text = STR("mailbox full"),
                 .remote = true},
     .remote_mta = STR("mx1.b.example")},
    {.final = STR("\"odd <>\"@c.example"),
     .outcome = {.fate = OUTCOME_LATER, .enhanced = STR("4.4.1"), .text = STR("connection timed out")}},
    {.final = STR("ann@d.example"),
     .action = DSN_DELAYED,
     .outcome = {.fate = OUTCOME_LATER, .code = 451, .text = STR("greylisted"), .remote = true},
     .remote_mta = STR("mx.d.example"),
     .last_attempt_ms = WHEN,
     .retry_until_ms = WHEN + 86400000},
};
static const struct dsn_recipient delayed[] = {
    {.final = STR("ann@d.example"),
     .action = DSN_DELAYED,
     .outcome = {.fate = OUTCOME_LATER, .text = STR("connection refused")},
     .retry_until_ms = WHEN + 86400000},
};
static const struct dsn_recipient international[] = {
    {.final = STR("j\xc3\xb6rg@b\xc3\xbc"
                  "cher.example"),
     .original = STR("utf-8;j\xc3\xb6rg@b\xc3\xbc"
                     "cher.example"),
     .outcome = {.fate = OUTCOME_NEVER,
                 .code = 550,
                 .enhanced = STR("5.6.7"),
                 .text = STR("SMTPUTF8 wird nicht unterst\xc3\xbctzt"),
                 .remote = true},
     .remote_mta = STR("mx.b.example")},
};
/* A receiver that tries to write fields and parts of its own. */
static const struct dsn_recipient hostile[] = {
    {.final = STR("eve@b.example"),
     .outcome = {.fate = OUTCOME_NEVER,
                 .code = 550,
                 .enhanced = STR("5.x\r\nAction: delivered"),
                 .text = STR(
                     "no\r\nAction: delivered\r\n\r\n--=_REPORT1\r\nContent-Type: text/html\r\n\r\n\x01\xff"),
                 .remote = true},
     .remote_mta = STR("mx\r\nX: y")},
};

#define COMMON                                                                                               \
    .reporting_mta = STR("mta01.example.net"), .trace_id = STR("01ARZ3NDEKTSV4RRFFQ69G5FAV"),                \
    .report_id = STR("REPORT1"), .from = STR("postmaster@a.example"), .to = STR("bob@a.example"),            \
    .arrival_ms = WHEN - 60000, .wall_ms = WHEN

const struct sample samples[] = {
    {"unknown",
     {COMMON, .original = STR(PLAIN), .original_complete = true, .recipients = unknown,
      .recipient_count = 1}},
    {"several",
     {COMMON, .envid = STR("QQ314159"), .ret = DSN_RET_HDRS, .original = STR(PLAIN),
      .original_complete = true, .recipients = several, .recipient_count = 3}},
    {"delayed",
     {COMMON, .ret = DSN_RET_FULL, .original = STR(PLAIN), .original_complete = true, .recipients = delayed,
      .recipient_count = 1}},
    {"eightbit",
     {COMMON,
      .original = STR("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <m@a>\r\n\r\nGr\xc3\xbc\xc3\x9f"
                      "e\r\n"),
      .original_complete = true, .recipients = unknown, .recipient_count = 1},
     .bits8 = true},
    {"utf8-recipient",
     {COMMON, .original = STR(PLAIN), .original_complete = true, .recipients = international,
      .recipient_count = 1},
     .bits8 = true},
    {"utf8",
     {.reporting_mta = STR("mta01.example.net"),
      .trace_id = STR("T"),
      .report_id = STR("R2"),
      .from = STR("postmaster@a.example"),
      .to = STR("b\xc3\xb6"
                "b@a.example"),
      .arrival_ms = WHEN,
      .wall_ms = WHEN,
      .original = STR("From: b\xc3\xb6"
                      "b@a.example\r\nSubject: Gr\xc3\xbc\xc3\x9f"
                      "e\r\n\r\nx"),
      .original_complete = true,
      .recipients = international,
      .recipient_count = 1},
     .utf8 = true,
     .bits8 = true},
    {"hostile",
     {COMMON, .original = STR("Subject: a\r\n b\r\nMessage-ID: <x> <y>\r\n\r\n--=_REPORT1--\r\n"),
      .original_complete = true, .recipients = hostile, .recipient_count = 1}},
    {"no-header", {COMMON, .original = STR("not a header\r\n"), .recipients = unknown, .recipient_count = 1}},
    {"empty", {COMMON, .original = STR(""), .recipients = unknown, .recipient_count = 1}},
};
const size_t sample_count = sizeof samples / sizeof *samples;
