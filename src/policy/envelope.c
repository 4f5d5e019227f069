#include "policy/envelope.h"

#include "base/map.h"
#include "mail/address.h"
#include "mail/header.h"
#include "mail/mime.h"

enum { FIRST_ROOM = 16 };

static void *grow(struct arena *arena, void *old, size_t count, size_t *room, size_t size) {
    if (count < *room)
        return old;
    *room = *room ? 2 * *room : FIRST_ROOM;
    void *more = arena_alloc(arena, *room * size);
    if (count)
        memcpy(more, old, count * size);
    return more;
}

static struct envelope_copy *copy_to(const struct envelope *e, struct str address) {
    for (size_t i = 0; i < e->copy_count; i++)
        if (str_eq(e->copies[i].to.address, address) && e->copies[i].ended.fate == OUTCOME_DONE)
            return &e->copies[i];
    return NULL;
}

static void add_copy(struct envelope *e, const struct envelope_copy *copy, struct arena *arena) {
    e->copies = grow(arena, e->copies, e->copy_count, &e->copy_room, sizeof *copy);
    e->copies[e->copy_count++] = *copy;
}

static void add_named(struct envelope *e, const struct envelope_named *named, struct arena *arena) {
    e->named = grow(arena, e->named, e->named_count, &e->named_room, sizeof *named);
    e->named[e->named_count++] = *named;
}

/* A report names the address that the sender wrote to, beside the one that it was forwarded to: the sender
 * may never have heard of that (RFC 3461 4.2 lets us add it). */
static struct str original_of(const struct envelope_rcpt *rcpt, struct str forwarder, struct arena *arena) {
    if (rcpt->orcpt.len || !forwarder.len || bytes_8bit(rcpt->address))
        return rcpt->orcpt;
    return str_printf(arena, "rfc822;%.*s", STR_FMT(rcpt->address));
}

/* The copies of one recipient. What it asked for as a report goes with each (RFC 3461 5.2.7). */
static void add_copies(struct envelope *e, const struct envelope_rcpt *rcpt,
                       const struct recipient_route *route, struct arena *arena) {
    for (size_t i = 0; i < route->count; i++) {
        const struct recipient_target *target = &route->targets[i];
        struct envelope_copy copy = {
            .to = {.address = target->address,
                   .orcpt = original_of(rcpt, target->forwarder, arena),
                   .notify = rcpt->notify},
            .tenant = route->kind == RECIPIENT_PLAIN ? NULL : target->tenant,
            .named = rcpt->address,
            .forwarder = target->forwarder,
            .ended = target->forbidden,
        };
        struct envelope_copy *known = copy.ended.fate == OUTCOME_DONE ? copy_to(e, copy.to.address) : NULL;
        if (!known)
            add_copy(e, &copy, arena);
        else if (known->forwarder.len && !copy.forwarder.len)
            *known = copy; /* who is named needs no forward, and no loop of one ends it */
    }
    if (route->kind == RECIPIENT_END)
        add_copy(e,
                 &(struct envelope_copy){
                     .to = {.address = rcpt->address, .notify = SPOOL_NOTIFY_NEVER},
                     .tenant = route->tenant,
                     .named = rcpt->address,
                     .ended = {OUTCOME_RECIPIENT, OUTCOME_NEVER, 550, STR("5.1.1"), route->reason, false},
                 },
                 arena);
}

bool envelope_add(struct envelope *e, const struct policy *policy, const struct envelope_rcpt *rcpt,
                  struct arena *arena, const struct tenant **ret_tenant, struct outcome *ret_refusal) {
    struct recipient_route route;
    *ret_tenant = NULL;
    if (!recipient_route(policy, rcpt->address, rcpt->outside, rcpt->now, arena, &route, ret_refusal))
        return false;
    if (route.kind != RECIPIENT_PLAIN || rcpt->outside)
        *ret_tenant = route.tenant;
    if (rcpt->outside && rcpt->tenant && *ret_tenant && *ret_tenant != rcpt->tenant) {
        *ret_refusal =
            (struct outcome){OUTCOME_RECIPIENT,
                             OUTCOME_LATER,
                             452,
                             STR("4.5.3"),
                             STR("One organisation's recipients at a time, send this one separately"),
                             false};
        return false;
    }
    for (size_t i = 0; i < e->named_count; i++)
        if (str_eq(e->named[i].address, rcpt->address))
            return true;
    if (e->copy_count + route.count > ENVELOPE_COPIES_MAX) {
        *ret_refusal = (struct outcome){OUTCOME_RECIPIENT,
                                        OUTCOME_LATER,
                                        452,
                                        STR("4.5.3"),
                                        STR("Too many recipients after forwarding"),
                                        false};
        return false;
    }
    add_named(e, &(struct envelope_named){rcpt->address, route.kind, route.reason}, arena);
    add_copies(e, rcpt, &route, arena);
    return true;
}

/* The addresses that the message was delivered to before. The caller frees it. */
static struct map *went_through(const struct header *header, struct arena *arena) {
    struct map *seen = map_new(true);
    for (const struct header_field *f = NULL; (f = header_find(header, STR("Delivered-To"), f));)
        map_put(seen, header_unfold(arena, f->value), (void *)f);
    return seen;
}

bool envelope_check_loops(struct envelope *e, const struct header *header, struct arena *arena,
                          struct outcome *ret_refusal) {
    struct outcome loops = {OUTCOME_RECIPIENT,
                            OUTCOME_NEVER,
                            554,
                            STR("5.4.6"),
                            STR("The message has been here: a forwarding loop"),
                            false};
    struct map *seen = went_through(header, arena);
    size_t looping = 0;
    for (size_t i = 0; i < e->copy_count; i++) {
        struct envelope_copy *copy = &e->copies[i];
        if (!copy->forwarder.len || !map_get(seen, copy->forwarder))
            continue;
        copy->ended = loops;
        looping++;
    }
    map_free(seen);
    if (!looping || envelope_leaving(e))
        return true;
    *ret_refusal = loops;
    return false;
}

static bool keeps_one(const struct envelope *e, const bool *stopped, struct str named) {
    for (size_t i = 0; i < e->copy_count; i++)
        if (!stopped[i] && e->copies[i].ended.fate == OUTCOME_DONE && str_eq(e->copies[i].named, named))
            return true;
    return false;
}

bool envelope_end(struct envelope *e, const bool *stopped, const struct outcome *why) {
    for (size_t i = 0; i < e->named_count; i++)
        if (e->named[i].kind != RECIPIENT_END && !keeps_one(e, stopped, e->named[i].address))
            return false;
    for (size_t i = 0; i < e->copy_count; i++)
        if (stopped[i])
            e->copies[i].ended = *why;
    return true;
}

void envelope_route(struct envelope *e, const struct policy *policy, struct arena *arena) {
    for (size_t i = 0; i < e->copy_count; i++) {
        struct envelope_copy *copy = &e->copies[i];
        const struct connector *to = policy_deliver_of_domain(policy, address_split(copy->to.address).domain);
        if (!to)
            continue;
        bool bare_v6 = str_index(to->deliver_host, ':') >= 0 && !str_starts(to->deliver_host, STR("["));
        copy->connector = to;
        copy->to.via =
            str_printf(arena, bare_v6 ? "[%.*s]:%u" : "%.*s:%u", STR_FMT(to->deliver_host), to->deliver_port);
    }
}

size_t envelope_leaving(const struct envelope *e) {
    size_t count = 0;
    for (size_t i = 0; i < e->copy_count; i++)
        count += e->copies[i].ended.fate == OUTCOME_DONE;
    return count;
}
