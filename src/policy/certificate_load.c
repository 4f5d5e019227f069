/* certificate_load.c - `certificate` and `ca` of a connector. */
#include "mail/address.h"
#include "policy/load.h"
#include "rt/tls_peer.h"

enum { FILES_FIRST = 4 };

/* A host name, or "*." and a domain of two labels at least: who could show *.com? */
static bool parse_name(struct arena *arena, struct str text, struct str *ret) {
    bool star = str_starts(text, STR("*."));
    struct str domain = star ? str_from_index(text, 2) : text, normal;
    if (domain_is_literal(domain) || domain_normal(arena, domain, &normal) != 0)
        return false;
    if (star && str_index(normal, '.') < 0)
        return false;
    *ret = star ? str_printf(arena, "*.%.*s", STR_FMT(normal)) : normal;
    return true;
}

static void add_trust(struct loading *l, const char *path, struct tls_trust *trust) {
    struct policy *p = l->policy;
    if (p->trust_count % FILES_FIRST == 0) {
        struct policy_trust *more = arena_array(l->arena, struct policy_trust, p->trust_count + FILES_FIRST);
        if (p->trust_count)
            memcpy(more, p->trusts, p->trust_count * sizeof *more);
        p->trusts = more;
    }
    p->trusts[p->trust_count++] = (struct policy_trust){path, trust};
}

/* Each file is read once. */
static const struct tls_trust *trust_of(struct loading *l, const struct config_node *node, const char *path) {
    struct tls_trust *trust = NULL;
    struct str why = STR("out of memory");
    for (size_t i = 0; i < l->policy->trust_count; i++)
        if (str_eq(str_of(l->policy->trusts[i].path), str_of(path)))
            return l->policy->trusts[i].trust;
    int error = path ? tls_trust_of_file(path, l->arena, &why, &trust) : tls_trust_of_system(&trust);
    if (error) {
        config_complain(l->errors, node, "ca", "ca: %s: %.*s", path ? path : "the system's", STR_FMT(why));
        return NULL;
    }
    add_trust(l, path, trust);
    return trust;
}

void load_certificate(struct loading *l, const struct config_node *node, struct connector *c) {
    struct str name = config_string(node, "certificate");
    const char *ca = config_path(l->arena, node, "ca", l->checks->state);
    c->certificate = STR("");
    if (!name.at) {
        if (ca)
            config_complain(l->errors, node, "ca", "ca: there is no certificate that it could vouch for");
        if (!config_has(node, "addresses"))
            config_complain(l->errors, node, NULL, "a connector needs addresses, or a certificate");
        return;
    }
    if (!parse_name(l->arena, name, &c->certificate)) {
        config_complain(
            l->errors, node, "certificate",
            "certificate: \"%.*s\" is no host name, nor \"*.\" and a domain such as *.example.com",
            STR_FMT(name));
        return;
    }
    c->trust = trust_of(l, node, ca);
}

void unload_certificates(struct policy *p) {
    for (size_t i = 0; i < p->trust_count; i++)
        tls_trust_free(p->trusts[i].trust);
    p->trust_count = 0;
}
