/* dsn.h - non-delivery reports: when one is due, and how it reads (RFC 3461, 3464, 6522, 6533).
 *
 * Pure: facts in, bytes out. The report is a message of its own with a null
 * reverse-path; it goes to the spool like any other, as class high-risk.
 */
#pragma once
#include "base/buf.h"
#include "base/outcome.h"

enum dsn_notify {
    DSN_NOTIFY_NEVER = 1,
    DSN_NOTIFY_SUCCESS = 2,
    DSN_NOTIFY_FAILURE = 4,
    DSN_NOTIFY_DELAY = 8
};
enum dsn_ret { DSN_RET_DEFAULT, DSN_RET_FULL, DSN_RET_HDRS };
enum dsn_action { DSN_FAILED, DSN_DELAYED };

enum { DSN_FULL_MAX = 64 << 10 }; /* a longer original comes back as its header only, unless RET=FULL asks */

/* What the rule needs to know about one recipient's end. */
struct dsn_question {
    struct str reverse_path; /* wire form; "" for <> */
    unsigned notify;         /* bits of dsn_notify; 0: not given (RFC 3461 4.1: as FAILURE) */
    bool judged_spam;        /* verdict spam or malware */
    enum dsn_action action;  /* DSN_DELAYED is due only with NOTIFY=DELAY */
};

/* Is a report due? When not, *ret_why is a short static sentence for the trace ("NOTIFY=NEVER was asked"). */
bool dsn_due(const struct dsn_question *, struct str *ret_why);

struct dsn_recipient {
    struct str final;    /* wire form */
    struct str original; /* ORCPT as given and decoded: "rfc822;bob@example.org"; "" when none */
    enum dsn_action action;
    struct outcome outcome; /* enhanced gives Status (default 5.0.0 or 4.0.0); remote: Diagnostic-Code */
    struct str remote_mta;  /* host name of the receiver that spoke; "" when none was reached */
    int64_t last_attempt_ms;
    int64_t retry_until_ms; /* DSN_DELAYED; else 0 */
};

struct dsn_facts {
    struct str reporting_mta; /* this node's name */
    struct str trace_id;      /* of the original message */
    struct str report_id;     /* trace id of the report: its Message-ID and boundary come from it */
    struct str envid;         /* decoded; "" when none */
    struct str from;          /* address of the report's From, e.g. postmaster@contoso.com */
    struct str to;            /* the original reverse-path, never "" */
    int64_t arrival_ms;       /* of the original */
    int64_t wall_ms;          /* now */
    enum dsn_ret ret;
    struct str original;    /* the message: its header at least; body too when it is at hand */
    bool original_complete; /* `original` is the whole message */
    const struct dsn_recipient *recipients;
    size_t recipient_count;
};

/* Writes the report, CRLF line ends. *ret_utf8: its addresses or the returned header are UTF-8 (RFC 6533):
 * MAIL needs SMTPUTF8. *ret_8bit: BODY=8BITMIME. SLUICE_EINVALID without recipients or with an empty `to`. */
[[nodiscard]] int dsn_build(const struct dsn_facts *, struct buf *out, bool *ret_utf8, bool *ret_8bit);
