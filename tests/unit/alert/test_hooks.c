#include "alert/hooks.h"
#include "base/clock.h"
#include "base/error.h"
#include "cmocka_setup.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* How calls end is counted here; how they look is tested with a web server (tests/system/test_alerts.py). */
struct ends {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int taken, given_up;
};

static void settled(void *arg, struct str hook, struct str call, bool taken) {
    struct ends *e = arg;
    assert_true(hook.len && call.len);
    pthread_mutex_lock(&e->mutex);
    taken ? e->taken++ : e->given_up++;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->mutex);
}

static void wait_for(struct ends *e, int taken, int given_up) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&e->mutex);
    while (e->taken < taken || e->given_up < given_up)
        if (pthread_cond_timedwait(&e->changed, &e->mutex, &until) != 0)
            fail_msg("%d taken, %d given up", e->taken, e->given_up);
    pthread_mutex_unlock(&e->mutex);
}

/* A port at which nobody listens (refusing), or at which calls are never answered. */
struct port {
    int fd;
    char url[64];
};

static struct port port_open(bool listens) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    struct port p = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(bind(p.fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(p.fd, (struct sockaddr *)&at, &len), 0);
    if (listens)
        assert_int_equal(listen(p.fd, 10), 0);
    snprintf(p.url, sizeof p.url, "http://127.0.0.1:%u/", ntohs(at.sin_port));
    return p;
}

static struct alert_hook hook_of(const char *name, const struct port *p) {
    return (struct alert_hook){.name = str_of(name),
                               .url = str_of(p->url),
                               .secret = STR("0123456789abcdef"),
                               .timeout_ms = 200,
                               .retry_ms = 20,
                               .expire_ms = 60000};
}

static struct hooks *open_hooks(struct ends *e) {
    struct hooks *hooks = NULL;
    *e = (struct ends){.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    assert_int_equal(
        hooks_open(&(struct hooks_options){.agent = "test", .settled = settled, .arg = e}, &hooks), 0);
    return hooks;
}

static void call(struct hooks *hooks, const char *hook, int number, int64_t age) {
    char id[32];
    snprintf(id, sizeof id, "call-%d", number);
    hooks_call(hooks, str_of(hook), str_of(id), STR("{}"), clock_wall_ms() - age);
}

static void test_too_old(void **state) {
    struct ends e;
    struct port dead = port_open(false);
    struct alert_hook hook = hook_of("dead", &dead);
    struct hooks *hooks = open_hooks(&e);
    struct hook_counts counts;
    struct arena *arena = arena_new(0);
    struct str name;
    (void)state;
    hook.expire_ms = 300;
    hooks_configure(hooks, &hook, 1);
    call(hooks, "dead", 1, 0);
    call(hooks, "dead", 2, 1000); /* not even tried */
    wait_for(&e, 0, 2);
    assert_true(hooks_counts(hooks, 0, arena, &name, &counts));
    assert_true(str_eq(name, STR("dead")));
    assert_int_equal(counts.given_up, 2);
    assert_true(counts.failed >= 1 && counts.failed < HOOK_TRIES_MAX);
    assert_int_equal(counts.waiting, 0);
    assert_false(hooks_counts(hooks, 1, arena, &name, &counts));
    arena_free(arena);
    hooks_free(hooks);
    close(dead.fd);
}

/* The oldest go; what is under way at the end, or waits, is left to the next start. */
static void test_too_many(void **state) {
    struct ends e;
    struct port silent = port_open(true);
    struct alert_hook hook = hook_of("silent", &silent);
    struct hooks *hooks = open_hooks(&e);
    (void)state;
    hook.timeout_ms = 60000;
    hooks_configure(hooks, &hook, 1);
    for (int i = 0; i < HOOK_QUEUE_MAX + 50; i++)
        call(hooks, "silent", i, 0);
    wait_for(&e, 0, 49); /* one may be under way */
    int64_t start = clock_mono_ms();
    hooks_free(hooks);
    assert_true(clock_mono_ms() - start < 30000);
    assert_true(e.given_up <= 50);
    close(silent.fd);
}

/* Answers each call at once. */
static void *answer(void *arg) {
    static const char reply[] = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    char bytes[4096];
    int fd;
    while ((fd = accept(*(int *)arg, NULL, NULL)) >= 0) {
        size_t len = 0;
        while (len < 2 || memcmp(bytes + len - 2, "{}", 2) != 0) {
            ssize_t n = recv(fd, bytes + len, sizeof bytes - len, 0);
            if (n <= 0)
                break;
            len += (size_t)n;
        }
        (void)!write(fd, reply, sizeof reply - 1);
        close(fd);
    }
    return NULL;
}

/* That a call has ended is noticed whenever the answer comes: also while the thread begins others. */
static void test_fast_answers(void **state) {
    enum { HOOKS = 8, ROUNDS = 100 };
    struct ends e;
    struct port fast = port_open(true);
    struct alert_hook list[HOOKS];
    char names[HOOKS][8];
    struct hooks *hooks = open_hooks(&e);
    pthread_t server;
    (void)state;
    for (int i = 0; i < HOOKS; i++) {
        snprintf(names[i], sizeof names[i], "fast%d", i);
        list[i] = hook_of(names[i], &fast);
        list[i].timeout_ms = 60000;
    }
    hooks_configure(hooks, list, HOOKS);
    assert_int_equal(pthread_create(&server, NULL, answer, &fast.fd), 0);
    for (int i = 0; i < ROUNDS; i++) {
        for (int k = 0; k < HOOKS; k++)
            call(hooks, names[k], i, 0);
        wait_for(&e, (i + 1) * HOOKS, 0);
    }
    shutdown(fast.fd, SHUT_RDWR);
    pthread_join(server, NULL);
    hooks_free(hooks);
    close(fast.fd);
}

static void test_not_configured(void **state) {
    struct ends e;
    struct port silent = port_open(true), dead = port_open(false);
    struct alert_hook list[] = {hook_of("silent", &silent), hook_of("dead", &dead)};
    struct hooks *hooks = open_hooks(&e);
    (void)state;
    list[0].timeout_ms = 60000;
    hooks_configure(hooks, list, 2);
    call(hooks, "nobody", 1, 0);
    wait_for(&e, 0, 1);
    call(hooks, "silent", 2, 0);
    call(hooks, "silent", 3, 0);
    hooks_configure(hooks, &list[1], 1); /* gone with a call under way */
    wait_for(&e, 0, 3);
    hooks_configure(hooks, list, 2);
    hooks_configure(hooks, NULL, 0);
    hooks_free(hooks);
    close(silent.fd);
    close(dead.fd);
}

static void test_one_call(void **state) {
    struct port dead = port_open(false), silent = port_open(true);
    struct alert_hook hook = hook_of("dead", &dead);
    char said[HOOK_SAID_SIZE];
    (void)state;
    assert_false(hooks_try(&hook, "test", STR("id"), STR("{}"), said));
    assert_non_null(strstr(said, "onnect"));
    hook = hook_of("silent", &silent);
    assert_false(hooks_try(&hook, "test", STR("id"), STR("{}"), said));
    assert_non_null(strstr(said, "imed out"));
    hook.url = STR("file:///etc/passwd");
    assert_false(hooks_try(&hook, "test", STR("id"), STR("{}"), said));
    close(dead.fd);
    close(silent.fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_old),      cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_fast_answers), cmocka_unit_test(test_not_configured),
        cmocka_unit_test(test_one_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
