/* The commands against a real API on a real socket, with a daemon of which only that is real; and without. */
#include "api/api.h"
#include "base/clock.h"
#include "cmd/cli.h"
#include "cmocka_setup.h"
#include "rt/worker.h"
#include "trace/trace.h"
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct daemon {
    char folder[64];
    struct arena *arena;
    const char *config, *socket, *trace_dir;
    struct rt *rt;
    struct trace *trace;
    struct api *api;
    struct api_backend backend;
    struct trace_id id;
    size_t changes;
    struct buf heard;
    struct cli cli;
    char *out, *err;
    size_t out_len, err_len;
};

static void status(void *arg, void (*add)(void *, const char *, const char *, int64_t), void *to) {
    (void)arg;
    add(to, "node", "mta01.example.net", 0);
    add(to, "waiting_recipients", NULL, 7);
}

static int queue_list(void *arg, const struct api_queue_filter *filter,
                      void (*row)(void *, const struct api_queue_entry *), void *to, struct buf *why) {
    struct daemon *d = arg;
    const struct api_queue_entry entry = {.trace_id = trace_id_str(&d->id),
                                          .sender = STR("a@b"),
                                          .recipient = STR("c@example.org"),
                                          .pool = STR("normal"),
                                          .state = STR("held"),
                                          .arrived = clock_wall_ms() - 7300000};
    (void)why;
    if (api_queue_match(filter, &entry, clock_wall_ms()))
        row(to, &entry);
    return 0;
}

static int queue_operate(void *arg, enum api_verb verb, const struct api_queue_filter *filter,
                         size_t *ret_count, struct buf *why) {
    struct daemon *d = arg;
    buf_printf(&d->heard, "%d %.*s %.*s", verb, STR_FMT(filter->trace_id), STR_FMT(filter->domain));
    buf_str(why, d->changes ? STR("") : STR("1 is being sent and was left alone"));
    *ret_count = d->changes;
    return 0;
}

static int pools(void *arg, void (*row)(void *, const struct api_pool *), void *to, struct buf *why) {
    (void)arg, (void)why;
    row(to, &(struct api_pool){.name = STR("normal"), .carries = STR("normal"), .sources = 16});
    return 0;
}

static int sources(void *arg, struct str pool, void (*row)(void *, const struct api_source *), void *to,
                   struct buf *why) {
    struct api_source source = {
        .pool = STR("normal"), .ehlo = STR("bl2.example.net"), .state = STR("healthy")};
    (void)arg, (void)why;
    assert_true(ip_parse(STR("192.0.2.17"), &source.ip));
    if (!pool.len || str_eq(pool, source.pool))
        row(to, &source);
    return 0;
}

static int reload(void *arg, struct buf *why) {
    struct daemon *d = arg;
    buf_str(why, d->changes ? STR("a.conf:3: careful\n") : STR("a.conf:1: nonsense\n"));
    return d->changes ? 0 : SLUICE_EINVALID;
}

static int take(void *arg, const struct api_submission *s, struct trace_id *ret_id, struct buf *why) {
    struct daemon *d = arg;
    buf_printf(&d->heard, "%.*s>%.*s|%.*s", STR_FMT(s->sender), STR_FMT(s->recipients[0]),
               STR_FMT(s->message));
    buf_str(why, d->changes ? STR("") : STR("550 5.7.64 Relay Access Denied"));
    *ret_id = d->id;
    return d->changes ? 0 : SLUICE_EDENIED;
}

static void serve(struct daemon *d) {
    struct str why = STR_NULL;
    struct api_settings settings = {.socket = d->socket};
    struct trace_settings trace = {.folder = d->trace_dir};
    assert_int_equal(trace_open(&trace, NULL, d->arena, &why, &d->trace), 0);
    assert_int_equal(rt_new(1, 2, NULL, &d->rt), 0);
    assert_int_equal(api_open(d->rt, &settings, &d->backend, d->trace, NULL, d->arena, &why, &d->api), 0);
    assert_int_equal(rt_start(d->rt), 0);
    api_start(d->api);
}

static void stop(struct daemon *d) {
    if (!d->api)
        return;
    api_stop(d->api);
    rt_free(d->rt);
    d->api = api_free(d->api);
    d->trace = trace_free(d->trace);
}

static int begin(void **state) {
    static struct daemon d;
    d = (struct daemon){.arena = arena_new(0), .changes = 2, .id = trace_id_new(clock_wall_ms())};
    d.backend = (struct api_backend){.arg = &d,
                                     .status = status,
                                     .queue_list = queue_list,
                                     .queue_operate = queue_operate,
                                     .pools = pools,
                                     .sources = sources,
                                     .reload = reload,
                                     .send = take};
    strcpy(d.folder, "/tmp/test-cli-XXXXXX");
    assert_non_null(mkdtemp(d.folder));
    d.config = str_printf(d.arena, "%s/sluice.conf", d.folder).at;
    d.socket = str_printf(d.arena, "%s/api.sock", d.folder).at;
    d.trace_dir = str_printf(d.arena, "%s/trace", d.folder).at;
    FILE *config =
        fopen(d.config, "w"); /* with an error: the command line must find its daemon all the same */
    fprintf(config, "state = \"%s\"\nnonsense = 1\n", d.folder);
    fclose(config);
    *state = &d;
    return 0;
}

static void empty_folder(const char *path) {
    char name[512];
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        unlink(name);
    }
    if (folder)
        closedir(folder);
    rmdir(path);
}

static int end(void **state) {
    struct daemon *d = *state;
    stop(d);
    empty_folder(d->trace_dir);
    empty_folder(d->folder);
    buf_free(&d->heard);
    arena_free(d->arena);
    return 0;
}

/* Runs `sluice -c CONFIG WORDS...`; output and errors are in d->out, d->err until the next. */
static int sluice(struct daemon *d, const char *words, const char *input) {
    static const struct cli_command *const commands[] = {&cmd_trace,  &cmd_queue,  &cmd_status, &cmd_pool,
                                                         &cmd_source, &cmd_reload, &cmd_send,   &cmd_spool,
                                                         &cmd_check,  NULL};
    const char *argv[32] = {"sluice", "-c", d->config};
    int argc = 3;
    struct str rest = str_copy(d->arena, str_of(words)), word;
    while (str_cut(&rest, ' ', &word))
        argv[argc++] = str_c(d->arena, word);
    free(d->out);
    free(d->err);
    d->cli = (struct cli){.arena = d->arena, .config = CLI_CONFIG};
    d->cli.in = input && *input ? fmemopen((void *)(uintptr_t)input, strlen(input), "r") : NULL;
    d->cli.out = open_memstream(&d->out, &d->out_len);
    d->cli.err = open_memstream(&d->err, &d->err_len);
    int code = cli_main(&d->cli, commands, argc, argv);
    fclose(d->cli.out);
    fclose(d->cli.err);
    if (d->cli.in)
        fclose(d->cli.in);
    return code;
}

static void emit(struct daemon *d) {
    struct trace_event event = {.event = TRACE_RECEIVE,
                                .time = clock_wall_ms(),
                                .trace_id = d->id,
                                .recipient = STR("c@example.org"),
                                .sender = STR("a@b"),
                                .subject = STR("hello"),
                                .pool = STR("normal")};
    assert_int_equal(trace_emit(d->trace, &event), 0);
    event.event = TRACE_DEFER;
    event.attempts = 1;
    event.reply = STR("451 4.7.1 Greylisted");
    assert_int_equal(trace_emit(d->trace, &event), 0);
    assert_int_equal(trace_flush(d->trace), 0);
}

static void free_output(struct daemon *d) {
    free(d->out);
    free(d->err);
    d->out = d->err = NULL;
}

static void test_with_daemon(void **state) {
    static const struct {
        const char *words, *input;
        int code;
        const char *out, *err;
    } cases[] = {
        {"status", "", 0, "node                 mta01.example.net\n", ""},
        {"status --json", "", 0, "{\"node\":\"mta01.example.net\",\"waiting_recipients\":7,", ""},
        {"pool", "", 0, "POOL ", ""},
        {"source --pool normal", "", 0, "192.0.2.17  normal  healthy  bl2.example.net", ""},
        {"source --pool none", "", 1, "", "no addresses in a pool of that name"},
        {"source --csv", "", 0, "ip,pool,ptr,ehlo,", ""},
        {"queue", "", 0, "2h   held", ""},
        {"queue list --json", "", 0, "\"state\":\"held\"", ""},
        {"queue list --pool relay", "", 1, "", "nothing waits"},
        {"queue --age 3h --json", "", 1, "", ""},
        {"queue --json", "", 0, "\"why\":\"451 4.7.1 Greylisted\"", ""},
        {"queue", "", 0, "451 4.7.1 Greylisted", ""},
        {"trace", "", 0, "451 4.7.1 Greylisted", ""},
        {"queue retry --domain example.org", "", 0, "2 recipients will be tried now\n", ""},
        {"queue cancel --all --json", "", 0, "{\"changed\":2,\"note\":null}\n", ""},
        {"queue show 01M81J18G0ABCDEFGHJKMNPQRS", "", 1, "", "nothing of trace id"},
        {"trace", "", 0, "hello", ""},
        {"trace --sender a@b --csv", "", 0, "S:OutboundIpPoolName=normal", ""},
        {"trace --sender nobody@b", "", 1, "", "no such message"},
        {"trace --sender nobody@b --json", "", 1, "", ""},
        {"trace --sender nobody@b --csv", "", 1, "client_ip,", ""},
        {"trace show 01M81J18G0ABCDEFGHJKMNPQRS", "", 1, "", "no message with trace id"},
        {"reload", "", 0, "the new configuration is in use", "a.conf:3: careful"},
        {"send c@d", "From: a@b\n\nhi\n", 0, "", ""},
        {"send --json -t", "From: a@b\nTo: c@d\n\nhi\n", 0, "{\"trace_id\":\"", ""},
        {"send -t", "From: a@b\n\nhi\n", 2, "", "no recipient in To"},
        {"status --socket /no/such.sock", "", 3, "", "start it"},
    };
    struct daemon *d = *state;
    serve(d);
    emit(d);
    for (size_t i = 0; i < COUNT(cases); i++) {
        int code = sluice(d, cases[i].words, cases[i].input);
        if (code != cases[i].code || !strstr(d->out, cases[i].out) || !strstr(d->err, cases[i].err))
            fail_msg("sluice %s: exit %d\n%s%s", cases[i].words, code, d->out, d->err);
        if (!cases[i].out[0])
            assert_string_equal(d->out, "");
    }
    assert_int_equal(sluice(d, str_printf(d->arena, "trace show %s", d->id.text).at, ""), 0);
    assert_non_null(strstr(d->out, "RECEIVE  accepted"));
    free_output(d);
}

static void test_the_answer_is_no(void **state) {
    static const struct {
        const char *words, *input, *out, *err;
    } cases[] = {
        {"queue hold --domain example.org", "", "0 recipients held", "1 is being sent and was left alone"},
        {"queue cancel --pool relay", "", "0 recipients cancelled", "was left alone"},
        {"queue retry --pool relay --json", "", "{\"changed\":0,", "was left alone"},
        {"reload", "", "", "a.conf:1: nonsense"},
        {"send c@d", "From: a@b\n\nhi\n", "", "550 5.7.64 Relay Access Denied"},
        {"send c@d", "From: a@b\n\nhi\n", "", "no tenant has the domain of <a@b>"},
    };
    struct daemon *d = *state;
    d->changes = 0;
    serve(d);
    for (size_t i = 0; i < COUNT(cases); i++) {
        int code = sluice(d, cases[i].words, cases[i].input);
        if (code != CLI_NO || !strstr(d->out, cases[i].out) || !strstr(d->err, cases[i].err))
            fail_msg("sluice %s: exit %d\n%s%s", cases[i].words, code, d->out, d->err);
    }
    free_output(d);
}

/* Runs as the program `sendmail`. */
static int sendmail(struct daemon *d, const char *words, const char *input) {
    const char *argv[32] = {0};
    int argc = 0;
    struct str rest = str_copy(d->arena, str_of(words)), word;
    struct cli_arguments arguments;
    while (str_cut(&rest, ' ', &word))
        argv[argc++] = str_c(d->arena, word);
    free_output(d);
    d->cli = (struct cli){.arena = d->arena, .config = d->config, .lenient = true};
    d->cli.in = fmemopen((void *)(uintptr_t)input, strlen(input), "r");
    d->cli.out = open_memstream(&d->out, &d->out_len);
    d->cli.err = open_memstream(&d->err, &d->err_len);
    int code = cli_parse(&d->cli, cmd_sendmail.options, argc, argv, &arguments);
    if (!code)
        code = cmd_sendmail.run(&d->cli, &arguments);
    fclose(d->cli.out);
    fclose(d->cli.err);
    fclose(d->cli.in);
    return code;
}

static void test_sendmail(void **state) {
    static const struct {
        const char *words;
        int code;
        const char *heard, *out, *err;
    } cases[] = {
        {"-oem -odi -oi -f x@y c@d", 0, "x@y>c@d|", "", ""},
        {"-C /etc/mail/x.cf -N never -R hdrs -V id -B 8BITMIME -h 3 -X /log -O A=b -L tag c@d", 0, "a@b>c@d|",
         "", ""},
        {"-q30m -Am -G -U -n -J17 -r x@y -i -bm c@d", 0, "x@y>c@d|", "", ""},
        {"-q", 0, "", "", ""},
        {"-q -v", 0, "", "", ""},
        {"-bp", 0, "", "c@example.org", ""},
        {"-bs", 2, "", "", "speaks no SMTP on its standard input"},
        {"-bd", 2, "", "", "-bd: this sendmail only takes mail in"},
        {"--blurb c@d", 2, "", "", "no such option: --blurb"},
    };
    struct daemon *d = *state;
    serve(d);
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&d->heard);
        int code = sendmail(d, cases[i].words, "From: a@b\n\nhi\n");
        bool heard =
            cases[i].heard[0] ? str_starts(buf_view(&d->heard), str_of(cases[i].heard)) : !d->heard.len;
        if (code != cases[i].code || !heard || !strstr(d->out, cases[i].out) || !strstr(d->err, cases[i].err))
            fail_msg("sendmail %s: exit %d, heard %s\n%s%s", cases[i].words, code, buf_c(&d->heard), d->out,
                     d->err);
    }
    free_output(d);
}

static void test_what_the_daemon_hears(void **state) {
    struct daemon *d = *state;
    serve(d);
    assert_int_equal(sluice(d, str_printf(d->arena, "queue hold %s", d->id.text).at, ""), 0);
    assert_string_equal(buf_c(&d->heard), str_printf(d->arena, "%d %s ", API_HOLD, d->id.text).at);
    buf_clear(&d->heard);
    assert_int_equal(sluice(d, "send -f <> -- c@d", "Subject: x\nBcc: secret@d\n\n.\nhi\n"), 0);
    assert_string_equal(buf_c(&d->heard), ">c@d|Subject: x\r\n\r\n.\r\nhi\r\n");
    free_output(d);
}

/* Without a daemon what is on disk can still be read. */
static void test_without_daemon(void **state) {
    struct daemon *d = *state;
    assert_int_equal(sluice(d, "trace", ""), CLI_UNREACHABLE);
    assert_int_equal(sluice(d, "status", ""), CLI_UNREACHABLE);
    assert_non_null(strstr(d->err, "no daemon runs here"));
    serve(d);
    emit(d);
    stop(d);
    assert_int_equal(sluice(d, "trace --json", ""), 0);
    assert_non_null(strstr(d->out, d->id.text));
    assert_non_null(strstr(d->err, "no daemon answers"));
    assert_int_equal(sluice(d, str_printf(d->arena, "trace show %s", d->id.text).at, ""), 0);
    assert_non_null(strstr(d->out, "hello"));
    assert_int_equal(sluice(d, "trace show 01M81J18G0ABCDEFGHJKMNPQRS", ""), CLI_NO);
    free_output(d);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(test_with_daemon),           CASE(test_the_answer_is_no), CASE(test_sendmail),
        CASE(test_what_the_daemon_hears), CASE(test_without_daemon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
