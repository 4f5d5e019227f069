/* Any bytes as what a receiver says; the first one sets pieces and what we send. Every recipient gets an
 * outcome, none is delivered without a 354 and a message that was sent whole, and what we say is commands. */
#include "mail/mime.h"
#include "must.h"
#include "smtp/client.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define BODY "Subject: x\r\n\r\n.a body of its own\r\n"
#define STUFFED "Subject: x\r\n\r\n..a body of its own\r\n.\r\n"

enum { RECIPIENTS = 3 };

struct message {
    size_t at, piece;
    int mails;
};

static int before_mail(void *arg, struct stream *stream) {
    (void)stream;
    return ++((struct message *)arg)->mails > 5 ? -1 : 0;
}

static int read_body(void *arg, struct str *ret_chunk) {
    struct message *m = arg;
    *ret_chunk = str_head(str_from_index(STR(BODY), m->at), m->piece);
    m->at += ret_chunk->len;
    return 0;
}

static size_t count(struct str in, struct str what) {
    size_t n = 0;
    for (ptrdiff_t at; (at = str_find(in, what)) >= 0; n++)
        in = str_from_index(in, (size_t)at + what.len);
    return n;
}

static void check_outcome(const struct outcome *o) {
    must(o->fate == OUTCOME_DONE || o->fate == OUTCOME_LATER || o->fate == OUTCOME_NEVER);
    must(bytes_utf8(o->text) && str_index(o->text, '\n') < 0 && str_index(o->text, '\r') < 0);
    must(o->fate != OUTCOME_DONE || (o->code >= 200 && o->code < 300 && o->remote));
    must(o->code == 0 || o->code / 100 != 5 || o->fate != OUTCOME_DONE);
}

/* Lines of commands, and whole messages. */
static void check_said(struct str said) {
    static const char *const verbs[] = {"EHLO ",    "HELO ",    "MAIL FROM:<", "RCPT TO:<",
                                        "DATA\r\n", "RSET\r\n", "QUIT\r\n",    ".\r\n"};
    while (said.len) {
        if (str_starts(said, STR(STUFFED))) {
            said = str_from_index(said, sizeof STUFFED - 1);
            continue;
        }
        bool known = str_starts(STR(STUFFED), said); /* the connection was lost within it */
        for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
            known |= str_starts(said, str_of(verbs[i]));
        must(known);
        ptrdiff_t end = str_find(said, STR("\r\n"));
        said = end < 0 ? STR_NULL : str_from_index(said, (size_t)end + 2);
    }
}

static enum smtp_client_state transact(struct smtp_client *client, uint8_t how, const struct buf *out) {
    static const char *const to[RECIPIENTS] = {"bob@d.example", "\xc3\xa4@d.example", "c@e.example"};
    struct message m = {.piece = 1 + how % 64};
    struct smtp_transaction_recipient recipients[RECIPIENTS] = {0};
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < RECIPIENTS; i++) {
        must(address_parse(str_of(to[i]), ADDRESS_ALLOW_UTF8, &recipients[i].rcpt.forward_path) == 0);
        recipients[i].rcpt.notify = how & 4 ? SMTP_NOTIFY_FAILURE : 0;
    }
    struct smtp_transaction t = {.mail = {.size = sizeof BODY - 1,
                                          .body = how & 1 ? SMTP_BODY_8BITMIME : (enum smtp_body)0,
                                          .smtputf8 = how & 2,
                                          .envid = STR("a+b")},
                                 .recipients = recipients,
                                 .recipient_count = how & 2 ? RECIPIENTS : 1,
                                 .arg = &m,
                                 .before_mail = before_mail,
                                 .read = read_body};
    must(address_parse(STR("alice@contoso.example"), 0, &t.mail.reverse_path) == 0);
    size_t before = count(buf_view(out), STR(STUFFED));
    enum smtp_client_state state = smtp_client_send(client, &t, arena);
    bool sent = count(buf_view(out), STR(STUFFED)) > before;
    for (size_t i = 0; i < t.recipient_count; i++) {
        check_outcome(&recipients[i].outcome);
        must(recipients[i].outcome.fate != OUTCOME_DONE || (sent && !recipients[i].again));
        must(!recipients[i].uncertain || (sent && recipients[i].outcome.fate == OUTCOME_LATER));
        must(!recipients[i].again || recipients[i].outcome.fate == OUTCOME_LATER);
    }
    arena_free(arena);
    return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    if (!len)
        return 0;
    struct str input = str_from(bytes + 1, len - 1);
    struct arena *arena = arena_new(0);
    struct smtp_client_settings settings = smtp_client_defaults();
    struct smtp_client *client;
    struct outcome outcome;
    struct buf out = {0};
    settings.ehlo = STR("c.example");
    struct stream *stream = stream_memory(input, &out);
    if (bytes[0] & 0x30)
        stream = stream_faulty(stream, SIZE_MAX, SIZE_MAX, bytes[0] >> 4 & 3, 0);
    if (smtp_client_start(stream, &settings, arena, &client, &outcome) == 0) {
        for (uint8_t i = 0; i < 3; i++)
            if (transact(client, (uint8_t)(bytes[0] + i), &out) != SMTP_CLIENT_READY ||
                (i == 1 && smtp_client_reset(client) != SMTP_CLIENT_READY))
                break;
            else if (i == 2)
                smtp_client_quit(client);
    } else {
        must(outcome.fate != OUTCOME_DONE && outcome.scope == OUTCOME_HOST);
    }
    stream_free(stream);
    check_said(buf_view(&out));
    must(count(buf_view(&out), STR(STUFFED)) <= count(input, STR("354")));
    buf_free(&out);
    arena_free(arena);
    return 0;
}
