#include "scan/endpoint.h"

#include "base/error.h"
#include "rt/net.h"
#include "rt/resolver.h"
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- reading ---- */

static bool is_host_name(struct str s) {
    if (!s.len || s.len > 253 || s.at[0] == '-' || s.at[0] == '.')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = ascii_lower(s.at[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != '_')
            return false;
    }
    return true;
}

static bool read_path(struct arena *arena, struct str path, struct scan_endpoint *ret) {
    if (!str_starts(path, STR("/")) || path.len >= sizeof((struct sockaddr_un *)0)->sun_path ||
        memchr(path.at, 0, path.len))
        return false;
    ret->path = str_c(arena, path);
    ret->text = str_of(ret->path);
    return true;
}

bool scan_endpoint_parse(struct arena *arena, struct str text, uint16_t port, struct scan_endpoint *ret) {
    struct scan_endpoint e = {.text = str_copy(arena, text), .port = port};
    bool good;
    if (str_starts(text, STR("unix:")) || str_starts(text, STR("/"))) {
        good = read_path(arena, str_from_index(text, text.at[0] == '/' ? 0 : 5), &e);
    } else if (ip_parse_port(text, port, &e.ip, &e.port)) {
        good = e.port != 0;
    } else {
        ptrdiff_t colon = str_rindex(text, ':');
        uint64_t number = port;
        good = colon < 0 || (str_to_u64(str_from_index(text, (size_t)colon + 1), &number) && number < 65536);
        e.host = str_lower(arena, colon < 0 ? text : str_head(text, (size_t)colon));
        e.port = (uint16_t)number;
        good = good && e.port && is_host_name(e.host);
    }
    if (good)
        *ret = e;
    return good;
}

/* ---- dialling ---- */

/* A Unix socket connects at once, or not at all. */
static int dial_path(const char *path, struct stream **ret) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    memcpy(to.sun_path, path, len);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_from_errno(errno);
    if (connect(fd, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1))) {
        int error = errno == EAGAIN ? SLUICE_EBUSY : error_from_errno(errno);
        close(fd);
        return error;
    }
    *ret = stream_of_fd(fd);
    return 0;
}

static int dial_records(const struct dns_answer *answer, uint16_t port, int64_t deadline,
                        struct stream **ret) {
    int error = SLUICE_ENOTFOUND;
    for (size_t i = 0; i < answer->count; i++) {
        error = net_dial(NULL, &answer->records[i].ip, port, deadline, ret);
        if (!error || error == SLUICE_ETIMEOUT || error == SLUICE_ECANCELLED)
            break;
    }
    return error;
}

static int dial_localhost(uint16_t port, int64_t deadline, struct stream **ret) {
    struct ip ip;
    ip_parse(STR("127.0.0.1"), &ip);
    int error = net_dial(NULL, &ip, port, deadline, ret);
    if (error != SLUICE_EREFUSED && error != SLUICE_EUNREACH)
        return error;
    ip_parse(STR("::1"), &ip);
    return net_dial(NULL, &ip, port, deadline, ret) == 0 ? 0 : error;
}

static int dial_name(const struct scan_endpoint *e, struct resolver *resolver, int64_t deadline,
                     struct stream **ret) {
    static const enum dns_type types[] = {DNS_A, DNS_AAAA};
    struct arena *arena = arena_new(0);
    int error = SLUICE_ENOTFOUND;
    for (size_t i = 0; i < sizeof types / sizeof *types && resolver; i++) {
        struct dns_answer answer;
        resolver_lookup(resolver, e->host, types[i], deadline, arena, &answer);
        if (answer.status != DNS_RECORDS)
            continue;
        error = dial_records(&answer, e->port, deadline, ret);
        if (!error || error == SLUICE_ETIMEOUT || error == SLUICE_ECANCELLED)
            break;
    }
    arena_free(arena);
    return error;
}

int scan_endpoint_dial(const struct scan_endpoint *e, struct resolver *resolver, int64_t deadline,
                       struct stream **ret) {
    if (e->path)
        return dial_path(e->path, ret);
    if (!e->host.len)
        return net_dial(NULL, &e->ip, e->port, deadline, ret);
    if (str_eq(e->host, STR("localhost")))
        return dial_localhost(e->port, deadline, ret);
    return dial_name(e, resolver, deadline, ret);
}

const char *scan_endpoint_error(int error) {
    switch (error) {
    case SLUICE_EDENIED:
        return "the account that sluiced runs as may not use this socket: is it in the socket's group?";
    case SLUICE_ENOTFOUND:
        return "there is no such place";
    default:
        return error_text(error);
    }
}
