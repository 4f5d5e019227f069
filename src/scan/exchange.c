#include "scan/exchange.h"

#include "base/clock.h"
#include "scan/http.h"
#include "scan/rspamd.h"
#include "scan/spamd.h"
#include "seeded_bug.h"

enum { PING_MS = 5000, PONG_MAX = 4096 };

struct scan_exchange {
    const struct scan_question *q;
    int64_t deadline;
    struct stream *stream;
    bool began; /* the answer did */
    bool keep;  /* the connection may be used again */
    enum scan_fault fault;
    struct str why;
};

static int fault(struct scan_exchange *x, enum scan_fault whose, int error, struct str why) {
    x->fault = whose;
    x->why = why;
    return error;
}

static struct str error_words(int error) {
    switch (error) {
    case SLUICE_ECLOSED:
        return STR("it closed the connection");
    case SLUICE_ETIMEOUT:
        return STR("it did not answer in time");
    default:
        return str_of(scan_endpoint_error(error));
    }
}

/* What the connection did; only being cancelled is not the scanner's fault. */
static int broke(struct scan_exchange *x, int error) {
    return fault(x, error == SLUICE_ECANCELLED ? SCAN_FAULT_OURS : SCAN_FAULT_SCANNER, error,
                 error_words(error));
}

/* ---- the question ---- */

static uint64_t message_size(const struct scan_question *q) {
    return q->facts->received.len + scan_copy_size(q->copy);
}

static int send_message(struct scan_exchange *x) {
    const struct scan_question *q = x->q;
    int error = stream_write(x->stream, q->facts->received, x->deadline);
    struct str chunk;
    for (uint64_t at = 0; !error; at += chunk.len) {
        if (scan_copy_read(q->copy, at, &chunk) != 0)
            return fault(x, SCAN_FAULT_OURS, SLUICE_EIO, STR("the copy of the message can't be read"));
        if (!chunk.len)
            break;
        error = stream_write(x->stream, chunk, x->deadline);
    }
    if (!error)
        error = stream_flush(x->stream, x->deadline);
    return error ? broke(x, error) : 0;
}

static int send_question(struct scan_exchange *x) {
    struct buf head __attribute__((cleanup(buf_free))) = {0};
    const struct scan_question *q = x->q;
    if (q->scanner->kind == SCANNER_RSPAMD)
        rspamd_request(&head, q->scanner, q->facts, message_size(q));
    else
        spamd_request(&head, q->scanner, message_size(q));
    int error = stream_write(x->stream, buf_view(&head), x->deadline);
    return error ? broke(x, error) : send_message(x);
}

/* ---- the answer ---- */

/* 413 and the like are about this message; 401 and 403 about our password. */
static int refused(struct scan_exchange *x, unsigned status) {
    bool message = status >= 400 && status < 500 && status != 401 && status != 403;
    return fault(x, message ? SCAN_FAULT_MESSAGE : SCAN_FAULT_SCANNER, SLUICE_EREFUSED,
                 str_printf(x->q->arena, "it answered with HTTP status %u", status));
}

/* An answer grows with the message: whoever could silence the scanner by three long ones would. */
static enum scan_fault whose(int error) {
#ifdef SLUICE_SEEDED_BUG_SENDER_SILENCES_SCANNER
    return SCAN_FAULT_SCANNER;
#endif
    return error == SLUICE_ETOOBIG ? SCAN_FAULT_MESSAGE : SCAN_FAULT_SCANNER;
}

static int read_rspamd(struct scan_exchange *x, struct scan_result *ret) {
    struct http_answer answer;
    struct str why = {0};
    int error = http_read(x->stream, RSPAMD_ANSWER_MAX, x->deadline, x->q->arena, &answer, &why);
    x->began = answer.began;
    x->keep = answer.keep && !error;
    if (error)
        return why.len ? fault(x, whose(error), error,
                               str_printf(x->q->arena, "its answer is broken: %.*s", STR_FMT(why)))
                       : broke(x, error);
    if (answer.status != 200)
        return refused(x, answer.status);
    error = rspamd_answer(answer.body, x->q->settings, x->q->arena, ret, &why);
    return error ? fault(x, whose(error), error, why) : 0;
}

static int read_spamd(struct scan_exchange *x, struct scan_result *ret) {
    struct str why = {0};
    int error = spamd_read(x->stream, x->deadline, x->q->settings, x->q->arena, ret, &why);
    x->began = true;
    if (error && why.len)
        return fault(x, whose(error), error, why);
    return error ? broke(x, error) : 0;
}

static int talk(struct scan_exchange *x, struct scan_result *ret) {
    int error = send_question(x), sent = error;
    if (x->fault == SCAN_FAULT_OURS)
        return error;
    if (error && error != SLUICE_ECLOSED && error != SLUICE_EIO)
        return error;
    /* Who closes before all was sent may have said why. */
    struct str sending = x->why;
    x->fault = SCAN_FINE;
    error = x->q->scanner->kind == SCANNER_RSPAMD ? read_rspamd(x, ret) : read_spamd(x, ret);
    if (sent && (!error || !x->began))
        return fault(x, SCAN_FAULT_SCANNER, sent, sending);
    return error;
}

/* A connection that was idle may have been closed just now: then, and only then, once more. */
enum scan_fault scan_ask(const struct scan_question *q, int64_t deadline, struct scan_result *ret,
                         struct str *ret_why) {
    struct scan_exchange x = {.q = q, .deadline = deadline, .stream = scan_desk_take(scan_desk_of(q->state))};
    bool reused = x.stream != NULL;
    int error = 0;
    if (reused) {
        error = talk(&x, ret);
        if (error && !x.began && (error == SLUICE_ECLOSED || error == SLUICE_EIO) &&
            x.fault == SCAN_FAULT_SCANNER) {
            reused = false;
            x = (struct scan_exchange){.q = q, .deadline = deadline, .stream = stream_free(x.stream)};
        }
    }
    if (!reused) {
        error = scan_endpoint_dial(&q->scanner->at, q->resolver, deadline, &x.stream);
        if (error)
            broke(&x, error);
        else
            q->state->connections++;
        if (!error)
            error = talk(&x, ret);
    }
    if (x.keep && !error)
        scan_desk_keep(q->state, x.stream);
    else
        stream_free(x.stream);
    *ret_why = x.why;
    return error ? x.fault : SCAN_FINE;
}

/* ---- ping ---- */

static int ping_rspamd(struct stream *stream, int64_t deadline, struct str *ret_why) {
    struct arena *arena = arena_new(0);
    struct http_answer answer;
    int error = http_read(stream, PONG_MAX, deadline, arena, &answer, ret_why);
    if (!error && answer.status != 200) {
        *ret_why = STR("it does not answer /ping with status 200");
        error = SLUICE_ESYNTAX;
    }
    arena_free(arena);
    return error;
}

int scan_ping(const struct scanner_settings *s, struct resolver *resolver, struct str *ret_why) {
    struct buf question __attribute__((cleanup(buf_free))) = {0};
    int64_t deadline = clock_mono_ms() + PING_MS;
    struct stream *stream = NULL;
    struct str why = {0};
    int error = scan_endpoint_dial(&s->at, resolver, deadline, &stream);
    if (s->kind == SCANNER_RSPAMD)
        rspamd_ping(&question, s);
    else
        spamd_ping(&question);
    if (!error)
        error = stream_write(stream, buf_view(&question), deadline);
    if (!error)
        error = stream_flush(stream, deadline);
    if (!error)
        error = s->kind == SCANNER_RSPAMD ? ping_rspamd(stream, deadline, &why)
                                          : spamd_read_pong(stream, deadline, &why);
    stream_free(stream);
    *ret_why = why.len ? why : error_words(error);
    return error;
}
