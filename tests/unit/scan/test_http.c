#include "base/error.h"
#include "cmocka_setup.h"
#include "scan/http.h"

static const struct {
    const char *name, *input;
    int error;
    unsigned status;
    const char *body; /* or a part of the reason */
    bool closes;
} cases[] = {
    {"a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 0, 200, "hello"},
    {"an empty body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, 200, ""},
    {"no reason phrase", "HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n", 0, 503, ""},
    {"names in any case", "HTTP/1.1 200 OK\r\nCONTENT-length:5\r\n\r\nhello", 0, 200, "hello"},
    {"the server closes", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 0, 200, "x",
     true},
    {"an old server", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 0, 200, "x", true},
    {"more than was asked for", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy", 0, 200, "x", true},
    {"chunks",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\n\r\n", 0,
     200, "abc0123456789"},
    {"trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n", 0, 200,
     "a"},
    {"no chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 200, ""},
    {"nothing", "", SLUICE_ECLOSED},
    {"half a head", "HTTP/1.1 200 OK\r\nConte", SLUICE_ECLOSED},
    {"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", SLUICE_ECLOSED},
    {"half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", SLUICE_ECLOSED},
    {"no HTTP", "SPAMD/1.1 0 EX_OK\r\n\r\n", SLUICE_ESYNTAX, 0, "no HTTP status"},
    {"HTTP/2", "HTTP/2 200 OK\r\n\r\n", SLUICE_ESYNTAX, 0, "no HTTP status"},
    {"an informational answer", "HTTP/1.1 100 Continue\r\n\r\n", SLUICE_ESYNTAX, 0, "no HTTP status"},
    {"a long status", "HTTP/1.1 2000 OK\r\n\r\n", SLUICE_ESYNTAX, 0, "no HTTP status"},
    {"no length", "HTTP/1.1 200 OK\r\n\r\nhello", SLUICE_ESYNTAX, 0, "how long"},
    {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", SLUICE_ESYNTAX,
     0, "length can't be told"},
    {"a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", SLUICE_ESYNTAX, 0,
     "length"},
    {"a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", SLUICE_ESYNTAX, 0, "length"},
    {"length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
     SLUICE_ESYNTAX, 0, "transfer encoding"},
    {"gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", SLUICE_ESYNTAX, 0,
     "transfer encoding"},
    {"compressed", "HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 1\r\n\r\nx", SLUICE_ESYNTAX,
     0, "compressed"},
    {"a space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello", SLUICE_ESYNTAX, 0,
     "no field"},
    {"a folded field", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 5\r\n\r\nhello", SLUICE_ESYNTAX, 0,
     "no field"},
    {"bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 5\n\r\n\r\n", SLUICE_ESYNTAX, 0, "without CR"},
    {"a lone carriage return", "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", SLUICE_ESYNTAX, 0, "stray"},
    {"too long", "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", SLUICE_ETOOBIG, 0, "too long"},
    {"absurdly long", "HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999999\r\n\r\n", SLUICE_ESYNTAX, 0,
     "length"},
    {"chunks that add up", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3e7\r\n",
     SLUICE_ETOOBIG, 0, "too long"},
    {"a huge chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", SLUICE_ETOOBIG, 0,
     "too long"},
    {"a chunk size that overflows", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
     SLUICE_ESYNTAX, 0, "size can't be read"},
    {"no chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", SLUICE_ESYNTAX, 0,
     "size can't be read"},
    {"a chunk that is longer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
     SLUICE_ESYNTAX, 0, "another length"},
};

static void run_case(size_t i, size_t piece) {
    struct arena *arena = arena_new(0);
    struct stream *s =
        stream_faulty(stream_memory(str_of(cases[i].input), NULL), SIZE_MAX, SIZE_MAX, piece, 0);
    struct http_answer answer;
    struct str why = {0};
    int error = http_read(s, 1000, 0, arena, &answer, &why);
    if (error != cases[i].error)
        print_error("%s (%zu): %s, %.*s\n", cases[i].name, piece, error_text(error), STR_FMT(why));
    assert_int_equal(error, cases[i].error);
    assert_int_equal(answer.began, cases[i].input[0] != 0);
    if (error) {
        assert_false(answer.keep);
        assert_true(str_find(why, str_of(cases[i].body)) >= 0 || !cases[i].body);
    } else {
        assert_int_equal(answer.status, cases[i].status);
        assert_true(str_eq(answer.body, str_of(cases[i].body)));
        /* Read byte by byte, what follows the answer has not come yet. */
        if (piece == 0 || !strstr(cases[i].name, "more than"))
            assert_int_equal(answer.keep, !cases[i].closes);
    }
    stream_free(s);
    arena_free(arena);
}

static void answers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t piece = 0; piece < 4; piece++)
            run_case(i, piece);
}

/* A head, and a line between chunks, without an end. */
static void endless(void **state) {
    (void)state;
    static const char *const starts[] = {"HTTP/1.1 200 OK\r\nX: ",
                                         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"};
    for (size_t i = 0; i < 2; i++) {
        struct arena *arena = arena_new(0);
        struct buf text = {0};
        struct http_answer answer;
        struct str why;
        buf_str(&text, str_of(starts[i]));
        for (size_t n = 0; n < 100000; n++)
            buf_char(&text, 'x');
        struct stream *s = stream_memory(buf_view(&text), NULL);
        assert_int_equal(http_read(s, 1000, 0, arena, &answer, &why), SLUICE_ETOOBIG);
        stream_free(s);
        buf_free(&text);
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers), cmocka_unit_test(endless)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
