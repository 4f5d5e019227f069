#include "intake/admission.h"

#include "base/map.h"
#include <stdatomic.h>
#include <stdlib.h>

struct client {
    unsigned connections;
};

struct client_call {
    struct flow *flow;
    struct ip ip;
    unsigned limit;
    bool entered;
};

static struct str key_of(const struct ip *ip) { return str_from(ip->bytes, sizeof ip->bytes); }

static struct worker *owner_of(struct flow *flow, const struct ip *ip) {
    return rt_owner(flow->rt, STR("client"), key_of(ip));
}

static void enter_on_owner(void *arg) {
    struct client_call *call = arg;
    struct map *clients = flow_here(call->flow)->clients;
    struct client *client = map_get(clients, key_of(&call->ip));
    if (!client) {
        client = xcalloc(1, sizeof *client);
        map_put(clients, key_of(&call->ip), client);
    }
    call->entered = client->connections < call->limit;
    client->connections += call->entered;
}

static void leave_on_owner(void *arg) {
    struct client_call *call = arg;
    struct map *clients = flow_here(call->flow)->clients;
    struct client *client = map_get(clients, key_of(&call->ip));
    if (client && --client->connections == 0)
        free(map_remove(clients, key_of(&call->ip)));
    free(call);
}

enum admission admission_enter(struct flow *flow, _Atomic unsigned *listener_count,
                               const struct listener *listener, const struct ip *client) {
    if (atomic_fetch_add(listener_count, 1) >= listener->max_connections) {
        atomic_fetch_sub(listener_count, 1);
        return ADMISSION_LISTENER;
    }
    struct client_call call = {flow, *client, listener->max_connections_per_client, false};
    worker_call(owner_of(flow, client), enter_on_owner, &call);
    if (call.entered)
        return ADMISSION_OK;
    atomic_fetch_sub(listener_count, 1);
    return ADMISSION_CLIENT;
}

void admission_leave(struct flow *flow, _Atomic unsigned *listener_count, const struct ip *client) {
    struct client_call *call = xcalloc(1, sizeof *call);
    *call = (struct client_call){.flow = flow, .ip = *client};
    atomic_fetch_sub(listener_count, 1);
    worker_post(owner_of(flow, client), leave_on_owner, call);
}

struct map *admission_free(struct map *clients) {
    size_t at = 0;
    struct str key;
    void *client;
    while (clients && map_next(clients, &at, &key, &client))
        free(client);
    return map_free(clients);
}
