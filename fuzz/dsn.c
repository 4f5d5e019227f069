/* Any words of a receiver and any message in a report. The first seven lines of the input are the fate of the
 * recipient, the rest is the message. The report is one that can be sent: its header and its machine's part
 * are our fields only, its lines end with CRLF, and it has the bytes that it says. */
#include "dsn/dsn.h"
#include "mail/address.h"
#include "mail/header.h"
#include "mail/mime.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct str next_line(struct str *rest) {
    struct str line;
    return str_cut(rest, '\n', &line) ? line : STR("");
}

static struct str next_address(struct str *rest) {
    struct address a;
    struct str line = next_line(rest);
    return address_parse(line, ADDRESS_ALLOW_UTF8, &a) == 0 ? line : STR("bob@example.org");
}

/* As the spool has it: line ends are CRLF, and there is no NUL. */
static struct str as_received(struct arena *arena, struct str s) {
    char *out = arena_alloc(arena, 2 * s.len + 2);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] == '\n')
            out[n++] = '\r';
        if (s.at[i] != '\r' && s.at[i] != 0)
            out[n++] = s.at[i];
    }
    return str_from(out, n);
}

static bool known(struct str name, const char *const *names) {
    for (; *names; names++)
        if (str_eq(name, str_of(*names)))
            return true;
    return false;
}

/* The report's own header; where its body begins. */
static struct str check_header(struct arena *arena, struct str report, bool utf8) {
    static const char *const names[] = {"From",
                                        "To",
                                        "Date",
                                        "Subject",
                                        "Message-ID",
                                        "In-Reply-To",
                                        "References",
                                        "Auto-Submitted",
                                        "MIME-Version",
                                        "Content-Type",
                                        "Content-Transfer-Encoding",
                                        NULL};
    struct header header;
    must(header_parse(arena, report, 0, &header) == 0 && header.separated);
    for (size_t i = 0; i < header.count; i++)
        must(known(header.fields[i].name, names));
    must(utf8 || !bytes_8bit(header.whole));
    return str_from_index(report, header.body_at);
}

/* The part that programs read: blocks of fields (RFC 3464). */
static void check_status(struct arena *arena, struct str body, size_t recipients) {
    static const char *const names[] = {"Reporting-MTA",
                                        "Original-Envelope-Id",
                                        "Arrival-Date",
                                        "Final-Recipient",
                                        "Original-Recipient",
                                        "X-Sluice-Trace-Id",
                                        "Action",
                                        "Status",
                                        "Remote-MTA",
                                        "Diagnostic-Code",
                                        "Last-Attempt-Date",
                                        "Will-Retry-Until",
                                        NULL};
    static const struct str type = STR("delivery-status\r\n");
    ptrdiff_t at = str_find(body, type), end;
    size_t blocks = 0;
    must(at >= 0);
    struct str status = str_from_index(body, (size_t)at + type.len);
    if (str_starts(status, STR("Content-Transfer-Encoding: 8bit\r\n")))
        status = str_from_index(status, sizeof "Content-Transfer-Encoding: 8bit\r\n" - 1);
    must(str_starts(status, STR("\r\n")));
    status = str_from_index(status, 2);
    end = str_find(status, STR("\r\n--=_01ARZ3NDEKTSV4RRFFQ69G5FAV"));
    must(end >= 0);
    status = str_head(status, (size_t)end);
    while (status.len) {
        struct header block;
        must(header_parse(arena, status, 0, &block) == 0 && block.count > 0);
        for (size_t i = 0; i < block.count; i++)
            must(known(block.fields[i].name, names));
        must(block.body_at > 0);
        status = str_from_index(status, block.body_at);
        blocks++;
    }
    must(blocks == 1 + recipients);
}

static void check(struct arena *arena, struct str report, bool utf8, bool bits8, size_t recipients) {
    must(bits8 || utf8 || !bytes_8bit(report));
    for (size_t i = 0; i < report.len; i++) {
        must(report.at[i] != 0);
        must(report.at[i] != '\n' || (i && report.at[i - 1] == '\r'));
        must(report.at[i] != '\r' || (i + 1 < report.len && report.at[i + 1] == '\n'));
    }
    must(str_ends(report, STR("--\r\n")));
    check_status(arena, check_header(arena, report, utf8), recipients);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct str rest = str_from(bytes, len);
    if (str_find(rest, STR("=_")) >= 0 || str_find_nocase(rest, STR("delivery-status")) >= 0) {
        arena_free(arena); /* our boundary and our part are looked for by these */
        return 0;
    }
    uint8_t how = len ? bytes[0] : 0;
    struct dsn_recipient to[2] = {{.final = next_address(&rest),
                                   .original = next_line(&rest),
                                   .remote_mta = next_line(&rest),
                                   .outcome = {.code = 550 + how % 4, .remote = how & 16},
                                   .action = how & 1 ? DSN_DELAYED : DSN_FAILED,
                                   .last_attempt_ms = INT64_C(1790000000000)}};
    to[0].outcome.enhanced = how & 2 ? STR("5.1.1") : STR("");
    to[0].outcome.text = next_line(&rest);
    to[1] = to[0];
    to[1].action = how & 4 ? DSN_DELAYED : DSN_FAILED;
    struct dsn_facts facts = {.reporting_mta = STR("mta.example.net"),
                              .trace_id = STR("01ARZ3NDEKTSV4RRFFQ69G5FAW"),
                              .report_id = STR("01ARZ3NDEKTSV4RRFFQ69G5FAV"),
                              .envid = next_line(&rest),
                              .from = STR("postmaster@example.net"),
                              .to = next_address(&rest),
                              .arrival_ms = INT64_C(1790000000000),
                              .wall_ms = INT64_C(1790000001000),
                              .ret = (enum dsn_ret)(how / 8 % 3),
                              .original_complete = how & 64,
                              .recipients = to,
                              .recipient_count = 1 + (how & 1)};
    facts.original = as_received(arena, rest);
    struct buf out = {0};
    bool utf8, bits8;
    must(dsn_build(&facts, &out, &utf8, &bits8) == 0);
    check(arena, buf_view(&out), utf8, bits8, facts.recipient_count);
    buf_free(&out);
    arena_free(arena);
    return 0;
}
