#include "policy/limit_policy.h"
#include "mail/address.h"
#include "policy/load.h"
#include <stdlib.h>

static bool among(const struct str *list, size_t count, struct str value) {
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(list[i], value))
            return true;
    return false;
}

/* A group may have many thousand members, and each message asks. */
static bool listed_so(const struct str *list, size_t count, struct str address) {
    return count && bsearch(&address, list, count, sizeof *list, address_order);
}

/* Itself or the mailbox of which it is a subaddress: who has a policy doesn't get another by writing as
 * ann+x@contoso.com. */
static bool listed(const struct str *list, size_t count, struct str address) {
    enum { LOCAL_MAX = 64, DOMAIN_MAX = 255 };
    struct address a = address_split(address);
    ptrdiff_t plus = str_index(a.local, '+');
    char mailbox[LOCAL_MAX + 1 + DOMAIN_MAX];
    if (listed_so(list, count, address) || plus <= 0 || plus > LOCAL_MAX || a.domain.len > DOMAIN_MAX)
        return listed_so(list, count, address);
    size_t local = (size_t)plus;
    memcpy(mailbox, a.local.at, local);
    mailbox[local] = '@';
    memcpy(mailbox + local + 1, a.domain.at, a.domain.len);
    return listed_so(list, count, str_from(mailbox, local + 1 + a.domain.len));
}

static bool in_groups(const struct tenant *t, const struct sending_policy *p, struct str from) {
    for (size_t i = 0; i < t->group_count; i++)
        if (among(p->groups, p->group_count, t->groups[i].name) &&
            listed(t->groups[i].members, t->groups[i].member_count, from))
            return true;
    return false;
}

static bool is_default(const struct sending_policy *p) { return str_eq(p->name, STR("default")); }

static bool applies(const struct tenant *t, const struct sending_policy *p, struct str from) {
    if (is_default(p))
        return true;
    if (p->sender_count && !listed(p->senders, p->sender_count, from))
        return false;
    if (p->domain_count && !among(p->domains, p->domain_count, address_split(from).domain))
        return false;
    return !p->group_count || in_groups(t, p, from);
}

const struct sending_policy *limit_policy_for(const struct tenant *t, struct str from) {
    const struct sending_policy *best = NULL;
    for (size_t i = 0; i < t->policy_count; i++) {
        const struct sending_policy *p = &t->policies[i];
        if (!applies(t, p, from))
            continue;
        if (!best || is_default(best) || (!is_default(p) && p->priority < best->priority))
            best = p;
    }
    return best;
}

struct str limit_policy_why(struct arena *arena, const struct tenant *t, const struct sending_policy *p,
                            struct str from) {
    if (!p)
        return t->policy_count ? STR("no policy of the tenant applies to it")
                               : STR("the tenant has no policy");
    if (is_default(p))
        return STR("it applies where no other does");
    struct str text = STR("");
    if (p->sender_count)
        text = str_printf(arena, "%.*s is one of its senders, ", STR_FMT(from));
    for (size_t i = 0; p->group_count && i < t->group_count; i++)
        if (among(p->groups, p->group_count, t->groups[i].name) &&
            listed(t->groups[i].members, t->groups[i].member_count, from))
            text = str_printf(arena, "%.*s%.*s is in group %.*s, ", STR_FMT(text), STR_FMT(from),
                              STR_FMT(t->groups[i].name));
    if (p->domain_count)
        text = str_printf(arena, "%.*s%.*s is one of its domains, ", STR_FMT(text),
                          STR_FMT(address_split(from).domain));
    return str_printf(arena, "%.*s%spriority %u", STR_FMT(text), text.len ? "" : "it names nobody, ",
                      (unsigned)p->priority);
}
