#include "policy/original_client.h"
#include "base/buf.h"
#include "mail/received_chain.h"

/* What an organisation's own hosts may have; not all of ip_is_private, which has every address in it that
 * nothing can be delivered to. */
static bool is_inside(const struct ip *ip) {
    static const struct {
        const char *network;
        unsigned prefix;
    } networks[] = {{"10.0.0.0", 8},  {"172.16.0.0", 12},  {"192.168.0.0", 16},
                    {"127.0.0.0", 8}, {"169.254.0.0", 16}, {"100.64.0.0", 10},
                    {"::1", 128},     {"fc00::", 7},       {"fe80::", 10}};
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        struct ip network;
        if (ip_parse(str_of(networks[i].network), &network) && ip_in(ip, &network, networks[i].prefix))
            return true;
    }
    return false;
}

static bool is_skipped(const struct connector *c, const struct ip *ip) {
    for (size_t i = 0; i < c->skip_count; i++)
        if (ip_range_has(&c->skip[i], ip))
            return true;
    return is_inside(ip);
}

enum hop { HOP_READ, HOP_END, HOP_UNREADABLE };

bool original_client_known(const struct connector *c, const struct ip *ip) {
    for (size_t i = 0; i < c->tenant->connector_count; i++)
        if (connector_has_ip(&c->tenant->connectors[i], ip))
            return true;
    return is_skipped(c, ip);
}

struct walk {
    const struct header *header;
    const struct header_field *field; /* the last Received that was read; NULL: none yet */
    struct arena *arena;
    struct original_client *client;
    bool authenticated; /* the client that was read last */
    bool local;         /* the field that was read last tells of none: its host made the message */
};

/* One hop outwards: by the next Received, which the host that is the client so far has written. */
static enum hop step_outwards(struct walk *w) {
    struct original_client *o = w->client;
    struct received_client seen;
    struct str value;
    w->field = header_find(w->header, STR("Received"), w->field);
    if (!w->field)
        return HOP_END;
    value = header_unfold(w->arena, w->field->value);
    w->local = received_is_local(value);
    if (!received_client(w->arena, value, &seen))
        return HOP_UNREADABLE;
    w->authenticated = seen.authenticated;
    o->walked[o->walked_count++] = o->ip;
    o->ip = seen.ip;
    o->helo = seen.helo;
    return HOP_READ;
}

static struct str why_of(const struct walk *w, enum hop last, bool enough) {
    const struct original_client *o = w->client;
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    char ip[IP_TEXT_SIZE];
    for (size_t i = 0; i < o->walked_count; i++) {
        buf_printf(&text, "%s%s", i ? ", " : "", ip_text(&o->walked[i], ip));
    }
    if (o->walked_count)
        buf_str(&text, o->walked_count > 1 ? STR(" are skipped") : STR(" is skipped"));
    if (!enough) {
        buf_str(&text, o->walked_count ? STR("; ") : STR(""));
        ip_text(&o->ip, ip);
        if (last == HOP_READ)
            buf_printf(&text, "%s would be too, but the Received chain is too long", ip);
        else if (last == HOP_END)
            buf_printf(&text, "%s would be too, but the Received chain ends there", ip);
        else
            buf_printf(&text,
                       "%s would be too, but the Received field that it wrote tells of no certain client",
                       ip);
    }
    return str_copy(w->arena, buf_view(&text));
}

void original_client(const struct connector *connector, const struct ip *connecting, struct str helo,
                     const struct header *header, struct arena *arena, struct original_client *ret) {
    struct walk w = {.header = header, .arena = arena, .client = ret};
    enum hop last = HOP_READ;
    bool enough = false;
    *ret = (struct original_client){.ip = *connecting, .helo = helo, .why = STR("")};
    if (!connector || ip_is_none(connecting) || (!connector->skip_last && !connector->skip_count))
        return;
    ret->walked = arena_array(arena, struct ip, ORIGINAL_CLIENT_WALK_MAX);
    if (connector->skip_last)
        last = step_outwards(&w);
    while (last == HOP_READ && !(enough = !is_skipped(connector, &ret->ip)) &&
           ret->walked_count < ORIGINAL_CLIENT_WALK_MAX)
        last = step_outwards(&w);
    bool known = enough && original_client_known(connector, &ret->ip);
    ret->stranger =
        last == HOP_UNREADABLE ? !w.local : enough && ret->walked_count && !known && !w.authenticated;
    if (ret->walked_count || !enough)
        ret->why = why_of(&w, last, enough);
}
