/* One source address and all that is known of it. */
#include "api/request.h"
#include "base/clock.h"
#include "base/error.h"
#include <jansson.h>
#include <stdlib.h>

/* Empty, or no UTF-8: null. */
static void put_text(json_t *to, const char *name, struct str text) {
    json_t *value = text.len ? json_stringn(text.at, text.len) : NULL;
    json_object_set_new(to, name, value ? value : json_null());
}

static void put_time(json_t *to, const char *name, int64_t wall_ms) {
    char text[CLOCK_RFC3339_SIZE];
    json_object_set_new(to, name, wall_ms ? json_string(clock_rfc3339(wall_ms, text)) : json_null());
}

static void put_number(json_t *to, const char *name, int64_t number) {
    json_object_set_new(to, name, json_integer(number));
}

static json_t *list_json(const struct api_source_list *l) {
    json_t *o = json_object();
    put_text(o, "list", l->list);
    put_text(o, "zone", l->zone);
    put_text(o, "state", l->state);
    put_text(o, "text", l->text);
    put_text(o, "why", l->why);
    put_text(o, "removal", l->removal);
    json_object_set_new(o, "rests", json_boolean(l->rests));
    put_time(o, "since", l->since);
    put_time(o, "answered", l->answered);
    return o;
}

static json_t *event_json(const struct api_source_event *e) {
    json_t *o = json_object();
    put_text(o, "alert", e->alert);
    put_time(o, "began", e->began);
    put_time(o, "ended", e->ended);
    put_number(o, "count", e->count);
    put_text(o, "text", e->text);
    return o;
}

static json_t *change_json(const struct api_source_change *c) {
    json_t *o = json_object();
    put_time(o, "time", c->time);
    put_text(o, "event", c->event);
    put_text(o, "by", c->by);
    put_text(o, "text", c->text);
    return o;
}

static void put_source(json_t *o, const struct api_source_detail *d) {
    const struct api_source *s = &d->source;
    char ip[IP_TEXT_SIZE];
    put_text(o, "ip", str_of(ip_text(&s->ip, ip)));
    put_text(o, "pool", s->pool);
    put_text(o, "site", d->site);
    put_text(o, "carries", d->carries);
    put_text(o, "ptr", s->ptr);
    put_text(o, "ehlo", s->ehlo);
    put_text(o, "state", s->state);
    put_text(o, "causes", d->causes);
    put_text(o, "why", s->why);
    put_time(o, "until", s->until);
    put_time(o, "last_used", s->last_used);
    put_number(o, "connections", s->connections);
    put_number(o, "delivered", s->delivered);
    put_number(o, "failed", s->failed);
    put_number(o, "listed", s->listed);
    put_text(o, "when_listed", d->stays_listed ? STR("stay") : STR("rest"));
}

static json_t *detail_json(const struct api_source_detail *d) {
    json_t *o = json_object(), *fcrdns = json_object(), *lists = json_array(), *events = json_array();
    json_t *changes = json_array();
    put_source(o, d);
    put_text(fcrdns, "state", d->fcrdns.state);
    put_text(fcrdns, "name", d->fcrdns.name);
    put_text(fcrdns, "why", d->fcrdns.why);
    put_time(fcrdns, "since", d->fcrdns.since);
    put_time(fcrdns, "answered", d->fcrdns.answered);
    put_time(fcrdns, "next", d->fcrdns.next);
    json_object_set_new(o, "fcrdns", fcrdns);
    for (size_t i = 0; i < d->list_count; i++)
        json_array_append_new(lists, list_json(&d->lists[i]));
    json_object_set_new(o, "lists", lists);
    for (size_t i = 0; i < d->event_count; i++)
        json_array_append_new(events, event_json(&d->events[i]));
    json_object_set_new(o, "alerts", events);
    for (size_t i = 0; i < d->change_count; i++)
        json_array_append_new(changes, change_json(&d->changes[i]));
    json_object_set_new(o, "history", changes);
    return o;
}

void source_one(struct request *request) {
    static const char *const none[] = {NULL};
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    struct api_source_detail detail = {0};
    struct ip ip;
    if (!request_knows_only(request, none))
        return;
    if (!backend->source) {
        request_fail(request, 501, "this daemon has no sources to show");
        return;
    }
    if (!ip_parse(request->id, &ip)) {
        request_fail(request, 400, "%.*s is no address", STR_FMT(str_head(request->id, 100)));
        return;
    }
    int bad = backend->source(backend->arg, &ip, request->arena, &detail, &why);
    if (bad) {
        request_fail_with(request, bad, buf_view(&why));
        return;
    }
    json_t *object = detail_json(&detail);
    char *text = json_dumps(object, JSON_COMPACT);
    buf_str(&request->out, str_of(text));
    buf_char(&request->out, '\n');
    free(text);
    json_decref(object);
}
