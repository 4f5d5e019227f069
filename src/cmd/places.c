#include "cmd/cli.h"

#include "settings/settings.h"
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILE_MAX = 16 << 20 };

static bool read_file(struct arena *arena, const char *path, struct str *ret) {
    FILE *file = fopen(path, "r");
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    char piece[65536];
    size_t got;
    if (!file)
        return false;
    while (text.len < FILE_MAX && (got = fread(piece, 1, sizeof piece, file)) > 0)
        buf_add(&text, piece, got);
    bool ok = !ferror(file);
    fclose(file);
    *ret = str_copy(arena, buf_view(&text));
    return ok;
}

/* The next word, string or sign of libConfuse's syntax; empty at the end. */
static struct str next_token(struct str *rest) {
    for (;;) {
        while (rest->len && strchr(" \t\r\n", rest->at[0]))
            *rest = str_from_index(*rest, 1);
        bool line = str_starts(*rest, STR("#")) || str_starts(*rest, STR("//"));
        ptrdiff_t end = line                           ? str_index(*rest, '\n')
                        : str_starts(*rest, STR("/*")) ? str_find(*rest, STR("*/"))
                                                       : -2;
        if (end == -2)
            break;
        *rest = end < 0 ? STR_NULL : str_from_index(*rest, (size_t)end + (line ? 1 : 2));
    }
    size_t len = 0;
    if (rest->len && (rest->at[0] == '"' || rest->at[0] == '\'')) {
        for (len = 1; len < rest->len && rest->at[len] != rest->at[0]; len++)
            len += rest->at[len] == '\\';
        len = len + 1 < rest->len ? len + 1 : rest->len;
    } else if (rest->len && strchr("{}()=,+", rest->at[0])) {
        len = 1;
    } else {
        while (len < rest->len && !strchr(" \t\r\n{}()=,+\"'#", rest->at[len]))
            len++;
    }
    if (rest->len && !len)
        len = 1;
    struct str token = str_head(*rest, len);
    *rest = str_from_index(*rest, len);
    return token;
}

static struct str unquoted(struct str token) {
    return token.len >= 2 && (token.at[0] == '"' || token.at[0] == '\'')
               ? str_from(token.at + 1, token.len - 2)
               : token;
}

struct cli_places cli_scan(struct arena *arena, struct str text, const char *file) {
    struct str token, before = STR_NULL, name = STR_NULL, section = STR_NULL, state = STR_NULL,
                      socket = STR_NULL, user = STR_NULL;
    struct cli_places places = {.socket = CLI_SOCKET};
    int depth = 0;
    while ((token = next_token(&text)).len) {
        if (str_eq(token, STR("{")) && !str_eq(before, STR("=")) && !str_eq(before, STR("+"))) {
            if (depth++ == 0)
                section = before;
        } else if (str_eq(token, STR("{"))) { /* a list: to its end */
            while ((token = next_token(&text)).len && !str_eq(token, STR("}")))
                continue;
        } else if (str_eq(token, STR("}"))) {
            depth -= depth > 0;
        } else if (str_eq(before, STR("="))) {
            if (depth == 0 && str_eq(name, STR("state")))
                state = unquoted(token);
            if (depth == 0 && str_eq(name, STR("user")))
                user = unquoted(token);
            if (depth == 1 && str_eq(section, STR("api")) && str_eq(name, STR("socket")))
                socket = unquoted(token);
        } else if (!str_eq(token, STR("="))) {
            name = token;
        }
        before = token;
    }
    if (state.len && state.at[0] != '/') {
        char *copy = strdup(file);
        state = str_printf(arena, "%s/%.*s", dirname(copy), STR_FMT(state));
        free(copy);
    }
    if (user.len)
        places.user = str_c(arena, user);
    if (state.len) {
        places.state = str_c(arena, state);
        places.socket = str_printf(arena, "%.*s/api.sock", STR_FMT(state)).at;
        places.trace_dir = str_printf(arena, "%.*s/trace", STR_FMT(state)).at;
        places.spool_dir = str_printf(arena, "%.*s/spool", STR_FMT(state)).at;
    }
    if (socket.len)
        places.socket = socket.at[0] == '/' || !state.len
                            ? str_c(arena, socket)
                            : str_printf(arena, "%.*s/%.*s", STR_FMT(state), STR_FMT(socket)).at;
    return places;
}

int cli_find(struct cli *cli, struct cli_places *ret) {
    struct config_errors *errors = config_errors_new();
    struct settings *settings = NULL;
    struct cli_places places = {.socket = CLI_SOCKET};
    struct str text;
    bool readable = read_file(cli->arena, cli->config, &text);
    int error = errno;
    if (readable && settings_load(cli->config, NULL, errors, &settings) == 0) {
        places.socket = str_c(cli->arena, str_of(settings->api.socket));
        places.trace_dir = str_c(cli->arena, str_of(settings->trace_dir));
        places.spool_dir = str_c(cli->arena, str_of(settings->spool_dir));
        places.node = str_c(cli->arena, settings->node);
        places.state = str_c(cli->arena, str_of(settings->state));
        places.user = settings->user ? str_c(cli->arena, str_of(settings->user)) : NULL;
    } else if (readable) {
        places = cli_scan(cli->arena, text, cli->config);
    }
    settings_unref(settings);
    config_errors_free(errors);
    if (cli->socket)
        places.socket = cli->socket;
    if (!readable && cli->config_given && !cli->socket)
        return cli_usage(cli, "%s can't be read: %s", cli->config, strerror(error));
    *ret = places;
    return CLI_DONE;
}
