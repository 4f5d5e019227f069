#include "api/object.h"

#include "base/clock.h"
#include "trace/text.h"

static void name_of(struct buf *out, const char *name) {
    if (out->at[out->len - 1] != '{')
        buf_char(out, ',');
    buf_printf(out, "\"%s\":", name);
}

void object_open(struct buf *out) { buf_char(out, '{'); }

void object_text(struct buf *out, const char *name, struct str value) {
    name_of(out, name);
    if (value.len)
        trace_json_string(out, value);
    else
        buf_str(out, STR("null"));
}

void object_number(struct buf *out, const char *name, int64_t value) {
    name_of(out, name);
    buf_printf(out, "%lld", (long long)value);
}

void object_bool(struct buf *out, const char *name, bool value) {
    name_of(out, name);
    buf_str(out, value ? STR("true") : STR("false"));
}

void object_time(struct buf *out, const char *name, int64_t wall_ms) {
    char text[CLOCK_RFC3339_SIZE];
    object_text(out, name, wall_ms > 0 ? str_of(clock_rfc3339(wall_ms, text)) : STR_NULL);
}

void object_ip(struct buf *out, const char *name, const struct ip *ip) {
    char text[IP_TEXT_SIZE];
    object_text(out, name, ip_is_none(ip) ? STR_NULL : str_of(ip_text(ip, text)));
}

void object_close(struct buf *out) { buf_str(out, STR("}\n")); }
