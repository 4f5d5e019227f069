#include "cmocka_setup.h"
#include "smtp/data.h"
#include "vectors.h"

/* Decodes in pieces of `piece` octets; gives the octets used. */
static size_t decode(struct smtp_data_decoder *d, struct str input, size_t piece, struct buf *out) {
    size_t at = 0;
    while (at < input.len && !d->ended) {
        struct str part = str_head(str_from_index(input, at), piece), text;
        size_t used = smtp_data_decode(d, part, &text);
        assert_true(used <= part.len);
        assert_true(used > 0);
        buf_str(out, text);
        at += used;
    }
    return at;
}

static int encode(struct str input, size_t piece, struct buf *out) {
    struct smtp_data_encoder e = {0};
    struct str rest;
    for (size_t at = 0; at < input.len; at += piece) {
        rest = str_head(str_from_index(input, at), piece);
        while (rest.len) {
            struct str text;
            int error = smtp_data_encode(&e, &rest, &text);
            if (error)
                return error;
            buf_str(out, text);
        }
    }
    int error = smtp_data_encode_end(&e, &rest);
    if (!error)
        buf_str(out, rest);
    return error;
}

static const struct {
    const char *name;
    struct str in, out;
    size_t left; /* octets behind the end */
    bool ended, bare_cr, bare_lf, nul;
} decodes[] = {
    {"empty message", STR(".\r\n"), STR(""), .ended = true},
    {"one line", STR("a\r\n.\r\n"), STR("a\r\n"), .ended = true},
    {"stuffed", STR("..a\r\n...\r\n.\r\n"), STR(".a\r\n..\r\n"), .ended = true},
    {"needless dot", STR(".a\r\n.\r\n"), STR("a\r\n"), .ended = true},
    {"dots inside", STR("a.b\r\n.\r\n"), STR("a.b\r\n"), .ended = true},
    {"pipelined", STR("a\r\n.\r\nQUIT\r\n"), STR("a\r\n"), .left = 6, .ended = true},
    {"only the first end", STR("a\r\n.\r\n.\r\n"), STR("a\r\n"), .left = 3, .ended = true},
    {"8-bit", STR("\xe4\xff\r\n.\r\n"), STR("\xe4\xff\r\n"), .ended = true},
    {"no end", STR("a\r\n."), STR("a\r\n")},
    {"no end, half", STR("a\r\n.\r"), STR("a\r\n")},
    {"bare LF", STR("a\nb\r\n.\r\n"), STR("a\nb\r\n"), .ended = true, .bare_lf = true},
    {"bare CR", STR("a\rb\r\n.\r\n"), STR("a\rb\r\n"), .ended = true, .bare_cr = true},
    {"CR CR LF", STR("a\r\r\n.\r\n"), STR("a\r\r\n"), .ended = true, .bare_cr = true},
    {"LF first", STR("\na\r\n.\r\n"), STR("\na\r\n"), .ended = true, .bare_lf = true},
    {"LF dot LF", STR("a\n.\nb\r\n.\r\n"), STR("a\n.\nb\r\n"), .ended = true, .bare_lf = true},
    {"LF dot CRLF", STR("a\n.\r\nb\r\n.\r\n"), STR("a\n.\r\nb\r\n"), .ended = true, .bare_lf = true},
    {"CRLF dot LF", STR("a\r\n.\nb\r\n.\r\n"), STR("a\r\n\nb\r\n"), .ended = true, .bare_lf = true},
    {"CRLF dot CR", STR("a\r\n.\rb\r\n.\r\n"), STR("a\r\nb\r\n"), .ended = true, .bare_cr = true},
    {"CRLF dot CR CRLF", STR("a\r\n.\r\r\n.\r\n"), STR("a\r\n\r\n"), .ended = true, .bare_cr = true},
    {"NUL", STR("a\0b\r\n.\r\n"), STR("a\0b\r\n"), .ended = true, .nul = true},
    {"NUL before the dot", STR("\r\n\0.\r\n.\r\n"), STR("\r\n\0.\r\n"), .ended = true, .nul = true},
};

static void test_decode(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(decodes); i++)
        for (size_t piece = 1; piece <= decodes[i].in.len; piece++) {
            struct smtp_data_decoder d = {0};
            struct buf out = {0};
            size_t used = decode(&d, decodes[i].in, piece, &out);
            if (!str_eq(buf_view(&out), decodes[i].out) || d.ended != decodes[i].ended ||
                d.bare_cr != decodes[i].bare_cr || d.bare_lf != decodes[i].bare_lf ||
                d.nul != decodes[i].nul || used != decodes[i].in.len - decodes[i].left || d.size != out.len)
                fail_msg("%s in pieces of %zu: '%.*s' ended %d cr %d lf %d nul %d used %zu", decodes[i].name,
                         piece, STR_FMT(buf_view(&out)), d.ended, d.bare_cr, d.bare_lf, d.nul, used);
            buf_free(&out);
        }
}

static const struct {
    struct str in, out; /* out NULL: refused */
} encodes[] = {
    {STR(""), STR(".\r\n")},
    {STR("a"), STR("a\r\n.\r\n")},
    {STR("a\r\n"), STR("a\r\n.\r\n")},
    {STR("."), STR("..\r\n.\r\n")},
    {STR(".\r\n"), STR("..\r\n.\r\n")},
    {STR("..a\r\n.\r\n.b"), STR("...a\r\n..\r\n..b\r\n.\r\n")},
    {STR("a.b\r\nc"), STR("a.b\r\nc\r\n.\r\n")},
    {STR("\r\n\r\n"), STR("\r\n\r\n.\r\n")},
    {STR("a\nb"), STR_NULL},
    {STR("a\rb"), STR_NULL},
    {STR("a\r\r\n"), STR_NULL},
    {STR("a\r"), STR_NULL},
    {STR("\n"), STR_NULL},
    {STR("a\r\n\n"), STR_NULL},
    {STR("a\0b"), STR_NULL},
};

static void test_encode(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(encodes); i++)
        for (size_t piece = 1; piece <= encodes[i].in.len + 1; piece++) {
            struct buf out = {0};
            int error = encode(encodes[i].in, piece, &out);
            assert_int_equal(error, encodes[i].out.at ? 0 : SLUICE_ESYNTAX);
            if (!error && !str_eq(buf_view(&out), encodes[i].out))
                fail_msg("case %zu in pieces of %zu: '%.*s'", i, piece, STR_FMT(buf_view(&out)));
            /* What was given out before a refusal holds no defect either. */
            struct smtp_data_decoder d = {0};
            struct buf back = {0};
            decode(&d, buf_view(&out), 1000, &back);
            assert_false(smtp_data_defective(&d));
            assert_int_equal(d.ended, !error);
            buf_free(&back);
            buf_free(&out);
        }
}

/* Between two lines, each sequence must neither end the data nor get past the encoder unchanged. */
static void check_sequence(struct str sequence) {
    struct buf in = {0}, text = {0}, out = {0}, plain = {0}, back = {0};
    buf_str(&in, STR("line A"));
    buf_str(&in, sequence);
    buf_str(&in, STR("line B\r\nMAIL FROM:<x@example.org>\r\n.\r\n"));
    struct smtp_data_decoder d = {0};
    assert_int_equal(decode(&d, buf_view(&in), 5, &text), in.len);
    assert_true(d.ended);
    /* Whatever the server lets pass, the client sends with one end only. */
    if (!smtp_data_defective(&d)) {
        assert_int_equal(encode(buf_view(&text), 7, &out), 0);
        struct smtp_data_decoder again = {0};
        assert_int_equal(decode(&again, buf_view(&out), 1, &back), out.len);
        assert_true(str_eq(buf_view(&back), buf_view(&text)));
    }
    /* And from the spool, had it got there. */
    buf_str(&plain, STR("line A"));
    buf_str(&plain, sequence);
    buf_str(&plain, STR("line B\r\n"));
    buf_clear(&out);
    buf_clear(&back);
    struct smtp_data_decoder third = {0};
    if (encode(buf_view(&plain), 3, &out) == 0) {
        assert_int_equal(decode(&third, buf_view(&out), 1, &back), out.len);
        assert_false(smtp_data_defective(&third));
        assert_true(str_eq(buf_view(&back), buf_view(&plain)));
    }
    struct buf *all[] = {&in, &text, &out, &plain, &back};
    for (size_t i = 0; i < COUNT(all); i++)
        buf_free(all[i]);
}

static void test_smuggling(void **state) {
    (void)state;
    FILE *file = vectors_open("smtp-data/smuggling/sequences.jsonl");
    char line[4096];
    size_t count = 0;
    while (file && fgets(line, sizeof line, file)) {
        struct str hex = STR_NULL;
        struct buf bytes = {0};
        assert_true(vectors_field(line, "hex", &hex));
        vectors_hex(&bytes, hex);
        check_sequence(buf_view(&bytes));
        buf_free(&bytes);
        count++;
    }
    if (file) {
        fclose(file);
        assert_true(count > 10);
    }
}

static void check_mox(const char *line) {
    struct str op = STR_NULL, in_hex = STR_NULL, out_hex = STR_NULL;
    struct buf in = {0}, expected = {0}, out = {0};
    assert_true(vectors_field(line, "op", &op) && vectors_field(line, "in", &in_hex));
    bool refused = !vectors_field(line, "out", &out_hex);
    bool lenient = strstr(line, "\"note\"") != NULL; /* refusing is as good */
    vectors_hex(&in, in_hex);
    vectors_hex(&expected, out_hex);
    if (str_eq(op, STR("write"))) {
        bool unfinished = in.len && in.at[in.len - 1] != '\n'; /* where we add the CRLF instead */
        int error = encode(buf_view(&in), 3, &out);
        if (refused && !unfinished)
            assert_int_equal(error, SLUICE_ESYNTAX);
        if (!refused)
            assert_true(error == 0 && str_eq(buf_view(&out), buf_view(&expected)));
    } else {
        struct smtp_data_decoder d = {0};
        decode(&d, buf_view(&in), 3, &out);
        if (refused)
            assert_true(!d.ended || smtp_data_defective(&d));
        else if (!lenient)
            assert_true(d.ended && !smtp_data_defective(&d) && str_eq(buf_view(&out), buf_view(&expected)));
    }
    buf_free(&in);
    buf_free(&expected);
    buf_free(&out);
}

static void test_mox(void **state) {
    (void)state;
    FILE *file = vectors_open("smtp-data/mox/data.jsonl");
    char line[4096];
    while (file && fgets(line, sizeof line, file))
        check_mox(line);
    if (file)
        fclose(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_smuggling),
        cmocka_unit_test(test_mox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
