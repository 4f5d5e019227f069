#include "scan/http.h"

enum { CHUNK_LINE_MAX = 256 };

struct http_reading {
    struct stream *stream;
    size_t max;
    int64_t deadline;
    struct arena *arena;
    struct http_answer *answer;
    struct str why;
    bool has_length, chunked;
    uint64_t length;
};

static int malformed(struct http_reading *r, struct str why) {
    r->why = why;
    return SLUICE_ESYNTAX;
}

static int too_big(struct http_reading *r, struct str why) {
    r->why = why;
    return SLUICE_ETOOBIG;
}

static int fill(struct http_reading *r) {
    int error = stream_fill(r->stream, r->deadline);
    r->answer->began |= stream_input(r->stream).len > 0;
    return error == SLUICE_EFULL ? too_big(r, STR("a line that does not end")) : error;
}

/* ---- the head ---- */

/* status-line = HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112 4) */
static int read_status(struct http_reading *r, struct str line) {
    uint64_t status;
    bool newer = str_starts(line, STR("HTTP/1.1 "));
    if ((!newer && !str_starts(line, STR("HTTP/1.0 "))) || line.len < 12 ||
        (line.len > 12 && line.at[12] != ' ') || !str_to_u64(str_from(line.at + 9, 3), &status) ||
        status < 200 || status > 599)
        return malformed(r, STR("its first line is no HTTP status"));
    r->answer->status = (unsigned)status;
    r->answer->keep = newer;
    return 0;
}

static bool is_token(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] <= ' ' || s.at[i] >= 127 || strchr("\"(),/:;<=>?@[\\]{}", s.at[i]))
            return false;
    return s.len > 0;
}

/* One length, or chunks: what two readers could take differently is refused (RFC 9112 6.3). */
static int read_field(struct http_reading *r, struct str line) {
    ptrdiff_t colon = str_index(line, ':');
    if (colon <= 0 || !is_token(str_head(line, (size_t)colon)))
        return malformed(r, STR("a line of its head is no field"));
    struct str name = str_head(line, (size_t)colon),
               value = str_trim(str_from_index(line, (size_t)colon + 1));
    if (str_eq_nocase(name, STR("Content-Length"))) {
        if (r->has_length || r->chunked || value.len > 15 || !str_to_u64(value, &r->length))
            return malformed(r, STR("its length can't be told"));
        r->has_length = true;
    } else if (str_eq_nocase(name, STR("Transfer-Encoding"))) {
        if (r->has_length || r->chunked || !str_eq_nocase(value, STR("chunked")))
            return malformed(r, STR("its transfer encoding is not known"));
        r->chunked = true;
    } else if (str_eq_nocase(name, STR("Content-Encoding"))) {
        if (!str_eq_nocase(value, STR("identity")))
            return malformed(r, STR("it is compressed"));
    } else if (str_eq_nocase(name, STR("Connection"))) {
        r->answer->keep &= str_find_nocase(value, STR("close")) < 0;
    }
    return 0;
}

static int read_head(struct http_reading *r) {
    ptrdiff_t end;
    while ((end = str_find(stream_input(r->stream), STR("\r\n\r\n"))) < 0) {
        if (stream_input(r->stream).len > HTTP_HEAD_MAX)
            return too_big(r, STR("its head is too long"));
        int error = fill(r);
        if (error)
            return error;
    }
    struct str rest = str_head(stream_input(r->stream), (size_t)end), line;
    int error = 0;
    for (bool first = true; !error && str_cut(&rest, '\n', &line); first = false) {
        if (rest.at && !str_ends(line, STR("\r")))
            return malformed(r, STR("a line of its head ends without CR"));
        if (rest.at)
            line.len--;
        if (memchr(line.at, '\r', line.len) || memchr(line.at, 0, line.len))
            return malformed(r, STR("a stray byte in its head"));
        error = first ? read_status(r, line) : read_field(r, line);
    }
    if (!error)
        stream_consume(r->stream, (size_t)end + 4);
    return error;
}

/* ---- the body ---- */

static int read_exactly(struct http_reading *r, char *into, size_t len) {
    while (len) {
        struct str in = str_head(stream_input(r->stream), len);
        memcpy(into, in.at ? in.at : "", in.len);
        stream_consume(r->stream, in.len);
        into += in.len;
        len -= in.len;
        int error = len ? fill(r) : 0;
        if (error)
            return error;
    }
    return 0;
}

static int read_line(struct http_reading *r, struct buf *line) {
    ptrdiff_t end;
    while ((end = str_find(stream_input(r->stream), STR("\r\n"))) < 0) {
        if (stream_input(r->stream).len > CHUNK_LINE_MAX)
            return too_big(r, STR("a line between its chunks is too long"));
        int error = fill(r);
        if (error)
            return error;
    }
    buf_clear(line);
    buf_add(line, stream_input(r->stream).at, (size_t)end);
    stream_consume(r->stream, (size_t)end + 2);
    return 0;
}

/* chunk-size [ chunk-ext ] (RFC 9112 7.1) */
static bool chunk_size(struct str line, size_t *ret) {
    static const char digits[] = "0123456789abcdef";
    size_t size = 0, at = 0;
    for (; at < line.len && at < 8 && line.at[at]; at++) {
        const char *digit = strchr(digits, ascii_lower(line.at[at]));
        if (!digit)
            break;
        size = size * 16 + (size_t)(digit - digits);
    }
    *ret = size;
    return at > 0 && (at == line.len || line.at[at] == ';' || line.at[at] == ' ');
}

static int read_chunks(struct http_reading *r, struct buf *line, struct buf *body) {
    for (;;) {
        size_t size;
        int error = read_line(r, line);
        if (error)
            return error;
        if (!chunk_size(buf_view(line), &size))
            return malformed(r, STR("a chunk's size can't be read"));
        if (!size)
            break;
        if (size > r->max - body->len)
            return too_big(r, STR("it is too long"));
        buf_reserve(body, size);
        error = read_exactly(r, body->at + body->len, size);
        body->len += size;
        if (!error)
            error = read_line(r, line);
        if (error)
            return error;
        if (line->len)
            return malformed(r, STR("a chunk has another length than it says"));
    }
    for (int trailers = 0; trailers < 100; trailers++) {
        int error = read_line(r, line);
        if (error || !line->len)
            return error;
    }
    return too_big(r, STR("it has too many trailers"));
}

static int read_body(struct http_reading *r) {
    struct buf line __attribute__((cleanup(buf_free))) = {0}, body __attribute__((cleanup(buf_free))) = {0};
    if (r->chunked) {
        int error = read_chunks(r, &line, &body);
        r->answer->body = error ? STR("") : str_copy(r->arena, buf_view(&body));
        return error;
    }
    if (!r->has_length)
        return malformed(r, STR("it does not say how long it is"));
    if (r->length > r->max)
        return too_big(r, STR("it is too long"));
    char *at = arena_alloc(r->arena, r->length + 1);
    r->answer->body = str_from(at, r->length);
    return read_exactly(r, at, r->length);
}

int http_read(struct stream *stream, size_t body_max, int64_t deadline, struct arena *arena,
              struct http_answer *ret, struct str *ret_why) {
    *ret = (struct http_answer){0};
    struct http_reading r = {
        .stream = stream, .max = body_max, .deadline = deadline, .arena = arena, .answer = ret};
    int error = read_head(&r);
    if (!error)
        error = read_body(&r);
    if (error || stream_input(stream).len) /* nobody asked for more */
        ret->keep = false;
    if (error == SLUICE_ESYNTAX || error == SLUICE_ETOOBIG)
        *ret_why = r.why;
    return error;
}
