#include "trace/csv.h"

#include "base/clock.h"
#include "trace/text.h"

static bool waits_or_failed(const struct trace_event *e) {
    return e->event == TRACE_FAIL || e->event == TRACE_DEFER || e->event == TRACE_DROP ||
           e->event == TRACE_REFUSE;
}

static struct str ip_of(struct arena *arena, struct ip ip) {
    char text[IP_TEXT_SIZE];
    return ip_is_none(&ip) ? STR_NULL : str_copy(arena, str_of(ip_text(&ip, text)));
}

static struct str number(struct arena *arena, int64_t value) {
    return value ? str_printf(arena, "%lld", (long long)value) : STR_NULL;
}

static struct str time_of(struct arena *arena, int64_t wall_ms) {
    char text[CLOCK_RFC3339_SIZE];
    return wall_ms < 0 ? STR_NULL : str_copy(arena, str_of(clock_rfc3339(wall_ms, text)));
}

/* The receiver's words may hold what ends a part of the status. */
static void add_part(struct buf *out, const char *name, struct str value) {
    buf_printf(out, "%s{%s=", out->len > 1 ? ";" : "", name);
    for (size_t i = 0; i < value.len; i++)
        buf_char(out, value.at[i] == '{' ? '(' : value.at[i] == '}' ? ')' : value.at[i]);
    buf_char(out, '}');
}

static struct str failure(struct arena *arena, const struct trace_event *e) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    buf_char(&out, '[');
    add_part(&out, "LED", e->reply);
    add_part(&out, "MSG",
             str_printf(arena, "%s after %lld attempt%s", e->event == TRACE_DEFER ? "waiting" : "ended",
                        (long long)e->attempts, e->attempts == 1 ? "" : "s"));
    add_part(&out, "FQDN", e->server_hostname);
    add_part(&out, "IP", ip_of(arena, e->server_ip));
    add_part(&out, "LRT", time_of(arena, e->time));
    buf_char(&out, ']');
    return str_copy(arena, buf_view(&out));
}

static struct str recipient_status(struct arena *arena, const struct trace_event *e) {
    if (waits_or_failed(e))
        return failure(arena, e);
    return e->reply.len ? e->reply : str_of(trace_status_name(e->status));
}

void trace_custom_pair(struct buf *out, const char *key, struct str value) {
    if (!value.len)
        return;
    bool quoted = str_index(value, ';') >= 0 || str_index(value, '=') >= 0;
    buf_printf(out, "%s%sS:%s=", out->len ? ";" : "", quoted ? "'" : "", key);
    for (size_t i = 0; i < value.len; i++) {
        char c = value.at[i];
        if (quoted && c == '\'')
            buf_char(out, '\'');
        buf_char(out, c == '\r' || c == '\n' ? ' ' : c);
    }
    if (quoted)
        buf_char(out, '\'');
}

static struct str custom_data(struct arena *arena, const struct trace_event *e) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    trace_custom_pair(&out, "OutboundIpPoolName", e->pool);
    trace_custom_pair(&out, "OutboundIp", ip_of(arena, e->outbound_ip));
    trace_custom_pair(&out, "Ehlo", e->ehlo);
    trace_custom_pair(&out, "MailClass", e->class.known ? str_of(mail_class_name(e->class.value)) : STR_NULL);
    trace_custom_pair(&out, "Rule", e->rule);
    trace_custom_pair(&out, "Reason", e->reason);
    trace_custom_pair(&out, "Tls", e->tls);
    trace_custom_pair(&out, "Spf", e->spf);
    trace_custom_pair(&out, "Dkim", e->dkim);
    trace_custom_pair(&out, "Verdict", e->verdict);
    trace_custom_pair(&out, "User", e->user);
    trace_custom_pair(&out, "Status", str_of(trace_status_name(e->status)));
    trace_custom_pair(&out, "Attempts", number(arena, e->attempts));
    trace_custom_pair(&out, "LatencyMs", number(arena, e->latency_ms));
    trace_custom_pair(&out, "DateTime", time_of(arena, e->time));
    if (waits_or_failed(e))
        trace_custom_pair(&out, "RecipientStatus", failure(arena, e));
    return str_copy(arena, buf_view(&out));
}

static struct str source(const struct trace_event *e) {
    switch (e->event) {
    case TRACE_DSN:
        return STR("DSN");
    case TRACE_HOLD:
    case TRACE_RELEASE:
    case TRACE_CANCEL:
        return STR("ADMIN");
    default:
        return STR("SMTP");
    }
}

/* Columns that say nothing about a mail that only leaves stay empty. */
#define COLUMNS(X)                                                                                           \
    X(client_ip, ip_of(a, e->client_ip))                                                                     \
    X(client_hostname, e->client_hostname)                                                                   \
    X(server_ip, ip_of(a, e->server_ip))                                                                     \
    X(server_hostname, e->server_hostname)                                                                   \
    X(source_context, e->reason)                                                                             \
    X(connector_id, e->connector)                                                                            \
    X(source, source(e))                                                                                     \
    X(event_id, str_of(trace_kind_name(e->event)))                                                           \
    X(internal_message_id, STR_NULL)                                                                         \
    X(message_id, e->message_id)                                                                             \
    X(network_message_id, trace_id_str(&e->trace_id))                                                        \
    X(recipient_address, e->recipient)                                                                       \
    X(recipient_status, recipient_status(a, e))                                                              \
    X(total_bytes, number(a, e->size))                                                                       \
    X(recipient_count, number(a, e->recipient_count))                                                        \
    X(related_recipient_address, STR_NULL)                                                                   \
    X(reference, e->reference)                                                                               \
    X(message_subject, e->subject)                                                                           \
    X(sender_address, e->sender)                                                                             \
    X(return_path, e->return_path)                                                                           \
    X(message_info, time_of(a, trace_arrival(&e->trace_id)))                                                 \
    X(directionality, str_of(trace_direction_name(e->directionality)))                                       \
    X(tenant_id, e->tenant)                                                                                  \
    X(original_client_ip, ip_of(a, e->original_client_ip))                                                   \
    X(original_server_ip, STR_NULL)                                                                          \
    X(custom_data, custom_data(a, e))

void trace_csv_header(struct buf *out) {
    size_t start = out->len;
#define X(name, value) buf_printf(out, "%s" #name, out->len > start ? "," : "");
    COLUMNS(X)
#undef X
    buf_char(out, '\n');
}

static void add_cell(struct buf *out, struct str value) {
    bool quoted = false;
    for (size_t i = 0; i < value.len && !quoted; i++)
        quoted = strchr(",\"\r\n", value.at[i]) != NULL;
    if (quoted)
        buf_char(out, '"');
    while (value.len) {
        uint32_t code;
        struct str character = trace_utf8_next(&value, &code);
        if (code == '"')
            buf_char(out, '"');
        if (code != 0)
            buf_str(out, character);
    }
    if (quoted)
        buf_char(out, '"');
}

void trace_csv_row(struct buf *out, const struct trace_event *e) {
    struct arena *a = arena_new(0);
    const char *separator = "";
#define X(name, value)                                                                                       \
    buf_str(out, str_of(separator));                                                                         \
    add_cell(out, value);                                                                                    \
    separator = ",";
    COLUMNS(X)
#undef X
    buf_char(out, '\n');
    arena_free(a);
}
