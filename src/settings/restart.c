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

static bool same_listeners(const struct settings *a, const struct settings *b) {
    if (a->listener_count != b->listener_count)
        return false;
    for (size_t i = 0; i < a->listener_count; i++) {
        const struct listener *x = &a->listeners[i], *y = &b->listeners[i];
        if (!str_eq(x->name, y->name) || !same_endpoints(x->bind, x->bind_count, y->bind, y->bind_count))
            return false;
    }
    return true;
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
        {"listener bind", same_listeners(now, next)},
        {"spool memory", now->spool.memory == next->spool.memory},
        {"spool disk-limit", now->spool.disk_limit == next->spool.disk_limit},
        {"spool min-free", now->spool.min_free == next->spool.min_free},
        {"trace retain", now->trace.retain_ms == next->trace.retain_ms},
        {"api socket", same_text(now->api.socket, next->api.socket)},
        {"api bind",
         same_endpoints(now->api.bind, now->api.bind_count, next->api.bind, next->api.bind_count)},
    };
    struct buf names __attribute__((cleanup(buf_free))) = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!rows[i].same)
            buf_printf(&names, "%s%s", names.len ? ", " : "", rows[i].name);
    return str_copy(arena, buf_view(&names));
}
