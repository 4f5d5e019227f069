#include "intake/filter_macros.h"

/* "192.0.2.1", "IPv6:2001:db8::1" */
static struct str address_text(const struct ip *ip, struct arena *arena) {
    char text[IP_TEXT_SIZE];
    if (ip_is_none(ip))
        return STR_NULL;
    return str_printf(arena, "%s%s", ip_is_v4(ip) ? "" : "IPv6:", ip_text(ip, text));
}

static struct str port_text(uint16_t port, struct arena *arena) {
    return port ? str_printf(arena, "%u", port) : STR_NULL;
}

static struct str given(struct str s) { return s.len ? s : STR_NULL; }

static struct str node(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    return v->settings->node;
}

static struct str version(const struct filter_view *v, struct arena *arena) {
    (void)v, (void)arena;
    return STR("Sluice");
}

static struct str local_address(const struct filter_view *v, struct arena *arena) {
    return v->session ? address_text(&v->session->local, arena) : STR_NULL;
}

static struct str local_port(const struct filter_view *v, struct arena *arena) {
    return v->session ? port_text(v->session->local_port, arena) : STR_NULL;
}

static struct str client_address(const struct filter_view *v, struct arena *arena) {
    return v->session ? address_text(&v->session->peer, arena) : STR("127.0.0.1");
}

static struct str client_name(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    return v->client_name;
}

static struct str client_ptr(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    return given(v->client_ptr);
}

static struct str client_full(const struct filter_view *v, struct arena *arena) {
    struct str address = client_address(v, arena);
    return str_starts(v->client_name, STR("["))
               ? v->client_name
               : str_printf(arena, "%.*s [%.*s]", STR_FMT(v->client_name), STR_FMT(address));
}

static struct str client_port(const struct filter_view *v, struct arena *arena) {
    return v->session ? port_text(v->session->peer_port, arena) : STR_NULL;
}

static struct str client_resolve(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    return v->client_resolve;
}

static struct str tls_version(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    return v->session ? given(str_of(v->session->tls_version)) : STR_NULL;
}

static struct str tls_cipher(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    return v->session ? given(str_of(v->session->tls_cipher)) : STR_NULL;
}

static struct str auth_user(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    if (v->session)
        return given(v->session->user);
    return v->a ? given(v->a->by.user) : STR_NULL;
}

static struct str auth_type(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    return v->session && v->session->user.len ? given(v->session->mechanism) : STR_NULL;
}

static struct str queue_id(const struct filter_view *v, struct arena *arena) {
    return v->a ? str_copy(arena, trace_id_str(&v->a->id)) : STR_NULL;
}

static struct str mail_address(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    return v->a ? v->a->reverse_path : STR_NULL;
}

static struct str mail_host(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    return v->a ? given(address_split(v->a->reverse_path).domain) : STR_NULL;
}

/* Of a refused recipient the three say, as with Sendmail and Postfix, "error", the enhanced code and the
 * text.
 */
static struct str rcpt_address(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    return v->rcpt_refused ? v->rcpt_refused->text : v->rcpt;
}

static struct str rcpt_mailer(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    return v->rcpt_refused ? STR("error") : v->rcpt.at ? STR("smtp") : STR_NULL;
}

static struct str rcpt_host(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    if (v->rcpt_refused)
        return v->rcpt_refused->enhanced;
    return v->rcpt.at ? given(address_split(v->rcpt).domain) : STR_NULL;
}

static struct str mail_mailer(const struct filter_view *v, struct arena *arena) {
    (void)arena;
    return v->a ? STR("smtp") : STR_NULL;
}

static const struct {
    struct str name;
    struct str (*value)(const struct filter_view *, struct arena *);
} macros[] = {
    {{"j", 1}, node},
    {{"v", 1}, version},
    {{"i", 1}, queue_id},
    {{"_", 1}, client_full},
    {{"{daemon_name}", 13}, node} /* as Postfix: Rspamd takes it for the name in Authentication-Results */,
    {{"{daemon_addr}", 13}, local_address},
    {{"{daemon_port}", 13}, local_port},
    {{"{if_name}", 9}, node},
    {{"{if_addr}", 9}, local_address},
    {{"{client_addr}", 13}, client_address},
    {{"{client_name}", 13}, client_name},
    {{"{client_ptr}", 12}, client_ptr},
    {{"{client_port}", 13}, client_port},
    {{"{client_resolve}", 16}, client_resolve},
    {{"{tls_version}", 13}, tls_version},
    {{"{cipher}", 8}, tls_cipher},
    {{"{auth_type}", 11}, auth_type},
    {{"{auth_authen}", 13}, auth_user},
    {{"{mail_addr}", 11}, mail_address},
    {{"{mail_host}", 11}, mail_host},
    {{"{mail_mailer}", 13}, mail_mailer},
    {{"{rcpt_addr}", 11}, rcpt_address},
    {{"{rcpt_host}", 11}, rcpt_host},
    {{"{rcpt_mailer}", 13}, rcpt_mailer},
};

struct str filter_macro(const struct filter_view *v, struct str name, struct arena *arena) {
    for (size_t i = 0; i < sizeof macros / sizeof *macros; i++)
        if (str_eq(name, macros[i].name))
            return macros[i].value(v, arena);
    return STR_NULL;
}
