/* Whole sessions against a milter that says what a table has it say; over memory. */
#include "base/error.h"
#include "cmocka_setup.h"
#include "rt/stream.h"
#include "scan/milter.h"
#include <stdio.h>

enum { PACKETS = 16, MILTERS = 2, CONNECTIONS = 4 };

#define ALL_BUT_END                                                                                          \
    (MILTER_NO_CONNECT | MILTER_NO_HELO | MILTER_NO_MAIL | MILTER_NO_RCPT | MILTER_NO_DATA |                 \
     MILTER_NO_HEADERS | MILTER_NO_END_OF_HEADER | MILTER_NO_BODY)

struct packet {
    char command;
    struct str data;
};
/* What a milter says on one of its connections. */
struct script {
    bool unreachable;
    uint32_t actions, steps;
    struct packet says[PACKETS];
    struct str raw; /* instead of all of it */
};
struct story {
    const char *name;
    struct script first[CONNECTIONS], second[CONNECTIONS]; /* of two milters */
    unsigned milters, connections;                         /* of the first */
    enum milter_on_failure on_failure;
    unsigned rcpts;            /* 0: one */
    unsigned refused_rcpts;    /* told of before the others */
    unsigned messages;         /* 0: one; a refused or discarded one is no end */
    const char *outcome;       /* "", or where it was refused and how; several messages: separated by " | " */
    const char *header, *body; /* of the last; NULL: not looked at */
    const char *envelope;      /* changes, held */
    unsigned failures, worked;
    const char *heard; /* the commands that the first milter heard on its last connection */
};

#define HEADER "Subject: one\r\nX-A: 1\r\nX-B: folded\r\n value\r\nX-A: 2\r\n"
#define BODY "line\r\n"
#define MAY_ALL MILTER_ACTIONS
#define END(...)                                                                                             \
    {                                                                                                        \
        {                                                                                                    \
            .actions = MAY_ALL, .steps = ALL_BUT_END, .says = { __VA_ARGS__, {'c', STR("")} }                \
        }                                                                                                    \
    }
#define STEPS_BUT(step) (ALL_BUT_END & ~(uint32_t)(step))
#define AT(step, ...)                                                                                        \
    {                                                                                                        \
        {                                                                                                    \
            .actions = MAY_ALL, .steps = STEPS_BUT(step), .says = { __VA_ARGS__ }                            \
        }                                                                                                    \
    }
#define LATER "451 4.7.1 Service unavailable - try again later"
#define NEVER "550 5.7.1 Command rejected"
#define CONTINUE                                                                                             \
    { 'c', STR("") }

static const struct story stories[] = {
    {"content with everything",
     AT(ALL_BUT_END, CONTINUE, CONTINUE, CONTINUE, CONTINUE, CONTINUE, CONTINUE, CONTINUE, CONTINUE, CONTINUE,
        CONTINUE, CONTINUE, CONTINUE),
     .outcome = "", .header = HEADER, .body = BODY, .envelope = "", .worked = 1,
     .heard = "ODCDHDMDRDTLLLLDNBDEQ"},
    {"asked for the end only", AT(0, CONTINUE), .outcome = "", .header = HEADER, .worked = 1,
     .heard = "ODDDDDDDEQ"},
    {"silent steps",
     {{.steps = 0xff080, .says = {CONTINUE}}},
     .outcome = "",
     .worked = 1,
     .heard = "ODCDHDMDRDTLLLLDNBDEQ"},
    {"an old one is not told of DATA",
     {{.raw = STR("\0\0\0\x0dO\0\0\0\2\0\0\0\0\0\0\0\x7f\0\0\0\1c")}},
     .outcome = "",
     .worked = 1,
     .heard = "ODDDDDDDEQ"},
    /* refusals */
    {"rejects the connection", AT(MILTER_NO_CONNECT, {'r', STR("")}), .outcome = "connect: " NEVER,
     .heard = "ODCQ"},
    {"rejects HELO", AT(MILTER_NO_HELO, {'y', STR("554 5.7.1 No\0")}), .outcome = "helo: 554 5.7.1 No",
     .heard = "ODDHQ"},
    {"rejects MAIL", AT(MILTER_NO_MAIL, {'r', STR("")}), .outcome = "mail: " NEVER, .heard = "ODDDMAQ"},
    {"tempfails MAIL", AT(MILTER_NO_MAIL, {'t', STR("")}), .outcome = "mail: " LATER},
    {"rejects RCPT", AT(MILTER_NO_RCPT, {'y', STR("550 5.1.1 Who?\0")}), .outcome = "rcpt: 550 5.1.1 Who?",
     .heard = "ODDDDRAQ"},
    {"rejects DATA", AT(MILTER_NO_DATA, {'r', STR("")}), .outcome = "data: " NEVER},
    {"rejects a field", AT(MILTER_NO_HEADERS, CONTINUE, {'r', STR("")}), .outcome = "message: " NEVER,
     .worked = 1, .heard = "ODDDDDLLAQ"},
    {"rejects the header", AT(MILTER_NO_END_OF_HEADER, {'t', STR("")}), .outcome = "message: " LATER,
     .worked = 1},
    {"rejects the body", AT(MILTER_NO_BODY, {'r', STR("")}), .outcome = "message: " NEVER, .worked = 1},
    {"rejects the message", END({'y', STR("550-5.7.1 one\r\n550 5.7.1 two\0")}),
     .outcome = "message: 550 5.7.1 one\ntwo", .worked = 1},
    {"closes the session", AT(MILTER_NO_MAIL, {'4', STR("")}), .outcome = "mail: 421 4.7.0 Closing"},
    /* acceptance */
    {"accepts the connection", AT(MILTER_NO_CONNECT, {'a', STR("")}), .outcome = "", .header = HEADER,
     .heard = "ODCQ"},
    {"accepts the message at MAIL", AT(MILTER_NO_MAIL | MILTER_NO_RCPT, {'a', STR("")}), .outcome = "",
     .heard = "ODDDMAQ"},
    {"accepts one message, rejects the next", AT(MILTER_NO_MAIL, {'a', STR("")}, {'r', STR("")}),
     .messages = 2, .outcome = " | mail: " NEVER, .heard = "ODDDMADMAQ"},
    {"accepts in the header", AT(MILTER_NO_HEADERS, {'a', STR("")}), .outcome = "", .header = HEADER,
     .worked = 1, .heard = "ODDDDDLAQ"},
    {"skips the body", AT(MILTER_NO_BODY, {'s', STR("")}, CONTINUE), .outcome = "", .worked = 1},
    {"works on it", END({'p', STR("")}, {'p', STR("")}), .outcome = "", .worked = 1},
    {"works on MAIL", AT(MILTER_NO_MAIL, {'p', STR("")}, CONTINUE, CONTINUE), .outcome = "", .worked = 1},
    /* recipients that we refuse */
    {"does not ask for refused recipients", AT(MILTER_NO_RCPT, CONTINUE, CONTINUE), .refused_rcpts = 2,
     .outcome = "", .worked = 1, .heard = "ODDDDRDDDEQ"},
    {"asks for refused recipients",
     {{.steps = STEPS_BUT(MILTER_NO_RCPT) | MILTER_WANTS_REFUSED_RCPT,
       .says = {{'r', STR("")}, {'t', STR("")}, CONTINUE, CONTINUE}}},
     .refused_rcpts = 2,
     .outcome = "",
     .worked = 1,
     .heard = "ODDDDRDRDRDDDEQ"},
    {"discards for a refused recipient",
     {{.steps = STEPS_BUT(MILTER_NO_RCPT) | MILTER_WANTS_REFUSED_RCPT, .says = {{'d', STR("")}}}},
     .refused_rcpts = 2,
     .outcome = "message: discarded",
     .heard = "ODDDDRAQ"},
    {"fails at a refused recipient",
     {{.steps = STEPS_BUT(MILTER_NO_RCPT) | MILTER_WANTS_REFUSED_RCPT, .says = {{'h', STR("X\0y\0")}}}},
     .refused_rcpts = 1,
     .outcome = "rcpt: " LATER,
     .failures = 1},
    /* discarding */
    {"discards at MAIL", AT(MILTER_NO_MAIL | MILTER_NO_RCPT, {'d', STR("")}), .outcome = "message: discarded",
     .heard = "ODDDMAQ"},
    {"discards at RCPT", AT(MILTER_NO_RCPT, {'d', STR("")}), .rcpts = 3, .outcome = "message: discarded",
     .heard = "ODDDDRAQ"},
    {"discards the message", END({'d', STR("")}), .outcome = "message: discarded", .worked = 1,
     .heard = "ODDDDDDDEQ"},
    {"discards the connection", AT(MILTER_NO_CONNECT, {'d', STR("")}), .outcome = "mail: " LATER,
     .failures = 2},
    /* changes */
    {"adds a field", END({'h', STR("X-New\0value\0")}), .outcome = "", .header = HEADER "X-New: value\r\n",
     .body = BODY, .worked = 1},
    {"adds a folded field", END({'h', STR("X-New\0a\n\tb\r\n c\nd\n\n \nBcc: x\0")}), .outcome = "",
     .header = HEADER "X-New: a\r\n\tb\r\n c\r\n\td\r\n\tBcc: x\r\n", .worked = 1},
    {"leading space is its own affair",
     {{.actions = 1,
       .steps = ALL_BUT_END | MILTER_LEADING_SPACE,
       .says = {{'h', STR("X-New\0value\0")}, CONTINUE}}},
     .outcome = "",
     .header = HEADER "X-New:value\r\n",
     .worked = 1},
    {"inserts at the top", END({'i', STR("\0\0\0\0X-N\0a\0")}, {'i', STR("\0\0\0\1X-M\0b\0")}), .outcome = "",
     .header = "X-M: b\r\nX-N: a\r\n" HEADER, .worked = 1},
    {"inserts in the middle", END({'i', STR("\0\0\0\2X-N\0a\0")}), .outcome = "",
     .header = "Subject: one\r\nX-N: a\r\nX-A: 1\r\nX-B: folded\r\n value\r\nX-A: 2\r\n", .worked = 1},
    {"inserts far below", END({'i', STR("\0\0\1\0X-N\0a\0")}), .outcome = "", .header = HEADER "X-N: a\r\n",
     .worked = 1},
    {"changes the second of a name", END({'m', STR("\0\0\0\2x-a\0new\0")}), .outcome = "",
     .header = "Subject: one\r\nX-A: 1\r\nX-B: folded\r\n value\r\nx-a: new\r\n", .worked = 1},
    {"index 0 is the first", END({'m', STR("\0\0\0\0X-A\0new\0")}), .outcome = "",
     .header = "Subject: one\r\nX-A: new\r\nX-B: folded\r\n value\r\nX-A: 2\r\n", .worked = 1},
    {"takes a field out", END({'m', STR("\0\0\0\1X-A\0\0")}, {'m', STR("\0\0\0\1X-A\0last\0")}),
     .outcome = "", .header = "Subject: one\r\nX-B: folded\r\n value\r\nX-A: last\r\n", .worked = 1},
    {"changes what is not there", END({'m', STR("\0\0\0\3X-A\0new\0")}, {'m', STR("\0\0\0\1X-Z\0\0")}),
     .outcome = "", .header = HEADER "X-A: new\r\n", .worked = 1},
    {"replaces the body", END({'b', STR("new\nbody\r")}, {'b', STR("\nx\ry")}), .outcome = "",
     .header = HEADER, .body = "new\r\nbody\r\nx\r\ny\r\n", .worked = 1},
    {"empties the body", END({'b', STR("")}), .outcome = "", .body = "", .worked = 1},
    {"a body that ends with CR", END({'b', STR("a\r")}), .outcome = "", .body = "a\r\n", .worked = 1},
    {"a body with NUL", END({'b', STR("a\0b")}), .outcome = "message: " LATER, .failures = 1},
    {"changes the envelope",
     END({'+', STR("<x@y>\0")}, {'-', STR("<b@c>\0")}, {'2', STR("z@y\0NOTIFY=NEVER\0")},
         {'e', STR("<n@m>\0")}),
     .outcome = "", .envelope = "+<x@y> -<b@c> +z@y(NOTIFY=NEVER) from<n@m>", .worked = 1},
    {"holds, then accepts",
     {{.actions = MAY_ALL, .steps = ALL_BUT_END, .says = {{'q', STR("smells\0")}, {'a', STR("")}}}},
     .outcome = "",
     .envelope = " held(first): smells",
     .worked = 1},
    {"holds, then rejects",
     {{.actions = MAY_ALL, .steps = ALL_BUT_END, .says = {{'q', STR("smells\0")}, {'r', STR("")}}}},
     .outcome = "message: " NEVER,
     .worked = 1},
    {"answers in the middle of nothing",
     {{.steps = STEPS_BUT(MILTER_NO_MAIL), .says = {CONTINUE, {'q', STR("why\0")}}}},
     .outcome = "message: " LATER,
     .failures = 1},
    {"holds", END({'q', STR("smells\0")}), .outcome = "", .envelope = " held(first): smells", .worked = 1},
    {"changes, then rejects", END({'h', STR("X-New\0value\0")}, {'r', STR("")}), .outcome = "message: " NEVER,
     .worked = 1},
    /* two in a row */
    {"the second sees what the first changed", END({'h', STR("X-New\0value\0")}, {'b', STR("new\r\n")}),
     END({'m', STR("\0\0\0\1X-New\0seen\0")}), .milters = 2, .outcome = "",
     .header = HEADER "X-New: seen\r\n", .body = "new\r\n", .worked = 2},
    {"the second rejects", END({'h', STR("X-New\0value\0")}), END({'r', STR("")}), .milters = 2,
     .outcome = "message: " NEVER, .worked = 2},
    {"the second fails and is passed over", END({'h', STR("X-New\0value\0")}, {'b', STR("new\r\n")}),
     END({'h', STR("X-Two\0value\0")}, {'b', STR("two")}, {'x', STR("")}), .milters = 2,
     .on_failure = MILTER_FAILS_ACCEPT, .outcome = "", .header = HEADER "X-New: value\r\n", .body = "new\r\n",
     .failures = 1, .worked = 1},
    {"the first refuses, the second never hears", AT(MILTER_NO_MAIL, {'r', STR("")}), AT(MILTER_NO_MAIL),
     .milters = 2, .outcome = "mail: " NEVER},
    /* failures */
    {"is not there",
     {{.unreachable = true}, {.unreachable = true}},
     .outcome = "mail: " LATER,
     .failures = 2},
    {"is not there, reject",
     {{.unreachable = true}, {.unreachable = true}},
     .on_failure = MILTER_FAILS_REJECT,
     .outcome = "mail: 550 5.7.1 Service unavailable",
     .failures = 2},
    {"is not there, accept",
     {{.unreachable = true}, {.unreachable = true}},
     .on_failure = MILTER_FAILS_ACCEPT,
     .outcome = "",
     .header = HEADER,
     .failures = 2},
    {"comes back",
     {{.unreachable = true}, {.steps = ALL_BUT_END, .says = {CONTINUE}}},
     .outcome = "",
     .failures = 1,
     .worked = 1},
    {"says nothing", {{.raw = STR("")}, {.raw = STR("")}}, .outcome = "mail: " LATER, .failures = 2},
    {"talks HTTP",
     {{.raw = STR("HTTP/1.1 400 Bad Request\r\n\r\n")}, {.raw = STR("HTTP/1.1 400 Bad Request\r\n\r\n")}},
     .outcome = "mail: " LATER,
     .failures = 2},
    {"an empty packet",
     {{.raw = STR("\0\0\0\0")}, {.raw = STR("\0\0\0\0")}},
     .outcome = "mail: " LATER,
     .failures = 2},
    {"a huge packet",
     {{.raw = STR("\x7f\xff\xff\xffO")}, {.raw = STR("\x7f\xff\xff\xffO")}},
     .outcome = "mail: " LATER,
     .failures = 2},
    {"half a packet",
     {{.raw = STR("\0\0\0\x0dO\0\0")}, {.raw = STR("\0\0\0\x0dO\0\0")}},
     .outcome = "mail: " LATER,
     .failures = 2},
    {"wants what was not offered",
     {{.actions = 0x200}, {.actions = 0x200}},
     .outcome = "mail: " LATER,
     .failures = 2},
    {"does what it did not ask for",
     {{.steps = ALL_BUT_END, .says = {{'h', STR("X\0y\0")}}}},
     .outcome = "message: " LATER,
     .failures = 1},
    {"changes at RCPT", AT(MILTER_NO_RCPT, {'h', STR("X\0y\0")}), .outcome = "rcpt: " LATER, .failures = 1},
    {"skips at RCPT", AT(MILTER_NO_RCPT, {'s', STR("")}), .outcome = "rcpt: " LATER, .failures = 1},
    {"a reply that is none", AT(MILTER_NO_RCPT, {'y', STR("250 2.0.0 ok\0")}), .outcome = "rcpt: " LATER,
     .failures = 1},
    {"gone before MAIL",
     {{.steps = STEPS_BUT(MILTER_NO_MAIL)},
      {.steps = STEPS_BUT(MILTER_NO_MAIL), .says = {CONTINUE, CONTINUE}}},
     .outcome = "",
     .worked = 1,
     .heard = "ODDDMDDDDEQ"},
    {"gone at MAIL each time",
     {{.steps = STEPS_BUT(MILTER_NO_MAIL)}, {.steps = STEPS_BUT(MILTER_NO_MAIL)}},
     .outcome = "mail: " LATER,
     .failures = 1},
    {"gone in the body", AT(MILTER_NO_BODY), .outcome = "message: " LATER, .failures = 1},
    {"gone in the body, then back",
     {{.steps = STEPS_BUT(MILTER_NO_BODY)}, {.steps = ALL_BUT_END, .says = {CONTINUE}}},
     .messages = 2,
     .outcome = "message: " LATER " | ",
     .failures = 1,
     .worked = 1},
    {"no answer at the end", {{.steps = ALL_BUT_END}}, .outcome = "message: " LATER, .failures = 1},
};

/* ---- the stage ---- */

struct stage {
    const struct story *story;
    unsigned dialled[MILTERS];
    struct buf answers[MILTERS][CONNECTIONS], heard[MILTERS][CONNECTIONS];
    unsigned failures, worked;
};

static void put_packet(struct buf *out, char command, struct str data) {
    size_t begun = milter_packet_begin(out, command);
    buf_str(out, data);
    milter_packet_end(out, begun);
}

static int dial(void *arg, const struct milter_settings *settings, int64_t deadline, struct stream **ret) {
    struct stage *st = arg;
    unsigned which = str_eq(settings->name, STR("second"));
    unsigned turn = st->dialled[which]++;
    (void)deadline;
    assert_true(turn < CONNECTIONS);
    const struct script *script = which ? &st->story->second[turn] : &st->story->first[turn];
    struct buf *answers = &st->answers[which][turn];
    if (script->unreachable)
        return SLUICE_EREFUSED;
    if (script->raw.at) {
        buf_str(answers, script->raw);
    } else {
        size_t begun = milter_packet_begin(answers, MILTER_NEGOTIATE);
        milter_put_u32(answers, MILTER_VERSION);
        milter_put_u32(answers, script->actions);
        milter_put_u32(answers, script->steps);
        milter_packet_end(answers, begun);
        for (size_t i = 0; i < PACKETS && script->says[i].command; i++)
            put_packet(answers, script->says[i].command, script->says[i].data);
    }
    /* Cut anywhere: packets come in pieces. */
    *ret = stream_faulty(stream_memory(buf_view(answers), &st->heard[which][turn]), SIZE_MAX, SIZE_MAX, 3, 0);
    return 0;
}

static struct str macro(void *arg, struct str name) {
    (void)arg;
    return str_eq(name, STR("i"))               ? STR("ID")
           : str_eq(name, STR("{client_name}")) ? STR("c.example")
                                                : STR_NULL;
}

static void failed(void *arg, const struct milter_settings *m, struct str why, bool silent) {
    (void)m;
    assert_true(why.len > 0 && !silent);
    ((struct stage *)arg)->failures++;
}

static void worked(void *arg, const struct milter_settings *m) {
    (void)m;
    ((struct stage *)arg)->worked++;
}

static bool passed(const char *where, const struct milter_result *r, struct arena *arena, struct buf *out) {
    if (r->fate == MILTER_REFUSES)
        buf_printf(out, "%s: %s", where, str_c(arena, outcome_line(arena, &r->reply)));
    else if (r->fate == MILTER_DISCARDS && strcmp(where, "message") == 0)
        buf_printf(out, "%s: discarded", where);
    return r->fate != MILTER_REFUSES;
}

static bool play_envelope(struct milters *chain, const struct story *s, struct arena *arena,
                          struct buf *out) {
    static const struct str from[] = {{"<a@b.example>", 13}, {"SIZE=100", 8}}, to[] = {{"<b@c>", 5}};
    struct milter_result r;
    milters_mail(chain, from, 2, arena, &r);
    if (!passed("mail", &r, arena, out))
        return false;
    for (unsigned i = 0; i < s->refused_rcpts; i++)
        milters_refused_rcpt(chain, to, 1, arena, &r);
    for (unsigned i = 0; i < (s->rcpts ? s->rcpts : 1); i++) {
        milters_rcpt(chain, to, 1, arena, &r);
        if (!passed("rcpt", &r, arena, out))
            return false;
    }
    milters_data(chain, arena, &r);
    return passed("data", &r, arena, out);
}

static void describe_envelope(const struct milter_message *m, struct buf *out) {
    for (size_t i = 0; i < m->rcpt_count; i++) {
        const struct milter_rcpt_change *c = &m->rcpts[i];
        buf_printf(out, "%s%c%.*s", i ? " " : "", c->add ? '+' : '-', STR_FMT(c->address));
        if (c->arguments.len)
            buf_printf(out, "(%.*s)", STR_FMT(c->arguments));
    }
    if (m->from_changed)
        buf_printf(out, " from%.*s", STR_FMT(m->from));
    if (m->held_by.len)
        buf_printf(out, " held(%.*s): %.*s", STR_FMT(m->held_by), STR_FMT(m->held_why));
}

static void check_text(const struct story *s, const char *what, struct buf *got, const char *wanted) {
    if (wanted && strcmp(buf_c(got), wanted) != 0)
        fail_msg("%s: %s is\n%s\nnot\n%s", s->name, what, buf_c(got), wanted);
}

static void play_message(struct milters *chain, const struct story *s, struct arena *arena, struct buf *out) {
    static const struct scan_copy_place place;
    struct header h;
    struct milter_result r;
    struct scan_copy *copy = scan_copy_new(&place);
    assert_int_equal(scan_copy_add(copy, STR(HEADER "\r\n" BODY)), 0);
    assert_int_equal(header_parse(arena, STR(HEADER "\r\n" BODY), 0, &h), 0);
    struct milter_message m = {.arena = arena,
                               .fields = h.fields,
                               .count = h.count,
                               .room = h.count,
                               .copy = copy,
                               .body_at = h.body_at,
                               .place = &place};
    milters_message(chain, &m, arena, &r);
    if (passed("message", &r, arena, out) && r.fate == MILTER_PASSES) {
        struct buf header = {0}, body = {0}, envelope = {0};
        struct str piece;
        for (size_t i = 0; i < m.count; i++)
            buf_str(&header, m.fields[i].whole);
        while (milter_message_body(&m, body.len, &piece) == 0 && piece.len)
            buf_str(&body, piece);
        describe_envelope(&m, &envelope);
        check_text(s, "the header", &header, s->header);
        check_text(s, "the body", &body, s->body);
        check_text(s, "the envelope", &envelope, s->envelope);
        buf_free(&header), buf_free(&body), buf_free(&envelope);
    }
    milter_message_end(&m);
    scan_copy_free(copy);
}

/* The commands of the packets that a milter heard. */
static void commands_of(struct str heard, struct buf *out) {
    while (heard.len >= 5) {
        size_t len = (size_t)(unsigned char)heard.at[0] << 24 | (size_t)(unsigned char)heard.at[1] << 16 |
                     (size_t)(unsigned char)heard.at[2] << 8 | (unsigned char)heard.at[3];
        buf_char(out, heard.at[4]);
        heard = str_from_index(heard, 4 + len);
    }
    assert_int_equal(heard.len, 0);
}

static void play(const struct story *s) {
    struct arena *arena = arena_new(0);
    struct stage st = {.story = s};
    struct milter_calls calls = {&st, macro, failed, worked, NULL, dial, NULL};
    struct milter_settings list[MILTERS] = {
        {.name = STR("first"),
         .on_failure = s->on_failure,
         .connect_ms = 1000,
         .command_ms = 1000,
         .message_ms = 1000},
        {.name = STR("second"),
         .on_failure = s->on_failure,
         .connect_ms = 1000,
         .command_ms = 1000,
         .message_ms = 1000},
    };
    struct milters_settings settings = {list, s->milters ? s->milters : 1};
    struct milters *chain = milters_new(&settings, STR("relay"), &calls);
    struct milter_client client = {.hostname = STR("c.example"), .port = 1025};
    struct milter_result r;
    struct buf out = {0}, heard = {0};
    assert_true(ip_parse(STR("192.0.2.1"), &client.ip));
    milters_connect(chain, &client, arena, &r);
    if (passed("connect", &r, arena, &out)) {
        milters_helo(chain, STR("c.example"), arena, &r);
        for (unsigned i = 0; passed("helo", &r, arena, &out) && i < (s->messages ? s->messages : 1); i++) {
            buf_str(&out, i ? STR(" | ") : STR(""));
            if (play_envelope(chain, s, arena, &out))
                play_message(chain, s, arena, &out);
            milters_abort(chain);
        }
    } else { /* it stays refused */
        milters_mail(chain, NULL, 0, arena, &r);
        assert_int_equal(r.fate, MILTER_REFUSES);
    }
    milters_free(chain);
    check_text(s, "the outcome", &out, s->outcome);
    if (st.failures != s->failures || st.worked != s->worked)
        fail_msg("%s: %u failures, worked %u times", s->name, st.failures, st.worked);
    if (s->heard && st.dialled[0])
        commands_of(buf_view(&st.heard[0][st.dialled[0] - 1]), &heard);
    check_text(s, "what it heard", &heard, s->heard);
    buf_free(&out), buf_free(&heard);
    for (unsigned i = 0; i < MILTERS * CONNECTIONS; i++) {
        buf_free(&st.answers[i / CONNECTIONS][i % CONNECTIONS]);
        buf_free(&st.heard[i / CONNECTIONS][i % CONNECTIONS]);
    }
    arena_free(arena);
}

static void test_stories(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(stories); i++)
        play(&stories[i]);
}

/* What goes over the wire, byte for byte. */
static void test_bytes(void **state) {
    (void)state;
    static const struct story story = {
        .first = {{.steps = 0x7f & ~(uint32_t)(MILTER_NO_CONNECT | MILTER_NO_MAIL | MILTER_NO_HEADERS),
                   .says = {CONTINUE, CONTINUE, CONTINUE, CONTINUE, CONTINUE, CONTINUE, CONTINUE, CONTINUE}}},
        .outcome = "",
    };
    static const struct str wanted[] = {
        STR("\0\0\0\x18"
            "C"
            "c.example\0"
            "4\4\1"
            "192.0.2.1\0"),
        STR("\0\0\0\x1a"
            "DC{client_name}\0c.example\0"),
        STR("\0\0\0\x18"
            "M<a@b.example>\0SIZE=100\0"),
        STR("\0\0\0\7"
            "DMi\0ID\0"),
        STR("\0\0\0\x0d"
            "LSubject\0one\0"),
        STR("\0\0\0\x13"
            "LX-B\0folded\n value\0"),
    };
    struct arena *arena = arena_new(0);
    struct stage st = {.story = &story};
    struct milter_calls calls = {&st, macro, failed, worked, NULL, dial, NULL};
    struct milter_settings one = {
        .name = STR("first"), .connect_ms = 1000, .command_ms = 1000, .message_ms = 1000};
    struct milters_settings settings = {&one, 1};
    struct milters *chain = milters_new(&settings, STR("relay"), &calls);
    struct milter_client client = {.hostname = STR("c.example"), .port = 1025};
    struct milter_result r;
    struct buf out = {0};
    assert_true(ip_parse(STR("192.0.2.1"), &client.ip));
    milters_connect(chain, &client, arena, &r);
    assert_true(play_envelope(chain, &story, arena, &out));
    play_message(chain, &story, arena, &out);
    milters_free(chain);
    for (size_t i = 0; i < COUNT(wanted); i++)
        if (str_find(buf_view(&st.heard[0][0]), wanted[i]) < 0)
            fail_msg("packet %zu was not sent", i);
    buf_free(&out), buf_free(&st.heard[0][0]), buf_free(&st.answers[0][0]);
    arena_free(arena);
}

/* A milter that says which macros it wants gets these and no others. */
static void test_macros(void **state) {
    (void)state;
    static const struct story story = {
        .first = {{.raw = STR("\0\0\0\x2eO\0\0\0\6\0\0\0\0\0\0\2\x7f\0\0\0\2i client_name {unknown}\0"
                              "\0\0\0\3\0\0\0\0\1c")}},
    };
    struct arena *arena = arena_new(0);
    struct stage st = {.story = &story};
    struct milter_calls calls = {&st, macro, failed, worked, NULL, dial, NULL};
    struct milter_settings one = {
        .name = STR("first"), .connect_ms = 1000, .command_ms = 1000, .message_ms = 1000};
    struct milters_settings settings = {&one, 1};
    struct milters *chain = milters_new(&settings, STR("relay"), &calls);
    struct buf out = {0}, heard = {0};
    assert_true(play_envelope(chain, &story, arena, &out));
    play_message(chain, &story, arena, &out);
    milters_free(chain);
    struct str all = buf_view(&st.heard[0][0]);
    commands_of(all, &heard);
    assert_string_equal(buf_c(&heard), "ODDDDDEQ");
    assert_true(str_find(all, STR("\0\0\0\x1d"
                                  "DMi\0ID\0client_name\0c.example\0")) >= 0);
    assert_true(str_find(all, STR("\0\0\0\2DR")) >= 0);
    buf_free(&out), buf_free(&heard), buf_free(&st.heard[0][0]), buf_free(&st.answers[0][0]);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_macros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
