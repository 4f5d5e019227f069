/* server_data.c - DATA: the message passes through to the hook. */
#include "smtp/server_state.h"

/* How a message was read: fine, or why it is refused. */
struct reading {
    struct smtp_data_decoder decoder;
    bool too_big;  /* over max_size: read on, thrown away */
    bool hopeless; /* so far over it that we stop reading */
    bool unwanted; /* the hook wants no more */
};

static void pass_on(struct server *s, struct reading *r, struct str text) {
    uint64_t max = s->settings->max_size;
    if (max && r->decoder.size > max) {
        r->too_big = true;
        r->hopeless = r->decoder.size - max > (max > DRAIN_MIN ? max : DRAIN_MIN);
    }
    if (text.len == 0 || r->too_big || r->unwanted || smtp_data_defective(&r->decoder) ||
        !s->hooks->data_bytes)
        return;
    r->unwanted = s->hooks->data_bytes(s->arg, &s->session, text) != 0;
}

/* Reads to the end of the data. 0, or what the stream says. */
static int read_message(struct server *s, struct reading *r) {
    while (!r->decoder.ended && !r->hopeless) {
        struct str input = stream_input(s->stream), text;
        if (input.len == 0) {
            int error = stream_fill(s->stream, clock_mono_ms() + s->settings->data_ms);
            if (error)
                return error;
            continue;
        }
        size_t used = smtp_data_decode(&r->decoder, input, &text);
        pass_on(s, r, text);
        stream_consume(s->stream, used);
    }
    return 0;
}

static struct smtp_reply defect(const struct reading *r) {
    if (r->too_big)
        return SMTP_REPLY(552, "5.3.4", "The message is larger than this server accepts");
    if (r->decoder.bare_lf)
        return SMTP_REPLY(550, "5.6.11", "The message contains a bare LF; lines must end with CRLF");
    if (r->decoder.bare_cr)
        return SMTP_REPLY(550, "5.6.11", "The message contains a bare CR; lines must end with CRLF");
    if (r->decoder.nul)
        return SMTP_REPLY(550, "5.6.0", "The message contains NUL bytes");
    return (struct smtp_reply){0};
}

static void finish(struct server *s, const struct reading *r) {
    struct smtp_reply reply = defect(r);
    if (reply.code) {
        server_refuse(s, &reply, STR("DATA"));
        server_reset(s);
        s->over |= r->hopeless;
        return;
    }
    if (s->hooks->data_end)
        reply = s->hooks->data_end(s->arg, &s->session, r->decoder.size);
    if (reply.code == 0)
        reply = SMTP_REPLY(451, "4.3.0", "The message could not be stored");
    if (smtp_reply_positive(&reply)) {
        s->session.accepted++;
        s->commands = s->errors = 0;
    }
    server_reply(s, &reply);
    server_transaction_done(s);
    /* Not held back for a pipelined command: each moment until the client knows risks a duplicate. */
    server_flush(s);
}

void server_data(struct server *s, struct str argument) {
    (void)argument;
    if (s->session.recipients == 0) {
        server_refuse(s, &SMTP_REPLY(554, "5.5.1", "No valid recipients"), STR("DATA"));
        server_data_refused(s);
        return;
    }
    struct smtp_reply reply = {0};
    if (s->hooks->data_begin)
        reply = s->hooks->data_begin(s->arg, &s->session);
    if (reply.code == 0)
        reply = SMTP_REPLY(354, "", "End data with <CR><LF>.<CR><LF>");
    if (reply.code != 354) {
        server_reply(s, &reply);
        server_data_refused(s);
        server_reset(s);
        return;
    }
    server_reply(s, &reply);
    server_flush(s);
    if (s->error)
        return;
    struct reading reading = {0};
    stream_set_min_rate(s->stream, s->settings->data_rate, s->settings->data_rate_ms);
    int error = read_message(s, &reading);
    stream_set_min_rate(s->stream, 0, 0);
    if (error)
        server_failed(s, error);
    else
        finish(s, &reading);
}
