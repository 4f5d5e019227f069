#include "scan/rspamd.h"

#include "base/error.h"
#include "scan/rspamd_changes.h"
#include <math.h>

enum { DEPTH_MAX = 24, ACTION_MAX = 40 };

/* ---- asking ---- */

static void host_field(struct buf *out, const struct scan_endpoint *at) {
    scan_field(out, "Host", at->path ? STR("localhost") : at->text);
}

void rspamd_ping(struct buf *out, const struct scanner_settings *s) {
    buf_str(out, STR("GET /ping HTTP/1.1\r\n"));
    host_field(out, &s->at);
    buf_str(out, STR("Connection: close\r\n\r\n"));
}

void rspamd_request(struct buf *out, const struct scanner_settings *s, const struct scan_facts *f,
                    uint64_t size) {
    char ip[IP_TEXT_SIZE];
    buf_str(out, STR("POST /checkv2 HTTP/1.1\r\n"));
    host_field(out, &s->at);
    buf_printf(out, "Connection: keep-alive\r\nContent-Length: %llu\r\n", (unsigned long long)size);
    scan_field(out, "Password", s->password);
    scan_field(out, "Queue-Id", f->trace_id);
    scan_field(out, "From", f->reverse_path.len ? f->reverse_path : STR("<>"));
    size_t before = out->len;
    for (size_t i = 0;
         i < f->recipient_count && i < RSPAMD_RECIPIENTS_MAX && out->len - before < RSPAMD_RECIPIENTS_BYTES;
         i++)
        scan_field(out, "Rcpt", f->recipients[i]);
    if (f->recipient_count == 1)
        scan_field(out, "Deliver-To", f->recipients[0]);
    if (!ip_is_none(&f->client))
        scan_field(out, "IP", str_of(ip_text(&f->client, ip)));
    scan_field(out, "Helo", f->helo);
    scan_field(out, "Hostname", f->hostname);
    scan_field(out, "User", f->user);
    scan_field(out, "MTA-Name", f->node);
    scan_field(out, "MTA-Tag", f->tenant);
    scan_field(out, "TLS-Version", f->tls_version);
    scan_field(out, "TLS-Cipher", f->tls_cipher);
    buf_str(out, STR("\r\n"));
}

/* ---- the answer ---- */

/* jansson recurses, and a fiber's stack is small; and two bytes of text make a hundred of values. */
static int check_shape(struct str json, struct str *ret_why) {
    size_t depth = 0, values = 0;
    bool in_string = false;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.at[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            depth++, values++;
        else if (!in_string && (c == '}' || c == ']') && depth > 0)
            depth--;
        else if (!in_string && c == ',')
            values++;
        *ret_why = depth > DEPTH_MAX ? STR("its answer is nested too deeply")
                                     : STR("its answer has too many values");
        if (depth > DEPTH_MAX || values > RSPAMD_VALUES_MAX)
            return depth > DEPTH_MAX ? SLUICE_ESYNTAX : SLUICE_ETOOBIG;
    }
    return 0;
}

static struct str text_of(const json_t *value) {
    return json_is_string(value) ? str_from(json_string_value(value), json_string_length(value)) : STR("");
}

static bool number_of(const json_t *object, const char *name, double *ret) {
    const json_t *value = json_object_get(object, name);
    double number = json_number_value(value);
    if (!json_is_number(value) || !isfinite(number) || fabs(number) > 1e9)
        return false;
    *ret = number;
    return true;
}

/* Its symbols; views into the JSON. */
static size_t symbols_of(json_t *answer, struct arena *arena, struct scan_symbol **ret) {
    json_t *object = json_object_get(answer, "symbols"), *value;
    const char *name;
    size_t count = 0;
    *ret = arena_array(arena, struct scan_symbol, json_object_size(object));
    json_object_foreach(object, name, value) {
        struct scan_symbol *symbol = &(*ret)[count++];
        symbol->name = str_of(name);
        symbol->scored = number_of(value, "score", &symbol->score);
        symbol->detail = text_of(json_array_get(json_object_get(value, "options"), 0));
    }
    return count;
}

static int read_answer(json_t *answer, const struct scan_settings *s, struct arena *arena,
                       struct scan_result *ret, struct str *ret_why) {
    struct str error = text_of(json_object_get(answer, "error"));
    struct str action = text_of(json_object_get(answer, "action"));
    const json_t *symbols = json_object_get(answer, "symbols");
    struct scan_symbol *list;
    if (error.len) {
        *ret_why = str_printf(arena, "it says: %.*s", STR_FMT(scan_plain(arena, error, 200)));
        return SLUICE_ESYNTAX;
    }
    *ret_why = STR("its answer lacks action, score or symbols");
    if (!action.len || action.len > ACTION_MAX || (symbols && !json_is_object(symbols)) ||
        !number_of(answer, "score", &ret->score) || !number_of(answer, "required_score", &ret->required))
        return SLUICE_ESYNTAX;
    ret->action = scan_plain(arena, action, ACTION_MAX);
    size_t count = symbols_of(answer, arena, &list);
    struct str said = text_of(json_object_get(json_object_get(answer, "messages"), "smtp_message"));
    scan_judge(s, list, count, said, arena, ret);
    rspamd_changes(answer, s, arena, ret);
    return 0;
}

int rspamd_answer(struct str json, const struct scan_settings *s, struct arena *arena,
                  struct scan_result *ret, struct str *ret_why) {
    int error = check_shape(json, ret_why);
    if (error)
        return error;
    /* What a message can put into the answer must not make it unreadable: nothing that we want is beyond
     * ASCII. */
    char *ascii = arena_alloc(arena, json.len + 1);
    for (size_t i = 0; i < json.len; i++)
        ascii[i] = (unsigned char)json.at[i] < 128 ? json.at[i] : '?';
    json_t *answer = json_loadb(ascii, json.len, JSON_ALLOW_NUL, NULL);
    error = SLUICE_ESYNTAX;
    *ret_why = STR("its answer is no JSON object");
    if (json_is_object(answer))
        error = read_answer(answer, s, arena, ret, ret_why);
    json_decref(answer);
    return error;
}
