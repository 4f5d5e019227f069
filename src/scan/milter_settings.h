/* milter_settings.h - `milter "name" { }`: which filters look at mail while the client waits, in written
 * order. */
#pragma once
#include "config/config.h"
#include "scan/endpoint.h"

/* What becomes of mail when a milter can't be reached, is too slow, or answers what is no answer. */
enum milter_on_failure {
    MILTER_FAILS_DEFER,  /* 451 4.7.1 */
    MILTER_FAILS_ACCEPT, /* as if there were no such milter */
    MILTER_FAILS_REJECT, /* 550 5.7.1 */
};

struct milter_settings {
    struct str name;
    struct scan_endpoint endpoint;
    enum milter_on_failure on_failure;
    int64_t connect_ms;          /* to connect and negotiate */
    int64_t command_ms;          /* for an answer to a command */
    int64_t message_ms;          /* for an answer at the end of the message */
    const struct str *listeners; /* whose sessions it sees; none: all */
    size_t listener_count;
    bool api; /* it sees what comes in by the API's socket, too */
};

struct milters_settings {
    const struct milter_settings *at;
    size_t count;
};

/* The table of `milter`, for the configuration's root. */
extern const struct config_option milter_options[];

/* Problems go to `errors`. In the arena. */
struct milters_settings milters_load(struct arena *, const struct config_node *root, struct config_errors *);

/* Does this milter see the sessions of the listener (empty: the API)? */
bool milter_applies(const struct milter_settings *, struct str listener);

/* "inet:8891@127.0.0.1", "inet6:8891@::1", "unix:/run/x.sock", "local:/run/x.sock" (Sendmail);
 * "inet:127.0.0.1:8891", "inet:[::1]:8891", "inet:name:8891", "unix:/run/x.sock" (Postfix). False: nothing
 * of these. In `arena`. */
bool milter_socket_parse(struct arena *, struct str text, struct scan_endpoint *ret);
