/* What a milter may do to a message. Whatever it says, the result is a header and a body that can be sent:
 * line ends are CRLF, a value can't start a field of its own. */
#include "base/error.h"
#include "scan/milter.h"

enum { FIELDS_MAX = HEADER_FIELDS_MAX - 100, FIRST_ROOM = 16, BODY_ROOM = 64 << 20 };

/* ---- the header ---- */

/* Room for one more field; the array is copied, others may look at the old one. */
static void make_room(struct milter_message *m) {
    if (m->count < m->room)
        return;
    m->room = m->room ? 2 * m->room : FIRST_ROOM;
    struct header_field *more = arena_array(m->arena, struct header_field, m->room);
    if (m->count)
        memcpy(more, m->fields, m->count * sizeof *more);
    m->fields = more;
}

/* The next line of a value, ended by CRLF, LF or CR. False: none is left. */
static bool next_line(struct str *rest, struct str *ret) {
    size_t at = 0;
    if (!rest->at)
        return false;
    while (at < rest->len && rest->at[at] != '\n' && rest->at[at] != '\r')
        at++;
    *ret = str_head(*rest, at);
    if (at == rest->len) {
        *rest = STR_NULL;
        return true;
    }
    at += at + 1 < rest->len && rest->at[at] == '\r' && rest->at[at + 1] == '\n' ? 2 : 1;
    *rest = str_from_index(*rest, at);
    return true;
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* The value of a field as lines that each belong to it. */
static void write_value(struct buf *out, struct str value) {
    struct str line;
    size_t lines = 0;
    if (!value.at)
        return;
    while (next_line(&value, &line)) {
        if (lines && str_trim(line).len == 0)
            continue; /* it would end the header for some readers */
        if (lines++) {
            buf_str(out, STR("\r\n"));
            if (!is_blank(line.at[0]))
                buf_char(out, '\t');
        }
        buf_str(out, line);
    }
}

static struct header_field make_field(struct milter_message *m, struct str name, struct str value,
                                      bool leading_space) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    buf_str(&out, name);
    buf_char(&out, ':');
    if (!leading_space && !(value.len && is_blank(value.at[0])))
        buf_char(&out, ' ');
    write_value(&out, value);
    buf_str(&out, STR("\r\n"));
    struct str whole = str_copy(m->arena, buf_view(&out));
    m->added += whole.len;
    m->header_changed = true;
    return (struct header_field){whole, str_head(whole, name.len),
                                 str_from(whole.at + name.len + 1, whole.len - name.len - 3)};
}

static void insert(struct milter_message *m, size_t at, struct header_field field) {
    make_room(m);
    memmove(&m->fields[at + 1], &m->fields[at], (m->count - at) * sizeof field);
    m->fields[at] = field;
    m->count++;
}

/* The n-th field of that name, counted from 1; the number of fields when there are fewer. */
static size_t nth(const struct milter_message *m, struct str name, uint32_t n) {
    for (size_t i = 0; i < m->count; i++)
        if (str_eq_nocase(m->fields[i].name, name) && --n == 0)
            return i;
    return m->count;
}

static void change_field(struct milter_message *m, const struct milter_answer *a, bool leading_space) {
    size_t at = nth(m, a->name, a->index ? a->index : 1);
    if (a->value.len) {
        struct header_field field = make_field(m, a->name, a->value, leading_space);
        if (at == m->count)
            insert(m, at, field);
        else
            m->fields[at] = field;
    } else if (at < m->count) {
        m->count--;
        memmove(&m->fields[at], &m->fields[at + 1], (m->count - at) * sizeof *m->fields);
        m->header_changed = true;
    }
}

/* 0 stands above our Received field for those who count it, 1 below it: both are the top of what is seen. */
static size_t place_of(const struct milter_message *m, uint32_t index) {
    size_t at = index ? index - 1 : 0;
    return at < m->count ? at : m->count;
}

/* ---- the body ---- */

static const char *store(struct milter_message *m, struct str bytes) {
    if (!bytes.len)
        return NULL;
    int error = scan_copy_add(m->body, bytes);
    m->last = bytes.at[bytes.len - 1];
    uint64_t most = 2 * scan_copy_size(m->copy) + BODY_ROOM;
    return error                            ? "the new body can't be kept"
           : scan_copy_size(m->body) > most ? "it makes the body too large"
                                            : NULL;
}

/* Every line end as CRLF, wherever the pieces are cut. */
static const char *replace_body(struct milter_message *m, struct str piece) {
    const char *why = NULL;
    size_t from = 0;
    if (!m->replacing) {
        m->replacing = true;
        m->body = scan_copy_new(m->place);
        m->last = 0;
    }
    if (piece.len && memchr(piece.at, 0, piece.len))
        return "the new body has NUL bytes";
    for (size_t i = 0; i < piece.len && !why; i++) {
        char before = i ? piece.at[i - 1] : m->last;
        bool lf_alone = piece.at[i] == '\n' && before != '\r';
        bool cr_alone = piece.at[i] != '\n' && before == '\r';
        if (!lf_alone && !cr_alone)
            continue;
        why = store(m, str_from(piece.at + from, i - from));
        from = i;
        if (!why)
            why = store(m, lf_alone ? STR("\r") : STR("\n"));
    }
    return why ? why : store(m, str_from_index(piece, from));
}

const char *milter_message_changed(struct milter_message *m) {
    if (!m->replacing || m->last == '\n' || !m->last)
        return NULL;
    return store(m, m->last == '\r' ? STR("\n") : STR("\r\n"));
}

int milter_message_body(struct milter_message *m, uint64_t at, struct str *ret) {
    return m->body ? scan_copy_read(m->body, at, ret) : scan_copy_read(m->copy, m->body_at + at, ret);
}

void milter_message_end(struct milter_message *m) { m->body = scan_copy_free(m->body); }

/* ---- the envelope ---- */

static const char *change_rcpt(struct milter_message *m, const struct milter_answer *a, struct str milter) {
    if (m->rcpt_count == m->rcpt_room) {
        m->rcpt_room = m->rcpt_room ? 2 * m->rcpt_room : FIRST_ROOM;
        struct milter_rcpt_change *more = arena_array(m->arena, struct milter_rcpt_change, m->rcpt_room);
        if (m->rcpt_count)
            memcpy(more, m->rcpts, m->rcpt_count * sizeof *more);
        m->rcpts = more;
    }
    m->rcpts[m->rcpt_count++] = (struct milter_rcpt_change){
        .add = a->kind == MILTER_SAYS_ADD_RCPT,
        .address = str_copy(m->arena, a->name),
        .arguments = str_copy(m->arena, a->value),
        .milter = milter,
    };
    return NULL;
}

/* ---- all of it ---- */

const char *milter_message_change(struct milter_message *m, const struct milter_answer *a, bool leading_space,
                                  struct str milter) {
    switch (a->kind) {
    case MILTER_SAYS_ADD_HEADER:
        insert(m, m->count, make_field(m, a->name, a->value, leading_space));
        break;
    case MILTER_SAYS_INSERT_HEADER:
        insert(m, place_of(m, a->index), make_field(m, a->name, a->value, leading_space));
        break;
    case MILTER_SAYS_CHANGE_HEADER:
        change_field(m, a, leading_space);
        break;
    case MILTER_SAYS_REPLACE_BODY:
        return replace_body(m, a->value);
    case MILTER_SAYS_ADD_RCPT:
    case MILTER_SAYS_DELETE_RCPT:
        return change_rcpt(m, a, milter);
    case MILTER_SAYS_CHANGE_FROM:
        m->from_changed = true;
        m->from = str_copy(m->arena, a->name);
        m->from_milter = milter;
        break;
    case MILTER_SAYS_QUARANTINE:
        m->held_by = milter;
        m->held_why = str_copy(m->arena, a->value);
        break;
    default:
        return "it said what is no change";
    }
    return m->count > FIELDS_MAX || m->added > HEADER_BYTES_MAX ? "it makes the header too long" : NULL;
}
