/* source.c - sends numbered messages over many persistent sessions, in lock step, and stamps each.
 *
 * source ADDRESS PORT LOCAL-ADDRESS SENDER DOMAINS SESSIONS MESSAGES BYTES STAMPS
 *
 * DOMAINS is a comma-separated list; message n goes to r@ the (n modulo their number)-th. STAMPS gets two
 * int64_t for each message: nanoseconds before MAIL and at the 250 after the data. Prints one JSON object. A
 * 4xx closes the session, waits 0.2 s and sends that message again. */
#include "line.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum stage { GREETING, EHLO, MAIL, RCPT, DATA, DOT, PAUSE, DONE };
enum { PAUSE_NS = 200000000 };

struct session {
    int fd;
    enum stage stage;
    int64_t until; /* of PAUSE */
    long message;  /* -1: none */
    size_t sent;   /* of the data */
    struct lines in;
};

struct source {
    struct sockaddr_in to, from;
    const char *sender;
    char *domains[256];
    long domain_count, messages, next, done, deferred;
    char *body;
    size_t body_len;
    int64_t (*stamps)[2];
    int epoll;
};

static void say(struct session *s, const char *line, size_t len) {
    if (send(s->fd, line, len, MSG_NOSIGNAL) != (ssize_t)len)
        bench_die("send");
}

static void connect_session(struct source *b, struct session *s) {
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&b->from, sizeof b->from) != 0)
        bench_die("bind");
    if (connect(s->fd, (struct sockaddr *)&b->to, sizeof b->to) != 0)
        bench_die("connect");
    bench_tune(s->fd);
    s->stage = GREETING;
    s->in.len = s->in.used = 0;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
    epoll_ctl(b->epoll, EPOLL_CTL_ADD, s->fd, &e);
}

/* `#` in SENDER: one of so many, in turn. */
enum { SENDERS = 20000 };

static const char *sender_of(const struct source *b, const struct session *s, char out[256]) {
    const char *at = strchr(b->sender, '#');
    if (!at)
        return b->sender;
    snprintf(out, 256, "%.*s%ld%s", (int)(at - b->sender), b->sender, s->message % SENDERS, at + 1);
    return out;
}

/* The header with the number, then the body; goes on where the socket was full. */
static void send_data(struct source *b, struct session *s) {
    char head[512], sender[256];
    int head_len =
        snprintf(head, sizeof head,
                 "From: <%s>\r\nSubject: bench\r\nX-Seq: %ld\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
                 "Message-ID: <%ld@bench.test>\r\n\r\n",
                 sender_of(b, s, sender), s->message, s->message);
    size_t total = (size_t)head_len + b->body_len;
    while (s->sent < total) {
        const char *at = s->sent < (size_t)head_len ? head + s->sent : b->body + s->sent - (size_t)head_len;
        size_t left = s->sent < (size_t)head_len ? (size_t)head_len - s->sent : total - s->sent;
        ssize_t n = send(s->fd, at, left, MSG_NOSIGNAL | (s->sent < (size_t)head_len ? MSG_MORE : 0));
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            bench_die("send");
        s->sent += (size_t)n;
    }
    struct epoll_event e = {.events = EPOLLIN | (s->sent < total ? EPOLLOUT : 0u), .data.ptr = s};
    epoll_ctl(b->epoll, EPOLL_CTL_MOD, s->fd, &e);
}

static void begin(struct source *b, struct session *s) {
    char line[512], sender[256];
    if (s->message < 0 && b->next < b->messages)
        s->message = b->next++;
    if (s->message < 0) {
        say(s, "QUIT\r\n", 6);
        s->stage = DONE;
        return;
    }
    b->stamps[s->message][0] = bench_now();
    say(s, line, (size_t)snprintf(line, sizeof line, "MAIL FROM:<%s>\r\n", sender_of(b, s, sender)));
    s->stage = MAIL;
}

static void refused(struct source *b, struct session *s) {
    b->deferred++;
    close(s->fd);
    s->fd = -1;
    s->stage = PAUSE;
    s->until = bench_now() + PAUSE_NS;
}

static void on_reply(struct source *b, struct session *s, const char *reply) {
    char line[512];
    if (reply[3] == '-')
        return;
    if (s->stage == DONE)
        return;
    if (reply[0] == '4') {
        refused(b, s);
        return;
    }
    if (reply[0] != (s->stage == DATA ? '3' : '2')) {
        fprintf(stderr, "source: stage %d: %s\n", s->stage, reply);
        exit(1);
    }
    switch (s->stage) {
    case GREETING:
        say(s, "EHLO source.bench.test\r\n", 24);
        s->stage = EHLO;
        return;
    case EHLO:
        begin(b, s);
        return;
    case MAIL:
        say(s, line,
            (size_t)snprintf(line, sizeof line, "RCPT TO:<r@%s>\r\n",
                             b->domains[s->message % b->domain_count]));
        s->stage = RCPT;
        return;
    case RCPT:
        say(s, "DATA\r\n", 6);
        s->stage = DATA;
        return;
    case DATA:
        s->sent = 0;
        s->stage = DOT;
        send_data(b, s);
        return;
    default:
        b->stamps[s->message][1] = bench_now();
        b->done++;
        s->message = -1;
        begin(b, s);
    }
}

static void on_event(struct source *b, struct session *s, uint32_t events) {
    if (events & EPOLLOUT && s->stage == DOT)
        send_data(b, s);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    if (!lines_fill(&s->in, s->fd)) {
        if (s->stage == DONE)
            close(s->fd);
        else
            refused(b, s);
        return;
    }
    size_t len;
    for (char *line; s->fd >= 0 && (line = lines_next(&s->in, &len));)
        if (len >= 3)
            on_reply(b, s, line);
}

static void make_body(struct source *b, size_t bytes) {
    b->body = malloc(bytes + 128);
    while (b->body_len + 80 < bytes) {
        memset(b->body + b->body_len, 'a' + (int)(b->body_len / 80 % 26), 78);
        memcpy(b->body + b->body_len + 78, "\r\n", 2);
        b->body_len += 80;
    }
    memcpy(b->body + b->body_len, ".\r\n", 3);
    b->body_len += 3;
}

static struct sockaddr_in address(const char *ip, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, ip, &a.sin_addr) != 1)
        bench_die(ip);
    return a;
}

static void run(struct source *b, long count) {
    struct session *sessions = calloc((size_t)count, sizeof *sessions);
    struct epoll_event events[64];
    for (long i = 0; i < count; i++) {
        sessions[i].message = -1;
        connect_session(b, &sessions[i]);
    }
    while (b->done < b->messages) {
        int n = epoll_wait(b->epoll, events, 64, b->deferred ? 50 : 1000);
        for (int i = 0; i < n; i++)
            on_event(b, events[i].data.ptr, events[i].events);
        for (long i = 0; b->deferred && i < count; i++)
            if (sessions[i].stage == PAUSE && bench_now() > sessions[i].until)
                connect_session(b, &sessions[i]);
    }
}

int main(int argc, char **argv) {
    if (argc != 10) {
        fprintf(stderr, "usage: source ADDRESS PORT LOCAL SENDER DOMAINS SESSIONS MESSAGES BYTES STAMPS\n");
        return 2;
    }
    struct source b = {.to = address(argv[1], (int)strtol(argv[2], NULL, 10)),
                       .from = address(argv[3], 0),
                       .sender = argv[4]};
    for (char *d = strtok(argv[5], ","); d && b.domain_count < 256; d = strtok(NULL, ","))
        b.domains[b.domain_count++] = d;
    b.messages = strtol(argv[7], NULL, 10);
    make_body(&b, strtoul(argv[8], NULL, 10));
    b.stamps = calloc((size_t)b.messages, sizeof *b.stamps);
    b.epoll = epoll_create1(0);
    int64_t started = bench_now();
    run(&b, strtol(argv[6], NULL, 10));
    int64_t ended = bench_now();
    FILE *out = fopen(argv[9], "wb");
    if (!out || fwrite(b.stamps, sizeof *b.stamps, (size_t)b.messages, out) != (size_t)b.messages ||
        fclose(out) != 0)
        bench_die(argv[9]);
    printf("{\"accepted\": %ld, \"deferred\": %ld, \"seconds\": %.3f}\n", b.done, b.deferred,
           (double)(ended - started) / 1e9);
    return 0;
}
