/* telling.h - one alert as it is told: a line of the log, a mail, the body of a webhook's call. Pure. */
#pragma once
#include "alert/alerts.h"
#include "alert/book.h"

enum telling_event {
    TELLING_RAISED,
    TELLING_AGAIN, /* still so, or again; `unsaid` were raised since it was told */
    TELLING_OVER,
    TELLING_MORE, /* not an alert: `count` found no room in an hour */
    TELLING_TEST,
};

struct telling {
    enum telling_event event;
    uint64_t id; /* of the alert in the history */
    enum alert_kind kind;
    struct str subject, tenant, text, advice, samples, node;
    uint64_t count, unsaid;
    int64_t first, last, now;
};

/* "raised", "again", "over", "more", "test" */
struct str telling_event_word(enum telling_event);

/* "mta01.example.net-12-1795348800000": the same telling has always the same. */
struct str telling_call(struct arena *, const struct telling *);

void telling_log(struct log *, const struct telling *);
/* The body of a webhook's call: one object, no line end. */
void telling_json(struct buf *, const struct telling *, struct str call);
/* A message with CRLF line ends (RFC 5322): in UTF-8, when something in it is. */
void telling_mail(struct buf *, const struct telling *, struct str from, const struct str *to,
                  size_t to_count);

/* ---- who hears of it ---- */

enum { AUDIENCES_MAX = 3 };

struct audience {
    struct str name; /* "operator", "tenant contoso", "policy of contoso": has a budget of its own */
    const struct str *to;
    size_t to_count;
};

/* Those to whom the alert goes by mail: the operator's administrators, those of the alert's tenant and nobody
 * else's, and whom it names itself (`also`); each address once. In the arena. */
size_t telling_audiences(struct arena *, const struct alerts_config *, enum alert_kind, struct str tenant,
                         const struct str *also, size_t also_count, struct audience ret[AUDIENCES_MAX]);
