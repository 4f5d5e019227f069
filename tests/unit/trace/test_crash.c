#include "scratch.h"
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 6, PER_FLUSH = 50 };

static struct trace_event event_number(unsigned number) {
    return (struct trace_event){.event = number % 2 ? TRACE_SEND : TRACE_RECEIVE,
                                .time = NOON + number,
                                .trace_id = scratch_id(NOON - number / 2 % 3 * DAY, number / 2),
                                .recipient = STR("b@x"),
                                .subject = STR("of the message")};
}

/* Emits without end; after each flush tells the parent how many events are safe. */
static void emit_until_killed(struct scratch *s, int report, unsigned number) {
    scratch_open(s, NULL);
    for (;;) {
        struct trace_event event = event_number(number++);
        if (trace_emit(s->trace, &event) != 0)
            _exit(1);
        if (number % PER_FLUSH == 0) {
            if (trace_flush(s->trace) != 0 || write(report, &number, sizeof number) != sizeof number)
                _exit(1);
        }
    }
}

static unsigned run_and_kill(struct scratch *s, unsigned start, unsigned delay_ms) {
    int ends[2];
    unsigned safe = start, number;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        emit_until_killed(s, ends[1], start);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &number, sizeof number), sizeof number);
    safe = number;
    (void)poll(NULL, 0, (int)delay_ms);
    kill(child, SIGKILL);
    while (read(ends[0], &number, sizeof number) == sizeof number)
        safe = number;
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    return safe;
}

/* Killed at any moment: what was flushed is there, and emitting everything again changes nothing. */
static void test_kill(void **state) {
    struct scratch s;
    unsigned safe = 0;
    (void)state;
    scratch_begin(&s);
    for (unsigned round = 0; round < ROUNDS; round++) {
        safe = run_and_kill(&s, safe, 1 + round * 8);
        scratch_open(&s, NULL);
        for (int again = 0; again < 2; again++) {
            for (unsigned i = 0; i < safe; i += again ? 1 : safe) {
                struct trace_event event = event_number(i);
                scratch_emit(&s, event);
            }
            scratch_flush(&s);
            size_t count;
            for (unsigned i = 0; i + 1 < safe; i += safe / 20 * 2 + 2) {
                struct trace_event first = event_number(i), *rows = scratch_show(&s, &first.trace_id, &count);
                assert_int_equal(count, 2);
                assert_int_equal(rows[1].event, TRACE_SEND);
            }
        }
        scratch_close(&s);
    }
    assert_int_equal(scratch_files(&s, "damaged"), 0);
    scratch_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
