#include "smtp/reply.h"
#include "mail/mime.h"
#include <stdio.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* The enhanced code at the front of `s`, of class `class` ('2', '4', '5'), followed by a space or the end;
 * else empty. RFC 3463 2. */
static struct str enhanced_front(struct str s, char class) {
    size_t at = 1;
    if (s.len < 5 || s.at[0] != class || (class != '2' && class != '4' && class != '5'))
        return STR_NULL;
    for (int part = 0; part < 2; part++) {
        if (at >= s.len || s.at[at] != '.')
            return STR_NULL;
        size_t digits = 0;
        while (++at < s.len && is_digit(s.at[at]))
            digits++;
        if (digits == 0 || digits > 3)
            return STR_NULL;
    }
    if (at < s.len && s.at[at] != ' ')
        return STR_NULL;
    return str_head(s, at);
}

/* Writes `text` with what must not stand in a line as '?'. */
static void write_clean(struct buf *out, struct str text) {
    size_t from = out->len;
    buf_str(out, text);
    for (char *p = out->at + from; p < out->at + out->len; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = *p == '\t' ? ' ' : '?';
}

/* How much of `s` fits into `room` octets: broken after a space where there is one, never inside UTF-8. */
static size_t break_at(struct str s, size_t room) {
    if (s.len <= room)
        return s.len;
    for (size_t at = room; at > room / 2; at--)
        if (s.at[at - 1] == ' ')
            return at;
    for (size_t at = room; at > room - 4; at--)
        if (((unsigned char)s.at[at] & 0xc0) != 0x80)
            return at;
    return room;
}

void smtp_reply_write(struct buf *out, const struct smtp_reply *reply) {
    size_t prefix = 4 + (reply->enhanced.len ? reply->enhanced.len + 1 : 0);
    size_t room = SMTP_REPLY_LINE_MAX - 2 - prefix;
    struct str rest = reply->text.at ? reply->text : STR("");
    bool last;
    do {
        ptrdiff_t newline = str_index(rest, '\n');
        struct str line = newline < 0 ? rest : str_head(rest, (size_t)newline);
        size_t take = break_at(line, room);
        last = newline < 0 && take == rest.len;
        buf_reserve(out, prefix + take + 2);
        char code[4] = {(char)('0' + reply->code / 100 % 10), (char)('0' + reply->code / 10 % 10),
                        (char)('0' + reply->code % 10), last ? ' ' : '-'};
        buf_add(out, code, 4);
        if (reply->enhanced.len) {
            write_clean(out, reply->enhanced);
            buf_char(out, ' ');
        }
        write_clean(out, str_head(line, take));
        buf_add(out, "\r\n", 2);
        rest = str_from_index(rest, take < line.len ? take : line.len + (newline >= 0));
    } while (!last);
}

struct reply_line {
    int code;
    bool more;
    struct str text;
};

static int line_read(struct str line, struct reply_line *ret) {
    if (line.len && line.at[line.len - 1] == '\r')
        line.len--;
    if (line.len < 3 || line.at[0] < '2' || line.at[0] > '5' || !is_digit(line.at[1]) ||
        !is_digit(line.at[2]))
        return SLUICE_ESYNTAX;
    if (line.len > 3 && line.at[3] != ' ' && line.at[3] != '-')
        return SLUICE_ESYNTAX;
    if (line.len && memchr(line.at, 0, line.len))
        return SLUICE_ESYNTAX;
    ret->code = (line.at[0] - '0') * 100 + (line.at[1] - '0') * 10 + (line.at[2] - '0');
    ret->more = line.len > 3 && line.at[3] == '-';
    ret->text = str_from_index(line, line.len > 3 ? 4 : 3);
    while (ret->text.len &&
           (ret->text.at[ret->text.len - 1] == ' ' || ret->text.at[ret->text.len - 1] == '\t'))
        ret->text.len--;
    return 0;
}

/* Control bytes, and 8-bit that is no UTF-8, become '?'. '\n' stands between lines. */
static void make_clean(char *at, size_t len) {
    bool utf8 = bytes_utf8(str_from(at, len));
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)at[i];
        if (c == '\t')
            at[i] = ' ';
        else if ((c < ' ' && c != '\n') || c == 0x7f || (c > 0x7f && !utf8))
            at[i] = '?';
    }
}

/* All is read and well-formed: joins the lines, without the enhanced code that they share. */
static void reply_join(struct str input, size_t used, struct arena *arena, struct smtp_reply *ret) {
    char *text = arena_alloc(arena, used), *end = text;
    struct str rest = str_head(input, used), enhanced = STR_NULL;
    struct reply_line line = {0};
    for (bool first = true; rest.len; first = false) {
        size_t len = (size_t)str_index(rest, '\n');
        if (line_read(str_head(rest, len), &line) != 0)
            break; /* read once already */
        rest = str_from_index(rest, len + 1);
        if (first)
            enhanced = enhanced_front(line.text, (char)('0' + line.code / 100));
        else
            *end++ = '\n';
        if (enhanced.len && str_eq(enhanced_front(line.text, enhanced.at[0]), enhanced)) {
            line.text = str_from_index(line.text, enhanced.len);
            if (line.text.len)
                line.text = str_from_index(line.text, 1);
        }
        if (line.text.len)
            memcpy(end, line.text.at, line.text.len);
        end += line.text.len;
    }
    make_clean(text, (size_t)(end - text));
    *ret = (struct smtp_reply){line.code, enhanced.len ? str_copy(arena, enhanced) : STR_NULL,
                               str_from(text, (size_t)(end - text))};
}

int smtp_reply_read(struct str input, struct arena *arena, struct smtp_reply *ret, size_t *ret_used) {
    size_t used = 0;
    int code = 0;
    for (int lines = 0;; lines++) {
        struct str rest = str_from_index(input, used);
        ptrdiff_t len = str_index(rest, '\n');
        if (lines == SMTP_REPLY_LINES_MAX ||
            used + (len < 0 ? rest.len : (size_t)len) >= SMTP_REPLY_BYTES_MAX)
            return SLUICE_ETOOBIG;
        if (len < 0)
            return 0;
        struct reply_line line;
        int error = line_read(str_head(rest, (size_t)len), &line);
        if (error)
            return error;
        if (code && line.code != code)
            return SLUICE_ESYNTAX;
        code = line.code;
        used += (size_t)len + 1;
        if (!line.more)
            break;
    }
    reply_join(input, used, arena, ret);
    *ret_used = used;
    return 1;
}

struct str smtp_reply_joined(struct arena *arena, const struct smtp_reply *reply) {
    if (str_index(reply->text, '\n') < 0)
        return reply->text;
    struct str copy = str_copy(arena, reply->text);
    char *out = (char *)copy.at;
    size_t len = 0;
    for (size_t i = 0; i < copy.len; i++) {
        char c = copy.at[i] == '\n' ? ' ' : copy.at[i];
        if (c != ' ' || (len && out[len - 1] != ' ') || copy.at[i] == ' ')
            out[len++] = c;
    }
    return str_from(copy.at, len);
}

struct outcome smtp_reply_outcome(struct arena *arena, const struct smtp_reply *reply,
                                  enum outcome_scope scope) {
    if (reply->code == 421 && scope < OUTCOME_SESSION)
        scope = OUTCOME_SESSION;
    return (struct outcome){
        .scope = scope,
        .fate = reply->code < 400   ? OUTCOME_DONE
                : reply->code < 500 ? OUTCOME_LATER
                                    : OUTCOME_NEVER,
        .code = reply->code,
        .enhanced = reply->enhanced,
        .text = smtp_reply_joined(arena, reply),
        .remote = true,
    };
}
