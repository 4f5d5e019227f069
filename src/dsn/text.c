#include "dsn/text.h"
#include "base/clock.h"
#include "mail/mime.h"

enum { COLUMNS = 76 };

static bool enhanced_valid(struct str s) {
    struct str part;
    size_t parts = 0;
    uint64_t number;
    if (s.len < 5 || !strchr("245", s.at[0]) || s.at[1] != '.')
        return false;
    for (; str_cut(&s, '.', &part); parts++)
        if (part.len > 3 || !str_to_u64(part, &number))
            return false;
    return parts == 3;
}

struct str dsn_status(const struct dsn_recipient *r) {
    if (enhanced_valid(r->outcome.enhanced))
        return r->outcome.enhanced;
    return r->action == DSN_DELAYED || r->outcome.fate == OUTCOME_LATER ? STR("4.0.0") : STR("5.0.0");
}

/* Text in lines of at most COLUMNS behind `indent`; control bytes are blanks. */
static void write_wrapped(struct buf *out, const char *indent, struct str text) {
    size_t column = 0, margin = strlen(indent);
    struct arena *arena = arena_new(0);
    text = utf8_clean(arena, str_trim(text));
    for (size_t i = 0; i < text.len;) {
        size_t end = i;
        while (end < text.len && (unsigned char)text.at[end] > 32 && text.at[end] != 127)
            end++;
        if (end > i) {
            if (column && column + 1 + (end - i) > COLUMNS) {
                buf_str(out, STR("\r\n"));
                column = 0;
            }
            buf_str(out, column ? STR(" ") : str_of(indent));
            buf_add(out, text.at + i, end - i);
            column += (column ? 1 : margin) + (end - i);
        }
        i = end + 1;
    }
    buf_str(out, STR("\r\n"));
    arena_free(arena);
}

/* What a person can do, by the code of RFC 3463: the first row whose ending fits ("" fits all). */
static const struct {
    const char *subject_detail; /* without the class digit */
    const char *advice;
} advices[] = {
    {".1.1",
     "This address does not exist there. Check its spelling, or ask the person for their present address."},
    {".1.10", "The domain of this address takes no mail. Check its spelling."},
    {".1.2", "The domain of this address does not exist or takes no mail. Check its spelling."},
    {".1.3", "This address is malformed. Check its spelling."},
    {".1.6", "The person has moved and left no new address."},
    {".1.8", "The receiver could not verify your own domain. Tell your administrator."},
    {".2.1", "The mailbox is switched off. Reach the person in another way."},
    {".2.2", "The mailbox is full. Reach the person in another way, or send the message again later."},
    {".2.3", "The message is too large for this mailbox. Send a smaller one, or a link to the file."},
    {".3.4", "The message is too large for the receiver. Send a smaller one, or a link to the file."},
    {".4.300",
     "The receiver could not be reached in time. Check the domain; if it is right, send again later."},
    {".4.7",
     "The receiver could not be reached in time. Check the domain; if it is right, send again later."},
    {".4.6", "The address leads back to where the mail came from. Tell the administrator of its domain."},
    {".6.3", "The receiver can't take this kind of message. Send it as plain text or as an attachment."},
    {".6.7", "The receiver can't take addresses with letters beyond ASCII. Ask for another address."},
    {".7.", "The receiver refused the message by its own rules; its words say why. Pass them on to your "
            "administrator, or reach the person in another way."},
    {".1.", "The receiver does not accept this address. Check its spelling."},
    {".2.", "The mailbox could not take the message. Reach the person in another way."},
    {".4.",
     "The receiver could not be reached. Check the domain; if it is right, send the message again later."},
    {".6.", "The receiver can't take this kind of message. Send it as plain text or as an attachment."},
    {"", "The receiver's words may say more. If they don't help, pass this report on to your administrator."},
};

static const char *advice_of(struct str status) {
    struct str detail = str_from_index(status, 1);
    size_t i = 0;
    for (; advices[i].subject_detail[0]; i++) {
        struct str row = str_of(advices[i].subject_detail);
        if (row.at[row.len - 1] == '.' ? str_starts(detail, row) : str_eq(detail, row))
            break;
    }
    return advices[i].advice;
}

static void write_recipient(struct buf *out, const struct dsn_recipient *r) {
    struct arena *arena = arena_new(0);
    char date[CLOCK_RFC5322_SIZE];
    buf_printf(out, "<%.*s>\r\n", STR_FMT(r->final));
    if (r->outcome.remote && r->remote_mta.len)
        write_wrapped(out, "  ", str_printf(arena, "The receiver %.*s said:", STR_FMT(r->remote_mta)));
    else
        write_wrapped(out, "  ", r->outcome.remote ? STR("The receiver said:") : STR("What happened:"));
    struct str line = outcome_line(arena, &r->outcome);
    write_wrapped(out, "      ", line.len ? line : STR("no reason was given"));
    if (r->action == DSN_DELAYED && r->retry_until_ms)
        write_wrapped(out, "  ",
                      str_printf(arena, "It is tried again until %s. You need not do anything.",
                                 clock_rfc5322(r->retry_until_ms, date)));
    else if (r->action == DSN_FAILED)
        write_wrapped(out, "  ", str_printf(arena, "What to do: %s", advice_of(dsn_status(r))));
    buf_str(out, STR("\r\n"));
    arena_free(arena);
}

static size_t count_of(const struct dsn_facts *f, enum dsn_action action) {
    size_t count = 0;
    for (size_t i = 0; i < f->recipient_count; i++)
        count += f->recipients[i].action == action;
    return count;
}

static void write_recipients(struct buf *out, const struct dsn_facts *f, enum dsn_action action) {
    for (size_t i = 0; i < f->recipient_count; i++)
        if (f->recipients[i].action == action)
            write_recipient(out, &f->recipients[i]);
}

void dsn_write_text(struct buf *out, const struct dsn_facts *f, struct str subject) {
    struct arena *arena = arena_new(0);
    char date[CLOCK_RFC5322_SIZE];
    size_t failed = count_of(f, DSN_FAILED), delayed = count_of(f, DSN_DELAYED);
    write_wrapped(out, "", str_printf(arena, "This is the mail system at %.*s.", STR_FMT(f->reporting_mta)));
    buf_str(out, STR("\r\n"));
    if (failed) {
        write_wrapped(out, "",
                      failed == 1 ? STR("Your message could not be delivered to this address, and it is not "
                                        "tried again:")
                                  : STR("Your message could not be delivered to these addresses, and it is "
                                        "not tried again:"));
        buf_str(out, STR("\r\n"));
        write_recipients(out, f, DSN_FAILED);
    }
    if (delayed) {
        write_wrapped(out, "", STR("Your message has not been delivered yet to:"));
        buf_str(out, STR("\r\n"));
        write_recipients(out, f, DSN_DELAYED);
    }
    buf_str(out, STR("Your message:\r\n"));
    if (subject.len)
        write_wrapped(out, "  ", str_printf(arena, "Subject: %.*s", STR_FMT(subject)));
    buf_printf(out, "  Accepted: %s\r\n", clock_rfc5322(f->arrival_ms, date));
    buf_printf(out, "  Reference: %.*s\r\n", STR_FMT(f->trace_id));
    arena_free(arena);
}
