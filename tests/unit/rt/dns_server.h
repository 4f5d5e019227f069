/* dns_server.h - a DNS server in a thread that behaves as badly as a test wants: UDP on 127.0.0.x.
 *
 * The first label of a name says what the server does with it (below); `mode` overrides that for all names.
 */
#pragma once
#include "base/buf.h"
#include "cmocka_setup.h"
#include "rt/dns_wire.h"
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum server_mode {
    SERVER_BY_NAME,
    SERVER_SILENT,
    SERVER_RCODE, /* + rcode */
    SERVER_GARBAGE = 32,
    SERVER_LAME, /* NOERROR with nothing but a referral to the root */
    SERVER_TRUNCATED,
};

struct dns_server {
    int fd;
    uint16_t port;
    pthread_t thread;
    _Atomic int mode;
    _Atomic int asked;
    _Atomic bool stop;
};

struct server_answer {
    struct buf packet;
    unsigned records;
};

static void wire_u16(struct buf *b, unsigned v) {
    buf_u8(b, (uint8_t)(v >> 8));
    buf_u8(b, (uint8_t)v);
}

static void wire_record(struct server_answer *a, const char *owner, unsigned type, uint32_t ttl,
                        const void *data, size_t len) {
    dns_name_wire(str_of(owner), &a->packet);
    wire_u16(&a->packet, type);
    wire_u16(&a->packet, 1);
    wire_u16(&a->packet, ttl >> 16);
    wire_u16(&a->packet, ttl & 0xffff);
    wire_u16(&a->packet, (unsigned)len);
    buf_add(&a->packet, data, len);
    a->records++;
}

static void wire_name_record(struct server_answer *a, const char *owner, unsigned type, uint32_t ttl,
                             const char *prefix, size_t prefix_len, const char *target) {
    struct buf data = {0};
    buf_add(&data, prefix, prefix_len);
    dns_name_wire(str_of(target), &data);
    wire_record(a, owner, type, ttl, data.at, data.len);
    buf_free(&data);
}

static void wire_soa(struct server_answer *a, const char *owner) {
    struct buf data = {0};
    dns_name_wire(STR("ns.server.example"), &data);
    dns_name_wire(STR("root.server.example"), &data);
    static const unsigned char numbers[20] = {[3] = 1, [7] = 60, [11] = 60, [15] = 60, [19] = 1};
    buf_add(&data, numbers, sizeof numbers);
    wire_record(a, owner, DNS_SOA, 1, data.at, data.len);
    buf_free(&data);
}

/* The name and type of the question; the length of the question section. */
static size_t read_question(const unsigned char *packet, size_t len, char name[256], unsigned *type) {
    size_t at = 12, out = 0;
    while (at < len && packet[at]) {
        unsigned n = packet[at++];
        if (n > 63 || at + n > len || out + n + 1 > 255)
            return 0;
        if (out)
            name[out++] = '.';
        for (unsigned i = 0; i < n; i++)
            name[out++] = ascii_lower((char)packet[at++]);
    }
    name[out] = 0;
    if (at + 5 > len)
        return 0;
    *type = (unsigned)packet[at + 1] << 8 | packet[at + 2];
    return at + 5 - 12;
}

/* Answers for NAME: "ok*": A, MX, TXT; "short*": the same for a second; "alias*": CNAME to ok.NAME's rest;
 * "alias2*", a chain; "loop*": CNAME to itself; "nx*": NXDOMAIN; "empty*": NOERROR without records; "slow*":
 * as ok, after 250 ms; "servfail*", "refused*": rcode 2, 5; "silent*": nothing. */
static unsigned fill_answer(struct server_answer *a, const char *name, unsigned type) {
    const char *rest = strchr(name, '.') ? strchr(name, '.') + 1 : name;
    char target[300];
    uint32_t ttl = strncmp(name, "short", 5) == 0 ? 1 : 300;
    if (strncmp(name, "nx", 2) == 0)
        return 3;
    if (strncmp(name, "servfail", 8) == 0)
        return 2;
    if (strncmp(name, "refused", 7) == 0)
        return 5;
    if (strncmp(name, "empty", 5) == 0)
        return 0;
    if (strncmp(name, "alias", 5) == 0) {
        snprintf(target, sizeof target, "%s.%s",
                 name[5] == '2'   ? "alias3"
                 : name[5] == 'x' ? "nx"
                                  : "ok",
                 rest);
        wire_name_record(a, name, DNS_CNAME, 60, NULL, 0, target);
        return 0;
    }
    if (strncmp(name, "loop", 4) == 0) {
        wire_name_record(a, name, DNS_CNAME, 60, NULL, 0, name);
        return 0;
    }
    if (type == DNS_A)
        wire_record(a, name, type, ttl, "\x7f\x00\x00\x09", 4);
    if (type == DNS_MX) {
        wire_name_record(a, name, type, ttl, "\x00\x0a", 2, "mx.server.example");
        wire_name_record(a, name, type, ttl, "\x00\x14", 2, "mx2.server.example");
    }
    if (type == DNS_TXT)
        wire_record(a, name, type, ttl, "\x05hello\x06 world", 13);
    return 0;
}

static void server_answer(struct dns_server *s, const unsigned char *question, size_t len,
                          const struct sockaddr_in *client) {
    char name[256];
    unsigned type, rcode = 0;
    size_t section = read_question(question, len, name, &type);
    int mode = atomic_load(&s->mode);
    if (!section || mode == SERVER_SILENT || (!mode && strncmp(name, "silent", 6) == 0))
        return;
    if (!mode && strncmp(name, "slow", 4) == 0)
        poll(NULL, 0, 250);
    struct server_answer a = {0};
    buf_add(&a.packet, question, 2);
    bool truncated = mode == SERVER_TRUNCATED, lame = mode == SERVER_LAME;
    buf_u8(&a.packet, truncated ? 0x86 : 0x84);
    buf_u8(&a.packet, 0x80);
    wire_u16(&a.packet, 1);
    wire_u16(&a.packet, 0);
    wire_u16(&a.packet, 0);
    wire_u16(&a.packet, 0);
    buf_add(&a.packet, question + 12, section);
    if (mode >= SERVER_RCODE && mode < SERVER_GARBAGE)
        rcode = (unsigned)(mode - SERVER_RCODE);
    else if (!truncated && !lame)
        rcode = fill_answer(&a, name, type);
    a.packet.at[7] = (char)a.records;
    a.packet.at[3] = (char)(0x80 | rcode);
    unsigned answers = a.records;
    if (lame) { /* neither authoritative nor recursive */
        a.packet.at[2] = (char)0x80;
        a.packet.at[3] = 0;
        wire_name_record(&a, ".", DNS_NS, 60, NULL, 0, "a.root-servers.net");
        a.packet.at[9] = 1;
    } else if ((rcode == 0 || rcode == 3) && !answers) {
        const char *rest = strchr(name, '.');
        wire_soa(&a, rest ? rest + 1 : name);
        a.packet.at[9] = 1;
    }
    if (mode == SERVER_GARBAGE)
        for (size_t i = 12; i < a.packet.len; i++)
            a.packet.at[i] = (char)(i * 37);
    sendto(s->fd, a.packet.at, a.packet.len, 0, (const struct sockaddr *)client, sizeof *client);
    buf_free(&a.packet);
}

static void *server_main(void *arg) {
    struct dns_server *s = arg;
    while (!atomic_load(&s->stop)) {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        unsigned char question[1500];
        struct sockaddr_in client;
        socklen_t size = sizeof client;
        if (poll(&p, 1, 20) <= 0)
            continue;
        ssize_t n = recvfrom(s->fd, question, sizeof question, 0, (struct sockaddr *)&client, &size);
        if (n < 12)
            continue;
        atomic_fetch_add(&s->asked, 1);
        server_answer(s, question, (size_t)n, &client);
    }
    return NULL;
}

static inline void dns_server_start(struct dns_server *s, const char *address) {
    *s = (struct dns_server){.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in own = {.sin_family = AF_INET};
    inet_pton(AF_INET, address, &own.sin_addr);
    socklen_t size = sizeof own;
    assert_int_equal(bind(s->fd, (struct sockaddr *)&own, size), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&own, &size), 0);
    s->port = ntohs(own.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static inline void dns_server_stop(struct dns_server *s) {
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
    close(s->fd);
}
