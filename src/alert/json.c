#include "alert/json.h"

#include "base/clock.h"
#include "trace/text.h"

void alert_json_text(struct buf *out, const char *name, struct str value) {
    buf_printf(out, ",\"%s\":", name);
    if (value.len)
        trace_json_string(out, value);
    else
        buf_str(out, STR("null"));
}

void alert_json_time(struct buf *out, const char *name, int64_t time) {
    char text[CLOCK_RFC3339_SIZE];
    alert_json_text(out, name, time ? str_of(clock_rfc3339(time, text)) : STR(""));
}
