#include "mail/header.h"
#include "base/error.h"

enum { FOLD_COLUMN = 76 };

/* States of header_end: where in a line we are. */
enum { FIRST_LINE, LINE_START, LINE_CR, IN_NAME, AFTER_NAME, IN_VALUE };

static bool ftext(char c) { return c > 32 && c < 127 && c != ':'; }
static bool blank(char c) { return c == ' ' || c == '\t'; }

static void end_at(struct header_end *e, size_t body_at, bool separated) {
    e->body_at = body_at;
    e->separated = separated;
    e->found = true;
}

/* One byte at `at`, outside of a value. */
static void step(struct header_end *e, char c, size_t at) {
    switch (e->state) {
    case FIRST_LINE:
    case LINE_START:
        if (c == '\n')
            end_at(e, at + 1, true);
        else if (c == '\r')
            e->state = LINE_CR;
        else if (blank(c) && e->state == LINE_START)
            e->state = IN_VALUE;
        else if (ftext(c))
            e->state = IN_NAME;
        else
            end_at(e, e->line_at, false);
        return;
    case LINE_CR:
        if (c == '\n')
            end_at(e, at + 1, true);
        else
            end_at(e, e->line_at, false);
        return;
    default:
        if (c == ':')
            e->state = IN_VALUE;
        else if (blank(c))
            e->state = AFTER_NAME;
        else if (!ftext(c) || e->state == AFTER_NAME)
            end_at(e, e->line_at, false);
    }
}

bool header_end_feed(struct header_end *e, struct str bytes) {
    for (size_t i = 0; i < bytes.len && !e->found;) {
        if (e->state != IN_VALUE) {
            step(e, bytes.at[i], e->seen + i);
            i++;
            continue;
        }
        const char *line_end = memchr(bytes.at + i, '\n', bytes.len - i);
        if (!line_end)
            break;
        i = (size_t)(line_end - bytes.at) + 1;
        e->line_at = e->seen + i;
        e->state = LINE_START;
    }
    e->seen += bytes.len;
    return e->found;
}

enum header_line header_line_kind(struct str line) {
    struct header_end end = {.state = LINE_START};
    if (line.len && blank(line.at[0]))
        return HEADER_LINE_CONTINUED;
    header_end_feed(&end, line);
    return end.found && end.separated              ? HEADER_LINE_EMPTY
           : !end.found && end.state == LINE_START ? HEADER_LINE_FIELD
           : !end.found && end.state == IN_VALUE   ? HEADER_LINE_FIELD
                                                   : HEADER_LINE_OTHER;
}

void header_end_finish(struct header_end *e) {
    if (e->found)
        return;
    bool in_field = e->state == IN_VALUE;
    end_at(e, in_field ? e->seen : e->line_at, false);
}

static struct str without_line_end(struct str s) {
    if (s.len && s.at[s.len - 1] == '\n')
        s.len--;
    if (s.len && s.at[s.len - 1] == '\r')
        s.len--;
    return s;
}

/* The field at the front of `block`: up to the first line end that no blank follows. */
static struct header_field first_field(struct str block) {
    size_t end = 0;
    do {
        const char *line_end = memchr(block.at + end, '\n', block.len - end);
        end = line_end ? (size_t)(line_end - block.at) + 1 : block.len;
    } while (end < block.len && blank(block.at[end]));
    struct header_field f = {.whole = str_head(block, end)};
    ptrdiff_t colon = str_index(f.whole, ':');
    f.name = str_trim(str_head(f.whole, colon < 0 ? 0 : (size_t)colon));
    f.value = without_line_end(str_from_index(f.whole, (size_t)(colon + 1)));
    return f;
}

int header_parse(struct arena *arena, struct str message, size_t max_bytes, struct header *ret) {
    size_t max = max_bytes ? max_bytes : HEADER_BYTES_MAX, cap = 0;
    struct header_end end = {0};
    header_end_feed(&end, str_head(message, max));
    if (!end.found && message.len > max)
        return SLUICE_ETOOBIG;
    header_end_finish(&end);
    struct header h = {.body_at = end.body_at, .separated = end.separated};
    h.whole = str_head(message, end.separated ? end.line_at : end.body_at);
    for (struct str rest = h.whole; rest.len;) {
        struct header_field field = first_field(rest);
        if (h.count == HEADER_FIELDS_MAX)
            return SLUICE_ETOOBIG;
        if (h.count == cap) {
            struct header_field *grown = arena_array(arena, struct header_field, cap = cap ? 2 * cap : 32);
            if (h.count)
                memcpy(grown, h.fields, h.count * sizeof field);
            h.fields = grown;
        }
        h.fields[h.count++] = field;
        rest = str_from_index(rest, field.whole.len);
    }
    *ret = h;
    return 0;
}

const struct header_field *header_find(const struct header *h, struct str name,
                                       const struct header_field *after) {
    for (size_t i = after ? (size_t)(after - h->fields) + 1 : 0; i < h->count; i++)
        if (str_eq_nocase(h->fields[i].name, name))
            return &h->fields[i];
    return NULL;
}

size_t header_count(const struct header *h, struct str name) {
    size_t count = 0;
    for (const struct header_field *f = NULL; (f = header_find(h, name, f));)
        count++;
    return count;
}

struct str header_value(struct arena *arena, const struct header *h, struct str name) {
    const struct header_field *f = header_find(h, name, NULL);
    return f ? header_unfold(arena, f->value) : STR_NULL;
}

struct str header_unfold(struct arena *arena, struct str value) {
    value = str_trim(value);
    if (str_index(value, '\n') < 0 && str_index(value, '\r') < 0)
        return value;
    char *out = arena_alloc(arena, value.len);
    size_t len = 0;
    for (size_t i = 0; i < value.len; i++) {
        bool line_end =
            value.at[i] == '\n' || (value.at[i] == '\r' && i + 1 < value.len && value.at[i + 1] == '\n');
        if (!line_end)
            out[len++] = value.at[i] == '\r' ? ' ' : value.at[i];
    }
    return str_from(out, len);
}

/* The next word of `value` from `at` on with the blanks before it. */
static size_t word_length(struct str value, size_t at) {
    size_t i = at;
    while (i < value.len && blank(value.at[i]))
        i++;
    while (i < value.len && !blank(value.at[i]))
        i++;
    return i - at;
}

void header_write(struct buf *out, struct str name, struct str value) {
    size_t column = name.len + 1;
    value = str_trim(value);
    buf_str(out, name);
    buf_char(out, ':');
    if (value.len) {
        buf_char(out, ' ');
        column++;
    }
    for (size_t at = 0, len; at < value.len; at += len) {
        len = word_length(value, at);
        if (at && column + len > FOLD_COLUMN) {
            buf_str(out, STR("\r\n"));
            column = 0;
        }
        for (size_t i = at; i < at + len; i++) {
            char c = value.at[i];
            buf_char(out, c == '\r' || c == '\n' || c == 0 ? ' ' : c);
        }
        column += len;
    }
    buf_str(out, STR("\r\n"));
}
