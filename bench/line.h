/* line.h - what both ends of the bench share: a clock, a non-blocking socket, and lines out of a buffer. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINE_BUFFER = 65536 };

struct lines {
    size_t len, used;
    char bytes[LINE_BUFFER];
};

/* CLOCK_MONOTONIC in nanoseconds: the same for all processes of one machine. */
int64_t bench_now(void);
/* Prints the message and errno's text, ends with 1. */
void bench_die(const char *what) __attribute__((noreturn));
/* TCP_NODELAY, non-blocking. */
void bench_tune(int fd);

/* Reads what is there. False when the other side has closed or the connection broke. */
bool lines_fill(struct lines *, int fd);
/* The next whole line without its end, NUL-terminated in place; NULL when there is none yet. */
char *lines_next(struct lines *, size_t *ret_len);
