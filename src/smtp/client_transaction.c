/* client_transaction.c - MAIL, RCPT, DATA, the message: and what became of each recipient. */
#include "smtp/client_state.h"

/* What may be on its way without its reply read: less than any socket buffer, so that both sides can't wait
 * for each other (RFC 2920 3.1). */
enum { BATCH_BYTES = 8192, BATCH_COMMANDS = 100 };

enum progress { UNDECIDED, ACCEPTED, DECIDED };

struct conversation {
    struct smtp_client *client;
    struct smtp_transaction *transaction;
    struct arena *arena;
    struct buf lines;        /* MAIL, then each RCPT */
    size_t mail_end;         /* in ->lines */
    size_t *ends;            /* in ->lines, of each recipient's line */
    unsigned char *progress; /* of each recipient */
    size_t accepted;
    bool mail_accepted;
    struct outcome refusal; /* of MAIL; DONE: none */
    bool failed;            /* stop: all recipients are decided */
    struct smtp_reply data; /* to DATA; code 0: not sent */
};

static void close_client(struct conversation *t) { t->client->state = SMTP_CLIENT_CLOSED; }

static void decide(struct conversation *t, size_t i, struct outcome outcome) {
    t->transaction->recipients[i].outcome = outcome;
    t->progress[i] = DECIDED;
}

/* Gives all that have none yet this outcome. */
static void decide_rest(struct conversation *t, struct outcome outcome) {
    for (size_t i = 0; i < t->transaction->recipient_count; i++)
        if (t->progress[i] != DECIDED)
            decide(t, i, outcome);
    t->failed = true;
    if (outcome.scope >= OUTCOME_SESSION)
        close_client(t);
}

static void lost(struct conversation *t, int error, const char *what) {
    decide_rest(t, client_error(t->arena, error, OUTCOME_SESSION, what));
    close_client(t);
}

static void undeliverable(struct conversation *t, int code, const char *enhanced, const char *text) {
    decide_rest(t, (struct outcome){.scope = OUTCOME_MESSAGE,
                                    .fate = OUTCOME_NEVER,
                                    .code = code,
                                    .enhanced = str_of(enhanced),
                                    .text = str_of(text)});
}

static bool has_8bit(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.at[i] > 0x7f)
            return true;
    return false;
}

/* What the server's EHLO already rules out. */
static void check_message(struct conversation *t) {
    const struct smtp_mail *mail = &t->transaction->mail;
    const struct smtp_capabilities *c = &t->client->capabilities;
    if (c->size && mail->size > c->size)
        undeliverable(t, 552, "5.3.4", "the message is larger than the receiver accepts (SIZE)");
    else if (mail->smtputf8 && !(c->extensions & SMTP_EXTENSION_SMTPUTF8))
        undeliverable(t, 553, "5.6.7", "the message needs SMTPUTF8, which the receiver does not offer");
    else if (mail->body == SMTP_BODY_8BITMIME && !(c->extensions & SMTP_EXTENSION_8BITMIME))
        undeliverable(t, 554, "5.6.3", "the message needs 8BITMIME, which the receiver does not offer");
}

static void write_lines(struct conversation *t) {
    struct smtp_transaction *tx = t->transaction;
    unsigned offered = t->client->capabilities.extensions;
    size_t writable = 0;
    if (smtp_mail_write(&t->lines, &tx->mail, offered) != 0) {
        if (has_8bit(tx->mail.reverse_path.whole))
            undeliverable(t, 553, "5.6.7", "the sender's address needs SMTPUTF8");
        else
            undeliverable(t, 553, "5.1.7", "the sender's address can't be sent");
        return;
    }
    t->mail_end = t->lines.len;
    for (size_t i = 0; i < tx->recipient_count; i++) {
        struct smtp_transaction_recipient *r = &tx->recipients[i];
        bool bad = smtp_rcpt_write(&t->lines, &r->rcpt, offered, tx->mail.smtputf8) != 0;
        t->ends[i] = t->lines.len;
        writable += !bad;
        if (!bad)
            continue;
        bool utf8 = has_8bit(r->rcpt.forward_path.whole);
        decide(t, i,
               (struct outcome){.scope = OUTCOME_RECIPIENT,
                                .fate = OUTCOME_NEVER,
                                .code = 553,
                                .enhanced = utf8 ? STR("5.6.7") : STR("5.1.3"),
                                .text = utf8 ? STR("the recipient's address needs SMTPUTF8")
                                             : STR("the recipient's address can't be sent")});
    }
    t->failed = writable == 0;
}

/* Reads one reply; false when there was none and the conversation is over. */
static bool reply_to(struct conversation *t, const char *what, int64_t timeout, struct smtp_reply *ret) {
    int error = client_read(t->client, clock_mono_ms() + timeout, t->arena, ret);
    if ((error || ret->code == 421) && t->refusal.fate != OUTCOME_DONE) {
        decide_rest(t, t->refusal); /* it said why before it went */
        close_client(t);
        return false;
    }
    if (error == 0 && ret->code == 421) {
        decide_rest(t, smtp_reply_outcome(t->arena, ret, OUTCOME_SESSION));
        return false;
    }
    if (error)
        lost(t, error, what);
    return !error;
}

static void rset_reply(struct conversation *t) {
    struct smtp_reply reply;
    t->client->dirty = false;
    if (!reply_to(t, "RSET", t->client->settings->timeouts.mail, &reply) || reply.code / 100 == 2)
        return;
    decide_rest(t, client_unexpected(t->arena, &reply, "RSET"));
}

/* Later replies of the same batch are read even after a refused MAIL, so that replies stay in step. */
static void mail_reply(struct conversation *t) {
    struct smtp_reply reply;
    if (!reply_to(t, "MAIL", t->client->settings->timeouts.mail, &reply))
        return;
    t->mail_accepted = reply.code / 100 == 2;
    if (reply.code >= 400)
        t->refusal = smtp_reply_outcome(t->arena, &reply, OUTCOME_MESSAGE);
    else if (!t->mail_accepted)
        decide_rest(t, client_unexpected(t->arena, &reply, "MAIL"));
}

/* RFC 5321 4.5.3.1.10: too many recipients is 452, from old servers 552. */
static bool is_too_many(const struct conversation *t, const struct smtp_reply *reply) {
    if (t->accepted == 0)
        return false;
    return (reply->code == 452 && (reply->enhanced.len == 0 || str_eq(reply->enhanced, STR("4.5.3")))) ||
           (reply->code == 552 && (reply->enhanced.len == 0 || str_eq(reply->enhanced, STR("5.5.3"))));
}

static void rcpt_reply(struct conversation *t, size_t i) {
    struct smtp_reply reply;
    if (!reply_to(t, "RCPT", t->client->settings->timeouts.rcpt, &reply) || !t->mail_accepted)
        return;
    if (reply.code / 100 == 2) {
        t->progress[i] = ACCEPTED;
        t->accepted++;
    } else if (reply.code >= 400) {
        struct outcome outcome = smtp_reply_outcome(t->arena, &reply, OUTCOME_RECIPIENT);
        t->transaction->recipients[i].again = is_too_many(t, &reply);
        if (t->transaction->recipients[i].again)
            outcome.fate = OUTCOME_LATER;
        decide(t, i, outcome);
    } else {
        decide_rest(t, client_unexpected(t->arena, &reply, "RCPT"));
    }
}

/* One batch on its way: which commands it holds. */
struct batch {
    bool rset, mail, data;
    size_t first, end; /* recipients */
};

/* Fills the next batch from recipient `next` on. */
static struct batch batch_next(const struct conversation *t, bool mail, size_t next) {
    size_t count = t->transaction->recipient_count, commands = 0;
    bool pipelining = t->client->capabilities.extensions & SMTP_EXTENSION_PIPELINING;
    struct batch b = {.rset = mail && t->client->dirty, .mail = mail, .first = next, .end = next};
    if (!pipelining && (b.mail || next == count)) {
        b.rset = false; /* sent before, alone */
        b.data = !b.mail && next == count && t->accepted;
        return b;
    }
    size_t from = next ? t->ends[next - 1] : mail ? 0 : t->mail_end;
    while (b.end < count && commands < (pipelining ? BATCH_COMMANDS : 1) &&
           (b.end == next || t->ends[b.end] - from <= BATCH_BYTES))
        commands += t->progress[b.end++] == UNDECIDED;
    b.data = pipelining && b.end == count;
    return b;
}

/* Writes a batch and flushes it. */
static int batch_write(struct conversation *t, const struct batch *b) {
    struct smtp_client *c = t->client;
    int64_t deadline = clock_mono_ms() + c->settings->timeouts.mail;
    int error = b->rset ? stream_write(c->stream, STR("RSET\r\n"), deadline) : 0;
    if (!error && b->mail && t->transaction->before_mail &&
        t->transaction->before_mail(t->transaction->arg, c->stream) != 0) {
        decide_rest(t, (struct outcome){.scope = OUTCOME_SESSION,
                                        .fate = OUTCOME_LATER,
                                        .enhanced = STR("4.3.5"),
                                        .text = STR("this connection may not carry the message")});
        return 0;
    }
    size_t from = b->mail ? 0 : b->first ? t->ends[b->first - 1] : t->mail_end;
    size_t end = b->end ? t->ends[b->end - 1] : t->mail_end;
    if (!error && end > from)
        error = stream_write(c->stream, str_from(t->lines.at + from, end - from), deadline);
    if (!error && b->data)
        error = stream_write(c->stream, STR("DATA\r\n"), deadline);
    return error ? error : stream_flush(c->stream, deadline);
}

static void batch_replies(struct conversation *t, const struct batch *b) {
    if (b->rset)
        rset_reply(t);
    if (b->mail && !t->failed)
        mail_reply(t);
    for (size_t i = b->first; i < b->end && !t->failed; i++)
        if (t->progress[i] == UNDECIDED)
            rcpt_reply(t, i);
    if (b->data && !t->failed && !reply_to(t, "DATA", t->client->settings->timeouts.data_init, &t->data))
        t->data.code = 0;
}

/* RSET by itself, where the server can't pipeline. */
static void rset_alone(struct conversation *t) {
    if (!t->client->dirty || t->client->capabilities.extensions & SMTP_EXTENSION_PIPELINING)
        return;
    int error = client_write(t->client, STR("RSET\r\n"), t->client->settings->timeouts.mail);
    if (error)
        lost(t, error, "RSET");
    else
        rset_reply(t);
}

/* From MAIL to the reply to DATA. */
static void envelope(struct conversation *t) {
    size_t next = 0, count = t->transaction->recipient_count;
    bool mail = true, data = false;
    rset_alone(t);
    while (!t->failed && !data && (mail || next < count || t->accepted)) {
        struct batch b = batch_next(t, mail, next);
        int error = batch_write(t, &b);
        if (error)
            lost(t, error, b.mail ? "MAIL" : "RCPT");
        if (!t->failed)
            batch_replies(t, &b);
        if (!t->failed && t->refusal.fate != OUTCOME_DONE && !b.data)
            break;
        mail = false;
        next = b.end;
        data = b.data;
    }
    t->client->dirty = t->mail_accepted;
    if (!t->failed && t->refusal.fate != OUTCOME_DONE) {
        decide_rest(t, t->refusal);
        t->failed = t->data.code != 354;
    }
}

/* The server went away while we were sending: it may have said why, and then that is here already. */
static void body_lost(struct conversation *t, int error, bool uncertain) {
    struct smtp_reply reply;
    enum { PARTING_MS = 100 };
    close_client(t);
    if (error != SLUICE_ECANCELLED &&
        client_read(t->client, clock_mono_ms() + PARTING_MS, t->arena, &reply) == 0 && reply.code >= 400) {
        decide_rest(t, smtp_reply_outcome(t->arena, &reply, OUTCOME_MESSAGE));
        return;
    }
    struct outcome o = client_error(t->arena, error, OUTCOME_SESSION, "the message");
    o.text = str_printf(t->arena, "connection lost while sending the message: %s%s", error_text(error),
                        uncertain ? "; the delivery is uncertain" : "");
    for (size_t i = 0; uncertain && i < t->transaction->recipient_count; i++)
        t->transaction->recipients[i].uncertain = t->progress[i] == ACCEPTED;
    decide_rest(t, o);
}

static void body_defective(struct conversation *t) {
    undeliverable(t, 550, "5.6.11", "the message contains a bare CR, a bare LF or a NUL and can't be sent");
    close_client(t);
}

static bool body_chunk(struct conversation *t, struct smtp_data_encoder *encoder, struct str chunk) {
    int64_t timeout = t->client->settings->timeouts.data_block;
    struct str piece;
    while (chunk.len) {
        if (smtp_data_encode(encoder, &chunk, &piece) != 0) {
            body_defective(t);
            return false;
        }
        int error = stream_write(t->client->stream, piece, clock_mono_ms() + timeout);
        if (error) {
            body_lost(t, error, false);
            return false;
        }
    }
    return true;
}

/* The reply to the final dot decides for all that were accepted. */
static void dot_reply(struct conversation *t) {
    struct smtp_reply reply;
    int error =
        client_read(t->client, clock_mono_ms() + t->client->settings->timeouts.data_end, t->arena, &reply);
    struct outcome o;
    if (!error && (reply.code / 100 == 2 || reply.code >= 400)) {
        o = smtp_reply_outcome(t->arena, &reply, OUTCOME_MESSAGE);
    } else {
        /* RFC 1047: it may have the message. */
        o = error ? client_error(t->arena, error, OUTCOME_SESSION, "the final dot")
                  : client_unexpected(t->arena, &reply, "the final dot");
        o.text = str_printf(t->arena, "%.*s; the delivery is uncertain", STR_FMT(o.text));
        for (size_t i = 0; i < t->transaction->recipient_count; i++)
            t->transaction->recipients[i].uncertain = t->progress[i] == ACCEPTED;
        close_client(t);
    }
    decide_rest(t, o);
    t->client->dirty = false;
}

/* The message up to its last octet. False: it could not be sent, and all is decided. */
static bool body_chunks(struct conversation *t, struct smtp_data_encoder *encoder) {
    struct str chunk;
    for (;;) {
        if (t->transaction->read(t->transaction->arg, &chunk) < 0) {
            decide_rest(t, (struct outcome){.scope = OUTCOME_MESSAGE,
                                            .fate = OUTCOME_LATER,
                                            .enhanced = STR("4.3.0"),
                                            .text = STR("the message could not be read here")});
            close_client(t);
            return false;
        }
        if (chunk.len == 0)
            return true;
        if (!body_chunk(t, encoder, chunk))
            return false;
    }
}

static void send_body(struct conversation *t) {
    const struct smtp_client_settings *set = t->client->settings;
    struct smtp_data_encoder encoder = {0};
    struct str piece;
    stream_set_min_rate(t->client->stream, set->data_rate, set->data_rate_ms);
    if (!body_chunks(t, &encoder))
        return;
    if (smtp_data_encode_end(&encoder, &piece) != 0) {
        body_defective(t);
        return;
    }
    int error = client_write(t->client, piece, set->timeouts.data_block);
    stream_set_min_rate(t->client->stream, 0, 0);
    if (error)
        body_lost(t, error, true);
    else
        dot_reply(t);
}

/* DATA was pipelined and granted although no recipient was: RFC 2920 3.1 wants an empty message. */
static void lone_dot(struct conversation *t) {
    struct smtp_reply reply;
    const struct smtp_client_settings *set = t->client->settings;
    t->client->dirty = false;
    t->failed = true;
    if (client_write(t->client, STR(".\r\n"), set->timeouts.data_block) != 0 ||
        client_read(t->client, clock_mono_ms() + set->timeouts.data_end, t->arena, &reply) != 0 ||
        reply.code == 421)
        close_client(t);
}

/* The server spoke before it was asked: it says goodbye, mostly. */
static void unasked(struct conversation *t) {
    struct smtp_reply reply;
    int error = client_read(t->client, clock_mono_ms(), t->arena, &reply);
    if (!error && reply.code >= 400)
        decide_rest(t, smtp_reply_outcome(t->arena, &reply, OUTCOME_SESSION));
    else
        lost(t, error ? error : SLUICE_ESYNTAX, "MAIL");
}

static void run(struct conversation *t) {
    check_message(t);
    if (!t->failed)
        write_lines(t);
    if (!t->failed && stream_input(t->client->stream).len)
        unasked(t);
    if (!t->failed)
        envelope(t);
    if (t->failed)
        return;
    if (t->data.code == 354 && t->accepted == 0) {
        lone_dot(t);
    } else if (t->data.code == 354) {
        send_body(t);
    } else if (t->data.code >= 400) {
        decide_rest(t, smtp_reply_outcome(t->arena, &t->data, OUTCOME_MESSAGE));
    } else if (t->data.code) {
        decide_rest(t, client_unexpected(t->arena, &t->data, "DATA"));
    }
}

enum smtp_client_state smtp_client_send(struct smtp_client *client, struct smtp_transaction *transaction,
                                        struct arena *arena) {
    size_t count = transaction->recipient_count;
    struct conversation t = {.client = client,
                             .refusal = {.fate = OUTCOME_DONE},
                             .transaction = transaction,
                             .arena = arena,
                             .ends = arena_array(arena, size_t, count),
                             .progress = arena_array(arena, unsigned char, count)};
    for (size_t i = 0; i < count; i++)
        transaction->recipients[i].again = transaction->recipients[i].uncertain = false;
    if (client->state == SMTP_CLIENT_CLOSED)
        lost(&t, SLUICE_ECLOSED, "MAIL");
    else if (count)
        run(&t);
    buf_free(&t.lines);
    return client->state;
}
