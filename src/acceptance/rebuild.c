#include "acceptance/rebuild.h"

#include "auth/results.h"
#include "mail/mime.h"
#include "seeded_bug.h"

struct milter_message rebuild_begin(const struct acceptance *a) {
    const struct content *c = a->content;
    return (struct milter_message){.arena = a->arena,
                                   .fields = c->header.fields,
                                   .count = c->header.count,
                                   .copy = c->copy,
                                   .body_at = c->body_at,
                                   .place = c->settings.scan};
}

int rebuild(struct flow *flow, struct acceptance *a, struct milter_message *m, bool again) {
    struct content_settings settings = a->content->settings;
    settings.verify = false;
    settings.trusted = true;
    if (!again)
        settings.scan = NULL;
    struct content *next = content_new(flow, a->arena, &settings);
    bool eight = false;
    int error = 0;
    for (size_t i = 0; i < m->count && !error; i++) {
        eight |= bytes_8bit(m->fields[i].whole);
        error = content_add(next, m->fields[i].whole);
    }
    if (!error)
        error = content_add(next, STR("\r\n"));
    struct str piece = STR("\r\n");
    for (uint64_t at = 0; piece.len && !error; at += piece.len) {
        error = milter_message_body(m, at, &piece);
        eight |= !error && bytes_8bit(piece);
        if (!error && piece.len)
            error = content_add(next, piece);
    }
    if (!error)
        error = content_end(next);
    if (eight)
        a->flags |= SPOOL_8BITMIME;
    content_free(a->content);
    a->content = next;
    return error;
}

/* ---- a scanner's changes ---- */

static bool is_ours(struct str name) {
    static const char *const names[] = {
        "From",
        "Sender",
        "Date",
        "Message-ID",
        "Received",
        "Return-Path",
        "Delivered-To",
        "ARC-Seal",
        "Content-Type",
        "MIME-Version",
        "ARC-Message-Signature",
        "ARC-Authentication-Results",
        "Content-Transfer-Encoding",
    };
#ifdef SLUICE_SEEDED_BUG_SCANNER_WRITES_FROM
    return false;
#endif
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq_nocase(name, str_of(names[i])))
            return true;
    return false;
}

static size_t count_of(const struct milter_message *m, struct str name) {
    size_t count = 0;
    for (size_t i = 0; i < m->count; i++)
        count += str_eq_nocase(m->fields[i].name, name);
    return count;
}

/* The fields of that name from the n-th to the last-th, counted from 1: in one go, since a sender may have
 * written thousands. */
static void take_out_of(struct milter_message *m, struct str name, size_t n, size_t last) {
    size_t left = 0, seen = 0;
    for (size_t i = 0; i < m->count; i++) {
        bool out = str_eq_nocase(m->fields[i].name, name) && ++seen >= n && seen <= last;
        if (!out)
            m->fields[left++] = m->fields[i];
    }
    m->header_changed |= left < m->count;
    m->count = left;
}

static void take_out(struct milter_message *m, const struct scan_change *c) {
    if (c->index == 0) {
        take_out_of(m, c->name, 1, SIZE_MAX);
        return;
    }
    int64_t n = c->index > 0 ? c->index : (int64_t)count_of(m, c->name) + 1 + c->index;
    if (n >= 1)
        take_out_of(m, c->name, (size_t)n, (size_t)n);
}

static const char *add(struct milter_message *m, const struct scan_change *c) {
    struct milter_answer a = {.kind = c->index < 0 ? MILTER_SAYS_ADD_HEADER : MILTER_SAYS_INSERT_HEADER,
                              .index = c->index < 0 ? 0 : (uint32_t)c->index,
                              .name = c->name,
                              .value = c->value};
    return milter_message_change(m, &a, false, STR(""));
}

/* One subject, in the place of the first. */
static const char *rewrite(struct milter_message *m, struct str subject) {
    struct milter_answer a = {
        .kind = MILTER_SAYS_CHANGE_HEADER, .index = 1, .name = STR("Subject"), .value = subject};
    take_out_of(m, a.name, 2, SIZE_MAX);
    return milter_message_change(m, &a, false, STR(""));
}

/* Of the bytes that came, or that milters made of them. */
static bool was_there(const struct header *header, const struct header_field *field) {
    return field->whole.at >= header->whole.at && field->whole.at < header->whole.at + header->whole.len;
}

/* What it added and speaks in our name goes out again. How many did. */
static size_t drop_forged(const struct acceptance *a, struct milter_message *m) {
    size_t left = 0, dropped = 0;
    for (size_t i = 0; i < m->count; i++) {
        const struct header_field *f = &m->fields[i];
        if (!was_there(&a->content->header, f) && results_claims(a->arena, f, a->settings->node))
            dropped++;
        else
            m->fields[left++] = *f;
    }
    m->count = left;
    return dropped;
}

/* The message would be refused for its scanner's fields. */
static bool is_too_long(const struct milter_message *m) {
    size_t bytes = 2; /* the empty line */
    for (size_t i = 0; i < m->count; i++)
        bytes += m->fields[i].whole.len;
    return bytes > HEADER_BYTES_MAX;
}

static const char *apply(const struct acceptance *a, struct milter_message *m, size_t *ret_left_out) {
    const struct scan_result *r = &a->judged.scan;
    const char *why = NULL;
    /* Theirs to change: not the array of those that go on if this fails. */
    struct header_field *fields = arena_array(m->arena, struct header_field, m->count);
    if (m->count)
        memcpy(fields, m->fields, m->count * sizeof *fields);
    m->fields = fields;
    m->room = m->count;
    *ret_left_out = 0;
    for (size_t i = 0; i < r->change_count && !why; i++) {
        const struct scan_change *c = &r->changes[i];
        if (is_ours(c->name))
            ++*ret_left_out;
        else if (c->remove)
            take_out(m, c);
        else
            why = add(m, c);
    }
    if (!why && r->subject.len)
        why = rewrite(m, r->subject);
    if (!why)
        *ret_left_out += drop_forged(a, m);
    if (!why && m->header_changed && is_too_long(m))
        why = "they make the header too long";
    return why;
}

static void tell(struct flow *flow, const struct acceptance *a, enum log_level level, const char *what,
                 struct str why) {
    log_event(flow->log, level, what, "trace_id", a->id.text, "scanner",
              str_c(a->arena, a->judged.scan.scanner), "why", why.len ? str_c(a->arena, why) : NULL, NULL);
}

bool rebuild_as_scanned(struct flow *flow, struct acceptance *a, struct outcome *ret_refusal) {
    const struct scan_result *r = &a->judged.scan;
    size_t left_out;
    if (!a->judged.scanned)
        return true;
    if (r->changes_why.len)
        tell(flow, a, LOG_WARNING, "the scanner's changes are left out", r->changes_why);
    if (!r->change_count && !r->subject.len)
        return true;
    struct milter_message m = rebuild_begin(a);
    const char *why = apply(a, &m, &left_out);
    if (why) {
        tell(flow, a, LOG_WARNING, "the scanner's changes are left out", str_of(why));
        return true;
    }
    if (left_out)
        tell(flow, a, LOG_INFO, "some of the scanner's changes are left out",
             STR("fields that decide over the message, or speak in our name, are not a scanner's"));
    int error = m.header_changed ? rebuild(flow, a, &m, false) : 0;
    milter_message_end(&m);
    if (error)
        *ret_refusal = accept_content_refusal(a->content, error);
    else if (m.header_changed)
        tell(flow, a, LOG_INFO, "changed by the scanner", STR(""));
    return !error;
}
