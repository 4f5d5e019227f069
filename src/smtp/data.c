#include "smtp/data.h"
#include "seeded_bug.h"

/* The states before a line's text: they hold back what may be the final dot. Returns the octets used. */
static size_t line_start(struct smtp_data_decoder *d, struct str input) {
    size_t at = 0;
    if (d->state == SMTP_DATA_LINE_START && at < input.len) {
        if (input.at[at] == '.')
            d->state = SMTP_DATA_DOT, at++;
        else
            d->state = SMTP_DATA_TEXT;
    }
    if (d->state == SMTP_DATA_DOT && at < input.len) {
        if (input.at[at] == '\r')
            d->state = SMTP_DATA_DOT_CR, at++;
        else
            d->state = SMTP_DATA_TEXT;
    }
    if (d->state == SMTP_DATA_DOT_CR && at < input.len) {
        if (input.at[at] == '\n')
            d->ended = true, at++;
        else
            d->bare_cr = true, d->state = SMTP_DATA_TEXT;
    }
    return at;
}

/* Is there a CR before the last octet of [at, at + len)? */
static bool cr_inside(const char *at, size_t len) {
    const char *cr = len ? memchr(at, '\r', len) : NULL;
    return cr && cr != at + len - 1;
}

/* A bare LF ends no line (RFC 5321 2.3.8). */
static void after_bare_lf(struct smtp_data_decoder *d) {
#ifdef SLUICE_SEEDED_BUG_BARE_LF_ACCEPTED
    d->state = SMTP_DATA_LINE_START;
#else
    d->bare_lf = true;
    d->state = SMTP_DATA_TEXT;
#endif
}

size_t smtp_data_decode(struct smtp_data_decoder *d, struct str input, struct str *ret_text) {
    size_t used = line_start(d, input);
    const char *start = input.at + used, *p = start, *end = input.at + input.len;
    *ret_text = str_from(start, 0);
    if (d->ended || p == end)
        return used;
    while (p < end) {
        if (d->state == SMTP_DATA_LINE_START && *p == '.')
            break;
        if (d->state == SMTP_DATA_TEXT_CR && *p == '\n') {
            d->state = SMTP_DATA_LINE_START;
            p++;
            continue;
        }
        d->bare_cr |= d->state == SMTP_DATA_TEXT_CR;
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((lf ? lf : end) - p);
        bool cr_last = len && p[len - 1] == '\r';
        d->bare_cr |= cr_inside(p, len);
        if (!lf)
            d->state = cr_last ? SMTP_DATA_TEXT_CR : SMTP_DATA_TEXT;
        else if (cr_last)
            d->state = SMTP_DATA_LINE_START;
        else
            after_bare_lf(d);
        p = lf ? lf + 1 : end;
    }
    size_t len = (size_t)(p - start);
    d->nul |= memchr(start, 0, len) != NULL;
    d->size += len;
    *ret_text = str_from(start, len);
    return used + len;
}

/* The octets at the front of [p, end) that may be sent as they are: whole lines up to one that needs a dot,
 * then a part of a line. -1: they are defective. */
static ptrdiff_t clean_run(struct smtp_data_encoder *e, const char *p, const char *end) {
    const char *start = p;
    while (p < end) {
        if (!e->in_line && *p == '.' && p > start)
            break;
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((lf ? lf : end) - p);
        if (cr_inside(p, len) || (lf && (len == 0 || p[len - 1] != '\r')))
            return -1;
        e->in_line = !lf;
        p = lf ? lf + 1 : end;
    }
    return memchr(start, 0, (size_t)(p - start)) ? -1 : p - start;
}

int smtp_data_encode(struct smtp_data_encoder *e, struct str *rest, struct str *ret_piece) {
    *ret_piece = STR("");
    if (rest->len == 0)
        return 0;
    if (e->held_cr) {
        if (rest->at[0] != '\n')
            return SLUICE_ESYNTAX;
        e->held_cr = e->in_line = false;
        *rest = str_from_index(*rest, 1);
        *ret_piece = STR("\r\n");
        return 0;
    }
    if (!e->in_line && rest->at[0] == '.') {
        e->in_line = true;
        *ret_piece = STR(".");
        return 0;
    }
    ptrdiff_t run = clean_run(e, rest->at, rest->at + rest->len);
    if (run < 0)
        return SLUICE_ESYNTAX;
    *ret_piece = str_head(*rest, (size_t)run);
    *rest = str_from_index(*rest, (size_t)run);
    if (ret_piece->at[run - 1] == '\r') {
        e->held_cr = true;
        ret_piece->len--;
    }
    return 0;
}

int smtp_data_encode_end(struct smtp_data_encoder *e, struct str *ret_piece) {
    if (e->held_cr)
        return SLUICE_ESYNTAX;
    *ret_piece = e->in_line ? STR("\r\n.\r\n") : STR(".\r\n");
    return 0;
}
