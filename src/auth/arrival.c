#include "auth/arrival.h"
#include "auth/beside.h"
#include "base/clock.h"

#include <stdlib.h>

struct arrival {
    struct arena *arena;
    int64_t now_wall_ms;
    struct dkim_verify *dkim;
    struct arc_verify *arc;

    /* During arrival_end. */
    const struct arrival_client *client;
    struct resolver *resolver;
    int64_t deadline;
    struct arrival_result *ret;
};

struct arrival *arrival_new(struct arena *arena, const struct header *header, int64_t now_wall_ms) {
    struct arrival *arrival = xcalloc(1, sizeof *arrival);
    arrival->arena = arena;
    arrival->now_wall_ms = now_wall_ms;
    arrival->dkim = dkim_verify_new(arena, header, now_wall_ms / 1000);
    arrival->arc = arc_verify_new(arena, header);
    return arrival;
}

void arrival_body(struct arrival *arrival, struct str chunk) {
    dkim_verify_body(arrival->dkim, chunk);
    arc_verify_body(arrival->arc, chunk);
}

static void check_spf(void *arg) {
    struct arrival *arrival = arg;
    const struct arrival_client *client = arrival->client;
    struct spf_query query = {.ip = client->ip,
                              .helo = client->helo,
                              .mail_from = client->reverse_path,
                              .receiver = client->receiver,
                              .now = arrival->now_wall_ms,
                              .deadline = arrival->deadline};
    if (ip_is_none(&client->ip)) {
        arrival->ret->spf.identity = client->reverse_path.len ? SPF_MAIL_FROM : SPF_HELO;
        arrival->ret->spf.reason = STR("the client's address is not known");
        return;
    }
    spf_check(arrival->resolver, &query, arrival->arena, &arrival->ret->spf);
}

static void check_arc(void *arg) {
    struct arrival *arrival = arg;
    arrival->ret->arc = arc_verify_end(arrival->arc, arrival->resolver, arrival->deadline);
}

void arrival_end(struct arrival *arrival, const struct arrival_client *client, struct resolver *resolver,
                 int64_t deadline, struct arrival_result *ret) {
    struct beside spf, arc;
    int64_t latest = clock_mono_ms() + ARRIVAL_DEADLINE_MS;
    bool chain = arc_verify_wants_body(arrival->arc);
    *ret = (struct arrival_result){.checked = true};
    arrival->client = client;
    arrival->resolver = resolver;
    arrival->deadline = deadline < latest ? deadline : latest;
    arrival->ret = ret;
    beside_start(&spf, check_spf, arrival);
    if (chain)
        beside_start(&arc, check_arc, arrival);
    ret->dkim = dkim_verify_end(arrival->dkim, resolver, arrival->deadline);
    if (chain)
        beside_join(&arc);
    else
        check_arc(arrival);
    beside_join(&spf);
}

struct arrival *arrival_free(struct arrival *arrival) {
    if (!arrival)
        return NULL;
    dkim_verify_free(arrival->dkim);
    arc_verify_free(arrival->arc);
    free(arrival);
    return NULL;
}
