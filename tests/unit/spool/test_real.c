/* The spool on the real disk. */
#include "cmocka_setup.h"
#include <pthread.h>

#include "base/error.h"
#include "mail.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SEGMENT = 1024 * 1024 };

struct place {
    char dir[64], spool[80];
    struct arena *arena;
};

static int setup(void **state) {
    struct place *p = calloc(1, sizeof *p);
    const char *tmp = getenv("TMPDIR");
    snprintf(p->dir, sizeof p->dir, "%.40s/sluice-spool-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(p->dir))
        return -1;
    snprintf(p->spool, sizeof p->spool, "%s/a/spool", p->dir);
    p->arena = arena_new(0);
    *state = p;
    return 0;
}

static void remove_tree(const char *path) {
    DIR *d = opendir(path);
    char name[512];
    if (d) {
        for (struct dirent *e; (e = readdir(d));) {
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                continue;
            snprintf(name, sizeof name, "%s/%s", path, e->d_name);
            remove_tree(name);
        }
        closedir(d);
    }
    remove(path);
}

static int teardown(void **state) {
    struct place *p = *state;
    chmod(p->spool, 0700);
    remove_tree(p->dir);
    arena_free(p->arena);
    free(p);
    return 0;
}

struct seen {
    uint64_t numbers[4096], messages[4096];
    struct spool_recovered rows[4096];
    size_t count;
};

static void see(void *arg, const struct spool_recovered *r) {
    struct seen *seen = arg;
    seen->numbers[seen->count] = mail_number(r->envelope);
    seen->messages[seen->count] = r->message;
    seen->rows[seen->count] = *r;
    seen->count++;
}

static struct spool *open_spool(struct place *p, struct seen *seen) {
    struct spool *s = NULL;
    struct str why = STR_NULL;
    if (seen)
        seen->count = 0;
    int error = spool_open(&(struct spool_options){.dir = p->spool, .segment_size = SEGMENT},
                           seen ? see : NULL, seen, p->arena, &why, &s);
    if (error)
        print_message("%.*s\n", STR_FMT(why));
    assert_int_equal(error, 0);
    return s;
}

static const struct mail_shape shapes[] = {
    {.groups = 1, .recipients = 1, .size = 0},
    {.groups = 1, .recipients = 1, .size = 10240, .prefix = 300},
    {.groups = 3, .recipients = 2, .size = 1},
    {.groups = 2, .recipients = 40, .size = 70000, .prefix = 5000},
    {.groups = 1, .recipients = 1, .size = 262144 - 4096},
    {.groups = 1, .recipients = 2, .size = 262144},
    {.groups = 1, .recipients = 1, .size = 1500000},
};

static void test_comes_back(void **state) {
    struct place *p = *state;
    static struct seen seen;
    struct spool *s = open_spool(p, &seen);
    uint64_t messages[COUNT(shapes)];
    assert_int_equal(seen.count, 0);
    for (size_t i = 0; i < COUNT(shapes); i++) {
        assert_int_equal(mail_commit(s, i, &shapes[i], &messages[i]), 0);
        assert_int_equal(mail_read_back(s, messages[i], i, &shapes[i]), 0);
    }
    assert_null(spool_close(s));
    for (int round = 0; round < 3; round++) {
        s = open_spool(p, &seen);
        size_t expected = 0;
        for (size_t i = 0; i < COUNT(shapes); i++)
            for (uint32_t k = 0; k < shapes[i].groups * shapes[i].recipients; k++, expected++) {
                assert_int_equal(seen.numbers[expected], i);
                assert_int_equal(seen.messages[expected], messages[i]);
                assert_int_equal(seen.rows[expected].recipient, k);
                assert_int_equal(seen.rows[expected].group, k / shapes[i].recipients);
                assert_false(seen.rows[expected].damaged);
            }
        assert_int_equal(seen.count, expected);
        for (size_t i = 0; i < COUNT(shapes); i++)
            assert_int_equal(mail_read_back(s, messages[i], i, &shapes[i]), 0);
        spool_close(s);
    }
}

static void test_outcomes_hold(void **state) {
    struct place *p = *state;
    static struct seen seen;
    struct spool *s = open_spool(p, NULL);
    const struct mail_shape shape = {.groups = 2, .recipients = 3, .size = 100};
    uint64_t message;
    assert_int_equal(mail_commit(s, 5, &shape, &message), 0);
    assert_int_equal(mail_outcome(s, message, 0, SPOOL_DELIVERED), 0);
    assert_int_equal(mail_outcome(s, message, 0, SPOOL_DEFERRED), 0); /* ended: stays so */
    assert_int_equal(mail_outcome(s, message, 1, SPOOL_DEFERRED), 0);
    assert_int_equal(mail_outcome(s, message, 2, SPOOL_HELD), 0);
    assert_int_equal(mail_outcome(s, message, 3, SPOOL_FAILED), 0);
    assert_int_equal(mail_outcome(s, message, 5, SPOOL_HELD), 0);
    assert_int_equal(mail_outcome(s, message, 5, SPOOL_RELEASED), 0);
    assert_int_equal(mail_outcome(s, message + 1, 0, SPOOL_HELD), SLUICE_ENOTFOUND);
    spool_close(s);
    s = open_spool(p, &seen);
    static const struct {
        uint32_t recipient, attempts;
        int64_t due;
        bool held;
        const char *reply;
    } expected[] = {
        {1, 3, 77, false, "250 ok"}, {2, 0, 0, true, ""}, {4, 0, 0, false, ""}, {5, 0, 77, false, ""}};
    assert_int_equal(seen.count, COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_int_equal(seen.rows[i].recipient, expected[i].recipient);
        assert_int_equal(seen.rows[i].attempts, expected[i].attempts);
        assert_int_equal(seen.rows[i].due, expected[i].due);
        assert_int_equal(seen.rows[i].held, expected[i].held);
    }
    for (size_t i = 0; i < COUNT(expected); i++)
        assert_int_equal(mail_outcome(s, message, expected[i].recipient, SPOOL_CANCELLED), 0);
    struct spool_message m;
    assert_int_equal(spool_read(s, message, SPOOL_WAIT, p->arena, &m), SLUICE_ENOTFOUND);
    struct spool_stats stats;
    spool_stats(s, &stats);
    assert_int_equal(stats.messages, 0);
    assert_int_equal(stats.recipients, 0);
    spool_close(s);
    s = open_spool(p, &seen);
    assert_int_equal(seen.count, 0);
    spool_close(s);
}

/* A message that is held when it is accepted stays so, whatever happens to the process, until somebody lets
 * go of each recipient. */
static void test_held_from_the_start(void **state) {
    struct place *p = *state;
    static struct seen seen;
    const struct mail_shape shape = {.groups = 1, .recipients = 3, .size = 100};
    struct answer answer;
    int error;
    struct spool *s = open_spool(p, NULL);
    struct spool_message m = mail_make(p->arena, 6, &shape);
    m.held = true;
    answer_init(&answer);
    struct spool_body *body = mail_body(s, 6, shape.size, &error);
    spool_commit(s, &m, body, answer_message, &answer);
    assert_int_equal(answer_wait(&answer), 0);
    uint64_t message = answer.message;
    answer_free(&answer);
    spool_close(s);
    s = open_spool(p, &seen);
    assert_int_equal(seen.count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(seen.rows[i].held);
    assert_int_equal(mail_outcome(s, message, 0, SPOOL_RELEASED), 0);
    assert_int_equal(mail_outcome(s, message, 1, SPOOL_RELEASED), 0);
    assert_int_equal(mail_outcome(s, message, 1, SPOOL_DEFERRED), 0);
    spool_close(s);
    s = open_spool(p, &seen);
    assert_int_equal(seen.count, 3);
    assert_false(seen.rows[0].held || seen.rows[0].let_go);
    assert_false(seen.rows[1].held || seen.rows[1].let_go);
    assert_true(seen.rows[2].held);
    /* Let go: through tries, until it is held again. */
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(mail_outcome(s, message, i, SPOOL_LET_GO), 0);
    assert_int_equal(mail_outcome(s, message, 1, SPOOL_DEFERRED), 0);
    assert_int_equal(mail_outcome(s, message, 2, SPOOL_HELD), 0);
    spool_close(s);
    s = open_spool(p, &seen);
    assert_true(!seen.rows[0].held && seen.rows[0].let_go);
    assert_true(!seen.rows[1].held && seen.rows[1].let_go);
    assert_true(seen.rows[2].held && !seen.rows[2].let_go);
    spool_close(s);
}

/* Many times the size of the log goes through; what waits from the beginning stays. */
static void test_segments_are_recycled(void **state) {
    struct place *p = *state;
    static struct seen seen;
    struct spool *s = open_spool(p, NULL);
    const struct mail_shape shape = {.groups = 1, .recipients = 1, .size = 60000};
    uint64_t first, message;
    assert_int_equal(mail_commit(s, 1, &shape, &first), 0);
    for (uint64_t i = 2; i < 200; i++) {
        assert_int_equal(mail_commit(s, i, &shape, &message), 0);
        assert_int_equal(mail_outcome(s, message, 0, SPOOL_DELIVERED), 0);
    }
    struct spool_stats stats;
    spool_stats(s, &stats);
    assert_true(stats.segments + stats.spare_segments <= 8);
    assert_int_equal(mail_read_back(s, first, 1, &shape), 0);
    spool_close(s);
    s = open_spool(p, &seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(mail_read_back(s, first, 1, &shape), 0);
    spool_close(s);
}

struct writer {
    struct spool *spool;
    uint64_t from;
    pthread_t thread;
};

static void *write_many(void *arg) {
    struct writer *w = arg;
    const struct mail_shape shape = {.groups = 1, .recipients = 2, .size = 3000}, big = {1, 1, 600000, 0};
    for (uint64_t i = 0; i < 60; i++) {
        const struct mail_shape *this = i % 20 == 7 ? &big : &shape;
        uint64_t message;
        if (mail_commit(w->spool, w->from + i, this, &message) != 0)
            return "commit";
        if (mail_read_back(w->spool, message, w->from + i, this) != 0)
            return "read back";
        if (i % 2 && mail_outcome(w->spool, message, 0, SPOOL_DELIVERED) != 0)
            return "outcome";
    }
    return NULL;
}

static void test_many_threads(void **state) {
    struct place *p = *state;
    static struct seen seen;
    struct spool *s = open_spool(p, NULL);
    struct writer writers[8];
    for (size_t i = 0; i < COUNT(writers); i++) {
        writers[i] = (struct writer){.spool = s, .from = i * 1000};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_many, &writers[i]), 0);
    }
    for (size_t i = 0; i < COUNT(writers); i++) {
        void *failed;
        pthread_join(writers[i].thread, &failed);
        assert_null(failed);
    }
    spool_close(s);
    s = open_spool(p, &seen);
    /* Of 60: 3 big ones, all at odd places; 27 with one recipient ended, 30 with two. */
    assert_int_equal(seen.count, COUNT(writers) * (27 + 60));
    spool_close(s);
}

static void test_in_use(void **state) {
    struct place *p = *state;
    struct spool *s = open_spool(p, NULL), *other;
    struct str why;
    struct spool_check_result result;
    assert_int_equal(spool_open(&(struct spool_options){.dir = p->spool}, NULL, NULL, p->arena, &why, &other),
                     SLUICE_EBUSY);
    char expected[160];
    snprintf(expected, sizeof expected, "spool %s is in use by process %d", p->spool, (int)getpid());
    assert_string_equal(str_c(p->arena, why), expected);
    assert_int_equal(spool_check(p->spool, NULL, NULL, NULL, NULL, p->arena, &why, &result), SLUICE_EBUSY);
    spool_close(s);
    assert_int_equal(spool_check(p->spool, NULL, NULL, NULL, NULL, p->arena, &why, &result), 0);
    assert_int_equal(result.damages, 0);
}

static void test_bad_options(void **state) {
    struct place *p = *state;
    static const struct {
        struct spool_options options;
        int error;
        const char *why;
    } cases[] = {
        {{.dir = ""}, SLUICE_EINVALID, "no folder"},
        {{.dir = "/tmp/x", .segment_size = 5000}, SLUICE_EINVALID, "a segment can't have 5000 bytes"},
        {{.dir = "/tmp/x", .segment_size = 1 << 20, .disk_limit = 1 << 21},
         SLUICE_EINVALID,
         "holds no 4 segments"},
        {{.dir = "/proc/sluice"}, SLUICE_ENOTFOUND, "can't make /proc/sluice"},
        {{.dir = "/dev/null"}, SLUICE_EIO, "can't make /dev/null"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct spool *s;
        struct str why = STR_NULL;
        assert_int_equal(spool_open(&cases[i].options, NULL, NULL, p->arena, &why, &s), cases[i].error);
        if (!strstr(str_c(p->arena, why), cases[i].why))
            fail_msg("\"%s\" lacks \"%s\"", str_c(p->arena, why), cases[i].why);
    }
    struct str why;
    struct spool_check_result result;
    assert_int_equal(spool_check(p->dir, NULL, NULL, NULL, NULL, p->arena, &why, &result), SLUICE_ENOTFOUND);
}

/* As root: as nobody, who may look but not write. */
static void test_not_writable(void **state) {
    struct place *p = *state;
    bool root = geteuid() == 0;
    spool_close(open_spool(p, NULL));
    if (root) {
        chmod(p->dir, 0755);
        *strrchr(p->spool, '/') = 0;
        chmod(p->spool, 0755);
        p->spool[strlen(p->spool)] = '/';
        assert_int_equal(seteuid(65534), 0);
    } else {
        chmod(p->spool, 0500);
    }
    struct spool *s;
    struct str why = STR_NULL;
    int error = spool_open(&(struct spool_options){.dir = p->spool}, NULL, NULL, p->arena, &why, &s);
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(error, SLUICE_EDENIED);
    assert_non_null(strstr(str_c(p->arena, why), p->spool));
    assert_non_null(strstr(str_c(p->arena, why), "Permission denied"));
}

static void test_largest_body(void **state) {
    const struct spool_options limited = {.dir = "x", .segment_size = SEGMENT, .disk_limit = 6 * SEGMENT};
    assert_true(spool_largest_body(&(struct spool_options){.dir = "x"}) > UINT64_C(10) << 30);
    assert_true(spool_largest_body(&limited) > SEGMENT / 2);
    assert_true(spool_largest_body(&limited) < 6 * SEGMENT);
    struct place *p = *state;
    struct spool *s;
    struct str why;
    struct spool_options options = limited;
    options.dir = p->spool;
    assert_int_equal(spool_open(&options, NULL, NULL, p->arena, &why, &s), 0);
    int error;
    uint64_t message;
    const struct mail_shape most = {1, 1, spool_largest_body(&options), 0};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mail_commit(s, 3, &most, &message), 0);
        assert_int_equal(mail_read_back(s, message, 3, &most), 0);
        assert_int_equal(mail_outcome(s, message, 0, SPOOL_DELIVERED), 0);
    }
    assert_null(mail_body(s, 1, most.size + 1, &error));
    assert_int_equal(error, SLUICE_ETOOBIG);
    spool_close(s);
}

/* ---- kill -9 ---- */

enum { CHILD_MESSAGES = 3000 };

struct told {
    int pipe;
    uint64_t number;
    struct spool *spool;
};

static void tell_parent(void *arg, int error, uint64_t message) {
    struct told *t = arg;
    uint64_t line[2] = {t->number, message};
    if (error == 0 && write(t->pipe, line, sizeof line) != sizeof line)
        _exit(3);
    if (error == 0 && t->number % 3 == 0)
        spool_outcome(t->spool, message, 0, &(struct spool_outcome){.fate = SPOOL_DELIVERED}, NULL, NULL);
    free(t);
}

static void child(struct place *p, int pipe_end, uint64_t from) {
    struct spool *s;
    struct str why;
    const struct mail_shape shape = {1, 2, 2000, 10};
    if (spool_open(&(struct spool_options){.dir = p->spool, .segment_size = SEGMENT}, NULL, NULL, p->arena,
                   &why, &s))
        _exit(4);
    for (uint64_t i = from; i < from + CHILD_MESSAGES; i++) {
        int error;
        struct spool_body *body = mail_body(s, i, shape.size, &error);
        struct told *t = malloc(sizeof *t);
        *t = (struct told){pipe_end, i, s};
        struct spool_message m = mail_make(p->arena, i, &shape);
        spool_commit(s, &m, body, tell_parent, t);
        if (i % 16 == 0)
            nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
    for (;;)
        pause();
}

static void test_kill(void **state) {
    struct place *p = *state;
    static struct seen seen;
    static uint64_t told[4096];
    const struct mail_shape shape = {1, 2, 2000, 10};
    unsigned chance = 7;
    for (int round = 0; round < 4; round++) {
        int ends[2];
        size_t count = 0;
        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            child(p, ends[1], 1000000u * (unsigned)round);
        close(ends[1]);
        size_t until = (size_t)(rand_r(&chance) % 400) + 10;
        uint64_t line[2];
        while (read(ends[0], line, sizeof line) == sizeof line) {
            told[count++] = line[0];
            if (count == until)
                kill(pid, SIGKILL);
        }
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        close(ends[0]);
        struct spool *s = open_spool(p, &seen);
        struct spool_stats stats;
        spool_stats(s, &stats);
        assert_int_equal(stats.damages, 0);
        size_t at = 0;
        for (size_t i = 0; i < count; i++) {
            while (at < seen.count && seen.numbers[at] != told[i])
                at++;
            assert_true(at < seen.count);
            assert_int_equal(mail_read_back(s, seen.messages[at], told[i], &shape), 0);
        }
        for (size_t i = 0; i < seen.count; i++)
            assert_int_equal(mail_outcome(s, seen.messages[i], seen.rows[i].recipient, SPOOL_DELIVERED), 0);
        spool_close(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outcomes_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_held_from_the_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_segments_are_recycled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_use, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_options, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_writable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_largest_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
