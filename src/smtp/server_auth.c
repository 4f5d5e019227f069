/* server_auth.c - AUTH PLAIN and LOGIN (RFC 4954, 4616).
 *
 *   auth-command     = "AUTH" SP sasl-mech [SP initial-response] *(CRLF [base64]) [CRLF cancel-response] CRLF
 *   initial-response = base64 / "="
 *   cancel-response  = "*"
 */
#include "smtp/server_state.h"

/* One step of the exchange: challenge out, answer in. Code 0: *ret_answer is decoded in `arena`. */
static struct smtp_reply exchange(struct server *s, struct str challenge, struct arena *arena,
                                  struct str *ret_answer) {
    server_reply(s, &(struct smtp_reply){334, STR_NULL, challenge});
    int error = s->error ? s->error : server_read_line(s, SMTP_AUTH_LINE_MAX);
    if (error == SLUICE_ETOOBIG)
        return SMTP_REPLY(500, "5.5.6", "Authentication line too long");
    if (error == SLUICE_ESYNTAX) {
        s->over = true;
        return SMTP_REPLY(500, "5.5.2", "Lines must end with CRLF; closing the connection");
    }
    if (error) {
        server_failed(s, error);
        return SMTP_REPLY(421, "4.4.2", "");
    }
    struct str line = buf_view(&s->line);
    if (str_eq(line, STR("*")))
        return SMTP_REPLY(501, "5.7.0", "Authentication cancelled");
    if (!smtp_base64_decode(arena, line, ret_answer))
        return SMTP_REPLY(501, "5.5.2", "Not base64");
    return (struct smtp_reply){0};
}

/* message = [authzid] NUL authcid NUL passwd (RFC 4616 2) */
static struct smtp_reply plain_read(struct str message, struct str *ret_user, struct str *ret_password) {
    ptrdiff_t first = str_index(message, 0);
    struct str rest = first < 0 ? STR_NULL : str_from_index(message, (size_t)first + 1);
    ptrdiff_t second = str_index(rest, 0);
    if (first < 0 || second < 0)
        return SMTP_REPLY(501, "5.5.2", "Malformed PLAIN message");
    struct str identity = str_head(message, (size_t)first);
    *ret_user = str_head(rest, (size_t)second);
    *ret_password = str_from_index(rest, (size_t)second + 1);
    if (identity.len && !str_eq(identity, *ret_user))
        return SMTP_REPLY(535, "5.7.8", "Acting for another user is not allowed");
    return (struct smtp_reply){0};
}

static struct smtp_reply plain(struct server *s, struct str initial, struct arena *arena,
                               struct str *ret_user, struct str *ret_password) {
    struct str message = initial;
    if (!initial.at) {
        struct smtp_reply reply = exchange(s, STR(""), arena, &message);
        if (reply.code)
            return reply;
    }
    return plain_read(message, ret_user, ret_password);
}

/* LOGIN has no RFC; the challenges are "Username:" and "Password:", an initial response is the user. */
static struct smtp_reply login(struct server *s, struct str initial, struct arena *arena,
                               struct str *ret_user, struct str *ret_password) {
    *ret_user = initial;
    if (!initial.at) {
        struct smtp_reply reply = exchange(s, STR("VXNlcm5hbWU6"), arena, ret_user);
        if (reply.code)
            return reply;
    }
    return exchange(s, STR("UGFzc3dvcmQ6"), arena, ret_password);
}

static const struct {
    struct str name;
    struct smtp_reply (*run)(struct server *, struct str initial, struct arena *, struct str *, struct str *);
} mechanisms[] = {{STR("PLAIN"), plain}, {STR("LOGIN"), login}};
enum { MECHANISM_COUNT = sizeof mechanisms / sizeof mechanisms[0] };

static void judge(struct server *s, struct str user, struct str password) {
    enum smtp_auth_result result = SMTP_AUTH_FAILED;
    bool text =
        user.len && !memchr(user.at, 0, user.len) && !(password.len && memchr(password.at, 0, password.len));
    user = str_copy(s->session.arena, user);
    if (text && s->hooks->auth)
        result = s->hooks->auth(s->arg, &s->session, &user, password);
    if (result == SMTP_AUTH_OK) {
        s->session.user = user;
        server_reply(s, &SMTP_REPLY(235, "2.7.0", "Authenticated"));
    } else if (result == SMTP_AUTH_TEMPORARY) {
        server_refuse(s, &SMTP_REPLY(454, "4.7.0", "Temporary authentication failure"), STR("AUTH"));
    } else if (++s->auth_failures >= s->settings->max_auth && s->settings->max_auth) {
        server_close(s, &SMTP_REPLY(421, "4.7.0", "Too many failed authentications"), STR("AUTH"));
    } else {
        server_refuse(s, &SMTP_REPLY(535, "5.7.8", "Authentication failed"), STR("AUTH"));
    }
}

static struct smtp_reply auth_gate(const struct server *s, struct str argument) {
    if (s->settings->auth == SMTP_AUTH_NONE || !(s->settings->offers & SMTP_EXTENSION_AUTH))
        return SMTP_REPLY(503, "5.5.1", "Authentication is not offered here");
    if (!(server_offered(s) & SMTP_EXTENSION_AUTH))
        return SMTP_REPLY(538, "5.7.11", "Encryption required for authentication; issue STARTTLS first");
    if (s->session.user.len)
        return SMTP_REPLY(503, "5.5.1", "Already authenticated");
    if (argument.len == 0)
        return SMTP_REPLY(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]");
    return (struct smtp_reply){0};
}

static void run(struct server *s, struct str argument, struct arena *arena) {
    size_t len = 0;
    while (len < argument.len && argument.at[len] != ' ')
        len++;
    struct str name = str_head(argument, len), initial = STR_NULL, user = STR_NULL, password = STR_NULL;
    struct str encoded = str_trim(str_from_index(argument, len));
    struct smtp_reply reply = SMTP_REPLY(504, "5.5.4", "Unknown mechanism; PLAIN and LOGIN are offered");
    for (int i = 0; i < MECHANISM_COUNT; i++) {
        if (!str_eq_nocase(name, mechanisms[i].name))
            continue;
        if (str_eq(encoded, STR("=")))
            initial = STR("");
        else if (encoded.len && !smtp_base64_decode(arena, encoded, &initial))
            reply = SMTP_REPLY(501, "5.5.2", "Not base64");
        if (encoded.len == 0 || initial.at)
            reply = mechanisms[i].run(s, initial, arena, &user, &password);
        s->session.mechanism = mechanisms[i].name;
        break;
    }
    if (s->error)
        return;
    if (reply.code)
        server_refuse(s, &reply, STR("AUTH"));
    else
        judge(s, user, password);
    if (password.len)
        explicit_bzero((char *)password.at, password.len);
}

void server_auth(struct server *s, struct str argument) {
    struct smtp_reply reply = auth_gate(s, argument);
    if (reply.code) {
        server_refuse(s, &reply, STR("AUTH"));
        return;
    }
    struct arena *arena = arena_new(0);
    struct str copy = str_copy(arena, argument);
    run(s, copy, arena);
    explicit_bzero((char *)copy.at, copy.len);
    arena_free(arena);
    explicit_bzero(s->line.at, s->line.cap);
}
