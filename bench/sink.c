/* sink.c - takes every message at once and stamps its number.
 *
 * sink PORT MESSAGES STAMPS ADDRESS...
 *
 * Prints "ready", then takes mail until MESSAGES different numbers have come, or SIGTERM. STAMPS gets an
 * int64_t for each number: nanoseconds of its first arrival, 0 for none. Prints one JSON object. */
#include "line.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct session {
    int fd;
    bool listener, data;
    long number;
    struct lines in;
};

struct sink {
    int epoll;
    long messages, seen, duplicates, unknown, sessions;
    int64_t *stamps;
    bool ending;
};

static void say(int fd, const char *reply) {
    if (send(fd, reply, strlen(reply), MSG_NOSIGNAL) < 0)
        return; /* the sender has gone: the next read tells */
}

static void stamp(struct sink *b, struct session *s) {
    if (s->number < 0 || s->number >= b->messages)
        b->unknown++;
    else if (b->stamps[s->number])
        b->duplicates++;
    else {
        b->stamps[s->number] = bench_now();
        b->seen++;
    }
    s->number = -1;
}

static void on_line(struct sink *b, struct session *s, const char *line, size_t len) {
    if (s->data) {
        if (len == 1 && line[0] == '.') {
            s->data = false;
            stamp(b, s);
            say(s->fd, "250 2.0.0 taken\r\n");
        } else if (len > 7 && s->number < 0 && strncmp(line, "X-Seq: ", 7) == 0)
            s->number = strtol(line + 7, NULL, 10);
        return;
    }
    if (strncasecmp(line, "EHLO", 4) == 0)
        say(s->fd,
            "250-sink\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n");
    else if (strncasecmp(line, "DATA", 4) == 0) {
        s->data = true;
        say(s->fd, "354 go\r\n");
    } else if (strncasecmp(line, "QUIT", 4) == 0) {
        say(s->fd, "221 2.0.0 bye\r\n");
        shutdown(s->fd, SHUT_WR);
    } else
        say(s->fd, "250 2.0.0 ok\r\n");
}

static void watch(struct sink *b, int fd, bool listener) {
    struct session *s = calloc(1, sizeof *s);
    if (!s)
        bench_die("memory");
    *s = (struct session){.fd = fd, .listener = listener, .number = -1};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
    epoll_ctl(b->epoll, EPOLL_CTL_ADD, fd, &e);
}

static void on_accept(struct sink *b, int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        bench_tune(fd);
        b->sessions++;
        watch(b, fd, false);
        say(fd, "220 sink ESMTP\r\n");
    }
}

static void on_input(struct sink *b, struct session *s) {
    size_t len;
    int on = 1;
    if (!lines_fill(&s->in, s->fd)) {
        close(s->fd);
        free(s);
        return;
    }
    setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
    for (char *line; (line = lines_next(&s->in, &len));)
        on_line(b, s, line, len);
}

static void listen_at(struct sink *b, const char *ip, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (inet_pton(AF_INET, ip, &a.sin_addr) != 1 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(fd, 4096) != 0)
        bench_die(ip);
    watch(b, fd, true);
}

static void run(struct sink *b) {
    struct epoll_event events[64];
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(b->epoll, EPOLL_CTL_ADD, signalfd(-1, &set, 0), &e);
    while (!b->ending && b->seen < b->messages) {
        int n = epoll_wait(b->epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            struct session *s = events[i].data.ptr;
            if (!s)
                b->ending = true;
            else if (s->listener)
                on_accept(b, s->fd);
            else
                on_input(b, s);
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "usage: sink PORT MESSAGES STAMPS ADDRESS...\n");
        return 2;
    }
    struct sink b = {.epoll = epoll_create1(0), .messages = strtol(argv[2], NULL, 10)};
    b.stamps = calloc((size_t)b.messages, sizeof *b.stamps);
    for (int i = 4; i < argc; i++)
        listen_at(&b, argv[i], (int)strtol(argv[1], NULL, 10));
    printf("ready\n");
    fflush(stdout);
    run(&b);
    FILE *out = fopen(argv[3], "wb");
    if (!out || fwrite(b.stamps, sizeof *b.stamps, (size_t)b.messages, out) != (size_t)b.messages ||
        fclose(out) != 0)
        bench_die(argv[3]);
    printf("{\"seen\": %ld, \"duplicates\": %ld, \"unknown\": %ld, \"sessions\": %ld}\n", b.seen,
           b.duplicates, b.unknown, b.sessions);
    return 0;
}
