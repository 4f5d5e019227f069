#include "api/object.h"
#include "api/request.h"
#include "rt/fiber.h"
#include "trace/text.h"
#include <event2/bufferevent.h>
#include <pwd.h>
#include <sys/socket.h>

/* ["first", "second"] of the lines of a text. */
static void add_lines(struct buf *out, const char *name, struct str text) {
    struct str line;
    const char *separator = "";
    buf_printf(out, ",\"%s\":[", name);
    while (str_cut(&text, '\n', &line)) {
        if (!line.len)
            continue;
        buf_str(out, str_of(separator));
        trace_json_string(out, line);
        separator = ",";
    }
    buf_char(out, ']');
}

void action_reload(struct request *request) {
    static const char *const none[] = {NULL};
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    if (!request_knows_only(request, none))
        return;
    if (!backend->reload) {
        request_fail(request, 501, "this daemon can't reload");
        return;
    }
    int bad = backend->reload(backend->arg, &why);
    struct buf *out = &request->out;
    object_open(out);
    object_bool(out, "reloaded", !bad);
    if (bad) {
        object_text(out, "error", STR("the new configuration has errors; the old one stays in use"));
        request->status = 422;
    }
    add_lines(out, bad ? "errors" : "warnings", buf_view(&why));
    object_close(out);
}

struct peer {
    uid_t uid;
    struct arena *arena;
    struct str name;
};

static void find_name(void *arg) {
    struct peer *peer = arg;
    struct passwd entry, *found = NULL;
    char text[4096];
    if (getpwuid_r(peer->uid, &entry, text, sizeof text, &found) == 0 && found)
        peer->name = str_copy(peer->arena, str_of(entry.pw_name));
    else
        peer->name = str_printf(peer->arena, "uid%u", (unsigned)peer->uid);
}

struct str request_peer(struct request *request) {
    struct evhttp_connection *connection = evhttp_request_get_connection(request->http);
    struct bufferevent *stream = connection ? evhttp_connection_get_bufferevent(connection) : NULL;
    struct ucred who;
    socklen_t len = sizeof who;
    if (!stream || getsockopt(bufferevent_getfd(stream), SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
        return STR_NULL;
    struct peer peer = {.uid = who.uid, .arena = request->arena};
    offload(find_name, &peer);
    return peer.name;
}

void action_send(struct request *request) {
    static const char *const names[] = {"from", "to", NULL};
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    struct str *recipients = arena_array(request->arena, struct str, request->parameter_count + 1);
    struct api_submission submission = {.recipients = recipients, .message = request->body};
    struct trace_id id;
    if (!request_knows_only(request, names))
        return;
    if (!backend->send) {
        request_fail(request, 501, "this daemon takes no mail here");
        return;
    }
    for (size_t i = 0; i < request->parameter_count; i++)
        if (str_eq(request->parameters[i].name, STR("to")))
            recipients[submission.recipient_count++] = request->parameters[i].value;
    submission.sender = request_parameter(request, "from");
    if (!submission.sender.at || !submission.recipient_count || !submission.message.len) {
        request_fail(request, 400, "from, at least one to, and a message are wanted");
        return;
    }
    submission.user = request_peer(request);
    if (!submission.user.len) {
        request_fail(request, 400, "who sends this can't be told");
        return;
    }
    int bad = backend->send(backend->arg, &submission, &id, &why);
    if (bad) {
        request_fail_with(request, bad, buf_view(&why));
        return;
    }
    object_open(&request->out);
    object_text(&request->out, "trace_id", trace_id_str(&id));
    object_close(&request->out);
}
