/* The message stage: header, body, and at the end what the milter changes. */
#include "base/clock.h"
#include "base/error.h"
#include "rt/stream.h"
#include "scan/milter_inside.h"

/* For all milters together. A client waits ten minutes for the reply to its data (RFC 5321 4.5.3.2.6), and
 * then sends it again; look-ups, scanners and the disk come after them. */
enum { MESSAGE_MOST_MS = 540 * 1000 };
enum { NAME_MOST = 1000 };

static const struct milter_event header_event = {MILTER_HEADER, MILTER_STAGES, MILTER_NO_HEADERS,
                                                 MILTER_SILENT_HEADER};
static const struct milter_event end_of_header_event = {MILTER_END_OF_HEADER, MILTER_AT_END_OF_HEADER,
                                                        MILTER_NO_END_OF_HEADER, MILTER_SILENT_END_OF_HEADER};
static const struct milter_event body_event = {MILTER_BODY, MILTER_STAGES, MILTER_NO_BODY,
                                               MILTER_SILENT_BODY};
static const struct milter_event end_event = {MILTER_END_OF_BODY, MILTER_AT_END, 0, 0};

/* One milter and one message. */
struct showing {
    struct milter *m;
    struct milter_message draft;
    struct arena *arena; /* of the results */
    struct milter_result *result;
    int64_t deadline;
    bool skip; /* it wants no more of the body */
};

/* True: go on. */
static bool show(struct showing *s, const struct milter_event *event, struct str data) {
    struct milter_answer answer;
    if (milter_tell(s->m, event, data, s->m->settings->message_ms, s->deadline, s->arena, &answer) != 0) {
        milter_failure(s->m, s->result);
        return false;
    }
    milter_obey(s->m, event, &answer, s->arena, s->result);
    s->skip = answer.kind == MILTER_SAYS_SKIP;
    return milter_listens(s->m) && s->result->fate == MILTER_PASSES;
}

/* As Sendmail and Postfix show it: folds with LF alone, the first space after the colon left out. libmilter
 * hangs up on more than MILTER_CHUNK bytes: what is longer is shown in part, so that no field can stop the
 * mail. */
static void put_field(struct buf *out, const struct header_field *f, bool leading_space) {
    struct str value = f->value, name = str_head(f->name, NAME_MOST);
    struct buf plain __attribute__((cleanup(buf_free))) = {0};
    if (!leading_space && value.len && value.at[0] == ' ')
        value = str_from_index(value, 1);
    for (size_t i = 0; i < value.len; i++)
        if (value.at[i] != '\r' || i + 1 == value.len || value.at[i + 1] != '\n')
            buf_char(&plain, value.at[i]);
    milter_put_string(out, name);
    milter_put_string(out, str_head(buf_view(&plain), MILTER_CHUNK - NAME_MOST - 2));
}

static bool show_header(struct showing *s) {
    struct buf data __attribute__((cleanup(buf_free))) = {0};
    bool leading_space = s->m->options.steps & MILTER_LEADING_SPACE;
    for (size_t i = 0; i < s->draft.count && !(s->m->options.steps & MILTER_NO_HEADERS); i++) {
        buf_clear(&data);
        put_field(&data, &s->draft.fields[i], leading_space);
        if (!show(s, &header_event, buf_view(&data)))
            return false;
    }
    return show(s, &end_of_header_event, STR(""));
}

static bool show_body(struct showing *s) {
    uint64_t at = 0;
    while (!(s->m->options.steps & MILTER_NO_BODY) && !s->skip) {
        struct str piece;
        if (milter_message_body(&s->draft, at, &piece) != 0) {
            *s->result = (struct milter_result){
                .fate = MILTER_REFUSES, .reply = MILTER_REFUSAL_LATER, .milter = s->m->settings->name};
            return false;
        }
        piece = str_head(piece, MILTER_CHUNK);
        if (!piece.len)
            break;
        at += piece.len;
        if (!show(s, &body_event, piece))
            return false;
    }
    return true;
}

/* The end: what it changes, then what it says. True: it has said so, and the draft holds. */
static bool show_end(struct showing *s) {
    struct milter *m = s->m;
    struct milter_answer answer;
    const char *why = NULL;
    int error = milter_tell(m, &end_event, STR(""), m->settings->message_ms, s->deadline, s->arena, &answer);
    for (unsigned changes = 0; !error && milter_answer_needs(answer.kind); changes++) {
        why = changes < MILTER_CHANGES_MAX
                  ? milter_message_change(&s->draft, &answer, m->options.steps & MILTER_LEADING_SPACE,
                                          m->settings->name)
                  : "it makes too many changes";
        error = why ? milter_fail(m, why, 0)
                    : milter_hear(m, m->settings->message_ms, s->deadline, s->arena, &answer);
    }
    if (!error && (why = milter_message_changed(&s->draft)))
        error = milter_fail(m, why, 0);
    if (error) {
        milter_failure(m, s->result);
        return false;
    }
    m->in_message = false;
    milter_obey(m, &end_event, &answer, s->arena, s->result);
    return m->state == MILTER_OPEN && s->result->fate == MILTER_PASSES;
}

static bool changed(const struct milter_message *before, const struct milter_message *after) {
    return after->added != before->added || after->count != before->count || after->replacing ||
           after->rcpt_count != before->rcpt_count || after->from.at != before->from.at;
}

/* What it did becomes the message. */
static void keep(struct milter_message *message, const struct milter_message *draft, struct str name) {
    bool any = changed(message, draft);
    struct scan_copy *old = draft->replacing ? message->body : NULL;
    *message = *draft;
    message->replacing = false;
    scan_copy_free(old);
    if (any)
        message->changed_by =
            message->changed_by.len
                ? str_printf(message->arena, "%.*s, %.*s", STR_FMT(message->changed_by), STR_FMT(name))
                : name;
}

static void show_message(struct milter *m, struct milter_message *message, int64_t started,
                         struct arena *arena, struct milter_result *ret) {
    int64_t most = m->settings->message_ms > MESSAGE_MOST_MS ? m->settings->message_ms : MESSAGE_MOST_MS;
    struct showing s = {.m = m, .draft = *message, .arena = arena, .result = ret, .deadline = started + most};
    struct milter_message *draft = &s.draft;
    *ret = (struct milter_result){0};
    draft->room = draft->count; /* of an array of its own, so that all can be undone */
    draft->fields = arena_array(draft->arena, struct header_field, draft->count);
    if (draft->count)
        memcpy(draft->fields, message->fields, draft->count * sizeof *draft->fields);
    draft->replacing = false;
    bool done = show_header(&s) && show_body(&s) && show_end(&s);
    if (done)
        keep(message, draft, m->settings->name);
    else if (draft->replacing)
        scan_copy_free(draft->body);
    if (!ret->failed && m->state != MILTER_FAILED && m->chain->calls->worked)
        m->chain->calls->worked(m->chain->calls->arg, m->settings);
}

void milters_message(struct milters *chain, struct milter_message *message, struct arena *arena,
                     struct milter_result *ret) {
    int64_t started = clock_mono_ms();
    *ret = (struct milter_result){0};
    if (!chain)
        return;
    if (chain->discarded) {
        *ret = (struct milter_result){.fate = MILTER_DISCARDS, .milter = chain->discarded_by};
        return;
    }
    for (size_t i = 0; i < chain->count && ret->fate == MILTER_PASSES; i++)
        if (!milter_is_out(&chain->at[i], arena, ret))
            show_message(&chain->at[i], message, started, arena, ret);
}
