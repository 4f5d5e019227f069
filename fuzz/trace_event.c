/* Any bytes in the fields of an event, and any as an event's JSON. What is told of mail is one line of JSON
 * that reads the same, and one row of CSV with as many columns as the header, whatever was in the mail. */
#include "must.h"
#include "trace/csv.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { FIELD_ENDS = 0x1e };

/* RFC 4180; a quoted field may hold line ends. */
static size_t columns(struct str row) {
    size_t count = 1;
    bool quoted = false;
    must(str_ends(row, STR("\n")));
    for (size_t i = 0; i + 1 < row.len; i++) {
        quoted ^= row.at[i] == '"';
        must(quoted || (row.at[i] != '\n' && row.at[i] != '\r'));
        count += !quoted && row.at[i] == ',';
    }
    must(!quoted);
    return count;
}

static void tell(const struct trace_event *e, struct arena *arena) {
    struct buf once = {0}, twice = {0}, header = {0};
    struct trace_event back;
    trace_event_json(&once, e);
    for (size_t i = 0; i < once.len; i++)
        must((unsigned char)once.at[i] >= ' ' && once.at[i] != 0x7f);
    must(trace_event_parse(buf_view(&once), arena, &back) == 0);
    trace_event_json(&twice, &back);
    must(str_eq(buf_view(&once), buf_view(&twice)));
    buf_clear(&once);
    trace_csv_row(&once, e);
    trace_csv_header(&header);
    must(columns(buf_view(&once)) == columns(buf_view(&header)));
    buf_free(&once), buf_free(&twice), buf_free(&header);
}

static struct str next_STR(struct str *rest) {
    struct str field;
    return str_cut(rest, FIELD_ENDS, &field) ? field : STR_NULL;
}

static struct ip next_IP(struct str *rest) {
    struct ip ip;
    return ip_parse(next_STR(rest), &ip) ? ip : (struct ip){0};
}

static int64_t next_INT(struct str *rest) { return (int64_t)next_STR(rest).len; }
static int64_t next_COUNT(struct str *rest) { return next_INT(rest); }
static enum trace_status next_STATUS(struct str *rest) { return (enum trace_status)(next_INT(rest) % 7); }
static enum trace_direction next_DIRECTION(struct str *rest) {
    return (enum trace_direction)(next_INT(rest) % 3);
}
static struct trace_class next_CLASS(struct str *rest) {
    return TRACE_CLASS((enum mail_class)(next_INT(rest) % MAIL_CLASS_COUNT));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct str rest = str_from(bytes, len);
    struct trace_event e = {.time = INT64_C(1790000000000), .trace_id = trace_id_new(INT64_C(1790000000000))};
    struct trace_event read;
    if (trace_event_parse(rest, arena, &read) == 0)
        tell(&read, arena);
    e.event = (enum trace_kind)(1 + (len ? bytes[0] : 0) % TRACE_CANCEL);
    e.recipient = next_STR(&rest);
#define FIELD(type, member, name, lasting) e.member = next_##type(&rest);
    TRACE_FIELDS(FIELD)
#undef FIELD
    tell(&e, arena);
    arena_free(arena);
    return 0;
}
