#include "mail/build.h"
#include "base/clock.h"
#include "base/error.h"
#include "dsn/dsn.h"
#include "dsn/text.h"
#include "mail/mime.h"

#include <stdio.h>

struct report {
    const struct dsn_facts *facts;
    struct arena *arena;
    struct header header; /* of the original */
    struct str boundary, subject;
    bool global;   /* RFC 6533: fields of the status part carry UTF-8 */
    bool any_8bit; /* some part needs 8BITMIME */
    bool any_failed;
};

/* One line of printable bytes; beyond ASCII only where `utf8` allows. */
static struct str clean(struct arena *arena, struct str s, bool utf8) {
    char *out = arena_alloc(arena, s.len + 1);
    s = utf8 ? utf8_clean(arena, s) : s;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        out[i] = (char)(c < 32 || c == 127 ? ' ' : c > 127 && !utf8 ? '?' : c);
    }
    return str_trim(str_from(out, s.len));
}

/* utf-8-addr-xtext of RFC 6533 3: ASCII but for \x{HEX}. */
static struct str address_xtext(struct arena *arena, struct str s) {
    char *out = arena_alloc(arena, 6 * s.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < s.len;) {
        unsigned char c = (unsigned char)s.at[i++];
        uint32_t point = c;
        if (c > 32 && c < 127 && c != '+' && c != '=' && c != '\\') {
            out[len++] = (char)c;
            continue;
        }
        if (c >= 0xc0) {
            point = c >= 0xf0 ? c & 7u : c >= 0xe0 ? c & 15u : c & 31u;
            while (i < s.len && ((unsigned char)s.at[i] & 0xc0) == 0x80)
                point = point << 6 | ((unsigned char)s.at[i++] & 0x3fu);
        }
        char escape[16];
        int n = snprintf(escape, sizeof escape, "\\x{%02X}", point & 0x1fffff);
        memcpy(out + len, escape, (size_t)n);
        len += (size_t)n;
    }
    return str_from(out, len);
}

/* "type; address" in a form that this report may carry. */
static struct str typed_address(const struct report *r, struct str type, struct str address) {
    if (bytes_8bit(address) && bytes_utf8(address)) {
        if (!r->global)
            address = address_xtext(r->arena, address);
        type = STR("utf-8");
    }
    return clean(r->arena, str_printf(r->arena, "%.*s; %.*s", STR_FMT(type), STR_FMT(address)), r->global);
}

static void write_date(struct buf *out, struct str name, int64_t wall_ms) {
    char date[CLOCK_RFC5322_SIZE];
    if (wall_ms)
        header_write(out, name, str_of(clock_rfc5322(wall_ms, date)));
}

static void write_message_fields(const struct report *r, struct buf *out) {
    const struct dsn_facts *f = r->facts;
    header_write(out, STR("Reporting-MTA"), str_printf(r->arena, "dns; %.*s", STR_FMT(f->reporting_mta)));
    if (f->envid.len)
        header_write(out, STR("Original-Envelope-Id"), clean(r->arena, f->envid, r->global));
    write_date(out, STR("Arrival-Date"), f->arrival_ms);
    header_write(out, STR("X-Sluice-Trace-Id"), f->trace_id);
}

/* RFC 3464 2.3. */
static void write_recipient_fields(const struct report *r, const struct dsn_recipient *to, struct buf *out) {
    struct str rest = to->original, type;
    buf_str(out, STR("\r\n"));
    if (to->original.len && str_cut(&rest, ';', &type) && rest.len)
        header_write(out, STR("Original-Recipient"), typed_address(r, type, str_trim(rest)));
    header_write(out, STR("Final-Recipient"), typed_address(r, STR("rfc822"), to->final));
    header_write(out, STR("Action"), to->action == DSN_FAILED ? STR("failed") : STR("delayed"));
    header_write(out, STR("Status"), dsn_status(to));
    if (to->remote_mta.len)
        header_write(out, STR("Remote-MTA"),
                     clean(r->arena, str_printf(r->arena, "dns; %.*s", STR_FMT(to->remote_mta)), false));
    struct str line = clean(r->arena, outcome_line(r->arena, &to->outcome), r->global);
    if (line.len)
        header_write(
            out, STR("Diagnostic-Code"),
            str_printf(r->arena, "%s; %.*s", to->outcome.remote ? "smtp" : "x-sluice", STR_FMT(line)));
    write_date(out, STR("Last-Attempt-Date"), to->last_attempt_ms);
    if (to->action == DSN_DELAYED)
        write_date(out, STR("Will-Retry-Until"), to->retry_until_ms);
}

static void open_part(const struct report *r, struct buf *out, const char *type, bool bits8) {
    buf_printf(out, "\r\n--%.*s\r\nContent-Type: %s\r\n", STR_FMT(r->boundary), type);
    if (bits8)
        buf_str(out, STR("Content-Transfer-Encoding: 8bit\r\n"));
    buf_str(out, STR("\r\n"));
}

static void write_status_part(struct report *r, struct buf *out) {
    struct buf status __attribute__((cleanup(buf_free))) = {0};
    write_message_fields(r, &status);
    for (size_t i = 0; i < r->facts->recipient_count; i++)
        write_recipient_fields(r, &r->facts->recipients[i], &status);
    bool bits8 = bytes_8bit(buf_view(&status));
    r->any_8bit |= bits8;
    open_part(r, out, r->global ? "message/global-delivery-status" : "message/delivery-status", bits8);
    buf_str(out, buf_view(&status));
}

static void write_text_part(struct report *r, struct buf *out) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    dsn_write_text(&text, r->facts, r->subject);
    bool bits8 = bytes_8bit(buf_view(&text));
    r->any_8bit |= bits8;
    open_part(r, out, "text/plain; charset=utf-8", bits8);
    buf_str(out, buf_view(&text));
}

/* RET asks (RFC 3461 4.3), a failure may bring the whole message back, a delay never does (6.2). */
static bool returns_all(const struct report *r) {
    const struct dsn_facts *f = r->facts;
    if (!f->original_complete || !r->any_failed || f->ret == DSN_RET_HDRS)
        return false;
    return f->ret == DSN_RET_FULL || f->original.len <= DSN_FULL_MAX;
}

/* The header, cut between two fields when it is over-long. */
static struct str returned_header(const struct report *r) {
    size_t len = 0;
    for (size_t i = 0; i < r->header.count && len + r->header.fields[i].whole.len <= DSN_FULL_MAX; i++)
        len += r->header.fields[i].whole.len;
    return str_head(r->header.whole, len);
}

static void write_original_part(struct report *r, struct buf *out) {
    bool all = returns_all(r);
    struct str original = all ? r->facts->original : returned_header(r);
    bool global = bytes_8bit(r->header.whole), bits8 = bytes_8bit(original);
    r->any_8bit |= bits8;
    open_part(r, out,
              all ? (global ? "message/global" : "message/rfc822")
                  : (global ? "message/global-headers" : "text/rfc822-headers"),
              bits8);
    buf_str(out, original);
    if (!str_ends(original, STR("\n")))
        buf_str(out, STR("\r\n"));
}

static struct str subject_of(const struct report *r) {
    const struct header_field *f = header_find(&r->header, STR("Subject"), NULL);
    return f ? str_trim(header_decode_text(r->arena, f->value)) : STR("");
}

static void write_reply_fields(const struct report *r, struct buf *out) {
    struct str id = header_value(r->arena, &r->header, STR("Message-ID"));
    bool one_id = str_starts(id, STR("<")) && str_ends(id, STR(">")) && id.len < 900 && !bytes_8bit(id) &&
                  str_index(id, ' ') < 0 && str_index(id, '\t') < 0;
    if (!one_id)
        return;
    header_write(out, STR("In-Reply-To"), id);
    header_write(out, STR("References"), id);
}

static void write_header(const struct report *r, struct buf *out) {
    const struct dsn_facts *f = r->facts;
    const char *what = r->any_failed ? "Undeliverable" : "Delayed";
    struct str subject = str_head(r->subject, 200);
    header_write(out, STR("From"), str_printf(r->arena, "Mail Delivery System <%.*s>", STR_FMT(f->from)));
    header_write(out, STR("To"), str_printf(r->arena, "<%.*s>", STR_FMT(f->to)));
    write_date(out, STR("Date"), f->wall_ms);
    header_write_text(out, STR("Subject"),
                      subject.len ? str_printf(r->arena, "%s: %.*s", what, STR_FMT(subject))
                                  : str_printf(r->arena, "%s: your message", what));
    header_write(out, STR("Message-ID"), message_id_of(r->arena, f->report_id, f->reporting_mta));
    write_reply_fields(r, out);
    header_write(out, STR("Auto-Submitted"), STR("auto-replied")); /* RFC 3834 5 */
    header_write(out, STR("MIME-Version"), STR("1.0"));
    header_write(out, STR("Content-Type"),
                 str_printf(r->arena, "multipart/report; report-type=%s; boundary=\"%.*s\"",
                            "delivery-status", STR_FMT(r->boundary)));
    if (r->any_8bit)
        header_write(out, STR("Content-Transfer-Encoding"), STR("8bit"));
    buf_str(out, STR("\r\n"));
}

static struct str unused_boundary(struct arena *arena, const struct dsn_facts *f) {
    struct str boundary = str_printf(arena, "=_%.*s", STR_FMT(f->report_id));
    while (str_find(f->original, boundary) >= 0)
        boundary = str_printf(arena, "%.*s_", STR_FMT(boundary));
    return boundary;
}

int dsn_build(const struct dsn_facts *f, struct buf *out, bool *ret_utf8, bool *ret_8bit) {
    if (!f->recipient_count || !f->to.len)
        return SLUICE_EINVALID;
    struct report r = {.facts = f, .arena = arena_new(0)};
    struct buf body __attribute__((cleanup(buf_free))) = {0};
    if (header_parse(r.arena, f->original, 0, &r.header) != 0)
        r.header = (struct header){0}; /* over every bound: the report does without it */
    r.global = bytes_8bit(f->to) || bytes_8bit(f->from);
    for (size_t i = 0; i < f->recipient_count; i++)
        r.any_failed |= f->recipients[i].action == DSN_FAILED;
    r.boundary = unused_boundary(r.arena, f);
    r.subject = subject_of(&r);
    buf_str(&body, STR("This is a delivery report in MIME format.\r\n"));
    write_text_part(&r, &body);
    write_status_part(&r, &body);
    write_original_part(&r, &body);
    buf_printf(&body, "\r\n--%.*s--\r\n", STR_FMT(r.boundary));
    write_header(&r, out);
    buf_str(out, buf_view(&body));
    *ret_utf8 = r.global;
    *ret_8bit = r.any_8bit;
    arena_free(r.arena);
    return 0;
}
