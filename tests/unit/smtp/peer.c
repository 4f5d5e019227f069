#include "peer.h"
#include "base/clock.h"

static int64_t soon(void) { return clock_mono_ms() + 10000; }

static void failed(struct peer *p, const char *what, struct str got, struct str wanted) {
    if (!p->failure[0])
        snprintf(p->failure, sizeof p->failure, "%s '%.*s', wanted '%.*s'", what, STR_FMT(got),
                 STR_FMT(wanted));
}

/* The client's next line; false when there is none. */
static bool expect(struct peer *p, struct str wanted) {
    ptrdiff_t end;
    while ((end = str_find(stream_input(p->stream), STR("\r\n"))) < 0)
        if (stream_fill(p->stream, soon()) != 0) {
            failed(p, "the client went after", stream_input(p->stream), wanted);
            return false;
        }
    struct str line = str_head(stream_input(p->stream), (size_t)end);
    bool good = str_eq(line, wanted);
    if (!good)
        failed(p, "the client said", line, wanted);
    stream_consume(p->stream, (size_t)end + 2);
    return good;
}

static bool say(struct peer *p, struct str text) {
    return stream_write(p->stream, text, soon()) == 0 && stream_write(p->stream, STR("\r\n"), soon()) == 0;
}

static bool step(struct peer *p, struct str line) {
    switch (line.len ? line.at[0] : 0) {
    case '<':
        return say(p, str_from_index(line, 2));
    case '>':
        return stream_flush(p->stream, soon()) == 0 && expect(p, str_from_index(line, 2));
    case '=':
        fiber_sleep(5);
        if (stream_input(p->stream).len)
            failed(p, "the client did not wait:", stream_input(p->stream), STR(""));
        return true;
    case '~':
        return stream_flush(p->stream, soon()) == 0 && stream_fill(p->stream, soon()) == 0;
    default:
        return false;
    }
}

static void run(void *arg) {
    struct peer *p = arg;
    struct str rest = str_of(p->script), line;
    while (str_cut(&rest, '\n', &line) && step(p, line))
        continue;
    if (stream_flush(p->stream, soon()) != 0 && rest.len)
        failed(p, "the client went before", rest, STR(""));
    stream_free(p->stream);
    p->ended = true;
    waiters_wake_all(&p->done);
}

struct stream *peer_start(struct peer *p, const char *script) {
    struct stream *client;
    *p = (struct peer){.script = script};
    stream_pair(&client, &p->stream);
    if (fiber_start(run, p) != 0)
        rt_run_failed(__FILE__, __LINE__, "fiber_start");
    return client;
}

void peer_end(struct peer *p) {
    while (!p->ended)
        if (waiters_wait(&p->done, soon()) != 0) {
            rt_run_failed(__FILE__, __LINE__, "the scripted server hangs");
            return;
        }
}

int message_read(void *arg, struct str *ret_chunk) {
    struct message *m = arg;
    if (m->rest.len == 0 && m->error)
        return m->error;
    *ret_chunk = str_head(m->rest, m->piece ? m->piece : m->rest.len);
    m->rest = str_from_index(m->rest, ret_chunk->len);
    return 0;
}

int message_before(void *arg, struct stream *stream) {
    struct message *m = arg;
    (void)stream;
    return ++m->mails == m->refuse ? SLUICE_EDENIED : 0;
}
