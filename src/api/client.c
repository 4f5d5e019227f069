#include "api/client.h"

#include "base/clock.h"
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { REPLY_MAX = 256 << 20 };

void api_target_add(struct buf *target, const char *name, struct str value) {
    static const char safe[] = "-._~@:/";
    buf_printf(target, "%c%s=", memchr(target->at, '?', target->len) ? '&' : '?', name);
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.at[i];
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
            (c && strchr(safe, c)))
            buf_char(target, (char)c);
        else
            buf_printf(target, "%%%02X", c);
    }
}

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

static int wait_for(int fd, short events, int64_t deadline) {
    for (;;) {
        int64_t left = deadline - clock_mono_ms();
        struct pollfd waiting = {.fd = fd, .events = events};
        if (left <= 0)
            return SLUICE_ETIMEOUT;
        int ready = poll(&waiting, 1, left > 1000000 ? 1000000 : (int)left);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return SLUICE_EIO;
    }
}

static int connect_to(const char *path, int *ret_fd) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return SLUICE_ETOOBIG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_from_errno(errno);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno == ENOENT ? SLUICE_ENOTFOUND : error_from_errno(errno);
        close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

/* The daemon may refuse before it has read all (413): then its reply counts. */
static int send_all(int fd, struct str bytes, int64_t deadline) {
    while (bytes.len) {
        int bad = wait_for(fd, POLLOUT, deadline);
        if (bad)
            return bad;
        ssize_t sent = send(fd, bytes.at, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            return 0;
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return SLUICE_EIO;
        if (sent > 0)
            bytes = str_from_index(bytes, (size_t)sent);
    }
    return 0;
}

static int receive_all(int fd, struct buf *in, int64_t deadline) {
    for (;;) {
        int bad = wait_for(fd, POLLIN, deadline);
        if (bad)
            return bad;
        buf_reserve(in, 65536);
        ssize_t got = recv(fd, in->at + in->len, 65536, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET && in->len))
            return 0;
        if (got < 0 && errno != EINTR)
            return SLUICE_EIO;
        in->len += got > 0 ? (size_t)got : 0;
        if (in->len > REPLY_MAX)
            return SLUICE_ETOOBIG;
    }
}

static int digit_of(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static struct str decode(struct arena *arena, struct str text) {
    char *out = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool escape = text.at[i] == '%' && i + 2 < text.len && digit_of(text.at[i + 1]) >= 0 &&
                      digit_of(text.at[i + 2]) >= 0;
        out[len++] = escape ? (char)(digit_of(text.at[i + 1]) * 16 + digit_of(text.at[i + 2])) : text.at[i];
        i += escape ? 2 : 0;
    }
    return str_from(out, len);
}

/* "HTTP/1.1 200 OK", headers, empty line, body. */
static int parse(struct str all, struct arena *arena, struct api_reply *ret) {
    struct api_reply reply = {0};
    ptrdiff_t end = str_find(all, STR("\r\n\r\n"));
    struct str head = end < 0 ? STR_NULL : str_head(all, (size_t)end), line;
    uint64_t status = 0, length = UINT64_MAX;
    if (end < 0 || !str_starts(all, STR("HTTP/1.")) || all.len < 12 ||
        !str_to_u64(str_from(all.at + 9, 3), &status))
        return SLUICE_EIO;
    while (str_cut(&head, '\n', &line)) {
        ptrdiff_t colon = str_index(line, ':');
        if (colon < 0)
            continue;
        struct str name = str_head(line, (size_t)colon),
                   value = str_trim(str_from_index(line, (size_t)colon + 1));
        if (str_eq_nocase(name, STR("Content-Length")) && !str_to_u64(value, &length))
            return SLUICE_EIO;
        if (str_eq_nocase(name, STR("Sluice-Next")))
            reply.next = decode(arena, value);
        if (str_eq_nocase(name, STR("Sluice-Warning")))
            reply.warning = decode(arena, value);
    }
    reply.status = (int)status;
    reply.body = str_from_index(all, (size_t)end + 4);
    if (length != UINT64_MAX && reply.body.len < length) /* broken off */
        return SLUICE_EIO;
    *ret = reply;
    return 0;
}

int api_call(const char *socket_path, const char *method, struct str target, struct str body,
             int64_t timeout_ms, struct arena *arena, struct api_reply *ret) {
    struct buf out __attribute__((cleanup(buf_free))) = {0}, in __attribute__((cleanup(buf_free))) = {0};
    int fd __attribute__((cleanup(close_fd))) = -1;
    int64_t deadline = clock_mono_ms() + timeout_ms;
    int bad = connect_to(socket_path, &fd);
    if (bad)
        return bad;
    buf_printf(&out,
               "%s %.*s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
               method, STR_FMT(target), body.len);
    bad = send_all(fd, buf_view(&out), deadline);
    if (!bad)
        bad = send_all(fd, body, deadline);
    if (!bad)
        bad = receive_all(fd, &in, deadline);
    return bad ? bad : parse(str_copy(arena, buf_view(&in)), arena, ret);
}

struct str api_reply_error(const struct api_reply *reply, struct arena *arena) {
    json_t *root = json_loadb(reply->body.at, reply->body.len, 0, NULL);
    json_t *error = json_object_get(root, "error");
    struct str text = STR_NULL;
    if (json_is_string(error))
        text = str_copy(arena, str_from(json_string_value(error), json_string_length(error)));
    json_decref(root);
    return text;
}
