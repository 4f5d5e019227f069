#include "pool/guard.h"
#include "base/error.h"
#include "seeded_bug.h"
#include <stdio.h>

static int deny(char *reason, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int deny(char *reason, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(reason, GUARD_REASON_SIZE, format, args);
    va_end(args);
    return SLUICE_EDENIED;
}

/* Names the first thing that is wrong; the way of refusals, so it may look longer. */
static int explain(const struct pools *current, enum mail_class class, struct str name,
                   const struct ip *local, char *reason) {
    char address[IP_TEXT_SIZE];
    const char *class_name = mail_class_name(class);
    const struct pool *pool = pool_find(current, name);
    const struct source *source = source_find(current, local);
    if (!class_name)
        return deny(reason, "%d is no mail class", (int)class);
    if (!pool)
        return deny(reason, "pool \"%.*s\" is not configured here", STR_FMT(str_head(name, POOL_NAME_MAX)));
    if (!pool_carries(pool, class))
        return deny(reason, "pool \"%.*s\" does not carry %s mail", STR_FMT(pool->name), class_name);
    if (!source)
        return deny(reason, "%s is no address of pool \"%.*s\"", ip_text(local, address),
                    STR_FMT(pool->name));
    const struct pool *other = &current->pools[source->pool];
    return deny(reason, "%s is an address of pool \"%.*s\" at site \"%.*s\", not of pool \"%.*s\" here",
                ip_text(local, address), STR_FMT(other->name), STR_FMT(current->sites[other->site].name),
                STR_FMT(pool->name));
}

/* The address leads to its one pool, so the allowed way is one look-up and no search by name. */
int guard_check(const struct pools *current, enum mail_class class, struct str pool, const struct ip *local,
                char ret_reason[GUARD_REASON_SIZE]) {
    const struct source *source = source_find(current, local);
    const struct pool *found = source ? &current->pools[source->pool] : NULL;
#ifdef SLUICE_SEEDED_BUG_GUARD_IGNORES_ADDRESS
    found = pool_find(current, pool);
#endif
    bool allowed = found && mail_class_name(class) && current->sites[found->site].here &&
                   str_eq(found->name, pool) && pool_carries(found, class);
#ifdef SLUICE_SEEDED_BUG_GUARD_IGNORES_CLASS
    allowed = found && current->sites[found->site].here && str_eq(found->name, pool);
#endif
    return allowed ? 0 : explain(current, class, pool, local, ret_reason);
}
