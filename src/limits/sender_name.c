#include "limits/sender_name.h"
#include "limits/sender_fold.h"
#include "mail/address.h"

const struct tenant *sender_name_tenant(const struct policy *p, struct str name) {
    for (size_t i = 0; i < p->tenant_count; i++)
        if (str_eq_nocase(p->tenants[i].name, name))
            return &p->tenants[i];
    return NULL;
}

static const struct connector *connector_of(const struct tenant *t, struct str name) {
    for (size_t i = 0; t && i < t->connector_count; i++)
        if (str_eq_nocase(t->connectors[i].name, name))
            return &t->connectors[i];
    return NULL;
}

static bool wrong(struct arena *arena, struct str name, const char *what, struct str *ret_why) {
    *ret_why = str_printf(arena, "%.*s: %s", STR_FMT(name), what);
    return false;
}

static struct str author_of(struct str path) { return str_eq(path, STR("<>")) ? STR("") : path; }

/* As limit_sender_name writes it: what stands before the path, and its mailbox. */
static void fold(struct arena *arena, struct str name, struct str path, struct sender_name *ret) {
    const char *how;
    struct str before = str_head(name, name.len - path.len), mailbox = sender_fold(arena, path, &how);
    ret->author = author_of(path);
    ret->whole = str_lower(arena, str_printf(arena, "%.*s%.*s", STR_FMT(before), STR_FMT(mailbox)));
    if (!str_eq_nocase(mailbox, path))
        ret->folded = str_printf(arena, "%.*s counts as %.*s (%s)", STR_FMT(path), STR_FMT(mailbox),
                                 how ? how : "the mailbox");
}

/* A view of the first part; `rest` goes behind the slash. */
static struct str part(struct str *rest) {
    ptrdiff_t slash = str_index(*rest, '/');
    struct str first = slash < 0 ? *rest : str_head(*rest, (size_t)slash);
    *rest = slash < 0 ? STR("") : str_from_index(*rest, (size_t)slash + 1);
    return first;
}

static bool by_connector(const struct policy *p, struct str name, struct arena *arena,
                         struct sender_name *ret) {
    struct str rest = str_from_index(name, 10);
    ret->tenant = sender_name_tenant(p, part(&rest));
    const struct connector *c = connector_of(ret->tenant, part(&rest));
    if (!c || !rest.len)
        return false;
    ret->connector = str_printf(arena, "%.*s/%.*s", STR_FMT(ret->tenant->name), STR_FMT(c->name));
    fold(arena, name, rest, ret);
    return true;
}

bool sender_name_read(const struct policy *p, struct str name, struct arena *arena, struct sender_name *ret,
                      struct str *ret_why) {
    struct str rest = name;
    bool user = str_index(name, '@') >= 0;
    *ret = (struct sender_name){.kind = SENDER_USER,
                                .connector = STR(""),
                                .author = STR(""),
                                .folded = STR(""),
                                .whole = str_lower(arena, name)};
    if (str_starts_nocase(name, STR("connector/"))) {
        return by_connector(p, name, arena, ret) || wrong(arena, name, "there is no such connector", ret_why);
    }
    if (str_starts_nocase(name, STR("local/"))) {
        rest = str_from_index(name, 6);
        ret->tenant = sender_name_tenant(p, part(&rest));
        fold(arena, name, rest, ret);
        return (ret->tenant && rest.len) || wrong(arena, name, "there is no such tenant", ret_why);
    }
    if (!user && str_index(name, '/') >= 0) {
        ret->kind = SENDER_CONNECTOR;
        ret->tenant = sender_name_tenant(p, part(&rest));
        const struct connector *c = connector_of(ret->tenant, rest);
        if (!c)
            return wrong(arena, name, "there is no such connector", ret_why);
        ret->whole = ret->connector =
            str_printf(arena, "%.*s/%.*s", STR_FMT(ret->tenant->name), STR_FMT(c->name));
        return true;
    }
    ret->tenant = policy_tenant_of_domain(p, address_split(name).domain);
    ret->author = name;
    return ret->tenant ||
           wrong(arena, name, "no tenant has a user of that name (it is user@domain)", ret_why);
}
