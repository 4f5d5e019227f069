#include "auth/results.h"
#include "mail/address.h"
#include "mail/mime.h"

enum { VALUE_MAX = 320, REASON_MAX = 200 };

/* ---- values that others chose ---- */

static bool token(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] <= ' ' || s.at[i] > '~' || strchr("()<>@,;:\\\"/[]?=", s.at[i]))
            return false;
    return s.len > 0;
}

static char printable(char c, bool utf8) {
    if (c == '\t' || c == '\r' || c == '\n')
        return ' ';
    return (unsigned char)c < ' ' || c == 127 || ((unsigned char)c > 127 && !utf8) ? '?' : c;
}

/* Cut to `most`; those of `special` get a backslash. */
static void put_escaped(struct buf *out, struct str s, size_t most, const char *special, bool utf8) {
    s = str_head(s, most);
    utf8 = utf8 && bytes_utf8(s);
    for (size_t i = 0; i < s.len; i++) {
        char c = printable(s.at[i], utf8);
        if (strchr(special, c))
            buf_char(out, '\\');
        buf_char(out, c);
    }
}

/* value of RFC 8601 2.2: a token or a quoted string. */
static void put_value(struct buf *out, struct str s, size_t most, bool utf8) {
    if (token(s) && s.len <= most) {
        buf_str(out, s);
        return;
    }
    buf_char(out, '"');
    put_escaped(out, s, most, "\"\\", utf8);
    buf_char(out, '"');
}

static bool dot_atom(struct str s) {
    char before = '.';
    for (size_t i = 0; i < s.len; before = s.at[i++]) {
        char c = ascii_lower(s.at[i]);
        bool atext =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
        if (!atext && (c != '.' || before == '.'))
            return false;
    }
    return !s.len || before != '.';
}

/* pvalue of an address: [[local-part]@]domain as it is, anything else quoted. */
static void put_address(struct buf *out, struct str address, bool utf8) {
    ptrdiff_t at = str_rindex(address, '@');
    struct str local = str_head(address, at < 0 ? 0 : (size_t)at),
               domain = str_from_index(address, (size_t)(at + 1));
    if (address.len <= VALUE_MAX && dot_atom(local) && domain_valid(domain, false))
        buf_str(out, address);
    else
        put_value(out, address, VALUE_MAX, utf8);
}

static void put_reason(struct buf *out, struct str reason) {
    buf_str(out, STR(" reason=\""));
    put_escaped(out, reason, REASON_MAX, "\"\\", false);
    buf_char(out, '"');
}

static void put_property(struct buf *out, const char *name, struct str value) {
    if (!value.len)
        return;
    buf_printf(out, " %s=", name);
    put_value(out, value, VALUE_MAX, false);
}

/* ---- the field ---- */

static void put_spf(struct buf *out, const struct arrival_client *client, const struct spf_check *spf) {
    buf_printf(out, "; spf=%s", spf_result_text(spf->result));
    if (spf->reason.len) {
        buf_str(out, STR(" ("));
        put_escaped(out, spf->reason, REASON_MAX, "()\\", false);
        buf_char(out, ')');
    }
    if (spf->identity == SPF_MAIL_FROM && client->reverse_path.len) {
        buf_str(out, STR(" smtp.mailfrom="));
        put_address(out, client->reverse_path, true);
    } else {
        put_property(out, "smtp.helo", client->helo);
    }
}

/* What is to be known about a signature beside its result: "2048-bit rsa key, test mode". */
static void put_remarks(struct buf *out, const struct dkim_verdict *verdict) {
    const char *separator = "";
    if (verdict->key_bits) {
        buf_printf(out, "%u-bit key", verdict->key_bits);
        separator = ", ";
    }
    if (verdict->testing) {
        buf_printf(out, "%sin test mode", separator);
        separator = ", ";
    }
    if (verdict->unsigned_bytes)
        buf_printf(out, "%s%llu octets of the body not signed", separator,
                   (unsigned long long)verdict->unsigned_bytes);
}

static void put_signature(struct buf *out, const struct dkim_verdict *verdict) {
    struct buf remarks __attribute__((cleanup(buf_free))) = {0};
    put_remarks(&remarks, verdict);
    buf_printf(out, "; dkim=%s", dkim_result_name(verdict->result));
    if (remarks.len)
        buf_printf(out, " (%s)", buf_c(&remarks));
    if (verdict->reason.len)
        put_reason(out, verdict->reason);
    put_property(out, "header.d", verdict->domain);
    if (verdict->identity.len) {
        buf_str(out, STR(" header.i="));
        put_address(out, verdict->identity, false);
    }
    put_property(out, "header.s", verdict->selector);
    put_property(out, "header.a", verdict->algorithm);
    put_property(out, "header.b", verdict->b);
}

static void put_dkim(struct buf *out, const struct dkim_verdicts *dkim) {
    if (!dkim->count)
        buf_str(out, STR("; dkim=none"));
    for (size_t i = 0; i < dkim->count; i++)
        put_signature(out, &dkim->items[i]);
    if (dkim->ignored)
        buf_printf(out, "; dkim=policy reason=\"%zu more signatures were not looked at\"", dkim->ignored);
}

static void put_arc(struct buf *out, const struct arrival_client *client, const struct arc_verdict *arc) {
    char ip[IP_TEXT_SIZE];
    buf_printf(out, "; arc=%s", arc_result_name(arc->result));
    if (arc->instances)
        buf_printf(out, " (i=%u)", arc->instances);
    if (arc->reason.len)
        put_reason(out, arc->reason);
    if (arc->result == ARC_PASS)
        buf_printf(out, " header.oldest-pass=%u", arc->oldest_pass);
    if (!ip_is_none(&client->ip))
        put_property(out, "smtp.remote-ip", str_of(ip_text(&client->ip, ip)));
}

static void put_results(struct buf *out, struct str authserv_id, const struct arrival_client *client,
                        const struct arrival_result *result) {
    put_value(out, authserv_id, VALUE_MAX, false);
    if (!result->checked) {
        buf_str(out, STR("; none"));
        return;
    }
    put_spf(out, client, &result->spf);
    put_dkim(out, &result->dkim);
    put_arc(out, client, &result->arc);
}

struct str results_value(struct arena *arena, struct str authserv_id, const struct arrival_client *client,
                         const struct arrival_result *result) {
    struct buf value __attribute__((cleanup(buf_free))) = {0};
    put_results(&value, authserv_id, client, result);
    return str_copy(arena, buf_view(&value));
}

void results_write(struct buf *out, struct str authserv_id, const struct arrival_client *client,
                   const struct arrival_result *result) {
    struct buf value __attribute__((cleanup(buf_free))) = {0};
    put_results(&value, authserv_id, client, result);
    header_write(out, STR("Authentication-Results"), buf_view(&value));
}

/* ---- lines for the trace ---- */

static void put_text(struct buf *out, const char *before, struct str s, size_t most) {
    if (!s.len)
        return;
    buf_printf(out, "%s", before);
    put_escaped(out, s, most, "", false);
}

static struct str text_of(struct arena *arena, const struct buf *text) {
    return str_copy(arena, str_head(buf_view(text), RESULTS_TEXT_MAX));
}

struct str results_spf_text(struct arena *arena, const struct arrival_result *result) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    if (!result->checked)
        return STR_NULL;
    buf_printf(&text, "%s", spf_result_text(result->spf.result));
    put_text(&text, " ", result->spf.domain, 253);
    if (result->spf.reason.len) {
        put_text(&text, " (", result->spf.reason, REASON_MAX);
        buf_char(&text, ')');
    }
    return text_of(arena, &text);
}

static void put_signature_text(struct buf *out, const struct dkim_verdict *verdict) {
    enum { NAME_MAX_SHOWN = 80, REASON_MAX_SHOWN = 120 };
    struct buf remarks __attribute__((cleanup(buf_free))) = {0};
    struct dkim_verdict shown = *verdict;
    shown.key_bits = 0;
    put_text(&remarks, "", verdict->reason, REASON_MAX_SHOWN);
    if (remarks.len && (shown.testing || shown.unsigned_bytes))
        buf_str(&remarks, STR("; "));
    put_remarks(&remarks, &shown);
    buf_printf(out, "%s", dkim_result_name(verdict->result));
    put_text(out, " d=", verdict->domain, NAME_MAX_SHOWN);
    put_text(out, " s=", verdict->selector, NAME_MAX_SHOWN);
    if (remarks.len)
        buf_printf(out, " (%s)", buf_c(&remarks));
}

struct str results_dkim_text(struct arena *arena, const struct arrival_result *result) {
    enum { ROOM_FOR_COUNT = 40 };
    struct buf text __attribute__((cleanup(buf_free))) = {0}, one __attribute__((cleanup(buf_free))) = {0};
    const struct dkim_verdicts *dkim = &result->dkim;
    size_t shown = 0;
    if (!result->checked)
        return STR_NULL;
    for (; shown < dkim->count; shown++) {
        buf_clear(&one);
        put_signature_text(&one, &dkim->items[shown]);
        if (text.len + one.len > RESULTS_TEXT_MAX - ROOM_FOR_COUNT)
            break;
        buf_printf(&text, "%s%s", text.len ? "; " : "", buf_c(&one));
    }
    if (!dkim->count)
        buf_str(&text, STR("none"));
    if (shown < dkim->count + dkim->ignored)
        buf_printf(&text, "; %zu more", dkim->count + dkim->ignored - shown);
    return text_of(arena, &text);
}

struct str results_arc_text(struct arena *arena, const struct arrival_result *result) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    const struct arc_verdict *arc = &result->arc;
    if (!result->checked)
        return STR_NULL;
    buf_printf(&text, "%s", arc_result_name(arc->result));
    if (arc->instances)
        buf_printf(&text, " i=%u", arc->instances);
    put_text(&text, " d=", arc->domain, 200);
    if (arc->reason.len) {
        put_text(&text, " (", arc->reason, REASON_MAX);
        buf_char(&text, ')');
    }
    return text_of(arena, &text);
}
