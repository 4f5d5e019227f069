#include "mail/convert.h"
#include "base/error.h"
#include "mail/header.h"
#include "mail/mime.h"

#include <stdlib.h>

enum {
    DEPTH_MAX = 32,
    LINE_PIECE = 4096, /* a longer line is handled in pieces of this size */
    BOUNDARY_MAX = 250,
    QP_COLUMN_MAX = 76,
};

/* Where in the message we are. */
enum place {
    IN_HEADER,
    IN_LEAF,
    OUTSIDE, /* preamble and epilogue of a multipart */
};

enum part_kind { PART_LEAF, PART_MULTIPART, PART_MESSAGE, PART_FIXED /* a leaf that must stay as it is */ };

struct level {
    struct str boundary; /* malloc'd */
    bool digest, is_signed;
};

/* The part we are in, from its header. */
struct part {
    enum part_kind kind;
    enum mime_encoding encoding;
    bool message_top; /* the header is a message's, not a part's */
    bool relabel;     /* a multipart or message that claims to be 8bit */
    bool encode;      /* second pass: this leaf becomes quoted-printable */
    bool escape;      /* it is quoted-printable already and has stray 8-bit bytes */
    bool add_type;    /* no Content-Type */
};

struct convert {
    bool writing; /* the second pass */
    bool needed, top_signed;
    const char *why;
    int error;
    unsigned char *plan; /* per part: its body has 8-bit bytes */
    size_t part_count, part_cap;
    size_t ordinal; /* parts begun in this pass */
    enum place place;
    struct part part;
    struct level levels[DEPTH_MAX];
    size_t depth;
    struct buf line;   /* the unfinished line */
    bool line_begun;   /* earlier pieces of this line are gone already */
    struct buf header; /* the unfinished header */
    bool top, child_of_digest;
    size_t qp_column;
    char qp_blank; /* a blank that is held back: it may end the line */
    struct buf *out;
};

static void begin_pass(struct convert *c) {
    while (c->depth)
        free((char *)c->levels[--c->depth].boundary.at);
    c->place = IN_HEADER;
    c->top = true;
    c->child_of_digest = false;
    c->ordinal = 0;
    c->qp_column = 0;
    c->qp_blank = 0;
    c->line_begun = false;
    buf_clear(&c->line);
    buf_clear(&c->header);
}

struct convert *convert_new(void) {
    struct convert *c = xcalloc(1, sizeof *c);
    c->why = "";
    begin_pass(c);
    return c;
}

struct convert *convert_free(struct convert *c) {
    if (!c)
        return NULL;
    begin_pass(c);
    buf_free(&c->line);
    buf_free(&c->header);
    free(c->plan);
    free(c);
    return NULL;
}

bool convert_needed(const struct convert *c) { return c->needed; }
const char *convert_why(const struct convert *c) { return c->why; }

static int fail(struct convert *c, int error, const char *why) {
    c->error = error;
    c->why = why;
    return error;
}

/* Quoted-printable (RFC 2045 6.7). */

static void qp_put(struct convert *c, const char *bytes, size_t len) {
    if (c->qp_column + len >= QP_COLUMN_MAX) {
        buf_str(c->out, STR("=\r\n"));
        c->qp_column = 0;
    }
    buf_add(c->out, bytes, len);
    c->qp_column += len;
}

static void qp_escaped(struct convert *c, unsigned char byte) {
    static const char digits[] = "0123456789ABCDEF";
    char text[3] = {'=', digits[byte >> 4], digits[byte & 15]};
    qp_put(c, text, 3);
}

static void qp_flush_blank(struct convert *c, bool line_ends) {
    if (c->qp_blank && line_ends)
        qp_escaped(c, (unsigned char)c->qp_blank);
    else if (c->qp_blank)
        qp_put(c, &c->qp_blank, 1);
    c->qp_blank = 0;
}

static void qp_encode(struct convert *c, struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.at[i];
        qp_flush_blank(c, false);
        if (byte == ' ' || byte == '\t')
            c->qp_blank = byte;
        else if (byte > 32 && byte < 127 && byte != '=')
            qp_put(c, &byte, 1);
        else
            qp_escaped(c, (unsigned char)byte);
    }
}

static void qp_line_end(struct convert *c, struct str line_end) {
    qp_flush_blank(c, true);
    buf_str(c->out, line_end);
    c->qp_column = 0;
}

/* Bytes over 127 replaced: by `?`, or by =XX where the part is quoted-printable already. */
static void write_replaced(struct buf *out, struct str text, bool escape) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (byte < 128)
            buf_char(out, (char)byte);
        else if (escape)
            buf_printf(out, "=%02X", byte);
        else
            buf_char(out, '?');
    }
}

/* Headers. */

static enum part_kind kind_of(const struct content_type *ct) {
    if (str_eq(ct->type, STR("multipart"))) {
        struct str boundary = content_type_parameter(ct, "boundary");
        return boundary.len && boundary.len <= BOUNDARY_MAX ? PART_MULTIPART : PART_FIXED;
    }
    if (content_type_is(ct, "message", "rfc822"))
        return PART_MESSAGE;
    if (content_type_is(ct, "message", "partial") || content_type_is(ct, "message", "external-body"))
        return PART_FIXED;
    return PART_LEAF;
}

static int push_level(struct convert *c, const struct content_type *ct) {
    struct str boundary = content_type_parameter(ct, "boundary");
    if (c->depth == DEPTH_MAX)
        return fail(c, SLUICE_EDENIED, "its parts are nested too deeply");
    while (boundary.len && (boundary.at[boundary.len - 1] == ' ' || boundary.at[boundary.len - 1] == '\t'))
        boundary.len--;
    char *copy = xmalloc(boundary.len + 1);
    memcpy(copy, boundary.at, boundary.len);
    c->levels[c->depth++] = (struct level){
        .boundary = {copy, boundary.len},
        .digest = str_eq(ct->subtype, STR("digest")),
        .is_signed = str_eq(ct->subtype, STR("signed")),
    };
    return 0;
}

static bool keeps_field(const struct part *p, const struct header_field *f) {
    return !((p->encode || p->relabel) && str_eq_nocase(f->name, STR("Content-Transfer-Encoding")));
}

/* The header of this part with the fields that its new encoding needs. */
static void write_header(struct convert *c, const struct header *h, struct str empty_line) {
    const struct part *p = &c->part;
    if (!p->encode && !p->relabel) {
        buf_str(c->out, buf_view(&c->header));
        buf_str(c->out, empty_line);
        return;
    }
    bool label = true;
    for (size_t i = 0; i < h->count; i++) {
        if (keeps_field(p, &h->fields[i])) {
            buf_str(c->out, h->fields[i].whole);
        } else if (label) {
            buf_str(c->out, p->encode ? STR("Content-Transfer-Encoding: quoted-printable\r\n")
                                      : STR("Content-Transfer-Encoding: 7bit\r\n"));
            label = false;
        }
    }
    if (p->message_top && !header_find(h, STR("MIME-Version"), NULL))
        buf_str(c->out, STR("MIME-Version: 1.0\r\n"));
    if (p->encode && p->add_type)
        buf_str(c->out, STR("Content-Type: text/plain; charset=unknown-8bit\r\n")); /* RFC 1428 */
    if (p->encode && label)
        buf_str(c->out, STR("Content-Transfer-Encoding: quoted-printable\r\n"));
    /* Encoded text could look like a field, so it never follows a header directly. */
    buf_str(c->out, empty_line.len || !p->encode ? empty_line : STR("\r\n"));
}

static int plan_part(struct convert *c) {
    if (!c->writing) {
        if (c->part_count == c->part_cap)
            c->plan = xrealloc(c->plan, c->part_cap = c->part_cap ? 2 * c->part_cap : 64);
        c->plan[c->part_count++] = 0;
    }
    if (c->ordinal >= c->part_count)
        return fail(c, SLUICE_EINVALID, "the second pass saw other bytes than the first");
    c->ordinal++;
    return 0;
}

static int read_part(struct convert *c, struct arena *arena, const struct header *h) {
    const struct header_field *type = header_find(h, STR("Content-Type"), NULL);
    const struct header_field *encoding = header_find(h, STR("Content-Transfer-Encoding"), NULL);
    struct content_type ct;
    if (bytes_8bit(buf_view(&c->header)))
        return fail(c, SLUICE_EDENIED, "a header field has raw 8-bit bytes");
    content_type_parse(arena,
                       type                 ? type->value
                       : c->child_of_digest ? STR("message/rfc822")
                                            : STR_NULL,
                       &ct);
    c->part = (struct part){.kind = kind_of(&ct), .message_top = c->top, .add_type = !type};
    c->part.encoding = mime_encoding_parse(encoding ? header_unfold(arena, encoding->value) : STR_NULL);
    if (c->ordinal == 0) {
        struct mime_facts facts;
        mime_facts_of(arena, h, &facts);
        c->top_signed = facts.is_signed;
    }
    int error = plan_part(c);
    bool claims_8bit = c->part.encoding == MIME_8BIT || c->part.encoding == MIME_BINARY;
    if (!error && c->part.kind == PART_MULTIPART) {
        c->part.relabel = claims_8bit && c->needed;
        error = push_level(c, &ct);
    } else if (c->part.kind == PART_MESSAGE) {
        /* An encoded message/rfc822 is against RFC 2046 5.2.1: a leaf to us. */
        if (claims_8bit || c->part.encoding == MIME_7BIT)
            c->part.relabel = claims_8bit && c->needed;
        else
            c->part.kind = PART_LEAF;
    }
    if (!error && c->writing && c->plan[c->ordinal - 1]) {
        c->part.escape = c->part.encoding == MIME_QP;
        c->part.encode = !c->part.escape;
    }
    return error;
}

/* The header of a part is complete: what follows? `empty_line` is what separates it from the body. */
static int end_header(struct convert *c, struct str empty_line) {
    struct arena *arena = arena_new(0);
    struct header h;
    int error = header_parse(arena, buf_view(&c->header), 0, &h);
    error = error ? fail(c, error, "its header is too large") : read_part(c, arena, &h);
    if (!error && c->writing)
        write_header(c, &h, empty_line);
    arena_free(arena);
    buf_clear(&c->header);
    c->child_of_digest = false;
    c->top = !error && c->part.kind == PART_MESSAGE;
    c->place = c->part.kind == PART_MESSAGE ? IN_HEADER : c->part.kind == PART_MULTIPART ? OUTSIDE : IN_LEAF;
    return error;
}

/* Bodies. */

static int note_8bit(struct convert *c) {
    c->needed = true;
    if (c->top_signed)
        return fail(c, SLUICE_EDENIED, "it is signed");
    for (size_t i = 0; i < c->depth; i++)
        if (c->levels[i].is_signed)
            return fail(c, SLUICE_EDENIED, "a part of it is signed");
    if (c->place == OUTSIDE)
        return 0;
    if (c->part.kind == PART_FIXED)
        return fail(c, SLUICE_EDENIED, "a part that may not be encoded has 8-bit bytes");
    if (c->part.encoding == MIME_BASE64 || c->part.encoding == MIME_OTHER_ENCODING)
        return fail(c, SLUICE_EDENIED, "a part that claims an encoding has 8-bit bytes");
    c->plan[c->ordinal - 1] = 1;
    return 0;
}

/* A piece of a body line, `line_end` when it is the last. */
static int body_piece(struct convert *c, struct str text, struct str line_end) {
    if (!c->writing)
        return bytes_8bit(text) ? note_8bit(c) : 0;
    if (c->place == IN_LEAF && c->part.encode) {
        qp_encode(c, text);
        if (line_end.len)
            qp_line_end(c, line_end);
        return 0;
    }
    if (bytes_8bit(text))
        write_replaced(c->out, text, c->place == IN_LEAF && c->part.escape);
    else
        buf_str(c->out, text);
    buf_str(c->out, line_end);
    return 0;
}

/* The level whose boundary this line is (+ 1), or 0. Inner ones first; a prefix is not enough. */
static size_t boundary_level(const struct convert *c, struct str text, bool *ret_closing) {
    if (!str_starts(text, STR("--")))
        return 0;
    struct str rest = str_from_index(text, 2);
    while (rest.len && (rest.at[rest.len - 1] == ' ' || rest.at[rest.len - 1] == '\t'))
        rest.len--;
    for (size_t level = c->depth; level > 0; level--) {
        struct str boundary = c->levels[level - 1].boundary;
        *ret_closing = rest.len == boundary.len + 2 && str_ends(rest, STR("--"));
        if ((rest.len == boundary.len || *ret_closing) && str_starts(rest, boundary))
            return level;
    }
    return 0;
}

static int boundary_line(struct convert *c, size_t level, bool closing, struct str text,
                         struct str line_end) {
    int error = 0;
    if (c->place == IN_HEADER)
        error = end_header(c, STR_NULL);
    if (error)
        return error;
    if (c->writing) {
        if (c->place == IN_LEAF && c->part.encode)
            qp_flush_blank(c, true);
        c->qp_column = 0;
        buf_str(c->out, text);
        buf_str(c->out, line_end);
    }
    size_t keep = closing ? level - 1 : level;
    c->child_of_digest = !closing && c->levels[level - 1].digest;
    while (c->depth > keep)
        free((char *)c->levels[--c->depth].boundary.at);
    c->place = closing ? OUTSIDE : IN_HEADER;
    c->top = false;
    return 0;
}

/* A line, or a piece of one; `line_end` is empty when more of the line follows or the message ends here. */
static int one_piece(struct convert *c, struct str text, struct str line_end) {
    bool closing = false, at_start = !c->line_begun;
    size_t level = at_start ? boundary_level(c, text, &closing) : 0;
    c->line_begun = !line_end.len;
    if (level)
        return boundary_line(c, level, closing, text, line_end);
    if (c->place != IN_HEADER)
        return body_piece(c, text, line_end);
    enum header_line kind =
        at_start ? header_line_kind(line_end.len && !text.len ? line_end : text) : HEADER_LINE_CONTINUED;
    if (kind == HEADER_LINE_CONTINUED && at_start && !c->header.len)
        kind = HEADER_LINE_OTHER;
    if (kind == HEADER_LINE_EMPTY)
        return end_header(c, line_end);
    if (kind == HEADER_LINE_OTHER) {
        int error = end_header(c, STR_NULL);
        c->line_begun = !at_start;
        return error ? error : one_piece(c, text, line_end);
    }
    if (c->header.len + text.len > HEADER_BYTES_MAX)
        return fail(c, SLUICE_ETOOBIG, "its header is too large");
    buf_str(&c->header, text);
    buf_str(&c->header, line_end);
    return 0;
}

static int whole_line(struct convert *c, struct str line) {
    size_t len = line.len - 1;
    if (len && line.at[len - 1] == '\r')
        len--;
    return one_piece(c, str_head(line, len), str_from_index(line, len));
}

/* Cuts the stream into lines; a line in one chunk is not copied. */
static int feed(struct convert *c, struct str chunk) {
    int error = c->error;
    while (!error && chunk.len) {
        const char *line_end = memchr(chunk.at, '\n', chunk.len);
        size_t len = line_end ? (size_t)(line_end - chunk.at) + 1 : chunk.len;
        struct str piece = str_head(chunk, len);
        chunk = str_from_index(chunk, len);
        if (line_end && !c->line.len) {
            error = whole_line(c, piece);
            continue;
        }
        buf_str(&c->line, piece);
        if (line_end) {
            error = whole_line(c, buf_view(&c->line));
            buf_clear(&c->line);
        } else if (c->line.len > LINE_PIECE) {
            /* The last byte waits: it may be the CR of the line end. */
            error = one_piece(c, str_head(buf_view(&c->line), c->line.len - 1), STR_NULL);
            buf_consume(&c->line, c->line.len - 1);
        }
    }
    return error;
}

static int finish(struct convert *c) {
    int error = c->error;
    if (!error && c->line.len)
        error = one_piece(c, buf_view(&c->line), STR_NULL);
    while (!error && c->place == IN_HEADER && (c->header.len || c->top))
        error = end_header(c, STR_NULL);
    if (!error && c->writing && c->place == IN_LEAF && c->part.encode)
        qp_flush_blank(c, true);
    return error;
}

int convert_scan(struct convert *c, struct str chunk) { return feed(c, chunk); }

int convert_scan_end(struct convert *c) {
    int error = finish(c);
    if (error)
        return error;
    begin_pass(c);
    c->writing = true;
    return 0;
}

void convert_again(struct convert *c) { begin_pass(c); }

int convert_write(struct convert *c, struct str chunk, struct buf *out) {
    if (!c->writing)
        return SLUICE_EINVALID;
    c->out = out;
    return feed(c, chunk);
}

int convert_write_end(struct convert *c, struct buf *out) {
    if (!c->writing)
        return SLUICE_EINVALID;
    c->out = out;
    return finish(c);
}

int convert_message(struct str message, struct buf *out, const char **ret_why) {
    struct convert *c = convert_new();
    int error = convert_scan(c, message);
    if (!error)
        error = convert_scan_end(c);
    if (!error)
        error = convert_write(c, message, out);
    if (!error)
        error = convert_write_end(c, out);
    if (ret_why)
        *ret_why = c->why;
    convert_free(c);
    return error;
}
