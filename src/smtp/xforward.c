/* xforward.c - XFORWARD, as Postfix has it (XFORWARD_README): a trusted peer says who gave it the message.
 *
 *     xforward-command = "XFORWARD" 1*( SP attribute-name "=" attribute-value )
 *     attribute-name   = NAME / ADDR / PORT / PROTO / HELO / IDENT / SOURCE
 *     attribute-value  = xtext, or "[UNAVAILABLE]"
 */
#include "seeded_bug.h"
#include "smtp/server_state.h"

enum { VALUE_MAX = 255, PROTOCOL_MAX = 64, TEXTS = 5 };

/* Where the texts stay until the transaction ends. Each connection that needs it has one. */
struct xforward_room {
    char texts[TEXTS][VALUE_MAX];
};

/* What could mean something in a header, a comment or a log is masked, as Postfix does it. */
static struct str masked(struct arena *arena, struct str value) {
    struct str copy = str_copy(arena, value);
    char *at = (char *)(uintptr_t)copy.at;
    for (size_t i = 0; i < copy.len; i++)
        if (at[i] <= ' ' || at[i] >= 0x7f || strchr("()<>@,;\"\\", at[i]))
            at[i] = '?';
    return copy;
}

static bool read_name(struct smtp_xforward *x, struct str value) {
    x->name = value;
    return true;
}

static bool read_addr(struct smtp_xforward *x, struct str value) {
    const struct str prefix = STR("IPV6:");
    bool v6 = str_starts_nocase(value, prefix);
    struct ip any;
    x->addr = (struct ip){0};
    if (!value.len)
        return true;
    return ip_parse(v6 ? str_from_index(value, prefix.len) : value, &x->addr) &&
           !(v6 && str_index(str_from_index(value, prefix.len), ':') < 0) && !ip_is_none(&x->addr) &&
           !(ip_parse(STR("0.0.0.0"), &any) && ip_eq(&x->addr, &any));
}

static bool read_port(struct smtp_xforward *x, struct str value) {
    uint64_t port = 0;
    bool good = !value.len || (str_to_u64(value, &port) && port <= 65535);
    x->port = good ? (uint16_t)port : 0;
    return good;
}

static bool read_proto(struct smtp_xforward *x, struct str value) {
    x->proto = value;
    return value.len <= PROTOCOL_MAX;
}

static bool read_helo(struct smtp_xforward *x, struct str value) {
    x->helo = value;
    return true;
}

static bool read_ident(struct smtp_xforward *x, struct str value) {
    x->ident = value;
    return true;
}

static bool read_source(struct smtp_xforward *x, struct str value) {
    bool local = str_eq_nocase(value, STR("LOCAL"));
    x->source = !value.len ? STR("") : local ? STR("LOCAL") : STR("REMOTE");
    return !value.len || local || str_eq_nocase(value, STR("REMOTE"));
}

#define BAD(name)                                                                                            \
    {                                                                                                        \
        501, {"5.5.4", 5}, { "Bad " name " syntax", sizeof "Bad " name " syntax" - 1 }                       \
    }

/* In the order in which EHLO names them. An empty value: unavailable. */
static const struct attribute {
    struct str name;
    bool (*read)(struct smtp_xforward *, struct str value);
    struct smtp_reply bad;
} attributes[] = {
    {{"NAME", 4}, read_name, BAD("NAME")},       {{"ADDR", 4}, read_addr, BAD("ADDR")},
    {{"PORT", 4}, read_port, BAD("PORT")},       {{"PROTO", 5}, read_proto, BAD("PROTO")},
    {{"HELO", 4}, read_helo, BAD("HELO")},       {{"IDENT", 5}, read_ident, BAD("IDENT")},
    {{"SOURCE", 6}, read_source, BAD("SOURCE")},
};

void smtp_xforward_attributes(struct buf *out) {
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
        buf_char(out, ' ');
        buf_str(out, attributes[i].name);
    }
}

static struct smtp_reply read_attribute(struct str part, struct arena *arena, struct smtp_xforward *x) {
    ptrdiff_t equals = str_index(part, '=');
    struct str name = str_head(part, equals < 0 ? 0 : (size_t)equals), value;
    struct str raw = str_from_index(part, (size_t)(equals + 1));
    if (equals < 0 || !raw.len)
        return SMTP_REPLY(501, "5.5.4", "Error: attribute=value expected");
    if (raw.len > VALUE_MAX)
        return SMTP_REPLY(501, "5.5.4", "Error: attribute value too long");
    if (!smtp_xtext_decode(arena, raw, &value))
        value = raw; /* Postfix before 2.3 doesn't encode */
    value = str_eq_nocase(value, STR("[UNAVAILABLE]")) ? STR("") : masked(arena, value);
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        if (str_eq_nocase(name, attributes[i].name))
            return attributes[i].read(x, value) ? (struct smtp_reply){0} : attributes[i].bad;
    return SMTP_REPLY(501, "5.5.4", "Bad XFORWARD attribute name");
}

struct smtp_reply smtp_xforward_parse(struct str argument, struct arena *arena, struct smtp_xforward *x) {
    struct str part;
    struct smtp_reply reply = {0};
    struct smtp_xforward next = *x;
    if (!argument.len)
        return SMTP_REPLY(501, "5.5.4", "Syntax: XFORWARD attribute=value...");
    while (!reply.code && str_cut(&argument, ' ', &part))
        if (part.len)
            reply = read_attribute(part, arena, &next);
    next.given = true;
    if (!reply.code)
        *x = next;
    return reply;
}

bool server_takes_xforward(const struct server *s) {
#ifdef SLUICE_SEEDED_BUG_XFORWARD_FROM_ANYBODY
    return true;
#endif
    for (size_t i = 0; i < s->settings->xforward_count; i++)
        if (ip_range_has(&s->settings->xforward[i], &s->session.peer))
            return true;
    return false;
}

static void keep(struct server *s) {
    struct smtp_xforward *x = &s->session.xforward;
    struct str *texts[TEXTS] = {&x->name, &x->helo, &x->proto, &x->ident, &x->source};
    if (!s->xforward)
        s->xforward = arena_new_of(s->session.arena, struct xforward_room);
    for (int i = 0; i < TEXTS; i++) {
        size_t len = texts[i]->len < VALUE_MAX ? texts[i]->len : VALUE_MAX;
        if (len)
            memmove(s->xforward->texts[i], texts[i]->at, len);
        *texts[i] = str_from(s->xforward->texts[i], len);
    }
}

void server_xforward(struct server *s, struct str argument) {
    if (!server_takes_xforward(s)) {
        server_refuse(s, &SMTP_REPLY(550, "5.7.0", "Error: insufficient authorization"), STR("XFORWARD"));
        return;
    }
    struct arena *arena = arena_new(0);
    struct smtp_reply reply = smtp_xforward_parse(argument, arena, &s->session.xforward);
    if (reply.code) {
        server_refuse(s, &reply, STR("XFORWARD"));
    } else {
        keep(s);
        server_reply(s, &SMTP_REPLY(250, "2.0.0", "Ok"));
    }
    arena_free(arena);
}
