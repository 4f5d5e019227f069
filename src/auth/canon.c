#include "auth/canon.h"

static bool blank(char c) { return c == ' ' || c == '\t'; }

static struct str without_line_end(struct str s) {
    if (s.len && s.at[s.len - 1] == '\n')
        s.len--;
    if (s.len && s.at[s.len - 1] == '\r')
        s.len--;
    return s;
}

/* A value, a piece at a time, so that what was cut out of it leaves no trace. */
struct relaxed_value {
    struct buf *out;
    bool blank, any;
};

static void relaxed_feed(struct relaxed_value *value, struct str piece) {
    for (size_t i = 0; i < piece.len; i++) {
        char c = piece.at[i];
        if (c == '\n' || (c == '\r' && i + 1 < piece.len && piece.at[i + 1] == '\n'))
            continue;
        if (blank(c)) {
            value->blank = true;
            continue;
        }
        if (value->blank && value->any)
            buf_char(value->out, ' ');
        value->blank = false;
        value->any = true;
        buf_char(value->out, c);
    }
}

static void relaxed_name(struct buf *out, struct str name) {
    for (size_t i = 0; i < name.len; i++)
        buf_char(out, ascii_lower(name.at[i]));
    buf_char(out, ':');
}

void canon_field(struct buf *out, enum canon mode, const struct header_field *field) {
    if (mode == CANON_RELAXED) {
        struct relaxed_value value = {.out = out};
        relaxed_name(out, field->name);
        relaxed_feed(&value, field->value);
    } else {
        buf_str(out, without_line_end(field->whole));
    }
    buf_str(out, STR("\r\n"));
}

void canon_signature_field(struct buf *out, enum canon mode, const struct header_field *field,
                           struct str hole) {
    struct str before = str_head(field->value, (size_t)(hole.at - field->value.at));
    struct str after = str_from_index(field->value, before.len + hole.len);
    if (mode == CANON_RELAXED) {
        struct relaxed_value value = {.out = out};
        relaxed_name(out, field->name);
        relaxed_feed(&value, before);
        relaxed_feed(&value, after);
    } else {
        buf_str(out, str_head(field->whole, (size_t)(hole.at - field->whole.at)));
        buf_str(out, after);
    }
}

static void give(struct canon_body *body, struct str bytes) {
    if (!bytes.len)
        return;
    body->any = true;
    body->sink(body->to, bytes);
}

/* What was held back turns out to be inside the body. */
static void give_held(struct canon_body *body) {
    static const char line_ends[] = "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
    const size_t most = (sizeof line_ends - 1) / 2;
    while (body->line_ends) {
        size_t count = body->line_ends < most ? (size_t)body->line_ends : most;
        give(body, str_from(line_ends, 2 * count));
        body->line_ends -= count;
    }
    if (body->blank)
        give(body, STR(" "));
    body->blank = false;
}

/* The length of what goes through as it is from `at` on: in the relaxed form too, lone blanks between words
 * do. */
static size_t plain_length(const struct canon_body *body, struct str bytes, size_t at) {
    size_t i = at;
    if (body->mode == CANON_SIMPLE) {
        const char *cr = memchr(bytes.at + at, '\r', bytes.len - at);
        return cr ? (size_t)(cr - bytes.at) - at : bytes.len - at;
    }
    for (; i < bytes.len && bytes.at[i] != '\r'; i++) {
        char next = i + 1 < bytes.len ? bytes.at[i + 1] : '\r';
        if (bytes.at[i] == '\t' || (bytes.at[i] == ' ' && (blank(next) || next == '\r')))
            break;
    }
    return i - at;
}

void canon_body_feed(struct canon_body *body, struct str bytes) {
    for (size_t i = 0; i < bytes.len;) {
        char c = bytes.at[i];
        if (body->cr) {
            body->cr = false;
            if (c == '\n') {
                body->blank = false;
                body->line_ends++;
                i++;
                continue;
            }
            give_held(body);
            give(body, STR("\r"));
        }
        if (c == '\r') {
            body->cr = true;
            i++;
        } else if (body->mode == CANON_RELAXED && blank(c)) {
            body->blank = true;
            i++;
        } else {
            size_t len = plain_length(body, bytes, i);
            give_held(body);
            give(body, str_from(bytes.at + i, len));
            i += len;
        }
    }
}

void canon_body_end(struct canon_body *body) {
    if (body->cr) {
        give_held(body);
        give(body, STR("\r"));
    }
    /* An empty body is CRLF in the simple form (3.4.3), nothing in the relaxed one (3.4.4). */
    if (body->any || body->mode == CANON_SIMPLE)
        give(body, STR("\r\n"));
}
