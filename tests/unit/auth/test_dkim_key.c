#include "auth/dkim_key.h"
#include "base/error.h"
#include "cmocka_setup.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void test_records(void **state) {
    static const struct {
        const char *text;
        bool valid, revoked, testing, strict, sha256, email;
    } cases[] = {
        {"k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", true, .sha256 = true, .email = true},
        {"v=DKIM1; k=ed25519; t=y : s; h=sha256; s=email; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMl rwIaaPcHURo=",
         true, .testing = true, .strict = true, .sha256 = true, .email = true},
        {"v=DKIM1; p=", true, .revoked = true, .sha256 = true, .email = true},
        {"p=; h=sha1; s=tlsrpt", true, .revoked = true},
        {"v=DKIM1; p=; ", true, .revoked = true, .sha256 = true, .email = true},
        {"v=DKIM2; p=", false},
        {"p=; v=DKIM1", false},
        {"v=DKIM1", false},
        {"k=rsa-2; p=", false},
        {"p=YWJj", false},
        {"p=no base64", false},
        {"k=ed25519; p=YWJj", false},
        {"k=rsa; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", false},
        {"p=; p=", false},
        {"", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct dkim_record record = {0};
        struct str why = STR_NULL;
        int error = dkim_record_parse(arena, str_of(cases[i].text), &why, &record);
        if (error != (cases[i].valid ? 0 : SLUICE_ESYNTAX) || record.revoked != cases[i].revoked ||
            record.testing != cases[i].testing || record.strict != cases[i].strict ||
            record.sha256 != cases[i].sha256 || record.email != cases[i].email)
            fail_msg("%s: %.*s", cases[i].text, STR_FMT(why));
        dkim_record_free(&record);
        arena_free(arena);
    }
}

static void test_too_long(void **state) {
    struct arena *arena = arena_new(0);
    char *text = arena_alloc(arena, 65536);
    struct dkim_record record;
    struct str why;
    (void)state;
    memset(text, 'A', 65536);
    memcpy(text, "p=", 2);
    assert_int_equal(dkim_record_parse(arena, str_from(text, 65536), &why, &record), SLUICE_ESYNTAX);
    arena_free(arena);
}

/* Made, written, read again, published: always the same key. */
static void test_round_trip(void **state) {
    static const struct {
        enum dkim_algorithm algorithm;
        unsigned bits;
        const char *record;
    } cases[] = {
        {DKIM_RSA, 1024, "v=DKIM1; k=rsa; p=MIG"},
        {DKIM_RSA, 2048, "v=DKIM1; k=rsa; p=MIIB"},
        {DKIM_ED25519, 256, "v=DKIM1; k=ed25519; p="},
    };
    uint8_t digest[DKIM_DIGEST_SIZE] = {1, 2, 3}, signature[DKIM_SIGNATURE_SIZE];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct buf pem __attribute__((cleanup(buf_free))) = {0},
                       text __attribute__((cleanup(buf_free))) = {0};
        struct dkim_key *key, *again;
        struct dkim_record record;
        struct str why;
        size_t len;
        assert_int_equal(dkim_key_new(cases[i].algorithm, cases[i].bits, &key), 0);
        assert_int_equal(dkim_key_pem(key, &pem), 0);
        assert_true(str_starts(buf_view(&pem), STR("-----BEGIN PRIVATE KEY-----")));
        assert_int_equal(dkim_key_parse(buf_view(&pem), arena, &why, &again), 0);
        assert_int_equal(dkim_key_algorithm(again), cases[i].algorithm);
        assert_int_equal(dkim_key_bits(again), cases[i].bits);
        assert_int_equal(dkim_key_record(again, &text), 0);
        assert_true(str_starts(buf_view(&text), str_of(cases[i].record)));
        assert_int_equal(dkim_record_parse(arena, buf_view(&text), &why, &record), 0);
        assert_int_equal(record.bits, cases[i].bits);
        assert_true(dkim_record_fits(&record, key));
        assert_int_equal(dkim_key_sign(key, digest, signature, &len), 0);
        assert_true(dkim_record_verify(&record, digest, str_from(signature, len)));
        assert_false(dkim_record_verify(&record, digest, str_from(signature, len - 1)));
        signature[3] ^= 1;
        assert_false(dkim_record_verify(&record, digest, str_from(signature, len)));
        dkim_record_free(&record);
        assert_false(dkim_record_fits(&record, key));
        dkim_key_free(key);
        dkim_key_free(again);
        arena_free(arena);
    }
}

static void test_refused(void **state) {
    static const char *const texts[] = {"", "no key",
                                        "-----BEGIN PRIVATE KEY-----\nYWJj\n-----END PRIVATE KEY-----\n",
                                        /* P-256 */
                                        "-----BEGIN PRIVATE KEY-----\n"
                                        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n"
                                        "OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n"
                                        "1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n"
                                        "-----END PRIVATE KEY-----\n"};
    struct arena *arena = arena_new(0);
    struct dkim_key *key;
    struct str why;
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_int_equal(dkim_key_parse(str_of(texts[i]), arena, &why, &key), SLUICE_ESYNTAX);
    assert_int_equal(dkim_key_load("/nowhere/key.pem", arena, &why, &key), error_from_errno(ENOENT));
    assert_true(why.len > 0);
    assert_int_equal(dkim_key_new(DKIM_RSA, 512, &key), SLUICE_EINVALID);
    assert_int_equal(dkim_key_new(DKIM_RSA, 8192, &key), SLUICE_EINVALID);
    assert_null(dkim_key_free(NULL));
    arena_free(arena);
}

static void test_load(void **state) {
    char path[] = "/tmp/sluice-key-XXXXXX";
    struct arena *arena = arena_new(0);
    struct buf pem __attribute__((cleanup(buf_free))) = {0};
    struct dkim_key *key, *again;
    struct str why;
    int file = mkstemp(path);
    (void)state;
    assert_true(file >= 0);
    assert_int_equal(dkim_key_new(DKIM_ED25519, 0, &key), 0);
    assert_int_equal(dkim_key_pem(key, &pem), 0);
    assert_int_equal(write(file, pem.at, pem.len), pem.len);
    close(file);
    assert_int_equal(dkim_key_load(path, arena, &why, &again), 0);
    unlink(path);
    dkim_key_free(key);
    dkim_key_free(again);
    arena_free(arena);
}

static void test_strings(void **state) {
    static const struct {
        size_t len;
        const char *shape; /* lengths of the strings */
    } cases[] = {{0, "0"}, {1, "1"}, {255, "255"}, {256, "255 1"}, {511, "255 255 1"}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct buf out __attribute__((cleanup(buf_free))) = {0},
                       shape __attribute__((cleanup(buf_free))) = {0};
        char *text = arena_alloc(arena, cases[i].len);
        memset(text, 'a', cases[i].len);
        dkim_record_strings(str_from(text, cases[i].len), &out);
        for (struct str rest = buf_view(&out), part; str_cut(&rest, ' ', &part);)
            buf_printf(&shape, "%s%zu", shape.len ? " " : "", part.len - 2);
        assert_string_equal(buf_c(&shape), cases[i].shape);
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records), cmocka_unit_test(test_too_long), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_load),     cmocka_unit_test(test_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
