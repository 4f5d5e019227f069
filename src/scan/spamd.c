#include "scan/spamd.h"

#include "base/error.h"
#include <math.h>
#include <stdlib.h>

enum { LINE_MAX_LEN = 1024, FIELDS_MAX = 32, SYMBOLS_MAX = 1000 };

struct spamd_reading {
    struct stream *stream;
    int64_t deadline;
    struct str why;
    bool has_length, has_spam, spam;
    uint64_t length;
    double score, required;
};

/* ---- asking ---- */

void spamd_ping(struct buf *out) { buf_str(out, STR("PING SPAMC/1.5\r\n\r\n")); }

void spamd_request(struct buf *out, const struct scanner_settings *s, uint64_t size) {
    buf_printf(out, "SYMBOLS SPAMC/1.5\r\nContent-length: %llu\r\n", (unsigned long long)size);
    scan_field(out, "User", s->user);
    buf_str(out, STR("\r\n"));
}

/* ---- the answer ---- */

static int malformed(struct spamd_reading *r, struct str why) {
    r->why = why;
    return SLUICE_ESYNTAX;
}

static int read_line(struct spamd_reading *r, struct buf *line) {
    ptrdiff_t end;
    while ((end = str_find(stream_input(r->stream), STR("\r\n"))) < 0) {
        if (stream_input(r->stream).len > LINE_MAX_LEN) {
            r->why = STR("a line of its answer is too long");
            return SLUICE_ETOOBIG;
        }
        int error = stream_fill(r->stream, r->deadline);
        if (error)
            return error;
    }
    buf_clear(line);
    buf_add(line, stream_input(r->stream).at, (size_t)end);
    stream_consume(r->stream, (size_t)end + 2);
    return memchr(line->at ? line->at : "", 0, line->len) ? malformed(r, STR("a NUL byte in its answer")) : 0;
}

/* "SPAMD/1.1 0 EX_OK" */
static int read_status(struct spamd_reading *r, struct buf *line, struct str *ret_word) {
    int error = read_line(r, line);
    if (error)
        return error;
    struct str rest = buf_view(line), version, code, word;
    uint64_t number;
    if (!str_cut(&rest, ' ', &version) || !str_starts(version, STR("SPAMD/")) ||
        !str_cut(&rest, ' ', &code) || !str_to_u64(code, &number))
        return malformed(r, STR("its first line is no status of spamd"));
    if (number != 0)
        return malformed(r, STR("it says that it could not check the message"));
    *ret_word = str_cut(&rest, ' ', &word) ? word : STR("");
    return 0;
}

static bool read_number(struct str text, double *ret) {
    char digits[32], *end;
    text = str_trim(text);
    if (!text.len || text.len >= sizeof digits)
        return false;
    for (size_t i = 0; i < text.len; i++) /* no "nan", no "0x10", whatever the locale */
        if (!memchr("0123456789.-", text.at[i], 12))
            return false;
    memcpy(digits, text.at, text.len);
    digits[text.len] = 0;
    *ret = strtod(digits, &end);
    return !*end && isfinite(*ret) && fabs(*ret) <= 1e9;
}

/* "True ; 1000.0 / 5.0" */
static int read_spam(struct spamd_reading *r, struct str value) {
    ptrdiff_t mark = str_index(value, ';'), slash = str_index(value, '/');
    struct str word = str_trim(str_head(value, mark < 0 ? 0 : (size_t)mark));
    bool yes = str_eq_nocase(word, STR("True")) || str_eq_nocase(word, STR("Yes"));
    bool no = str_eq_nocase(word, STR("False")) || str_eq_nocase(word, STR("No"));
    if (r->has_spam || (!yes && !no) || slash < mark ||
        !read_number(str_from(value.at + mark + 1, (size_t)(slash - mark - 1)), &r->score) ||
        !read_number(str_from_index(value, (size_t)slash + 1), &r->required))
        return malformed(r, STR("its verdict can't be read"));
    r->has_spam = true;
    r->spam = yes;
    return 0;
}

static int read_fields(struct spamd_reading *r, struct buf *line) {
    for (int i = 0; i < FIELDS_MAX; i++) {
        int error = read_line(r, line);
        if (error || !line->len)
            return error;
        ptrdiff_t colon = str_index(buf_view(line), ':');
        if (colon <= 0)
            return malformed(r, STR("a line of its answer is no field"));
        struct str name = str_head(buf_view(line), (size_t)colon);
        struct str value = str_trim(str_from_index(buf_view(line), (size_t)colon + 1));
        if (str_eq_nocase(name, STR("Content-length"))) {
            if (r->has_length || !str_to_u64(value, &r->length))
                return malformed(r, STR("its length can't be told"));
            r->has_length = true;
        } else if (str_eq_nocase(name, STR("Spam"))) {
            error = read_spam(r, value);
            if (error)
                return error;
        }
    }
    return malformed(r, STR("its answer has too many fields"));
}

/* "GTUBE,NO_RELAYS" and perhaps a line end: exactly as long as it says. */
static int read_symbols(struct spamd_reading *r, struct arena *arena, struct scan_symbol **ret,
                        size_t *ret_count) {
    if (r->length > SPAMD_ANSWER_MAX / 2) {
        r->why = STR("its answer is too long");
        return SLUICE_ETOOBIG;
    }
    while (stream_input(r->stream).len < r->length) {
        int error = stream_fill(r->stream, r->deadline);
        if (error)
            return error;
    }
    struct str rest = str_trim(str_copy(arena, str_head(stream_input(r->stream), r->length))), part;
    *ret = arena_array(arena, struct scan_symbol, SYMBOLS_MAX);
    *ret_count = 0;
    while (rest.len && *ret_count < SYMBOLS_MAX && str_cut(&rest, ',', &part))
        if (str_trim(part).len)
            (*ret)[(*ret_count)++].name = str_trim(part);
    return 0;
}

int spamd_read(struct stream *stream, int64_t deadline, const struct scan_settings *s, struct arena *arena,
               struct scan_result *ret, struct str *ret_why) {
    struct spamd_reading r = {.stream = stream, .deadline = deadline};
    struct buf line __attribute__((cleanup(buf_free))) = {0};
    struct scan_symbol *symbols;
    size_t count;
    struct str word;
    int error = read_status(&r, &line, &word);
    if (!error)
        error = read_fields(&r, &line);
    if (!error && (!r.has_spam || !r.has_length))
        error = malformed(&r, STR("its answer lacks the verdict or the length"));
    if (!error)
        error = read_symbols(&r, arena, &symbols, &count);
    *ret_why = r.why;
    if (error)
        return error;
    ret->score = r.score;
    ret->required = r.required;
    ret->action = r.spam ? STR("spam") : STR("ham");
    scan_judge(s, symbols, count, STR(""), arena, ret);
    return 0;
}

int spamd_read_pong(struct stream *stream, int64_t deadline, struct str *ret_why) {
    struct spamd_reading r = {.stream = stream, .deadline = deadline};
    struct buf line __attribute__((cleanup(buf_free))) = {0};
    struct str word;
    int error = read_status(&r, &line, &word);
    if (!error && !str_eq(word, STR("PONG")))
        error = malformed(&r, STR("it does not answer PING with PONG"));
    *ret_why = r.why;
    return error;
}
