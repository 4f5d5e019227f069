#include "auth/spf_inside.h"
#include "base/buf.h"
#include "base/clock.h"

enum { TEXT_MAX = 512, ANSWERS_SHOWN = 4, ANSWERS_MAX = 256, FAULT_TERM_MAX = 100 };

void spf_drop_arena(struct arena **arena) { arena_free(*arena); }

void spf_step_begin(struct spf_work *w, const struct spf_frame *frame, struct str term) {
    if (w->steps == SPF_STEPS_MAX) {
        w->ret->steps_cut = true;
        w->step = NULL;
        return;
    }
    w->steps++;
    struct spf_step *step = arena_new_of(w->arena, struct spf_step);
    step->depth = frame->depth;
    step->domain = frame->domain;
    step->term = str_copy(w->arena, str_head(term, TEXT_MAX));
    *w->next_step = w->step = step;
    w->next_step = &step->next;
    w->next_lookup = &step->lookups;
}

void spf_step_end(struct spf_work *w, enum spf_step_end end, const char *note) {
    if (!w->step)
        return;
    w->step->end = end;
    w->step->note = str_copy(w->arena, str_of(note));
}

void spf_step_target(struct spf_work *w, struct str target) {
    if (w->step)
        w->step->target = str_copy(w->arena, target);
}

static struct str answer_text(struct arena *arena, const struct dns_answer *answer, enum dns_type type) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    char ip[IP_TEXT_SIZE];
    for (size_t i = 0; i < answer->count && i < ANSWERS_SHOWN; i++) {
        const struct dns_record *r = &answer->records[i];
        if (i)
            buf_str(&out, STR(", "));
        if (type == DNS_A || type == DNS_AAAA)
            buf_str(&out, str_of(ip_text(&r->ip, ip)));
        else
            buf_str(&out, str_head(type == DNS_TXT ? r->text : r->name, ANSWERS_MAX));
    }
    if (answer->count > ANSWERS_SHOWN)
        buf_str(&out, STR(", ..."));
    return str_copy(arena, buf_view(&out));
}

static void note_lookup(struct spf_work *w, struct str name, enum dns_type type,
                        const struct dns_answer *answer) {
    if (!w->step)
        return;
    if (w->lookups == SPF_LOOKUPS_MAX) {
        w->ret->steps_cut = true;
        return;
    }
    w->lookups++;
    struct spf_lookup *lookup = arena_new_of(w->arena, struct spf_lookup);
    lookup->name = str_copy(w->arena, name);
    lookup->type = type;
    lookup->status = answer->status;
    lookup->count = answer->count;
    lookup->answers = answer->status == DNS_FAILED ? str_copy(w->arena, str_head(answer->why, ANSWERS_MAX))
                                                   : answer_text(w->arena, answer, type);
    *w->next_lookup = lookup;
    w->next_lookup = &lookup->next;
}

/* Presentation form: a backslash out of a macro is an octet like any other. */
static struct str presentation(struct arena *arena, struct str name) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    for (size_t i = 0; i < name.len; i++) {
        if (name.at[i] == '\\')
            buf_char(&out, '\\');
        buf_char(&out, name.at[i]);
    }
    return str_copy(arena, buf_view(&out));
}

void spf_ask(struct spf_work *w, struct str name, enum dns_type type, struct arena *arena,
             struct dns_answer *ret) {
    *ret = (struct dns_answer){.status = DNS_FAILED, .why = STR("the time for the check is up")};
    if (clock_mono_ms() < w->query->deadline)
        resolver_lookup(w->resolver, presentation(arena, name), type, w->query->deadline, arena, ret);
    note_lookup(w, name, type, ret);
}

enum spf_match spf_fault(struct spf_work *w, const struct spf_frame *frame, struct str term, const char *what,
                         enum spf_match match) {
    term = str_head(term, FAULT_TERM_MAX);
    if (term.len)
        w->fault = str_printf(w->arena, "\"%.*s\" of %.*s: %s", STR_FMT(term), STR_FMT(frame->domain), what);
    else
        w->fault = str_printf(w->arena, "%.*s: %s", STR_FMT(frame->domain), what);
    spf_step_end(w, SPF_STEP_ERROR, what);
    return match;
}

bool spf_name_askable(struct str name) {
    if (name.len && name.at[name.len - 1] == '.')
        name.len--;
    if (!name.len || name.len > 253)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.at[i] < 0x20 || name.at[i] > 0x7e)
            return false;
    struct str label;
    while (str_cut(&name, '.', &label))
        if (!label.len || label.len > 63)
            return false;
    return true;
}
