#include "alert/settings.h"
#include "mail/address.h"
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const level_words[] = {"info", "warning", "alarm", NULL};

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

static const struct config_option hook_options[] = {
    {.name = "url",
     .kind = CONFIG_STRING,
     .required = true,
     .doc = "Where alerts are POSTed as JSON: `https://...`. Redirects are not followed."},
    {.name = "secret-file",
     .kind = CONFIG_STRING,
     .required = true,
     .doc = "File of the secret that signs each call (HMAC-SHA256), 16 bytes at least, readable by its owner "
            "only."},
    {.name = "kinds",
     .kind = CONFIG_LIST,
     .preset_doc = "all",
     .doc = "Only alerts of these kinds: `sender-restricted`, `source-listed`, ..."},
    {.name = "level",
     .kind = CONFIG_ENUM,
     .words = level_words,
     .preset = "warning",
     .doc = "The least level that is sent there."},
    {.name = "ca",
     .kind = CONFIG_STRING,
     .preset_doc = "the system's",
     .doc = "PEM file of the authorities that may vouch for the server."},
    {.name = "timeout",
     .kind = CONFIG_DURATION,
     .preset = "10s",
     .min = SECOND,
     .max = MINUTE,
     .doc = "How long one call may take."},
    {.name = "retry",
     .kind = CONFIG_DURATION,
     .preset = "5s",
     .min = 100,
     .max = 5 * MINUTE,
     .doc = "How long after a call that failed the next is made; doubles with each, up to 5 minutes."},
    {.name = "expire",
     .kind = CONFIG_DURATION,
     .preset = "1h",
     .min = MINUTE,
     .max = DAY,
     .doc = "How long a call that fails is tried again, in growing distances, also after a restart."},
    {.kind = CONFIG_END},
};

const struct config_option alerts_options[] = {
    {.name = "mail",
     .kind = CONFIG_LIST,
     .preset_doc = "nobody",
     .doc = "Addresses of the operator's administrators, who hear of everything. A tenant's own "
            "`administrators` hear of what is theirs."},
    {.name = "from",
     .kind = CONFIG_STRING,
     .preset_doc = "sluice@ the node's name",
     .doc = "Who these mails are from. An address in an accepted domain: then they are signed and leave as "
            "class normal, else as class relay."},
    {.name = "level",
     .kind = CONFIG_ENUM,
     .words = level_words,
     .preset = "warning",
     .doc = "The least level that is mailed."},
    {.name = "quiet",
     .kind = CONFIG_DURATION,
     .preset = "1h",
     .min = MINUTE,
     .max = DAY,
     .doc = "How long the same alert is counted and not told again; then twice as long each time, at most a "
            "day."},
    {.name = "per-hour",
     .kind = CONFIG_INTEGER,
     .preset = "60",
     .min = 1,
     .max = 10000,
     .doc =
         "Mails in an hour to the operator, or to one tenant's administrators; calls in an hour of one "
         "webhook. "
         "What is over it is counted and told as a number. The last quarter is for alarms of a kind that had "
         "less than a quarter."},
    {.name = "webhook",
     .kind = CONFIG_TITLED,
     .options = hook_options,
     .title_doc = "webhook name",
     .doc = "A program that is called with each alert."},
    {.kind = CONFIG_END},
};

struct reading {
    struct arena *arena;
    const struct config_node *node;
    const char *state;
    struct config_errors *errors;
};

/* ---- addresses ---- */

static bool read_address(struct arena *arena, struct str written, struct str *ret) {
    struct address address;
    if (!written.len || address_parse(written, ADDRESS_ALLOW_UTF8, &address) != 0 || !address.domain.len)
        return false;
    *ret = address_normal(arena, written);
    return ret->len > 0;
}

const struct str *alert_addresses(struct arena *arena, const struct config_node *node, const char *option,
                                  struct config_errors *errors, size_t *ret_count) {
    struct config_list list = config_list(node, option);
    struct str *addresses = arena_array(arena, struct str, list.count);
    size_t count = 0;
    for (size_t i = 0; i < list.count; i++) {
        if (read_address(arena, list.at[i], &addresses[count]))
            count++;
        else
            config_complain(errors, node, option, "`%.*s` is no mail address: ops@example.net",
                            STR_FMT(list.at[i]));
    }
    *ret_count = count;
    return addresses;
}

static struct str read_from(struct reading *r, struct str node_name) {
    struct str written = config_string(r->node, "from"), address;
    if (!written.len)
        return str_printf(r->arena, "sluice@%.*s", STR_FMT(node_name));
    if (read_address(r->arena, written, &address))
        return address;
    config_complain(r->errors, r->node, "from", "`%.*s` is no mail address: sluice@example.net",
                    STR_FMT(written));
    return written;
}

/* ---- webhooks ---- */

/* The URL is taken apart by who will call it. */
static bool read_url(struct reading *r, const struct config_node *node, struct alert_hook *hook) {
    CURLU *parts = curl_url();
    char *scheme = NULL, *host = NULL;
    hook->url = config_string(node, "url");
    bool good = parts && hook->url.at && curl_url_set(parts, CURLUPART_URL, hook->url.at, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK && *host;
    bool clear = good && strcmp(scheme, "http") == 0;
    good = good && (clear || strcmp(scheme, "https") == 0);
    if (!good)
        config_complain(r->errors, node, "url", "`%.*s` is no URL of a web server: https://HOST/PATH",
                        STR_FMT(hook->url));
    else if (clear && strcmp(host, "localhost") != 0 && strncmp(host, "127.", 4) != 0 &&
             strcmp(host, "[::1]") != 0)
        config_warn(r->errors, node, "url", "alerts go to %s in clear, for anybody on the way: say https://",
                    host);
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(parts);
    return good;
}

static bool read_bytes(const char *path, char *out, size_t room, size_t *ret_len, struct stat *ret_file) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 && fstat(fd, ret_file) == 0 ? read(fd, out, room) : -1;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    *ret_len = got > 0 ? (size_t)got : 0;
    return got >= 0;
}

static void read_secret(struct reading *r, const struct config_node *node, struct alert_hook *hook) {
    const char *path = config_path(r->arena, node, "secret-file", r->state);
    char bytes[ALERT_SECRET_MAX + 2];
    struct stat file;
    size_t len;
    if (!path)
        return; /* `required` has said so */
    if (!read_bytes(path, bytes, sizeof bytes, &len, &file)) {
        config_complain(r->errors, node, "secret-file", "can't read %s: %s", path, strerror(errno));
        return;
    }
    while (len && (bytes[len - 1] == '\n' || bytes[len - 1] == '\r'))
        len--;
    if (file.st_mode & 077)
        config_complain(r->errors, node, "secret-file",
                        "%s is open to others than its owner (mode %04o): chmod 600 it", path,
                        (unsigned)file.st_mode & 07777);
    else if (len < ALERT_SECRET_MIN || len > ALERT_SECRET_MAX)
        config_complain(r->errors, node, "secret-file",
                        "%s holds a secret of %zu bytes: %d to %d are wanted (openssl rand -hex 32)", path,
                        len, ALERT_SECRET_MIN, ALERT_SECRET_MAX);
    else
        hook->secret = str_copy(r->arena, str_from(bytes, len));
    explicit_bzero(bytes, sizeof bytes);
}

/* The known word that is nearest to this one; ALERT_NONE: none is near. */
static enum alert_kind nearest(struct str word) {
    size_t least = word.len / 3 + 2;
    enum alert_kind best = ALERT_NONE;
    for (enum alert_kind kind = ALERT_NONE + 1; kind < ALERT_KINDS; kind++) {
        size_t distance = str_distance(word, alert_word(kind));
        if (distance < least)
            least = distance, best = kind;
    }
    return best;
}

static void read_kinds(struct reading *r, const struct config_node *node, struct alert_hook *hook) {
    struct config_list list = config_list(node, "kinds");
    for (size_t i = 0; i < list.count; i++) {
        enum alert_kind kind = alert_of_word(list.at[i]), near = nearest(list.at[i]);
        if (kind)
            hook->kinds |= UINT64_C(1) << kind;
        else if (near)
            config_complain(r->errors, node, "kinds", "`%.*s` is no kind of alert; did you mean `%.*s`?",
                            STR_FMT(list.at[i]), STR_FMT(alert_word(near)));
        else
            config_complain(r->errors, node, "kinds",
                            "`%.*s` is no kind of alert: sender-restricted, source-listed, ... (sluice(1) "
                            "has all)",
                            STR_FMT(list.at[i]));
    }
}

static void read_ca(struct reading *r, const struct config_node *node, struct alert_hook *hook) {
    hook->ca = config_path(r->arena, node, "ca", r->state);
    if (hook->ca && access(hook->ca, R_OK) != 0)
        config_complain(r->errors, node, "ca", "can't read %s: %s", hook->ca, strerror(errno));
}

static void read_hooks(struct reading *r, struct alert_settings *s) {
    struct config_sections sections = config_sections(r->node, "webhook");
    struct alert_hook *hooks = arena_array(r->arena, struct alert_hook, sections.count);
    for (size_t i = 0; i < sections.count; i++) {
        const struct config_node *node = sections.at[i];
        hooks[i] = (struct alert_hook){
            .name = config_title(node),
            .level = (enum alert_level)config_enum(node, "level"),
            .timeout_ms = config_duration_ms(node, "timeout"),
            .retry_ms = config_duration_ms(node, "retry"),
            .expire_ms = config_duration_ms(node, "expire"),
        };
        if (config_has(node, "url"))
            read_url(r, node, &hooks[i]);
        read_secret(r, node, &hooks[i]);
        read_kinds(r, node, &hooks[i]);
        read_ca(r, node, &hooks[i]);
    }
    s->hooks = hooks;
    s->hook_count = sections.count;
}

bool alert_hook_wants(const struct alert_hook *hook, enum alert_kind kind) {
    if (kind == ALERT_TEST)
        return true;
    return alert_level(kind) >= hook->level && (!hook->kinds || hook->kinds >> kind & 1);
}

struct alert_settings alert_settings_load(struct arena *arena, const struct config_node *root,
                                          const char *state, struct str node, struct config_errors *errors) {
    struct reading r = {arena, config_section_or_empty(root, "alerts"), state, errors};
    struct alert_settings s = {
        .level = (enum alert_level)config_enum(r.node, "level"),
        .quiet_ms = config_duration_ms(r.node, "quiet"),
        .per_hour = (unsigned)config_integer(r.node, "per-hour"),
    };
    s.mail = alert_addresses(arena, r.node, "mail", errors, &s.mail_count);
    s.from = read_from(&r, node);
    read_hooks(&r, &s);
    return s;
}
