#include "base/clock.h"
#include "base/error.h"
#include "trace/event.h"
#include "trace/text.h"
#include <jansson.h>

static void add_name(struct buf *out, const char *name) { buf_printf(out, ",\"%s\":", name); }

static void add_text(struct buf *out, const char *name, const char *text) {
    add_name(out, name);
    if (text)
        trace_json_string(out, str_of(text));
    else
        buf_str(out, STR("null"));
}

static void add_STR(struct buf *out, const char *name, struct str value) {
    add_name(out, name);
    if (value.at)
        trace_json_string(out, value);
    else
        buf_str(out, STR("null"));
}

static void add_IP(struct buf *out, const char *name, struct ip value) {
    char text[IP_TEXT_SIZE];
    add_text(out, name, ip_is_none(&value) ? NULL : ip_text(&value, text));
}

static void add_COUNT(struct buf *out, const char *name, int64_t value) {
    add_name(out, name);
    buf_printf(out, "%lld", (long long)value);
}

static void add_INT(struct buf *out, const char *name, int64_t value) {
    if (value)
        add_COUNT(out, name, value);
    else
        add_text(out, name, NULL);
}

static void add_STATUS(struct buf *out, const char *name, enum trace_status value) {
    add_text(out, name, trace_status_name(value));
}

static void add_DIRECTION(struct buf *out, const char *name, enum trace_direction value) {
    add_text(out, name, trace_direction_name(value));
}

static void add_CLASS(struct buf *out, const char *name, struct trace_class value) {
    add_text(out, name, value.known ? mail_class_name(value.value) : NULL);
}

/* "time", "event", "trace_id" first, then in the order of design section 7; latency_ms of an attempt is never
 * null, as an answer within a millisecond is one. */
void trace_event_json(struct buf *out, const struct trace_event *event) {
    char time[CLOCK_RFC3339_SIZE];
    buf_printf(out, "{\"time\":\"%s\"", clock_rfc3339(event->time, time));
    add_text(out, "event", trace_kind_name(event->event));
    add_text(out, "trace_id", event->trace_id.text);
    add_STR(out, "recipient", event->recipient.len ? event->recipient : STR_NULL);
#define FIELD(type, member, name, lasting) add_##type(out, name, event->member);
    TRACE_FIELDS(FIELD)
#undef FIELD
    int64_t arrival = trace_arrival(&event->trace_id);
    add_text(out, "received", arrival < 0 ? NULL : clock_rfc3339(arrival, time));
    buf_char(out, '}');
}

static struct str get_STR(json_t *value, struct arena *arena) {
    if (!json_is_string(value))
        return STR_NULL;
    return str_copy(arena, str_from(json_string_value(value), json_string_length(value)));
}

static struct ip get_IP(json_t *value, struct arena *arena) {
    struct ip ip = {0};
    if (json_is_string(value) && !ip_parse(get_STR(value, arena), &ip))
        memset(&ip, 0, sizeof ip);
    return ip;
}

static int64_t get_INT(json_t *value, struct arena *arena) {
    (void)arena;
    return json_is_integer(value) ? json_integer_value(value) : 0;
}

static int64_t get_COUNT(json_t *value, struct arena *arena) { return get_INT(value, arena); }

static enum trace_status get_STATUS(json_t *value, struct arena *arena) {
    enum trace_status status = 0;
    trace_status_parse(get_STR(value, arena), &status);
    return status;
}

static enum trace_direction get_DIRECTION(json_t *value, struct arena *arena) {
    enum trace_direction direction = 0;
    trace_direction_parse(get_STR(value, arena), &direction);
    return direction;
}

static struct trace_class get_CLASS(json_t *value, struct arena *arena) {
    struct trace_class class = {0};
    class.known = mail_class_parse(get_STR(value, arena), &class.value);
    return class;
}

int trace_event_parse(struct str json, struct arena *arena, struct trace_event *ret) {
    json_t *root = json_loadb(json.at, json.len, JSON_ALLOW_NUL, NULL);
    struct trace_event event = {0};
    bool ok = json_is_object(root) &&
              clock_parse_rfc3339(get_STR(json_object_get(root, "time"), arena), &event.time) &&
              trace_kind_parse(get_STR(json_object_get(root, "event"), arena), &event.event);
    struct str id = ok ? get_STR(json_object_get(root, "trace_id"), arena) : STR_NULL;
    if (ok && trace_id_valid(id)) {
        memcpy(event.trace_id.text, id.at, TRACE_ID_LEN);
        event.recipient = get_STR(json_object_get(root, "recipient"), arena);
#define FIELD(type, member, name, lasting) event.member = get_##type(json_object_get(root, name), arena);
        TRACE_FIELDS(FIELD)
#undef FIELD
        *ret = event;
    } else {
        ok = false;
    }
    json_decref(root);
    return ok ? 0 : SLUICE_ESYNTAX;
}
