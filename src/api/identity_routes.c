/* What stands in the DNS for us: the customers' domains, and the last survey. */
#include "api/object.h"
#include "api/request.h"

static const char *const no_parameters[] = {NULL};

/* ---- domains ---- */

void api_domain_row(struct buf *out, const struct api_domain *d) {
    object_open(out);
    object_text(out, "tenant", d->tenant);
    object_text(out, "domain", d->domain);
    object_bool(out, "configured", d->configured);
    object_text(out, "state", d->state);
    object_time(out, "since", d->since);
    object_time(out, "checked", d->checked);
    object_time(out, "missing_since", d->missing);
    object_time(out, "refused_from", d->until);
    object_text(out, "why", d->why);
    object_text(out, "name", d->name);
    object_text(out, "token", d->token);
    object_close(out);
}

static void add_domain(void *out, const struct api_domain *d) { api_domain_row(out, d); }

static void none_here(struct request *request) {
    request_fail(request, 501, "this daemon knows nothing of domains");
}

void domain_list(struct request *request) {
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    if (!request_knows_only(request, no_parameters))
        return;
    if (!backend->domains)
        none_here(request);
    else {
        int bad = backend->domains(backend->arg, add_domain, &request->out, &why);
        request_rows(request, bad, buf_view(&why));
    }
}

void domain_add(struct request *request) {
    static const char *const names[] = {"tenant", "domain", NULL};
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    struct str tenant = request_parameter(request, "tenant"), domain = request_parameter(request, "domain");
    if (!request_knows_only(request, names))
        return;
    if (!tenant.len || !domain.len)
        request_fail(request, 400, "tenant and domain are wanted");
    else if (!backend->domain_add)
        none_here(request);
    else {
        int bad = backend->domain_add(backend->arg, tenant, domain, add_domain, &request->out, &why);
        request_rows(request, bad, buf_view(&why));
    }
}

void domain_verify(struct request *request) {
    static const char *const names[] = {"domain", NULL};
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    struct str *domains = arena_array(request->arena, struct str, request->parameter_count + 1);
    if (!request_knows_only(request, names))
        return;
    for (size_t i = 0; i < request->parameter_count; i++)
        domains[i] = request->parameters[i].value;
    if (!backend->domain_verify)
        none_here(request);
    else {
        int bad = backend->domain_verify(backend->arg, domains, request->parameter_count, add_domain,
                                         &request->out, &why);
        request_rows(request, bad, buf_view(&why));
    }
}

/* ---- the survey ---- */

void api_fault_row(struct buf *out, const struct api_fault *f) {
    object_open(out);
    object_text(out, "status", f->status);
    object_text(out, "code", f->code);
    object_text(out, "subject", f->subject);
    object_text(out, "what", f->what);
    object_text(out, "put", f->put);
    object_time(out, "since", f->since);
    object_time(out, "seen", f->seen);
    object_close(out);
}

static void add_fault(void *out, const struct api_fault *f) { api_fault_row(out, f); }

void identity_faults(struct request *request) {
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    if (!request_knows_only(request, no_parameters))
        return;
    if (!backend->identity)
        request_fail(request, 501, "this daemon does not look at the DNS");
    else {
        int bad = backend->identity(backend->arg, add_fault, &request->out, &why);
        request_rows(request, bad, buf_view(&why));
    }
}
