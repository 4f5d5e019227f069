#include "scan/scan.h"

#include "base/clock.h"
#include "scan/exchange.h"

struct scanning {
    struct scan_service *service;
    const struct scan_settings *settings;
    struct scan_question question;
    int64_t deadline;
    uint64_t size;
    bool *tried;
    struct scan_result *result;
    struct buf why; /* of all that failed */
};

static void note(struct scanning *s, const struct scanner_settings *scanner, struct str why) {
    buf_printf(&s->why, "%s%.*s (%s %.*s): %.*s", s->why.len ? "; " : "", STR_FMT(scanner->name),
               scanner_kind_name(scanner->kind), STR_FMT(scanner->at.text), STR_FMT(why));
}

/* ---- choosing ---- */

static bool has_room(struct scanner_state *state, const struct scanner_settings *scanner) {
    return scan_desk_of(state)->busy < scanner->connections;
}

/* The first scanner that may be asked and has a connection free, else the first that may be asked. *ret_left:
 * how many there are. NULL: none is left. */
static const struct scanner_settings *choose(struct scanning *s, size_t *ret_left) {
    const struct scanner_settings *first = NULL, *free_one = NULL;
    struct str why;
    *ret_left = 0;
    for (size_t i = 0; i < s->settings->count; i++) {
        const struct scanner_settings *scanner = &s->settings->scanners[i];
        if (s->tried[i])
            continue;
        struct scanner_state *state = scan_state_of(s->service, scanner);
        if (!scan_state_up(state, s->question.arena, &why)) {
            s->tried[i] = true;
            note(s, scanner, why);
            continue;
        }
        ++*ret_left;
        if (!first)
            first = scanner;
        if (!free_one && has_room(state, scanner))
            free_one = scanner;
    }
    return free_one ? free_one : first;
}

/* Scanners that don't take messages of this length aren't asked. False: none does. */
static bool leave_out_small_ones(struct scanning *s) {
    bool any = false;
    for (size_t i = 0; i < s->settings->count; i++) {
        s->tried[i] = s->size > s->settings->scanners[i].max_size;
        any |= !s->tried[i];
    }
    return any;
}

/* ---- asking one ---- */

static enum scan_fault ask(struct scanning *s, int64_t deadline, struct str *ret_why) {
    const struct scan_question *q = &s->question;
    struct scan_desk *desk = scan_desk_of(q->state);
    int64_t started = clock_mono_ms();
    int error = 0;
    while (!error && desk->busy >= q->scanner->connections)
        error = waiters_wait(&desk->waiting, deadline);
    if (error) {
        *ret_why = STR("all its connections are in use");
        return error == SLUICE_ECANCELLED ? SCAN_FAULT_OURS : SCAN_FAULT_MESSAGE;
    }
    desk->busy++;
    *s->result = (struct scan_result){.scanner = q->scanner->name};
    enum scan_fault fault = scan_ask(q, deadline, s->result, ret_why);
    desk->busy--;
    waiters_wake_one(&desk->waiting);
    q->state->requests++;
    q->state->time_ms += (uint64_t)(clock_mono_ms() - started);
    return fault;
}

/* True: it gave an answer, or nobody else need be asked. */
static bool try_one(struct scanning *s, const struct scanner_settings *scanner, size_t left) {
    int64_t now = clock_mono_ms();
    struct scanner_state *state = scan_state_of(s->service, scanner);
    struct str why = STR("");
    s->tried[scanner - s->settings->scanners] = true;
    s->question.scanner = scanner;
    s->question.state = state;
    /* What is left of the time, shared with those who come after it. */
    enum scan_fault fault = ask(s, now + (s->deadline - now) / (int64_t)left, &why);
    if (fault == SCAN_FINE) {
        scan_state_good(state);
        state->spam += s->result->verdict == SCAN_SPAM;
        state->malware += s->result->verdict == SCAN_MALWARE;
        return true;
    }
    note(s, scanner, why);
    s->result->failed = true;
    s->result->cancelled = fault == SCAN_FAULT_OURS;
    if (fault != SCAN_FAULT_OURS)
        state->failures++;
    if (fault == SCAN_FAULT_SCANNER)
        scan_state_bad(state, why);
    return fault == SCAN_FAULT_OURS;
}

/* ---- all ---- */

void scan_message(struct scan_service *service, const struct scan_settings *settings,
                  struct resolver *resolver, const struct scan_facts *facts, struct scan_copy *copy,
                  struct arena *arena, struct scan_result *ret) {
    int64_t started = clock_mono_ms();
    struct scanning s = {
        .service = service,
        .settings = settings,
        .question =
            {.settings = settings, .resolver = resolver, .facts = facts, .copy = copy, .arena = arena},
        .deadline = started + settings->timeout_ms - facts->spent_ms,
        .size = facts->received.len + scan_copy_size(copy),
        .tried = arena_array(arena, bool, settings->count),
        .result = ret,
    };
    const struct scanner_settings *scanner;
    size_t left;
    *ret = (struct scan_result){.failed = true};
    if (!leave_out_small_ones(&s)) {
        ret->too_large = true;
        ret->why = STR("the message is too long for the scanners");
        return;
    }
    while ((scanner = choose(&s, &left)) && !try_one(&s, scanner, left))
        ;
    if (ret->failed)
        *ret = (struct scan_result){
            .failed = true, .cancelled = ret->cancelled, .why = str_copy(arena, buf_view(&s.why))};
    ret->took_ms = clock_mono_ms() - started;
    buf_free(&s.why);
}
