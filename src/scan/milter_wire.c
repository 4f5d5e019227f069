#include "scan/milter_wire.h"

enum { REPLY_LINES_MAX = 32, REPLY_BYTES_MAX = 8192, INDEX_MAX = 1000000 };

/* ---- out ---- */

size_t milter_packet_begin(struct buf *out, char command) {
    size_t begun = out->len;
    milter_put_u32(out, 0);
    buf_char(out, command);
    return begun;
}

void milter_packet_end(struct buf *out, size_t begun) {
    uint32_t len = (uint32_t)(out->len - begun - 4);
    for (unsigned i = 0; i < 4; i++)
        out->at[begun + i] = (char)(len >> (24 - 8 * i));
}

void milter_put_string(struct buf *out, struct str s) {
    ptrdiff_t nul = str_index(s, 0);
    buf_str(out, nul < 0 ? s : str_head(s, (size_t)nul));
    buf_char(out, 0);
}

void milter_put_u16(struct buf *out, uint16_t n) {
    buf_char(out, (char)(n >> 8));
    buf_char(out, (char)n);
}

void milter_put_u32(struct buf *out, uint32_t n) {
    milter_put_u16(out, (uint16_t)(n >> 16));
    milter_put_u16(out, (uint16_t)n);
}

void milter_write_offer(struct buf *out) {
    size_t begun = milter_packet_begin(out, MILTER_NEGOTIATE);
    milter_put_u32(out, MILTER_VERSION);
    milter_put_u32(out, MILTER_ACTIONS);
    milter_put_u32(out, MILTER_STEPS);
    milter_packet_end(out, begun);
}

/* ---- in ---- */

/* Reads on; past the end everything fails from then on. */
struct reading {
    struct str rest;
    bool failed;
};

static uint32_t take_u32(struct reading *r) {
    uint32_t n = 0;
    if (r->rest.len < 4) {
        r->failed = true;
        return 0;
    }
    for (int i = 0; i < 4; i++)
        n = n << 8 | (unsigned char)r->rest.at[i];
    r->rest = str_from_index(r->rest, 4);
    return n;
}

static struct str take_string(struct reading *r) {
    ptrdiff_t nul = str_index(r->rest, 0);
    if (nul < 0) {
        r->failed = true;
        return STR("");
    }
    struct str s = str_head(r->rest, (size_t)nul);
    r->rest = str_from_index(r->rest, (size_t)nul + 1);
    return s;
}

static bool took_all(const struct reading *r) { return !r->failed && r->rest.len == 0; }

/* The steps that a version of the protocol knows. */
static uint32_t steps_of(uint32_t version) {
    uint32_t steps = MILTER_STEPS;
    if (version < 6)
        steps &= 0x3ff;
    if (version < 4)
        steps &= ~(uint32_t)MILTER_NO_DATA;
    if (version < 3)
        steps &= ~(uint32_t)MILTER_NO_UNKNOWN;
    return steps;
}

const char *milter_read_options(struct str data, struct arena *arena, struct milter_options *ret) {
    struct reading r = {.rest = data};
    struct milter_options o = {0};
    o.version = take_u32(&r);
    o.actions = take_u32(&r);
    o.steps = take_u32(&r);
    if (r.failed)
        return "its answer to the negotiation is too short";
    if (o.version < 2 || o.version > MILTER_VERSION)
        return "it speaks a version of the protocol that is not 2 to 6";
    if (o.actions & ~(uint32_t)MILTER_ACTIONS)
        return "it wants to do what was not offered";
    o.steps &= steps_of(o.version);
    if (o.version < 4)
        o.steps |= MILTER_NO_DATA; /* it does not know the command */
    while (r.rest.len) {
        uint32_t stage = take_u32(&r);
        struct str list = take_string(&r);
        if (r.failed || stage >= MILTER_STAGES || list.len > MILTER_SYMBOLS_MAX)
            return "its lists of macros are malformed";
        o.symbols[stage] = str_copy(arena, list);
    }
    *ret = o;
    return NULL;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* The length of "5.7.1" at the front, followed by a space or the end; 0: none. `class` 0: any. */
static size_t enhanced_len(struct str s, char class) {
    size_t at = 1;
    if (!s.len || !is_digit(s.at[0]) || (class && s.at[0] != class))
        return 0;
    for (int part = 0; part < 2; part++) {
        size_t digits = 0;
        if (at >= s.len || s.at[at] != '.')
            return 0;
        while (++at < s.len && is_digit(s.at[at]))
            digits++;
        if (!digits || digits > 3)
            return 0;
    }
    return at == s.len || s.at[at] == ' ' ? at : 0;
}

/* The text of one line, made safe to send. */
static void clean(struct buf *out, struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c == '%' && (++i == text.len || (c = (unsigned char)text.at[i]) == 0))
            return;
        buf_char(out, c == '\t' ? ' ' : c < ' ' || c >= 0x7f ? '?' : (char)c);
    }
}

/* One line: "550-5.7.1 text". False: none, or one that contradicts the first. */
static bool reply_line(struct str line, bool last, struct str *code, struct str *enhanced, struct buf *text) {
    char separator = line.len > 3 ? line.at[3] : ' ';
    if (line.len < 3 || (line.at[0] != '4' && line.at[0] != '5') || !is_digit(line.at[1]) ||
        !is_digit(line.at[2]) || (last ? separator != ' ' : separator != '-'))
        return false;
    struct str rest = str_from_index(line, 4);
    size_t len = enhanced_len(rest, 0);
    if (len && rest.at[0] != line.at[0])
        return false;
    if (!code->at)
        *code = str_head(line, 3), *enhanced = str_head(rest, len);
    else if (!str_eq(*code, str_head(line, 3)))
        return false;
    if (text->len)
        buf_char(text, '\n');
    clean(text, str_from_index(rest, len && len < rest.len ? len + 1 : len));
    return true;
}

bool milter_read_reply(struct str text, struct arena *arena, struct outcome *ret) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    struct str code = STR_NULL, enhanced = STR_NULL, line;
    size_t lines = 0;
    while (text.len && (text.at[text.len - 1] == '\n' || text.at[text.len - 1] == '\r'))
        text.len--;
    if (!text.len || text.len > REPLY_BYTES_MAX || memchr(text.at, 0, text.len))
        return false;
    for (bool last = false; !last; lines++) {
        last = str_index(text, '\n') < 0;
        str_cut(&text, '\n', &line);
        if (line.len && line.at[line.len - 1] == '\r')
            line.len--;
        if (lines == REPLY_LINES_MAX || !reply_line(line, last, &code, &enhanced, &out))
            return false;
    }
    bool never = code.at[0] == '5';
    *ret = never ? MILTER_REFUSAL_NEVER : MILTER_REFUSAL_LATER;
    ret->code = (code.at[0] - '0') * 100 + (code.at[1] - '0') * 10 + (code.at[2] - '0');
    if (enhanced.len)
        ret->enhanced = str_copy(arena, enhanced);
    if (out.len)
        ret->text = str_copy(arena, buf_view(&out));
    return true;
}

bool milter_is_field_name(struct str name) {
    for (size_t i = 0; i < name.len; i++)
        if (name.at[i] <= ' ' || (unsigned char)name.at[i] >= 0x7f || name.at[i] == ':')
            return false;
    return name.len > 0 && name.len < 256;
}

static const char *read_field(struct reading *r, bool indexed, struct milter_answer *ret) {
    ret->index = indexed ? take_u32(r) : 0;
    ret->name = take_string(r);
    ret->value = take_string(r);
    if (!took_all(r))
        return "a change of the header is malformed";
    if (ret->index > INDEX_MAX)
        return "a change of the header has an impossible index";
    return milter_is_field_name(ret->name) ? NULL : "a header field has no proper name";
}

/* An address, and where `args` allows it the parameters behind it. */
static const char *read_address(struct reading *r, bool args, struct milter_answer *ret) {
    ret->name = take_string(r);
    ret->value = args && r->rest.len ? take_string(r) : STR("");
    if (!took_all(r))
        return "a change of the envelope is malformed";
    return ret->name.len > MILTER_ADDRESS_MAX || ret->value.len > MILTER_ADDRESS_MAX
               ? "a change of the envelope is too long"
               : NULL;
}

static const char *read_text(struct reading *r, struct milter_answer *ret) {
    ret->value = str_head(take_string(r), MILTER_ADDRESS_MAX);
    return took_all(r) ? NULL : "a text is malformed";
}

static const char *read_change(char command, struct reading *r, struct milter_answer *ret) {
    switch (command) {
    case 'h':
        ret->kind = MILTER_SAYS_ADD_HEADER;
        return read_field(r, false, ret);
    case 'i':
        ret->kind = MILTER_SAYS_INSERT_HEADER;
        return read_field(r, true, ret);
    case 'm':
        ret->kind = MILTER_SAYS_CHANGE_HEADER;
        return read_field(r, true, ret);
    case 'b':
        ret->kind = MILTER_SAYS_REPLACE_BODY;
        ret->value = r->rest;
        return NULL;
    case '+':
    case '2':
        ret->kind = MILTER_SAYS_ADD_RCPT;
        return read_address(r, command == '2', ret);
    case '-':
        ret->kind = MILTER_SAYS_DELETE_RCPT;
        return read_address(r, false, ret);
    case 'e':
        ret->kind = MILTER_SAYS_CHANGE_FROM;
        return read_address(r, true, ret);
    case 'q':
        ret->kind = MILTER_SAYS_QUARANTINE;
        return read_text(r, ret);
    default:
        return "it said what is no answer";
    }
}

const char *milter_read_answer(char command, struct str data, struct arena *arena,
                               struct milter_answer *ret) {
    static const struct {
        char command;
        enum milter_answer_kind kind;
    } plain[] = {{'c', MILTER_SAYS_CONTINUE}, {'a', MILTER_SAYS_ACCEPT},  {'r', MILTER_SAYS_REFUSE},
                 {'t', MILTER_SAYS_REFUSE},   {'d', MILTER_SAYS_DISCARD}, {'s', MILTER_SAYS_SKIP},
                 {'p', MILTER_SAYS_PROGRESS}, {'4', MILTER_SAYS_REFUSE}};
    struct reading r = {.rest = data};
    struct milter_answer answer = {0};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (plain[i].command != command)
            continue;
        if (data.len)
            return "an answer has bytes behind it";
        answer.kind = plain[i].kind;
        answer.reply = command == 'r' ? MILTER_REFUSAL_NEVER : MILTER_REFUSAL_LATER;
        if (command == '4')
            answer.reply =
                (struct outcome){OUTCOME_SESSION, OUTCOME_LATER, 421, STR("4.7.0"), STR("Closing"), false};
        *ret = answer;
        return NULL;
    }
    if (command == 'y') {
        struct str text = take_string(&r);
        answer.kind = MILTER_SAYS_REFUSE;
        if (!took_all(&r) || !milter_read_reply(text, arena, &answer.reply))
            return "its reply is not of the form 550 5.7.1 text";
        *ret = answer;
        return NULL;
    }
    const char *why = read_change(command, &r, &answer);
    if (!why)
        *ret = answer;
    return why;
}

uint32_t milter_answer_needs(enum milter_answer_kind kind) {
    static const uint32_t needs[] = {
        [MILTER_SAYS_ADD_HEADER] = MILTER_MAY_ADD_HEADERS,
        [MILTER_SAYS_INSERT_HEADER] = MILTER_MAY_ADD_HEADERS,
        [MILTER_SAYS_CHANGE_HEADER] = MILTER_MAY_CHANGE_HEADERS,
        [MILTER_SAYS_REPLACE_BODY] = MILTER_MAY_CHANGE_BODY,
        [MILTER_SAYS_ADD_RCPT] = MILTER_MAY_ADD_RCPT | MILTER_MAY_ADD_RCPT_ARGS,
        [MILTER_SAYS_DELETE_RCPT] = MILTER_MAY_DELETE_RCPT,
        [MILTER_SAYS_CHANGE_FROM] = MILTER_MAY_CHANGE_FROM,
        [MILTER_SAYS_QUARANTINE] = MILTER_MAY_QUARANTINE,
    };
    return kind < sizeof needs / sizeof *needs ? needs[kind] : 0;
}
