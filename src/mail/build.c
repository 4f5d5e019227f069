#include "mail/build.h"
#include "base/clock.h"
#include "mail/mime.h"

enum { ENCODED_WORD_MAX = 75, ENCODED_FRAME = 12 /* =?UTF-8?Q? and ?= */ };

/* RFC 2047 5 (3): what may stand for itself in a Q word anywhere in a header. */
static bool q_literal(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!*+-/", c));
}

static bool plain_text(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.at[i] < 32 || (unsigned char)s.at[i] >= 127)
            return false;
    return str_find(s, STR("=?")) < 0;
}

static size_t character_length(struct str s, size_t at) {
    size_t len = 1;
    while (at + len < s.len && ((unsigned char)s.at[at + len] & 0xc0) == 0x80)
        len++;
    return len;
}

static size_t encoded_length(struct str s, size_t at, size_t len) {
    size_t total = 0;
    for (size_t i = at; i < at + len; i++)
        total += q_literal(s.at[i]) || s.at[i] == ' ' ? 1 : 3;
    return total;
}

void header_write_text(struct buf *out, struct str name, struct str text) {
    struct arena *arena = arena_new(0);
    text = utf8_clean(arena, str_trim(text));
    if (plain_text(text)) {
        header_write(out, name, text);
        arena_free(arena);
        return;
    }
    size_t column = name.len + 2;
    buf_str(out, name);
    buf_str(out, STR(": "));
    for (size_t at = 0; at < text.len;) {
        buf_str(out, STR("=?UTF-8?Q?"));
        size_t word = ENCODED_FRAME, len;
        for (; at < text.len; at += len) {
            len = character_length(text, at);
            size_t more = encoded_length(text, at, len);
            if (word > ENCODED_FRAME &&
                (word + more > ENCODED_WORD_MAX || column + word + more > ENCODED_WORD_MAX + 1))
                break;
            for (size_t i = at; i < at + len; i++)
                if (q_literal(text.at[i]))
                    buf_char(out, text.at[i]);
                else if (text.at[i] == ' ')
                    buf_char(out, '_');
                else
                    buf_printf(out, "=%02X", (unsigned char)text.at[i]);
            word += more;
        }
        buf_str(out, at < text.len ? STR("?=\r\n ") : STR("?="));
        column = 1;
    }
    buf_str(out, STR("\r\n"));
    arena_free(arena);
}

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

static void decode_q(struct buf *out, struct str s) {
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] == '=' && i + 2 < s.len && hex(s.at[i + 1]) >= 0 && hex(s.at[i + 2]) >= 0) {
            buf_char(out, (char)(hex(s.at[i + 1]) * 16 + hex(s.at[i + 2])));
            i += 2;
        } else {
            buf_char(out, s.at[i] == '_' ? ' ' : s.at[i]);
        }
    }
}

static void decode_b(struct buf *out, struct str s) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < s.len; i++) {
        const char *digit = s.at[i] ? strchr(digits, s.at[i]) : NULL;
        if (!digit)
            continue;
        bits = bits << 6 | (uint32_t)(digit - digits);
        have += 6;
        if (have >= 8) {
            have -= 8;
            buf_char(out, (char)(bits >> have & 0xff));
        }
    }
}

static void latin1_to_utf8(struct buf *out, struct str s) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (c < 0x80) {
            buf_char(out, (char)c);
        } else {
            buf_char(out, (char)(0xc0 | c >> 6));
            buf_char(out, (char)(0x80 | (c & 0x3f)));
        }
    }
}

/* Decodes the encoded word at the front of `s`: its length, or 0 when there is none that we know. */
static size_t decode_word(struct buf *out, struct str s) {
    if (!str_starts(s, STR("=?")))
        return 0;
    struct str rest = str_from_index(s, 2), charset, encoding, language;
    ptrdiff_t end;
    if (!str_cut(&rest, '?', &charset) || !str_cut(&rest, '?', &encoding) || encoding.len != 1 ||
        (end = str_find(rest, STR("?="))) < 0)
        return 0;
    struct str text = str_head(rest, (size_t)end);
    str_cut(&(struct str){charset.at, charset.len}, '*', &language); /* RFC 2231 5: charset*language */
    charset = language;
    bool utf8 = str_eq_nocase(charset, STR("utf-8")) || str_eq_nocase(charset, STR("us-ascii"));
    bool latin1 = str_eq_nocase(charset, STR("iso-8859-1")) || str_eq_nocase(charset, STR("windows-1252"));
    if ((!utf8 && !latin1) || str_index(text, ' ') >= 0 || !strchr("qQbB", encoding.at[0]))
        return 0;
    struct buf bytes __attribute__((cleanup(buf_free))) = {0};
    if (ascii_lower(encoding.at[0]) == 'q')
        decode_q(&bytes, text);
    else
        decode_b(&bytes, text);
    if (latin1)
        latin1_to_utf8(out, buf_view(&bytes));
    else
        buf_str(out, buf_view(&bytes));
    return (size_t)(text.at - s.at) + text.len + 2;
}

struct str header_decode_text(struct arena *arena, struct str value) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    struct str s = header_unfold(arena, value);
    size_t after_word = SIZE_MAX; /* length of `out` right behind an encoded word and blanks */
    while (s.len) {
        size_t before = out.len, len = 0;
        if (s.at[0] == '=') {
            if (after_word != SIZE_MAX)
                out.len = after_word; /* blanks between encoded words are no text (RFC 2047 6.2) */
            len = decode_word(&out, s);
            if (!len)
                out.len = before;
        }
        if (len) {
            after_word = out.len;
            s = str_from_index(s, len);
            continue;
        }
        if (s.at[0] != ' ' && s.at[0] != '\t')
            after_word = SIZE_MAX;
        buf_char(&out, s.at[0]);
        s = str_from_index(s, 1);
    }
    for (size_t i = 0; i < out.len; i++)
        if ((out.at[i] >= 0 && out.at[i] < 32) || out.at[i] == 127)
            out.at[i] = ' ';
    return utf8_clean(arena, str_copy(arena, buf_view(&out)));
}

struct str message_id_of(struct arena *arena, struct str trace_id, struct str domain) {
    return str_printf(arena, "<%.*s@%.*s>", STR_FMT(trace_id), STR_FMT(domain));
}

struct submission_lacks submission_lacks(const struct header *h) {
    return (struct submission_lacks){
        .date = !header_find(h, STR("Date"), NULL),
        .message_id = !header_find(h, STR("Message-ID"), NULL),
        .from = !header_find(h, STR("From"), NULL),
    };
}

void submission_complete(struct buf *out, struct submission_lacks lacks, const struct submission_facts *f) {
    char date[CLOCK_RFC5322_SIZE];
    struct arena *arena = arena_new(0);
    if (lacks.from && f->from.len)
        header_write(out, STR("From"), str_printf(arena, "<%.*s>", STR_FMT(f->from)));
    if (lacks.date)
        header_write(out, STR("Date"), str_of(clock_rfc5322(f->wall_ms, date)));
    if (lacks.message_id)
        header_write(out, STR("Message-ID"), message_id_of(arena, f->trace_id, f->domain));
    arena_free(arena);
}
