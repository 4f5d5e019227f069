#include "settings/settings.h"

static bool same_text(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

static bool same_endpoints(const struct endpoint *a, size_t a_count, const struct endpoint *b,
                           size_t b_count) {
    if (a_count != b_count)
        return false;
    for (size_t i = 0; i < a_count; i++)
        if (!ip_eq(&a[i].ip, &b[i].ip) || a[i].port != b[i].port)
            return false;
    return true;
}

static const struct listener *find_listener(const struct settings *s, struct str name) {
    for (size_t i = 0; i < s->listener_count; i++)
        if (str_eq(s->listeners[i].name, name))
            return &s->listeners[i];
    return NULL;
}

/* Names the listeners of `a` that `b` doesn't have, or `both` when they bind other addresses there. */
static void add_listeners(struct buf *names, const struct settings *a, const struct settings *b, bool both) {
    for (size_t i = 0; i < a->listener_count; i++) {
        const struct listener *x = &a->listeners[i], *y = find_listener(b, x->name);
        if (y ? both && !same_endpoints(x->bind, x->bind_count, y->bind, y->bind_count) : true)
            buf_printf(names, "%slistener \"%.*s\" bind", names->len ? ", " : "", STR_FMT(x->name));
    }
}

struct str settings_needs_restart(const struct settings *now, const struct settings *next,
                                  struct arena *arena) {
    const struct {
        const char *name;
        bool same;
    } rows[] = {
        {"state", same_text(now->state, next->state)},
        {"user", same_text(now->user, next->user)},
        {"workers", now->workers == next->workers},
        {"spool memory", now->spool.memory == next->spool.memory},
        {"spool disk-limit", now->spool.disk_limit == next->spool.disk_limit},
        {"spool min-free", now->spool.min_free == next->spool.min_free},
        {"limits senders", now->policy->limits.senders == next->policy->limits.senders},
        {"detection senders", now->policy->detection.senders == next->policy->detection.senders},
        {"trace retain", now->trace.retain_ms == next->trace.retain_ms},
        {"api socket", same_text(now->api.socket, next->api.socket)},
        {"api bind",
         same_endpoints(now->api.bind, now->api.bind_count, next->api.bind, next->api.bind_count)},
    };
    struct buf names __attribute__((cleanup(buf_free))) = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!rows[i].same)
            buf_printf(&names, "%s%s", names.len ? ", " : "", rows[i].name);
    add_listeners(&names, next, now, true);
    add_listeners(&names, now, next, false);
    return str_copy(arena, buf_view(&names));
}
