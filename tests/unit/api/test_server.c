#include "api/api.h"
#include "api/client.h"
#include "base/clock.h"
#include "cmocka_setup.h"
#include "rt/fiber.h"
#include "rt/net.h"
#include "trace/trace.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <poll.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A daemon of which only the API is real. */
struct fake {
    char folder[64], socket[128];
    uint16_t port;
    struct arena *arena;
    struct rt *rt;
    struct trace *trace;
    struct api *api;
    struct api_backend backend;
    enum api_verb verb;
    struct buf heard; /* what the backend was asked */
    _Atomic bool slow_entered, slow_may_end, slow_left;
};

static void status(void *arg, void (*add)(void *, const char *, const char *, int64_t), void *to) {
    (void)arg;
    add(to, "version", "0.1.0", 0);
    add(to, "waiting", NULL, 7);
    add(to, "identity_worst", "contoso.com spf-missing", 0);
}

static int queue_list(void *arg, const struct api_queue_filter *filter,
                      void (*row)(void *, const struct api_queue_entry *), void *to, struct buf *why) {
    struct fake *fake = arg;
    const struct api_queue_entry entries[] = {
        {.trace_id = STR("01M81J18G0ABCDEFGHJKMNPQRS"),
         .recipient = STR("b@example.net"),
         .class = CLASS_RELAY,
         .pool = STR("relay"),
         .state = STR("waiting"),
         .arrived = 1795348800000,
         .attempts = 2},
        {.trace_id = STR("01M81J18G0ABCDEFGHJKMNPQRT"),
         .sender = STR("a@b"),
         .recipient = STR("c@example.org"),
         .pool = STR("normal"),
         .state = STR("held"),
         .arrived = 1795348800000},
    };
    if (str_eq(filter->pool, STR("slow"))) {
        fake->slow_entered = true;
        for (int i = 0; i < 500 && !fake->slow_may_end; i++)
            (void)fiber_sleep(10);
        fake->slow_left = true;
    }
    if (str_eq(filter->pool, STR("broken"))) {
        buf_str(why, STR("the queue is on fire"));
        return SLUICE_EIO;
    }
    for (size_t i = 0; i < COUNT(entries); i++)
        if (api_queue_match(filter, &entries[i], 1795348800000))
            row(to, &entries[i]);
    return 0;
}

static int queue_operate(void *arg, enum api_verb verb, const struct api_queue_filter *filter,
                         size_t *ret_count, struct buf *why) {
    struct fake *fake = arg;
    (void)why;
    fake->verb = verb;
    buf_printf(&fake->heard, "%.*s", STR_FMT(filter->sender));
    *ret_count = 3;
    return 0;
}

static int pools(void *arg, void (*row)(void *, const struct api_pool *), void *to, struct buf *why) {
    (void)arg, (void)why;
    row(to, &(struct api_pool){
                .name = STR("normal"), .carries = STR("normal"), .spf = STR("published"), .sources = 16});
    return 0;
}

static int source(void *arg, const struct ip *ip, struct arena *arena, struct api_source_detail *ret,
                  struct buf *why) {
    static const struct api_source_list lists[] = {
        {.list = STR("The \"List\""),
         .zone = STR("bl.test"),
         .state = STR("listed"),
         .text = STR("\xff no UTF-8"),
         .removal = STR("https://bl.test/?192.0.2.1"),
         .rests = true,
         .since = 1795348800000},
        {.list = STR("Other"), .zone = STR("o.test"), .state = STR("clear"), .answered = 1795348800000},
    };
    static const struct api_source_event event = {STR("source-listed"), STR("a\nb"), 1795348800000, 0, 3};
    static const struct api_source_change change = {1795348800000, STR("rests"), STR("listed"), STR("")};
    (void)arg, (void)arena;
    if (!ip_is_v4(ip)) {
        buf_str(why, STR("none of ours"));
        return SLUICE_ENOTFOUND;
    }
    *ret = (struct api_source_detail){.source = {.ip = *ip,
                                                 .pool = STR("normal"),
                                                 .state = STR("resting"),
                                                 .why = STR("listed"),
                                                 .listed = 1},
                                      .causes = STR("listed"),
                                      .lists = lists,
                                      .list_count = COUNT(lists),
                                      .changes = &change,
                                      .change_count = 1,
                                      .events = &event,
                                      .event_count = 1};
    ret->fcrdns.state = STR("confirmed");
    ret->fcrdns.name = STR("mail.example.net");
    return 0;
}

static int reload(void *arg, struct buf *why) {
    struct fake *fake = arg;
    bool good = fake->heard.len == 0;
    buf_str(why, good ? STR("a.conf:3: careful") : STR("a.conf:1: bad\na.conf:2: \"worse\"\n"));
    return good ? 0 : SLUICE_EINVALID;
}

static int take(void *arg, const struct api_submission *s, struct trace_id *ret_id, struct buf *why) {
    struct fake *fake = arg;
    if (str_eq(s->sender, STR("mallory@example.org"))) {
        buf_str(why, STR("550 5.7.1 Not your address"));
        return SLUICE_EDENIED;
    }
    buf_printf(&fake->heard, "%.*s>", STR_FMT(s->sender));
    for (size_t i = 0; i < s->recipient_count; i++)
        buf_printf(&fake->heard, "%.*s,", STR_FMT(s->recipients[i]));
    buf_printf(&fake->heard, "%.*s|%zu|%.*s", STR_FMT(s->user), s->message.len,
               STR_FMT(str_head(s->message, 20)));
    strcpy(ret_id->text, "01M81J18G0ABCDEFGHJKMNPQRS");
    return 0;
}

static int senders(void *arg, bool tenants, struct str tenant, void (*row)(void *, const struct api_sender *),
                   void *to, struct buf *why) {
    (void)arg, (void)why;
    row(to, &(struct api_sender){.name = tenants ? STR("contoso") : STR("bob@contoso.com"),
                                 .kind = tenants ? STR("tenant") : STR("sender"),
                                 .tenant = tenant,
                                 .state = STR("restricted"),
                                 .since = 1795348800000,
                                 .spam_per_mille = 953});
    return 0;
}

static int sender(void *arg, const struct api_sender_query *query,
                  void (*row)(void *, const struct api_standing *), void *to, struct buf *why) {
    static const struct api_limit limits[] = {{{"per-day", 7}, {"recipients", 10}, 3, 1000}};
    (void)arg;
    if (str_eq(query->name, STR("nobody"))) {
        buf_str(why, STR("nobody: no tenant has a user of that name"));
        return SLUICE_ENOTFOUND;
    }
    row(to, &(struct api_standing){.sender = {.name = query->name, .recipients = query->external},
                                   .policy = query->from,
                                   .limits = limits,
                                   .limit_count = 1});
    return 0;
}

static int sender_change(void *arg, const struct api_sender_change *change,
                         void (*row)(void *, const struct api_sender *), void *to, struct buf *why) {
    struct fake *fake = arg;
    if (change->verb == API_SENDER_RELEASE) {
        buf_str(why, STR("it isn't restricted"));
        return SLUICE_EEXISTS;
    }
    buf_printf(&fake->heard, "%d %.*s %.*s %s %lld", (int)change->verb, STR_FMT(change->name),
               STR_FMT(change->reason), change->by.len ? "known" : "unknown", (long long)change->until);
    row(to, &(struct api_sender){.name = change->name});
    return 0;
}

static const struct api_sender_calls sender_calls = {senders, sender, sender_change};

static void metrics(void *arg, void (*add)(void *, const struct api_metric *), void *to) {
    (void)arg;
    add(to, &(struct api_metric){"sluice_queue", "Recipients that wait.", false, "pool", STR("a\"b\\"), 5});
    add(to, &(struct api_metric){"sluice_queue", "Recipients that wait.", false, "pool", STR("c"), 6});
}

static uint16_t free_port(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static int begin(void **state) {
    static struct fake fake;
    struct str why = STR_NULL;
    fake = (struct fake){.arena = arena_new(0), .port = free_port()};
    fake.backend = (struct api_backend){.arg = &fake,
                                        .status = status,
                                        .queue_list = queue_list,
                                        .queue_operate = queue_operate,
                                        .pools = pools,
                                        .source = source,
                                        .reload = reload,
                                        .send = take,
                                        .senders = &sender_calls,
                                        .metrics = metrics};
    strcpy(fake.folder, "/tmp/test-api-XXXXXX");
    assert_non_null(mkdtemp(fake.folder));
    snprintf(fake.socket, sizeof fake.socket, "%s/api.sock", fake.folder);
    struct endpoint tcp = {.port = fake.port};
    assert_true(ip_parse(STR("127.0.0.1"), &tcp.ip));
    struct api_settings settings = {
        .socket = fake.socket, .bind = &tcp, .bind_count = 1, .max_message = 300000};
    struct trace_settings trace = {.folder = fake.folder};
    assert_int_equal(trace_open(&trace, NULL, fake.arena, &why, &fake.trace), 0);
    assert_int_equal(rt_new(1, 2, NULL, &fake.rt), 0);
    assert_int_equal(
        api_open(fake.rt, &settings, &fake.backend, fake.trace, NULL, fake.arena, &why, &fake.api), 0);
    assert_int_equal(rt_start(fake.rt), 0);
    api_start(fake.api);
    *state = &fake;
    return 0;
}

static void empty_folder(const char *path) {
    char name[512];
    DIR *folder = opendir(path);
    for (struct dirent *entry; (entry = readdir(folder));) {
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        unlink(name);
    }
    closedir(folder);
    rmdir(path);
}

static int end(void **state) {
    struct fake *fake = *state;
    api_stop(fake->api);
    rt_free(fake->rt);
    api_free(fake->api);
    trace_free(fake->trace);
    assert_int_not_equal(access(fake->socket, F_OK), 0);
    empty_folder(fake->folder);
    buf_free(&fake->heard);
    arena_free(fake->arena);
    return 0;
}

static struct api_reply ask(struct fake *fake, const char *method, const char *target, struct str body) {
    struct api_reply reply = {0};
    assert_int_equal(api_call(fake->socket, method, str_of(target), body, 10000, fake->arena, &reply), 0);
    return reply;
}

static void has(struct str text, const char *part) {
    if (str_find(text, str_of(part)) < 0)
        fail_msg("\"%s\" is not in \"%.*s\"", part, STR_FMT(text));
}

static void test_answers(void **state) {
    static const struct {
        const char *method, *target;
        int status;
        const char *part;
    } cases[] = {
        {"GET", "/healthz", 200, "ok\n"},
        {"GET", "/v1/status", 200,
         "{\"version\":\"0.1.0\",\"waiting\":7,\"identity_worst\":\"contoso.com "
         "spf-missing\",\"trace_emitted\":0,"},
        {"GET", "/v1/pools", 200, "\"pool\":\"normal\",\"site\":null,"},
        {"GET", "/v1/sources", 501, "no sources"},
        {"GET", "/v1/sources/192.0.2.1", 200,
         "{\"ip\":\"192.0.2.1\",\"pool\":\"normal\",\"site\":null,\"carries\":null,\"ptr\":null,\"ehlo\":"
         "null,"
         "\"state\":\"resting\",\"causes\":\"listed\",\"why\":\"listed\",\"until\":null,"},
        {"GET", "/v1/sources/192.0.2.1", 200,
         "\"fcrdns\":{\"state\":\"confirmed\",\"name\":\"mail.example.net\",\"why\":null,"},
        {"GET", "/v1/sources/192.0.2.1", 200,
         "\"lists\":[{\"list\":\"The "
         "\\\"List\\\"\",\"zone\":\"bl.test\",\"state\":\"listed\",\"text\":null,"},
        {"GET", "/v1/sources/192.0.2.1", 200,
         "\"alerts\":[{\"alert\":\"source-listed\",\"began\":\"2026-11-22T12:00:00.000Z\",\"ended\":null,"
         "\"count\":3,\"text\":\"a\\nb\"}],\"history\":[{"
         "\"time\":\"2026-11-22T12:00:00.000Z\",\"event\":\"rests\",\"by\":\"listed\",\"text\":null}]}\n"},
        {"GET", "/v1/sources/2001:db8::1", 404, "none of ours"},
        {"GET", "/v1/sources/192.0.2", 400, "192.0.2 is no address"},
        {"GET", "/v1/sources/192.0.2.1?x=1", 400, "no such parameter"},
        {"POST", "/v1/sources/192.0.2.1", 405, "POST is not"},
        {"GET", "/v1/queue", 200, "\"sender\":\"<>\",\"recipient\":\"b@example.net\""},
        {"GET", "/v1/queue?pool=normal", 200, "\"state\":\"held\""},
        {"GET", "/v1/senders?tenant=contoso", 200,
         "{\"name\":\"bob@contoso.com\",\"kind\":\"sender\",\"tenant\":\"contoso\",\"state\":"
         "\"restricted\","},
        {"GET", "/v1/senders?kind=tenant", 200, "{\"name\":\"contoso\",\"kind\":\"tenant\","},
        {"GET", "/v1/senders", 200, "\"until\":null,\"by\":null,"},
        {"GET", "/v1/senders?name=x", 400, "no such parameter"},
        {"GET", "/v1/sender?name=a%40b&external=3&from=c%40d", 200,
         "\"recipients\":3,\"unknown\":0,\"destinations\":0,\"refusals\":0,\"policy\":\"c@d\","},
        {"GET", "/v1/sender?name=a%40b", 200,
         "\"limits\":[{\"limit\":\"per-day\",\"counts\":\"recipients\",\"used\":3,\"most\":1000}],"},
        {"GET", "/v1/sender?name=nobody", 404, "no tenant has a user of that name"},
        {"GET", "/v1/sender", 400, "name is wanted"},
        {"GET", "/v1/sender?name=a&external=many", 400, "external: a number is wanted"},
        {"POST", "/v1/sender/release?name=a", 409, "it isn't restricted"},
        {"POST", "/v1/sender/restrict", 400, "name is wanted"},
        {"POST", "/v1/sender/restrict?name=a&until=2d", 400, "no such parameter: until"},
        {"POST", "/v1/sender/allow?name=a&until=soon", 400, "until: a time"},
        {"GET", "/v1/sender/allow?name=a", 405, "GET is not"},
        {"GET", "/v1/queue?pool=broken", 503, "the queue is on fire"},
        {"GET", "/v1/queue?colour=red", 400, "no such parameter: colour"},
        {"GET", "/v1/queue?older=x", 400, "older: an age is wanted"},
        {"GET", "/v1/queue/01M81J18G0ABCDEFGHJKMNPQRS", 200, "\"attempts\":2"},
        {"GET", "/v1/queue/01M81J18G0ABCDEFGHJKMNPQZZ", 404, "waits"},
        {"GET", "/v1/queue/retry", 404, "waits"},
        {"POST", "/v1/queue/retry?all=1", 200, "{\"changed\":3,\"note\":null}"},
        {"POST", "/v1/queue/cancel", 400, "say which"},
        {"POST", "/v1/queue/cancel?limit=5", 400, "say which"},
        {"POST", "/v1/queue/explode?all=1", 405, "POST"},
        {"PUT", "/v1/queue", 405, "PUT is not"},
        {"GET", "/v1/reload", 405, "GET"},
        {"GET", "/", 404, "no such path: /"},
        {"GET", "/v1/trace/01M81J18G0ABCDEFGHJKMNPQRS", 404, "no message"},
        {"GET", "/v1/trace/../../etc/passwd", 404, "no such path"},
        {"GET", "/v1/trace?since=soon", 400, "since: a time"},
        {"GET", "/v1/trace?after=rubbish", 400, "after: not a cursor"},
        {"GET", "/v1/trace", 200, ""},
        {"GET", "/metrics", 200,
         "# HELP sluice_queue Recipients that wait.\n# TYPE sluice_queue gauge\n"
         "sluice_queue{pool=\"a\\\"b\\\\\"} 5\nsluice_queue{pool=\"c\"} 6\n"},
    };
    struct fake *fake = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct api_reply reply = ask(fake, cases[i].method, cases[i].target, STR_NULL);
        has(reply.body, cases[i].part);
        assert_int_equal(reply.status, cases[i].status);
        assert_int_equal(api_reply_error(&reply, fake->arena).len > 0, reply.status != 200);
    }
}

/* What was emitted before a query is in its answer; pages follow each other by the cursor. */
static void test_trace(void **state) {
    struct fake *fake = *state;
    struct trace_id first;
    for (unsigned i = 0; i < 5; i++) {
        struct trace_id id = trace_id_new(clock_wall_ms());
        first = i ? first : id;
        struct trace_event event = {.event = TRACE_RECEIVE,
                                    .time = clock_wall_ms(),
                                    .trace_id = id,
                                    .recipient = STR("w\xc3\xb6rld@example.net"),
                                    .subject = STR("50% off")};
        assert_int_equal(trace_emit(fake->trace, &event), 0);
        struct api_reply reply = ask(fake, "GET", "/v1/trace?subject=50%25", STR_NULL);
        assert_int_equal(reply.status, 200);
        has(reply.body, id.text);
    }
    struct buf target __attribute__((cleanup(buf_free))) = {0};
    size_t pages = 0, rows = 0;
    struct str next = STR_NULL;
    do {
        buf_clear(&target);
        buf_str(&target, STR("/v1/trace?limit=2"));
        if (next.len)
            api_target_add(&target, "after", next);
        struct api_reply reply = ask(fake, "GET", buf_c(&target), STR_NULL);
        struct str body = reply.body, line;
        while (str_cut(&body, '\n', &line))
            rows += line.len > 0;
        next = reply.next;
        pages++;
    } while (next.len);
    assert_int_equal(rows, 5);
    assert_int_equal(pages, 3);
    struct api_reply reply =
        ask(fake, "GET", str_printf(fake->arena, "/v1/trace/%s", first.text).at, STR_NULL);
    has(reply.body, "\"event\":\"RECEIVE\"");
}

static void test_operations(void **state) {
    static const struct {
        const char *name;
        enum api_verb verb;
    } cases[] = {{"retry", API_RETRY}, {"hold", API_HOLD}, {"release", API_RELEASE}, {"cancel", API_CANCEL}};
    struct fake *fake = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&fake->heard);
        struct buf target __attribute__((cleanup(buf_free))) = {0};
        buf_printf(&target, "/v1/queue/%s", cases[i].name);
        api_target_add(&target, "sender", STR("o'b+c&d=%20@contoso.com"));
        assert_int_equal(ask(fake, "POST", buf_c(&target), STR_NULL).status, 200);
        assert_int_equal(fake->verb, cases[i].verb);
        assert_string_equal(buf_c(&fake->heard), "o'b+c&d=%20@contoso.com");
    }
}

/* By whom is the kernel's word; times are a length, a day or a moment. */
static void test_senders(void **state) {
    static const struct {
        const char *target, *heard;
    } cases[] = {
        {"/v1/sender/restrict?name=a%40b&reason=stolen%20password", "0 a@b stolen password known 0"},
        {"/v1/sender/allow?name=a%40b", "2 a@b  known 9223372036854775807"},
        {"/v1/sender/allow?name=a%40b&until=now", "2 a@b  known 0"},
        {"/v1/sender/allow?name=a%40b&until=2026-11-22", "2 a@b  known 1795305600000"},
        {"/v1/sender/allow?name=a%40b&until=2026-11-22T12:00:00Z", "2 a@b  known 1795348800000"},
    };
    struct fake *fake = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&fake->heard);
        struct api_reply reply = ask(fake, "POST", cases[i].target, STR_NULL);
        assert_int_equal(reply.status, 200);
        has(reply.body, "{\"name\":\"a@b\"");
        assert_string_equal(str_c(fake->arena, buf_view(&fake->heard)), cases[i].heard);
    }
}

static void test_reload(void **state) {
    struct fake *fake = *state;
    struct api_reply reply = ask(fake, "POST", "/v1/reload", STR_NULL);
    assert_int_equal(reply.status, 200);
    assert_true(str_eq(reply.body, STR("{\"reloaded\":true,\"warnings\":[\"a.conf:3: careful\"]}\n")));
    buf_char(&fake->heard, 'x');
    reply = ask(fake, "POST", "/v1/reload", STR_NULL);
    assert_int_equal(reply.status, 422);
    has(reply.body, "\"errors\":[\"a.conf:1: bad\",\"a.conf:2: \\\"worse\\\"\"]");
}

static void test_send(void **state) {
    struct fake *fake = *state;
    const char *user = getpwuid(getuid()) ? getpwuid(getuid())->pw_name : "?";
    struct str message = STR("Subject: hi\r\n\r\n.\r\nbye\r\n");
    struct api_reply reply = ask(fake, "POST", "/v1/send?from=a@b&to=c%40d&to=e@f", message);
    assert_int_equal(reply.status, 200);
    assert_true(str_eq(reply.body, STR("{\"trace_id\":\"01M81J18G0ABCDEFGHJKMNPQRS\"}\n")));
    assert_true(str_eq(buf_view(&fake->heard), str_printf(fake->arena, "a@b>c@d,e@f,%s|%zu|%.*s", user,
                                                          message.len, STR_FMT(str_head(message, 20)))));
    buf_clear(&fake->heard);
    assert_int_equal(ask(fake, "POST", "/v1/send?from=&to=c@d", message).status, 200);
    assert_true(str_starts(buf_view(&fake->heard), STR(">c@d,")));
    assert_int_equal(ask(fake, "POST", "/v1/send?to=c@d", message).status, 400);
    assert_int_equal(ask(fake, "POST", "/v1/send?from=a@b", message).status, 400);
    assert_int_equal(ask(fake, "POST", "/v1/send?from=a@b&to=c@d", STR_NULL).status, 400);
    reply = ask(fake, "POST", "/v1/send?from=mallory@example.org&to=c@d", message);
    assert_int_equal(reply.status, 422);
    assert_true(str_eq(api_reply_error(&reply, fake->arena), STR("550 5.7.1 Not your address")));
    char *large = calloc(1, 400000);
    assert_int_equal(ask(fake, "POST", "/v1/send?from=a@b&to=c@d", str_from(large, 400000)).status, 413);
    free(large);
}

static int connect_tcp(const struct fake *fake) {
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(fake->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* Nothing that changes or names people is served where nobody authenticates. */
static void test_tcp_is_read_only(void **state) {
    static const struct {
        const char *request;
        int status;
    } cases[] = {
        {"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:80\r\nConnection: close\r\n\r\n", 200},
        {"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200},
        {"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200},
        {"GET /v1/status HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n", 200},
        {"GET /v1/trace HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 403},
        {"GET /v1/queue HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 403},
        {"GET /v1/senders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 403},
        {"POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
         403},
        {"POST /v1/queue/cancel?all=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: "
         "0\r\n\r\n",
         403},
        {"POST /v1/send?from=a@b&to=c@d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: "
         "1\r\n\r\nx",
         403},
        {"GET /v1/status HTTP/1.1\r\nHost: rebound.example.org\r\nConnection: close\r\n\r\n", 403},
        {"nonsense\r\n\r\n", 400},
    };
    struct fake *fake = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char reply[4096] = "";
        int status_code = 0;
        int fd = connect_tcp(fake);
        assert_true(write(fd, cases[i].request, strlen(cases[i].request)) > 0);
        size_t len = 0;
        for (ssize_t got = 1; got > 0 && len<sizeof reply - 1; len += got> 0 ? (size_t)got : 0)
            got = read(fd, reply + len, sizeof reply - 1 - len);
        assert_int_equal(sscanf(reply, "HTTP/1.%*d %d", &status_code), 1);
        assert_int_equal(status_code, cases[i].status);
        assert_null(strstr(reply, "contoso.com"));
        close(fd);
    }
    assert_int_equal(fake->heard.len, 0);
}

static void await(const _Atomic bool *event) {
    for (int i = 0; i < 10000 && !*event; i++)
        (void)poll(NULL, 0, 1);
    assert_true(*event);
}

/* A client that goes away while its request is worked on harms nobody. */
static void test_client_leaves(void **state) {
    static const char request[] = "GET /v1/queue?pool=slow HTTP/1.1\r\nHost: x\r\n\r\n";
    struct fake *fake = *state;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(at.sun_path, fake->socket);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(write(fd, request, sizeof request - 1), sizeof request - 1);
    await(&fake->slow_entered);
    close(fd);
    assert_int_equal(ask(fake, "GET", "/healthz", STR_NULL).status, 200);
    fake->slow_may_end = true;
    await(&fake->slow_left);
    assert_int_equal(ask(fake, "GET", "/healthz", STR_NULL).status, 200);
}

static void test_socket_file(void **state) {
    struct fake *fake = *state;
    struct stat found;
    struct str why = STR_NULL;
    struct api *other = NULL;
    struct api_settings settings = {.socket = fake->socket};
    assert_int_equal(stat(fake->socket, &found), 0);
    assert_int_equal(found.st_mode & 07777, 0660);
    /* answered: in use, and it still works afterwards */
    assert_int_equal(api_open(fake->rt, &settings, &fake->backend, NULL, NULL, fake->arena, &why, &other),
                     SLUICE_EBUSY);
    has(why, "another daemon answers");
    assert_int_equal(ask(fake, "GET", "/healthz", STR_NULL).status, 200);
    /* no socket: left alone */
    settings.socket = str_printf(fake->arena, "%s/file", fake->folder).at;
    FILE *file = fopen(settings.socket, "w");
    fclose(file);
    assert_int_equal(api_open(fake->rt, &settings, &fake->backend, NULL, NULL, fake->arena, &why, &other),
                     SLUICE_EEXISTS);
    /* stale: replaced */
    settings.socket = str_printf(fake->arena, "%s/stale", fake->folder).at;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(at.sun_path, settings.socket);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    close(fd);
    assert_int_equal(api_open(fake->rt, &settings, &fake->backend, NULL, NULL, fake->arena, &why, &other), 0);
    api_free(other);
    assert_int_not_equal(access(settings.socket, F_OK), 0);
    /* too long for a socket */
    char *path = arena_alloc(fake->arena, 200);
    memset(path, 'x', 199);
    settings.socket = path;
    assert_int_equal(api_open(fake->rt, &settings, &fake->backend, NULL, NULL, fake->arena, &why, &other),
                     SLUICE_ETOOBIG);
    /* nobody there */
    struct api_reply reply;
    assert_int_equal(api_call("/tmp/no/such.sock", "GET", STR("/"), STR_NULL, 100, fake->arena, &reply),
                     SLUICE_ENOTFOUND);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(test_answers),          CASE(test_trace),         CASE(test_operations),
        CASE(test_senders),          CASE(test_reload),        CASE(test_send),
        CASE(test_tcp_is_read_only), CASE(test_client_leaves), CASE(test_socket_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
