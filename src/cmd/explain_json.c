#include "cmd/explain_view.h"

#include "rt/dns_wire.h"
#include <jansson.h>

static json_t *text(struct arena *arena, struct str s) {
    return s.len ? json_string(str_c(arena, cli_safe(arena, s, 0))) : json_null();
}

static json_t *ip(const struct ip *address) {
    char out[IP_TEXT_SIZE];
    return ip_is_none(address) ? json_null() : json_string(ip_text(address, out));
}

static void put(json_t *object, const char *name, json_t *value) { json_object_set_new(object, name, value); }

static json_t *addresses_json(const struct explain_view *v, const struct pool *pool) {
    struct arena *arena = v->cli->arena;
    json_t *list = json_array();
    for (uint32_t i = 0; i < pool->source_count; i++) {
        json_t *source = json_object();
        put(source, "outbound_ip", ip(&pool->sources[i].ip));
        put(source, "could_carry", json_boolean(explain_carries(explain_first(v), &pool->sources[i])));
        put(source, "ehlo", text(arena, explain_ehlo(&v->result, explain_first(v), &pool->sources[i])));
        put(source, "ptr", text(arena, str_of(pool->sources[i].ptr)));
        json_array_append_new(list, source);
    }
    return list;
}

static json_t *pools_json(const struct explain_view *v) {
    const struct explain_result *r = &v->result;
    json_t *pools = json_array();
    for (size_t i = 0; i < r->pool_count; i++) {
        json_t *pool = json_object();
        put(pool, "outbound_ip_pool_name", text(v->cli->arena, r->pools[i]->name));
        put(pool, "spf", json_string(pool_spf_text(r->pools[i])));
        put(pool, "waits", text(v->cli->arena, explain_waits(v, r->pools[i])));
        put(pool, "addresses", addresses_json(v, r->pools[i]));
        json_array_append_new(pools, pool);
    }
    return pools;
}

static json_t *route_json(struct arena *arena, const struct explain_copy *c) {
    json_t *list = json_array();
    for (size_t i = 0; i < c->target_count; i++) {
        json_t *target = json_object();
        put(target, "preference", json_integer(c->targets[i].preference));
        put(target, "server_hostname", text(arena, c->targets[i].host));
        put(target, "server_ip", ip(&c->targets[i].ip));
        put(target, "port", json_integer(c->targets[i].port));
        json_array_append_new(list, target);
    }
    return list;
}

static json_t *copies_json(const struct explain_view *v) {
    struct arena *arena = v->cli->arena;
    json_t *list = json_array();
    for (size_t i = 0; i < v->result.copy_count; i++) {
        const struct explain_copy *c = &v->result.copies[i];
        json_t *copy = json_object();
        put(copy, "recipient", text(arena, c->address));
        put(copy, "forwarded_by", text(arena, c->forwarder));
        put(copy, "return_path", text(arena, c->return_path.len ? c->return_path : STR("<>")));
        put(copy, "return_path_reason", text(arena, c->return_why));
        put(copy, "via", text(arena, c->via));
        put(copy, "receiver", text(arena, c->route ? c->route->receiver : STR_NULL));
        put(copy, "route", route_json(arena, c));
        put(copy, "route_error", text(arena, explain_no_route(v, c)));
        json_array_append_new(list, copy);
    }
    return list;
}

/* Copies that would not leave. */
static json_t *ended_json(const struct explain_view *v) {
    struct arena *arena = v->cli->arena;
    const struct envelope *e = &v->result.envelope;
    json_t *list = json_array();
    for (size_t i = 0; i < e->copy_count; i++) {
        if (e->copies[i].ended.fate == OUTCOME_DONE)
            continue;
        json_t *copy = json_object();
        put(copy, "recipient", text(arena, e->copies[i].to.address));
        put(copy, "reply", text(arena, outcome_line(arena, &e->copies[i].ended)));
        json_array_append_new(list, copy);
    }
    return list;
}

/* ---- what arrived ---- */

static json_t *lookups_json(struct arena *arena, const struct spf_lookup *first) {
    json_t *list = json_array();
    for (const struct spf_lookup *l = first; l; l = l->next) {
        json_t *lookup = json_object();
        put(lookup, "name", text(arena, l->name));
        put(lookup, "type", text(arena, dns_type_text(arena, l->type)));
        put(lookup, "status", json_string(explain_dns_status(l->status)));
        put(lookup, "answers", text(arena, l->answers));
        json_array_append_new(list, lookup);
    }
    return list;
}

static json_t *spf_json(struct arena *arena, const struct spf_check *spf) {
    json_t *object = json_object(), *steps = json_array();
    put(object, "result", json_string(spf_result_text(spf->result)));
    put(object, "identity", json_string(spf->identity == SPF_HELO ? "helo" : "mailfrom"));
    put(object, "domain", text(arena, spf->domain));
    put(object, "mechanism", text(arena, spf->mechanism));
    put(object, "reason", text(arena, spf->reason));
    put(object, "explanation", text(arena, spf->explanation));
    put(object, "lookups", json_integer(spf->terms));
    put(object, "void_lookups", json_integer(spf->voids));
    for (const struct spf_step *s = spf->steps; s; s = s->next) {
        json_t *step = json_object();
        put(step, "depth", json_integer(s->depth));
        put(step, "domain", text(arena, s->domain));
        put(step, "term", text(arena, s->term));
        put(step, "target", text(arena, s->target));
        put(step, "end", json_string(explain_spf_end(s->end)));
        put(step, "note", text(arena, s->note));
        put(step, "lookups", lookups_json(arena, s->lookups));
        json_array_append_new(steps, step);
    }
    put(object, "steps", steps);
    return object;
}

static json_t *dkim_json(struct arena *arena, const struct dkim_verdicts *verdicts) {
    json_t *list = json_array();
    for (size_t i = 0; i < verdicts->count; i++) {
        const struct dkim_verdict *d = &verdicts->items[i];
        json_t *signature = json_object();
        put(signature, "result", json_string(dkim_result_name(d->result)));
        put(signature, "domain", text(arena, d->domain));
        put(signature, "selector", text(arena, d->selector));
        put(signature, "algorithm", text(arena, d->algorithm));
        put(signature, "reason", text(arena, d->reason));
        json_array_append_new(list, signature);
    }
    return list;
}

static json_t *arc_json(struct arena *arena, const struct arc_verdict *arc) {
    json_t *object = json_object();
    put(object, "result", json_string(arc_result_name(arc->result)));
    put(object, "instances", json_integer(arc->instances));
    put(object, "domain", text(arena, arc->domain));
    put(object, "reason", text(arena, arc->reason));
    return object;
}

static void put_judged(const struct explain_view *v, json_t *root) {
    struct arena *arena = v->cli->arena;
    const struct judgement *j = &v->result.judged;
    put(root, "verdict", json_string(verdict_name(j->verdict)));
    put(root, "verdict_reason", text(arena, j->why));
    put(root, "scanner", text(arena, j->scan.scanner));
    put(root, "scanner_action", text(arena, j->scan.action));
    put(root, "score", text(arena, j->score));
    put(root, "symbols", text(arena, j->symbols));
    put(root, "not_scanned", text(arena, j->not_scanned));
}

static void put_arrival(const struct explain_view *v, json_t *root) {
    struct arena *arena = v->cli->arena;
    const struct explain_result *r = &v->result;
    json_t *walked = json_array();
    for (size_t i = 0; i < r->original.walked_count; i++)
        json_array_append_new(walked, ip(&r->original.walked[i]));
    put(root, "client_ip", ip(&v->request.client));
    put(root, "original_client_ip", ip(&r->original.ip));
    put(root, "original_client_reason", text(arena, r->original.why));
    put(root, "walked", walked);
    put(root, "spf", r->verified.checked ? spf_json(arena, &r->verified.spf) : json_null());
    put(root, "dkim", r->verified.checked ? dkim_json(arena, &r->verified.dkim) : json_null());
    put(root, "arc", r->verified.checked ? arc_json(arena, &r->verified.arc) : json_null());
    put(root, "verified", json_boolean(r->decision.verified));
    put(root, "no_report", text(arena, r->no_report));
}

/* ---- what leaves ---- */

static json_t *signatures_json(struct arena *arena, const struct forecast *f) {
    json_t *list = json_array();
    for (size_t i = 0; i < f->count; i++) {
        const struct forecast_signature *from = &f->signatures[i];
        json_t *signature = json_object();
        put(signature, "domain", text(arena, from->domain));
        put(signature, "selector", text(arena, from->selector));
        put(signature, "ours", json_boolean(from->ours));
        put(signature, "aligned", json_boolean(from->aligned));
        put(signature, "result", json_string(dkim_result_name(from->result)));
        put(signature, "reason", text(arena, from->why));
        json_array_append_new(list, signature);
    }
    return list;
}

/* What a strict receiver makes of it; `put` in lines. */
static json_t *checks_json(struct arena *arena, const struct strict_view *view) {
    json_t *list = json_array();
    for (size_t code = 0; code < STRICT_COUNT; code++) {
        const struct strict_check *c = &view->checks[code];
        bool minded = c->verdict == STRICT_FAIL || c->verdict == STRICT_NOTE;
        json_t *check = json_object(), *lines = json_array();
        struct str rest = c->put, line;
        put(check, "check", json_string(strict_code_text((enum strict_code)code)));
        put(check, "verdict", json_string(strict_verdict_text(c->verdict)));
        put(check, "reason", text(arena, c->why));
        put(check, "demanded_by", minded ? json_string(strict_demand((enum strict_code)code)) : json_null());
        while (rest.len && str_cut(&rest, '\n', &line))
            json_array_append_new(lines, text(arena, line));
        put(check, "put", lines);
        json_array_append_new(list, check);
    }
    return list;
}

static json_t *seen_json(const struct explain_view *v) {
    struct arena *arena = v->cli->arena;
    json_t *list = json_array();
    for (size_t i = 0; i < v->seen_count; i++) {
        const struct explain_seen *s = &v->seen[i];
        json_t *seen = json_object();
        put(seen, "recipient", text(arena, s->copy->address));
        put(seen, "outbound_ip_pool_name", text(arena, s->pool->name));
        put(seen, "outbound_ip", ip(&s->source->ip));
        put(seen, "ptr", text(arena, s->strict.names.name));
        put(seen, "ehlo", text(arena, s->strict.ehlo));
        put(seen, "strict", json_string(strict_verdict_text(strict_worst(&s->strict))));
        put(seen, "checks", checks_json(arena, &s->strict));
        put(seen, "spf", json_string(spf_result_text(s->mail.spf.result)));
        put(seen, "spf_domain", text(arena, s->mail.spf_domain));
        put(seen, "spf_aligned", json_boolean(s->mail.spf_aligned));
        put(seen, "spf_reason", text(arena, s->mail.spf.reason));
        put(seen, "dkim", signatures_json(arena, &s->mail));
        put(seen, "dmarc", json_string(dmarc_result_name(s->mail.dmarc)));
        put(seen, "dmarc_policy", json_string(dmarc_policy_name(s->mail.policy)));
        put(seen, "dmarc_reason", text(arena, s->mail.dmarc_why));
        put(seen, "warning", text(arena, s->mail.warning));
        json_array_append_new(list, seen);
    }
    return list;
}

static json_t *unanswered_json(const struct explain_view *v) {
    struct arena *arena = v->cli->arena;
    json_t *list = json_array();
    for (size_t i = 0; i < v->failure_count; i++) {
        json_t *question = json_object();
        put(question, "name", text(arena, v->failures[i].name));
        put(question, "type", text(arena, dns_type_text(arena, v->failures[i].type)));
        put(question, "reason", text(arena, v->failures[i].why));
        json_array_append_new(list, question);
    }
    return list;
}

/* Of --as. */
static void put_standing(const struct explain_view *v, json_t *root) {
    struct arena *arena = v->cli->arena;
    bool known = v->standing.len;
    put(root, "limits_of", known ? json_loadb(v->standing.at, v->standing.len, 0, NULL) : json_null());
    put(root, "limits_from", known ? json_string(v->no_daemon ? "disk" : "daemon") : json_null());
    put(root, "limits_note", text(arena, known ? v->as_note : v->standing_why));
}

void explain_json(const struct explain_view *v) {
    const struct explain_result *r = &v->result;
    const struct explain_copy *first = explain_first(v);
    struct arena *arena = v->cli->arena;
    bool accepted = r->refusal.fate == OUTCOME_DONE;
    json_t *root = json_object();
    put(root, "sender", text(arena, v->request.from.len ? v->request.from : STR("<>")));
    put(root, "return_path",
        text(arena, first->return_path.len ? first->return_path
                    : v->request.from.len  ? v->request.from
                                           : STR("<>")));
    put(root, "recipient", text(arena, v->request.to));
    put(root, "refusal", text(arena, explain_refusal(v)));
    put(root, "tenant", text(arena, r->by.tenant ? r->by.tenant->name : STR_NULL));
    put(root, "connector", text(arena, r->by.connector ? r->by.connector->name : STR_NULL));
    put(root, "directionality", json_string(r->outside ? "Incoming" : "Originating"));
    put(root, "relayed", json_boolean(r->by.relayed));
    put_arrival(v, root);
    put_judged(v, root);
    put(root, "class", accepted ? text(arena, str_of(mail_class_name(r->decision.class))) : json_null());
    put(root, "rule", text(arena, r->decision.rule));
    put(root, "reason", text(arena, r->decision.reason));
    put(root, "outbound_ip_pool_name", text(arena, r->pool ? r->pool->name : STR_NULL));
    put(root, "pools", pools_json(v));
    put(root, "receiver", text(arena, first->route ? first->route->receiver : STR_NULL));
    put(root, "route", route_json(arena, first));
    put(root, "route_error", text(arena, explain_no_route(v, first)));
    put(root, "copies", copies_json(v));
    put(root, "dropped", ended_json(v));
    put(root, "seen_by_receivers", seen_json(v));
    if (v->as.len)
        put_standing(v, root);
    put(root, "not_asked", json_integer((json_int_t)v->not_asked));
    put(root, "not_answered", unanswered_json(v));
    json_dumpf(root, v->cli->out, JSON_COMPACT);
    fputc('\n', v->cli->out);
    json_decref(root);
}
