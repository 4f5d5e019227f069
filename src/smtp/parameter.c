/* parameter.c - the arguments of MAIL and RCPT, read and written. */
#include "smtp/grammar.h"

static const struct smtp_reply fine = {0};

static struct smtp_reply path_refusal(int error, bool reverse) {
    if (error == SLUICE_EDENIED)
        return SMTP_REPLY(553, "5.6.7", "An address with non-ASCII characters needs SMTPUTF8");
    if (error == SLUICE_ETOOBIG)
        return reverse ? SMTP_REPLY(501, "5.1.7", "The sender's address is too long")
                       : SMTP_REPLY(501, "5.1.3", "The recipient's address is too long");
    return reverse ? SMTP_REPLY(501, "5.1.7", "Bad sender address syntax")
                   : SMTP_REPLY(501, "5.1.3", "Bad recipient address syntax");
}

/* "FROM:<a@b> rest": the path, and the parameters behind it. */
static struct smtp_reply path_read(struct str argument, struct str keyword, unsigned flags, bool reverse,
                                   struct address *ret, struct str *ret_parameters) {
    if (!str_starts_nocase(argument, keyword))
        return fine;
    struct str path = str_trim(str_from_index(argument, keyword.len));
    if (path.len == 0 || path.at[0] != '<')
        return fine;
    int error = address_path(path, flags, ret, ret_parameters);
    if (error)
        return path_refusal(error, reverse);
    if (ret_parameters->len && ret_parameters->at[0] != ' ' && ret_parameters->at[0] != '\t')
        return path_refusal(SLUICE_ESYNTAX, reverse);
    return SMTP_REPLY(250, "", "");
}

/* Where parameters write to: one of the two is NULL. */
struct target {
    struct smtp_mail *mail;
    struct smtp_rcpt *rcpt;
    struct arena *arena;
};

static bool read_size(struct target *t, struct str value) {
    t->mail->has_size = true;
    return value.len <= 20 && str_to_u64(value, &t->mail->size);
}

static bool read_body(struct target *t, struct str value) {
    t->mail->body = str_eq_nocase(value, STR("8BITMIME")) ? SMTP_BODY_8BITMIME : SMTP_BODY_7BIT;
    return t->mail->body == SMTP_BODY_8BITMIME || str_eq_nocase(value, STR("7BIT"));
}

static bool read_smtputf8(struct target *t, struct str value) {
    t->mail->smtputf8 = true;
    return value.at == NULL;
}

static bool read_ret(struct target *t, struct str value) {
    t->mail->ret = str_eq_nocase(value, STR("FULL")) ? SMTP_RET_FULL : SMTP_RET_HDRS;
    return t->mail->ret == SMTP_RET_FULL || str_eq_nocase(value, STR("HDRS"));
}

static bool printable(struct str s, bool utf8) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (c < ' ' || c == 0x7f || (c > 0x7f && !utf8))
            return false;
    }
    return true;
}

static bool read_envid(struct target *t, struct str value) {
    return value.len > 0 && value.len <= SMTP_ENVID_MAX &&
           smtp_xtext_decode(t->arena, value, &t->mail->envid) && printable(t->mail->envid, false);
}

static bool read_auth(struct target *t, struct str value) {
    return value.len > 0 && value.len <= SMTP_ORCPT_MAX &&
           smtp_xtext_decode(t->arena, value, &t->mail->auth) && printable(t->mail->auth, true);
}

static bool read_notify(struct target *t, struct str value) {
    static const struct {
        struct str name;
        unsigned bit;
    } names[] = {{STR("NEVER"), SMTP_NOTIFY_NEVER},
                 {STR("SUCCESS"), SMTP_NOTIFY_SUCCESS},
                 {STR("FAILURE"), SMTP_NOTIFY_FAILURE},
                 {STR("DELAY"), SMTP_NOTIFY_DELAY}};
    struct str part;
    unsigned notify = 0;
    if (value.len == 0 || value.at[value.len - 1] == ',')
        return false;
    while (str_cut(&value, ',', &part)) {
        unsigned bit = 0;
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            if (str_eq_nocase(part, names[i].name))
                bit = names[i].bit;
        if (!bit)
            return false;
        notify |= bit;
    }
    t->rcpt->notify = notify;
    return !(notify & SMTP_NOTIFY_NEVER) || notify == SMTP_NOTIFY_NEVER;
}

static bool is_atom(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.at[i] <= ' ' || (unsigned char)s.at[i] >= 0x7f ||
            strchr("()<>@,;:\\\".[]", s.at[i]))
            return false;
    return s.len > 0;
}

/* In addresses of type utf-8, "\x{...}" is the character of that number. */
static struct str unitext(struct arena *arena, struct str s) {
    char *out = arena_alloc(arena, s.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++) {
        struct str rest = str_from_index(s, i);
        ptrdiff_t close = str_starts(rest, STR("\\x{")) ? str_index(rest, '}') : -1;
        unsigned long number = 0;
        bool good = close > 4 && close < 10;
        for (ptrdiff_t k = 3; good && k < close; k++) {
            static const char hex[] = "0123456789ABCDEF";
            const char *digit = rest.at[k] ? strchr(hex, rest.at[k]) : NULL;
            good = digit != NULL;
            number = digit ? number * 16 + (unsigned long)(digit - hex) : 0;
        }
        if (!good || number < ' ' || number == 0x7f || number > 0x10ffff ||
            (number >= 0xd800 && number < 0xe000)) {
            out[len++] = s.at[i];
            continue;
        }
        i += (size_t)close;
        if (number < 0x80) {
            out[len++] = (char)number;
            continue;
        }
        int more = number < 0x800 ? 1 : number < 0x10000 ? 2 : 3;
        static const unsigned char first[] = {0, 0xc0, 0xe0, 0xf0};
        out[len++] = (char)(first[more] | number >> (6 * more));
        while (more-- > 0)
            out[len++] = (char)(0x80 | (number >> (6 * more) & 0x3f));
    }
    return str_from(out, len);
}

static bool read_orcpt(struct target *t, struct str value) {
    ptrdiff_t semicolon = str_index(value, ';');
    struct str address;
    if (semicolon <= 0 || value.len > SMTP_ORCPT_MAX || !is_atom(str_head(value, (size_t)semicolon)))
        return false;
    struct str type = str_head(value, (size_t)semicolon);
    bool utf8 =
        str_eq_nocase(type, STR("utf-8")); /* has its own encoding in the place of xtext (RFC 6533 3) */
    address = str_from_index(value, (size_t)semicolon + 1);
    if (utf8)
        address = unitext(t->arena, address);
    else if (!smtp_xtext_decode(t->arena, address, &address))
        return false;
    if (address.len == 0)
        return false;
    if (!printable(address, utf8))
        return false;
    t->rcpt->orcpt = str_printf(t->arena, "%.*s;%.*s", STR_FMT(type), STR_FMT(address));
    return true;
}

/* One row a parameter; `rcpt` tells whose it is. */
static const struct parameter {
    struct str name;
    bool rcpt;
    unsigned extension;
    bool (*read)(struct target *, struct str value);
    struct str allowed;
} parameters[] = {
    {STR("SIZE"), false, SMTP_EXTENSION_SIZE, read_size, STR("SIZE=octets")},
    {STR("BODY"), false, SMTP_EXTENSION_8BITMIME, read_body, STR("BODY=7BIT or BODY=8BITMIME")},
    {STR("SMTPUTF8"), false, SMTP_EXTENSION_SMTPUTF8, read_smtputf8, STR("SMTPUTF8 without a value")},
    {STR("RET"), false, SMTP_EXTENSION_DSN, read_ret, STR("RET=FULL or RET=HDRS")},
    {STR("ENVID"), false, SMTP_EXTENSION_DSN, read_envid, STR("ENVID=xtext of at most 100 octets")},
    {STR("AUTH"), false, SMTP_EXTENSION_AUTH, read_auth, STR("AUTH=address as xtext or AUTH=<>")},
    {STR("NOTIFY"), true, SMTP_EXTENSION_DSN, read_notify,
     STR("NOTIFY=NEVER or a list of SUCCESS,FAILURE,DELAY")},
    {STR("ORCPT"), true, SMTP_EXTENSION_DSN, read_orcpt, STR("ORCPT=type;address as xtext")},
};
enum { PARAMETER_COUNT = sizeof parameters / sizeof parameters[0] };

static struct smtp_reply one_parameter(struct str word, unsigned offered, struct target *t, unsigned *seen) {
    ptrdiff_t equals = str_index(word, '=');
    struct str name = equals < 0 ? word : str_head(word, (size_t)equals);
    struct str value = equals < 0 ? STR_NULL : str_from_index(word, (size_t)equals + 1);
    for (unsigned i = 0; i < PARAMETER_COUNT; i++) {
        const struct parameter *p = &parameters[i];
        if (p->rcpt != (t->rcpt != NULL) || !(p->extension & offered) || !str_eq_nocase(name, p->name))
            continue;
        if (*seen & 1u << i)
            return (struct smtp_reply){501, STR("5.5.4"),
                                       str_printf(t->arena, "%.*s is given twice", STR_FMT(p->name))};
        *seen |= 1u << i;
        if (p->read(t, value))
            return fine;
        return (struct smtp_reply){501, STR("5.5.4"),
                                   str_printf(t->arena, "Allowed is %.*s", STR_FMT(p->allowed))};
    }
    return SMTP_REPLY(555, "5.5.4", "Unknown parameter");
}

static struct smtp_reply all_parameters(struct str rest, unsigned offered, struct target *t) {
    unsigned seen = 0;
    while ((rest = str_trim(rest)).len) {
        size_t len = 0;
        while (len < rest.len && rest.at[len] != ' ' && rest.at[len] != '\t')
            len++;
        struct smtp_reply reply = one_parameter(str_head(rest, len), offered, t, &seen);
        if (reply.code)
            return reply;
        rest = str_from_index(rest, len);
    }
    return fine;
}

struct smtp_reply smtp_mail_parse(struct str argument, unsigned offered, struct arena *arena,
                                  struct smtp_mail *ret) {
    struct smtp_mail mail = {0};
    struct str rest;
    unsigned flags = ADDRESS_ALLOW_NULL | (offered & SMTP_EXTENSION_SMTPUTF8 ? ADDRESS_ALLOW_UTF8 : 0);
    struct smtp_reply reply = path_read(argument, STR("FROM:"), flags, true, &mail.reverse_path, &rest);
    if (reply.code == 0)
        return SMTP_REPLY(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]");
    if (reply.code >= 500)
        return reply;
    reply = all_parameters(rest, offered, &(struct target){.mail = &mail, .arena = arena});
    if (reply.code)
        return reply;
    if (mail.reverse_path.utf8 && !mail.smtputf8)
        return path_refusal(SLUICE_EDENIED, true);
    *ret = mail;
    return fine;
}

struct smtp_reply smtp_rcpt_parse(struct str argument, unsigned offered, bool smtputf8, struct arena *arena,
                                  struct smtp_rcpt *ret) {
    struct smtp_rcpt rcpt = {0};
    struct str rest;
    unsigned flags = ADDRESS_ALLOW_POSTMASTER | (smtputf8 ? ADDRESS_ALLOW_UTF8 : 0);
    struct smtp_reply reply = path_read(argument, STR("TO:"), flags, false, &rcpt.forward_path, &rest);
    if (reply.code == 0)
        return SMTP_REPLY(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]");
    if (reply.code >= 500)
        return reply;
    reply = all_parameters(rest, offered, &(struct target){.rcpt = &rcpt, .arena = arena});
    if (reply.code)
        return reply;
    *ret = rcpt;
    return fine;
}

int smtp_mail_write(struct buf *out, const struct smtp_mail *mail, unsigned offered) {
    struct address checked;
    bool utf8 = mail->smtputf8 && (offered & SMTP_EXTENSION_SMTPUTF8);
    if (address_parse(mail->reverse_path.whole, ADDRESS_ALLOW_NULL | (utf8 ? ADDRESS_ALLOW_UTF8 : 0),
                      &checked) != 0)
        return SLUICE_EINVALID;
    buf_str(out, STR("MAIL FROM:<"));
    buf_str(out, mail->reverse_path.whole);
    buf_char(out, '>');
    if (offered & SMTP_EXTENSION_SIZE && mail->size)
        buf_printf(out, " SIZE=%llu", (unsigned long long)mail->size);
    if (offered & SMTP_EXTENSION_8BITMIME && mail->body == SMTP_BODY_8BITMIME)
        buf_str(out, STR(" BODY=8BITMIME"));
    if (utf8)
        buf_str(out, STR(" SMTPUTF8"));
    if (offered & SMTP_EXTENSION_DSN && mail->ret)
        buf_str(out, mail->ret == SMTP_RET_FULL ? STR(" RET=FULL") : STR(" RET=HDRS"));
    if (offered & SMTP_EXTENSION_DSN && mail->envid.len) {
        buf_str(out, STR(" ENVID="));
        smtp_xtext_encode(out, mail->envid);
    }
    if (offered & SMTP_EXTENSION_AUTH && mail->auth.len) {
        buf_str(out, STR(" AUTH="));
        if (str_eq(mail->auth, STR("<>")))
            buf_str(out, mail->auth);
        else
            smtp_xtext_encode(out, mail->auth);
    }
    buf_str(out, STR("\r\n"));
    return 0;
}

/* RFC 6533 3: utf-8-addr-xtext where the other side has no SMTPUTF8; it is also fine where it has. */
static void write_unitext(struct buf *out, struct str s) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
        unsigned long number = more == 3 ? c & 7 : more == 2 ? c & 15 : more == 1 ? c & 31 : c;
        while (more-- > 0 && i + 1 < s.len)
            number = number << 6 | ((unsigned char)s.at[++i] & 0x3f);
        if (number <= ' ' || number >= 0x7f || number == '+' || number == '=' || number == '\\')
            buf_printf(out, "\\x{%lX}", number);
        else
            buf_char(out, (char)number);
    }
}

static void write_orcpt(struct buf *out, struct str orcpt) {
    ptrdiff_t semicolon = str_index(orcpt, ';');
    struct str type = semicolon < 0 ? STR("rfc822") : str_head(orcpt, (size_t)semicolon);
    struct str address = semicolon < 0 ? orcpt : str_from_index(orcpt, (size_t)semicolon + 1);
    size_t start = out->len;
    buf_str(out, STR(" ORCPT="));
    buf_str(out, type);
    buf_char(out, ';');
    if (str_eq_nocase(type, STR("utf-8")))
        write_unitext(out, address);
    else
        smtp_xtext_encode(out, address);
    if (!is_atom(type) || address.len == 0 || out->len - start > SMTP_ORCPT_MAX + 7)
        out->len = start; /* better none than one that is refused */
}

static void write_notify(struct buf *out, unsigned notify) {
    if (notify & SMTP_NOTIFY_NEVER) {
        buf_str(out, STR(" NOTIFY=NEVER"));
        return;
    }
    static const struct {
        unsigned bit;
        struct str name;
    } names[] = {{SMTP_NOTIFY_SUCCESS, STR("SUCCESS")},
                 {SMTP_NOTIFY_FAILURE, STR("FAILURE")},
                 {SMTP_NOTIFY_DELAY, STR("DELAY")}};
    struct str separator = STR(" NOTIFY=");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (notify & names[i].bit) {
            buf_str(out, separator);
            buf_str(out, names[i].name);
            separator = STR(",");
        }
}

int smtp_rcpt_write(struct buf *out, const struct smtp_rcpt *rcpt, unsigned offered, bool smtputf8) {
    struct address checked;
    bool utf8 = smtputf8 && (offered & SMTP_EXTENSION_SMTPUTF8);
    unsigned flags = ADDRESS_ALLOW_POSTMASTER | (utf8 ? ADDRESS_ALLOW_UTF8 : 0);
    if (address_parse(rcpt->forward_path.whole, flags, &checked) != 0)
        return SLUICE_EINVALID;
    buf_str(out, STR("RCPT TO:<"));
    buf_str(out, rcpt->forward_path.whole);
    buf_char(out, '>');
    if (offered & SMTP_EXTENSION_DSN) {
        write_notify(out, rcpt->notify);
        if (rcpt->orcpt.len)
            write_orcpt(out, rcpt->orcpt);
    }
    buf_str(out, STR("\r\n"));
    return 0;
}
