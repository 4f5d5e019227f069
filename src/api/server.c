#include "api/request.h"
#include "api/socket.h"
#include "base/clock.h"
#include "rt/fiber.h"
#include "rt/net.h"
#include "trace/trace.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/keyvalq_struct.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

enum {
    IDLE_S = 30,
    HEADERS_MAX = 16384,
    BODY_REMOTE_MAX = 4096,
    PARAMETERS_MAX = 2048, /* recipients of one submission, too */
    STOP_S = 5,
    LINGER_MS = 20,
};

/* Of one kind of listener. */
struct door {
    struct api *api;
    struct evhttp *http;
    bool local;
};

struct api {
    struct rt *rt;
    const struct api_backend *backend;
    struct trace *trace;
    struct log *log;
    struct arena *arena;
    struct unix_socket socket; /* fd -1: none */
    int *fds;                  /* TCP */
    size_t fd_count;
    size_t max_message;
    struct door local, remote;
    _Atomic size_t in_work;
    _Atomic bool stopping;
    bool started;
    bool open;  /* TCP beyond loopback */
    sem_t done; /* a post to the API's worker has run */
    sem_t idle; /* the last request in work ended while stopping */
};

const struct api_backend *api_backend_of(const struct api *api) { return api->backend; }
struct trace *api_trace(const struct api *api) {
    return api->trace;
}

/* One request */

static struct request *request_new(struct door *door, struct evhttp_request *http) {
    struct arena *arena = arena_new(0);
    struct request *request = arena_new_of(arena, struct request);
    *request = (struct request){.api = door->api, .http = http, .local = door->local, .arena = arena};
    return request;
}

static void request_free(struct request *request) {
    buf_free(&request->out);
    arena_free(request->arena);
}

/* False: too many, or not decodable. */
static bool read_parameters(struct request *request, const char *query) {
    struct evkeyvalq pairs;
    struct evkeyval *pair;
    size_t count = 0;
    if (!query || !*query)
        return true;
    if (evhttp_parse_query_str(query, &pairs) != 0)
        return false;
    TAILQ_FOREACH(pair, &pairs, next)
    count++;
    if (count <= PARAMETERS_MAX) {
        request->parameters = arena_array(request->arena, struct parameter, count);
        TAILQ_FOREACH(pair, &pairs, next)
        request->parameters[request->parameter_count++] = (struct parameter){
            str_copy(request->arena, str_of(pair->key)), str_copy(request->arena, str_of(pair->value))};
    }
    evhttp_clear_headers(&pairs);
    return count <= PARAMETERS_MAX;
}

static void read_body(struct request *request) {
    struct evbuffer *input = evhttp_request_get_input_buffer(request->http);
    size_t len = evbuffer_get_length(input);
    if (len)
        request->body = str_from(evbuffer_pullup(input, -1), len);
}

static const char *method_name(enum evhttp_cmd_type command) {
    switch (command) {
    case EVHTTP_REQ_GET:
    case EVHTTP_REQ_HEAD: /* evhttp leaves the body away */
        return "GET";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    default:
        return "this method";
    }
}

static const char *reason_of(int status) {
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {{200, "OK"},
                   {400, "Bad Request"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {409, "Conflict"},
                   {413, "Content Too Large"},
                   {422, "Unprocessable Content"},
                   {501, "Not Implemented"},
                   {503, "Service Unavailable"}};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Internal Server Error";
}

/* Bytes that may not stand in a header are written %XX. */
static void add_header(struct evkeyvalq *headers, const char *name, struct str value) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    if (!value.len)
        return;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.at[i];
        if (c < ' ' || c > '~' || c == '%')
            buf_printf(&text, "%%%02X", c);
        else
            buf_char(&text, (char)c);
    }
    evhttp_add_header(headers, name, buf_c(&text));
}

static void reply(struct request *request) {
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request->http);
    struct evbuffer *body = evbuffer_new();
    int status = request->status ? request->status : 200;
    evhttp_add_header(headers, "Content-Type", request->type ? request->type : "application/json");
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    add_header(headers, "Sluice-Next", request->next);
    add_header(headers, "Sluice-Warning", request->warning);
    if (request->out.len)
        evbuffer_add(body, request->out.at, request->out.len);
    evhttp_send_reply(request->http, status, reason_of(status), body);
    evbuffer_free(body);
}

/* A browser that was led to a name of the attacker's sends that name (DNS rebinding): where only this host is
 * answered, only an address or localhost may be asked for. */
static bool host_allowed(struct request *request) {
    const char *host = evhttp_request_get_host(request->http);
    struct ip ip;
    return request->local || request->api->open || !host || ip_parse(str_of(host), &ip) ||
           str_eq_nocase(str_of(host), STR("localhost")) || host[0] == '[';
}

static void finish(struct request *request) {
    struct api *api = request->api;
    reply(request);
    request_free(request);
    if (atomic_fetch_sub(&api->in_work, 1) == 1 && atomic_load(&api->stopping))
        sem_post(&api->idle);
}

static void serve(void *arg) {
    struct request *request = arg;
    struct api *api = request->api;
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request->http);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    size_t len = 0;
    char *decoded = path ? evhttp_uridecode(path, 0, &len) : NULL;
    read_body(request);
    if (atomic_load(&api->stopping))
        request_fail(request, 503, "the daemon is stopping");
    else if (!decoded)
        request_fail(request, 400, "malformed path");
    else if (!host_allowed(request))
        request_fail(request, 403, "ask by address: this host name is not ours");
    else if (!read_parameters(request, evhttp_uri_get_query(uri)))
        request_fail(request, 400, "malformed query, or over %d parameters", PARAMETERS_MAX);
    else
        routes_run(request, method_name(evhttp_request_get_command(request->http)),
                   str_copy(request->arena, str_from(decoded, len)));
    free(decoded);
    finish(request);
}

static void accept_request(struct evhttp_request *http, void *arg) {
    struct door *door = arg;
    struct request *request = request_new(door, http);
    atomic_fetch_add(&door->api->in_work, 1);
    if (fiber_start(serve, request) == 0)
        return;
    request_fail(request, 503, "too much at once");
    finish(request);
}

/* Begin and end, on the API's worker */

/* Left to itself evhttp closes a connection before it takes it out of epoll: by then another thread may have
 * a file of that number. */
static struct bufferevent *new_connection(struct event_base *base, void *arg) {
    (void)arg;
    return bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
}

static struct evhttp *new_http(struct door *door, size_t body_max) {
    struct evhttp *http = evhttp_new(worker_base(rt_api(door->api->rt)));
    if (!http)
        return NULL;
    evhttp_set_timeout(http, IDLE_S);
    evhttp_set_max_headers_size(http, HEADERS_MAX + (door->local ? 1024 * 1024 : 0));
    evhttp_set_max_body_size(http, (ev_ssize_t)body_max);
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
                                         EVHTTP_REQ_DELETE);
    evhttp_set_gencb(http, accept_request, door);
    evhttp_set_bevcb(http, new_connection, NULL);
    return http;
}

static void begin(void *arg) {
    struct api *api = arg;
    if (api->socket.fd >= 0) {
        api->local.http = new_http(&api->local, api->max_message);
        if (!api->local.http || evhttp_accept_socket(api->local.http, api->socket.fd) != 0)
            log_event(api->log, LOG_ERROR, "the API can't serve its socket", "socket", api->socket.path,
                      NULL);
        else
            api->socket.fd = -1; /* evhttp closes it */
    }
    if (api->fd_count)
        api->remote.http = new_http(&api->remote, BODY_REMOTE_MAX);
    for (size_t i = 0; i < api->fd_count && api->remote.http; i++)
        if (evhttp_accept_socket(api->remote.http, api->fds[i]) == 0)
            api->fds[i] = -1;
    sem_post(&api->done);
}

static void close_doors(void *arg) {
    struct api *api = arg;
    if (api->local.http)
        evhttp_free(api->local.http);
    if (api->remote.http)
        evhttp_free(api->remote.http);
    api->local.http = api->remote.http = NULL;
    sem_post(&api->done);
}

/* The last replies are still on their way. */
static void close_doors_soon(void *arg) {
    struct api *api = arg;
    worker_after(rt_api(api->rt), LINGER_MS, close_doors, api);
}

static void run_on_worker(struct api *api, void (*fn)(void *)) {
    worker_post(rt_api(api->rt), fn, api);
    while (sem_wait(&api->done) != 0 && errno == EINTR)
        continue;
}

void api_start(struct api *api) {
    api->started = true;
    run_on_worker(api, begin);
}

/* False: requests are still in work at the deadline. */
static bool wait_idle(struct api *api) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_S;
    while (atomic_load(&api->in_work))
        if (sem_timedwait(&api->idle, &until) != 0 && errno != EINTR)
            return false;
    return true;
}

void api_stop(struct api *api) {
    if (!api->started)
        return;
    api->started = false;
    atomic_store(&api->stopping, true);
    if (api->socket.path)
        unix_socket_remove(&api->socket);
    if (wait_idle(api)) /* else their fibers hold requests, and what they use must stay */
        run_on_worker(api, close_doors_soon);
}

/* Opening */

static int open_tcp(struct api *api, const struct api_settings *settings, struct str *ret_why) {
    api->fds = arena_array(api->arena, int, settings->bind_count);
    for (size_t i = 0; i < settings->bind_count; i++) {
        const struct endpoint *at = &settings->bind[i];
        char text[IP_TEXT_SIZE];
        int bad = net_listen(&at->ip, at->port, &api->fds[i]);
        ip_text(&at->ip, text);
        if (bad) {
            *ret_why = str_printf(api->arena, "API at %s port %u: %s", text, at->port, error_text(bad));
            return bad;
        }
        api->fd_count++;
        if (ip_is_loopback(&at->ip))
            continue;
        api->open = true;
        log_event(api->log, LOG_WARNING, "the API answers others than this host, and nobody has to log in",
                  "address", text, NULL);
    }
    return 0;
}

int api_open(struct rt *rt, const struct api_settings *settings, const struct api_backend *backend,
             struct trace *trace, struct log *log, struct arena *arena, struct str *ret_why,
             struct api **ret_api) {
    struct api *api = xcalloc(1, sizeof *api);
    struct str why = STR_NULL;
    api->rt = rt;
    api->backend = backend;
    api->trace = trace;
    api->log = log;
    api->arena = arena_new(0);
    api->socket.fd = -1;
    api->max_message = settings->max_message ? settings->max_message : (size_t)64 << 20;
    api->local = (struct door){.api = api, .local = true};
    api->remote = (struct door){.api = api};
    sem_init(&api->done, 0, 0);
    sem_init(&api->idle, 0, 0);
    int bad = settings->socket ? unix_socket_open(settings->socket, api->arena, &why, &api->socket) : 0;
    if (!bad)
        bad = open_tcp(api, settings, &why);
    if (bad) {
        *ret_why = str_copy(arena, why);
        api_free(api);
        return bad;
    }
    *ret_api = api;
    return 0;
}

struct api *api_free(struct api *api) {
    if (!api)
        return NULL;
    if (api->socket.path)
        unix_socket_remove(&api->socket);
    if (api->socket.fd >= 0)
        close(api->socket.fd);
    for (size_t i = 0; i < api->fd_count; i++)
        if (api->fds[i] >= 0)
            close(api->fds[i]);
    sem_destroy(&api->done);
    sem_destroy(&api->idle);
    arena_free(api->arena);
    free(api);
    return NULL;
}
