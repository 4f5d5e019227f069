/* Any bytes as what a client says; the first one sets listener and pieces. The hooks must be called in
 * balance, and every 250 to a message must come after its data_end. */
#include "must.h"
#include "smtp/server.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

struct state {
    int open, closed;
    bool authenticated;
};

static enum smtp_auth_result auth(void *arg, const struct smtp_session *s, struct str *user,
                                  struct str password) {
    must(user->len > 0 && s->user.len == 0);
    ((struct state *)arg)->authenticated = password.len > 0;
    return password.len ? SMTP_AUTH_OK : SMTP_AUTH_FAILED;
}

/* XFORWARD's values go into headers and logs. */
static void plain(struct str text) {
    for (size_t i = 0; i < text.len; i++)
        must(text.at[i] > ' ' && text.at[i] < 0x7f && !strchr("()<>@,;\"\\", text.at[i]));
    must(text.len <= 255);
}

static void forwarded(const struct smtp_xforward *x) {
    plain(x->name);
    plain(x->helo);
    plain(x->proto);
    plain(x->ident);
    plain(x->source);
    must(x->given || (!x->name.len && !x->port && ip_is_none(&x->addr)));
}

static struct smtp_reply mail(void *arg, const struct smtp_session *s, const struct smtp_mail *m) {
    struct state *state = arg;
    must(s->helo.len > 0 && state->open == 0);
    forwarded(&s->xforward);
    must(s->settings->auth != SMTP_AUTH_REQUIRED || (state->authenticated && s->user.len));
    must(!m->reverse_path.utf8 || m->smtputf8);
    state->open = 1;
    return (struct smtp_reply){0};
}

static struct smtp_reply rcpt(void *arg, const struct smtp_session *s, const struct smtp_rcpt *r) {
    must(((struct state *)arg)->open == 1 && s->recipients < s->settings->max_recipients);
    must(r->forward_path.whole.len > 0);
    return str_starts(r->forward_path.whole, STR("no")) ? SMTP_REPLY(550, "5.1.1", "No")
                                                        : (struct smtp_reply){0};
}

static int data_bytes(void *arg, const struct smtp_session *s, struct str text) {
    must(((struct state *)arg)->open == 1 && s->recipients > 0 && text.len > 0);
    return text.at[0] == '!';
}

static struct smtp_reply data_end(void *arg, const struct smtp_session *s, uint64_t size) {
    struct state *state = arg;
    must(state->open == 1 && size <= s->settings->max_size);
    state->open = 0;
    return SMTP_REPLY(250, "2.0.0", "Accepted");
}

static void reset(void *arg, const struct smtp_session *s) {
    struct state *state = arg;
    (void)s;
    must(state->open == 1);
    state->open = 0;
}

static void closed(void *arg, const struct smtp_session *s, int error) {
    struct state *state = arg;
    (void)s;
    (void)error;
    must(state->open == 0 && ++state->closed == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    if (len == 0)
        return 0;
    struct smtp_server_settings settings = smtp_server_defaults();
    settings.hostname = STR("mx.example");
    settings.auth = (enum smtp_server_auth)(bytes[0] % 3);
    settings.tls = bytes[0] & 0x40 ? SMTP_TLS_REQUIRED : SMTP_TLS_NONE;
    settings.max_size = 2000;
    settings.max_recipients = 3;
    settings.max_errors = bytes[0] & 0x80 ? 5 : 0;
    static const struct smtp_server_hooks hooks = {.auth = auth,
                                                   .mail = mail,
                                                   .rcpt = rcpt,
                                                   .data_bytes = data_bytes,
                                                   .data_end = data_end,
                                                   .reset = reset,
                                                   .closed = closed};
    struct state state = {0};
    struct ip_range everybody = {.last = {{0xff}}}; /* nobody's address too */
    settings.xforward = &everybody;
    settings.xforward_count = 1;
    struct buf out = {0};
    struct stream *stream = stream_memory(str_from(bytes + 1, len - 1), &out);
    size_t piece = bytes[0] >> 2 & 15;
    if (piece)
        stream = stream_faulty(stream, SIZE_MAX, SIZE_MAX, piece, 0);
    smtp_serve(stream, &settings, &hooks, &state);
    must(state.closed == 1);
    must(str_starts(buf_view(&out), STR("220 mx.example ESMTP\r\n")));
    /* All we say is replies: lines of at most 512 octets that start with a code. */
    struct str rest = buf_view(&out), line;
    must(str_ends(rest, STR("\r\n")));
    rest.len--;
    while (str_cut(&rest, '\n', &line))
        must(line.len >= 4 && line.len < 512 && line.at[0] >= '2' && line.at[0] <= '5');
    buf_free(&out);
    return 0;
}
