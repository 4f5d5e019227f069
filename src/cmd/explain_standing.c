/* Where the sender that --as names stands, with this message. */
#include "cmd/explain_view.h"
#include "cmd/senders.h"

#include "base/clock.h"
#include "base/error.h"
#include "mail/address.h"
#include "policy/passwd.h"
#include "suspicion/suspicion.h"
#include <jansson.h>

enum { ASK_MS = 5000 };

static struct str user_note(const struct explain_view *v, const struct tenant *tenant) {
    struct arena *arena = v->cli->arena;
    if (tenant->users && passwd_has(tenant->users, v->as, arena))
        return STR("");
    return str_printf(arena, "nobody logs in by that name: tenant %.*s has %s", STR_FMT(tenant->name),
                      tenant->users ? "no such user" : "no users");
}

void explain_as(struct explain_view *v, const struct settings *settings) {
    struct sender_name name;
    struct str why;
    v->as_note = STR("");
    if (!v->as.len || !sender_name_read(settings->policy, v->as, v->cli->arena, &name, &why))
        return;
    if (name.kind == SENDER_USER && !name.connector.len && !str_starts_nocase(v->as, STR("local/")))
        v->as_note = user_note(v, name.tenant);
    if (v->request.tenant.len || !ip_is_none(&v->request.client))
        return;
    v->request.tenant = name.tenant->name;
    if (name.connector.len) /* "TENANT/NAME" */
        v->request.connector = str_from_index(name.connector, name.tenant->name.len + 1);
}

static struct api_sender_query query_of(const struct explain_view *v, const struct settings *settings) {
    const struct explain_result *r = &v->result;
    struct api_sender_query query = {.name = v->as, .from = STR("")};
    struct header header;
    if (header_parse(v->cli->arena, v->request.message, 0, &header) == 0)
        query.from = accept_from_address(v->cli->arena, &header);
    for (size_t i = 0; i < r->copy_count; i++) {
        bool inside =
            tenant_accepts(settings->policy, r->by.tenant, address_split(r->copies[i].address).domain);
        *(inside ? &query.internal : &query.external) += 1;
    }
    return query;
}

/* The daemon knows who is suspicious now; without one what it left on disk does. */
void explain_suspicion(struct explain_view *v, const struct settings *settings) {
    struct buf target __attribute__((cleanup(buf_free))) = {0};
    struct arena *arena = v->cli->arena;
    struct cli_places places;
    struct api_reply reply;
    struct sender_name name;
    struct str why;
    if (!v->as.len || !sender_name_read(settings->policy, v->as, arena, &name, &why))
        return;
    buf_str(&target, STR("/v1/sender"));
    api_target_add(&target, "name", v->as);
    if (cli_find(v->cli, &places) != CLI_DONE ||
        api_call(places.socket, "GET", buf_view(&target), STR_NULL, ASK_MS, arena, &reply)) {
        v->request.suspicion = suspicion_left(settings, &name, arena);
        v->no_daemon = true;
        return;
    }
    json_t *row = reply.status == 200 ? json_loadb(reply.body.at, reply.body.len, 0, NULL) : NULL;
    v->request.suspicion = str_copy(arena, str_of(json_string_value(json_object_get(row, "suspicion"))));
    json_decref(row);
}

static int ask(struct explain_view *v, const struct api_sender_query *query) {
    struct buf target __attribute__((cleanup(buf_free))) = {0};
    struct arena *arena = v->cli->arena;
    struct cli_places places;
    struct api_reply reply;
    if (v->no_daemon || cli_find(v->cli, &places) != CLI_DONE)
        return SLUICE_ENOTFOUND;
    buf_str(&target, STR("/v1/sender"));
    api_target_add(&target, "name", query->name);
    if (query->from.len)
        api_target_add(&target, "from", query->from);
    api_target_add(&target, "external", str_printf(arena, "%lld", (long long)query->external));
    api_target_add(&target, "internal", str_printf(arena, "%lld", (long long)query->internal));
    int error = api_call(places.socket, "GET", buf_view(&target), STR_NULL, ASK_MS, arena, &reply);
    if (error)
        return error;
    if (reply.status == 200)
        v->standing = reply.body;
    else
        v->standing_why = api_reply_error(&reply, arena);
    return 0;
}

/* No daemon runs: what it wrote is there to be read. */
static void read_files(struct explain_view *v, const struct settings *settings,
                       const struct api_sender_query *query) {
    struct arena *arena = v->cli->arena;
    v->no_daemon = true;
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    struct limit_journal_report report;
    const struct limit_desk_options options = {.dir = settings->limits_dir,
                                               .capacity = settings->policy->limits.senders,
                                               .now = clock_wall_ms(),
                                               .read_only = true};
    struct senders from = {.policy = settings->policy, .now = options.now};
    struct api_standing standing;
    struct sender_name name;
    if (!sender_name_read(settings->policy, v->as, arena, &name, &v->standing_why))
        return;
    int error = limit_desk_open(&options, arena, &v->standing_why, &report, &from.desk);
    v->standing_unknown = error && error != SLUICE_ENOTFOUND;
    if (error == SLUICE_ENOTFOUND)
        v->nothing_counted = true, v->standing_why = STR("nothing is counted yet: no daemon has run here");
    else if (error == SLUICE_EBUSY)
        v->standing_why = STR("a daemon runs, but does not answer");
    if (error)
        return;
    if (senders_standing(&from, query, arena, &standing, &why) == 0) {
        api_standing_json(&out, &standing);
        v->standing = str_copy(arena, buf_view(&out));
    } else {
        v->standing_why = str_copy(arena, buf_view(&why));
    }
    limit_desk_close(from.desk);
}

void explain_standing(struct explain_view *v, const struct settings *settings) {
    if (!v->as.len)
        return;
    struct api_sender_query query = query_of(v, settings);
    if (ask(v, &query) != 0)
        read_files(v, settings, &query);
    json_t *row = v->standing.len ? json_loadb(v->standing.at, v->standing.len, 0, NULL) : NULL;
    const char *verdict = json_string_value(json_object_get(row, "verdict"));
    bool no_sender = !row && !v->standing_unknown && !v->nothing_counted;
    v->over = no_sender || (verdict && strcmp(verdict, "refuse") == 0);
    json_decref(row);
}
