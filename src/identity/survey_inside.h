/* survey_inside.h - what the files of the survey share. Not for other rooms. */
#pragma once
#include "auth/spf.h"
#include "base/buf.h"
#include "base/map.h"
#include "identity/names.h"
#include "identity/plan_find.h"
#include "identity/spf_split.h"
#include "identity/survey.h"
#include "rt/dns_patience.h"
#include <stdatomic.h>

/* So many of the first questions have their whole time limit, whether anything is answered or not. */
enum { SURVEY_WAVE = 64, SURVEY_FIBERS_MAX = 256 };

/* What one wrong SPF record does to many addresses. */
struct survey_group {
    struct survey_group *next;
    enum survey_code code;
    struct str name, first, reason;
    size_t count, order;
};

struct fiber;

/* Who works on what. */
struct survey_turn {
    const struct fiber *fiber;
    size_t order;
    bool taken;
};

struct survey {
    struct resolver resolver; /* asks `below`; remembers, paces, and notes what is not answered */
    struct resolver *below;
    const struct survey_input *in;
    struct arena *arena;
    struct map *remembered;
    struct plan_index *index;
    struct map *said;        /* "code subject": once each */
    struct map *group_names; /* the same → struct survey_group */
    struct survey_group *groups;
    struct buf faults; /* array of struct survey_fault */
    const struct str *ehlos;
    size_t ehlo_count;
    struct str include; /* "spf.DOMAIN" */
    size_t next, total, failed, unanswered, unasked;
    struct dns_patience patience;
    struct survey_turn turns[SURVEY_FIBERS_MAX];
    size_t *turn_order;   /* whose turn it is, by order */
    bool *come_to;        /* by order */
    bool *uncertain;      /* by order: a question of that subject had no answer */
    struct map *doubtful; /* those subjects; NULL: not asked for yet */
    uint32_t ttl;
    int64_t free_at; /* of the rate: microseconds, monotonic */
    atomic_size_t done;
};

/* ---- survey_ask.c ---- */

void survey_lookup(struct resolver *, struct str name, enum dns_type, int64_t deadline, struct arena *,
                   struct dns_answer *ret);
void survey_ask(struct survey *, struct str name, enum dns_type, struct arena *, struct dns_answer *ret);
/* The result for mail from `domain` (its EHLO: `helo`, and postmaster@ it for the null reverse-path). */
void survey_spf(struct survey *, const struct ip *, struct str domain, bool helo, struct arena *,
                struct spf_check *ret);

/* ---- survey.c ---- */

/* The calling fiber's subject has a question without an answer. */
void survey_doubt(struct survey *);

/* Once for a code and subject; copies. */
void survey_say(struct survey *, size_t order, enum survey_code, struct str subject, struct str what,
                struct str put);
/* An address for which that name's record is wrong. */
void survey_count(struct survey *, size_t order, enum survey_code, struct str name, const struct ip *,
                  struct str reason);
/* The planned records of a name and type, a line each. */
struct str survey_put(struct survey *, struct arena *, const char *type, struct str name);

/* ---- survey_names.c: records that speak for many ---- */

void survey_ehlo(struct survey *, size_t order, struct str name, struct arena *);
void survey_include(struct survey *, size_t order, struct arena *);
/* "SELECTOR._domainkey.DOMAIN" */
struct str survey_dkim_name(struct arena *, const struct plan_dkim *);
void survey_dkim(struct survey *, size_t order, const struct plan_dkim *, struct arena *);
void survey_domain(struct survey *, size_t order, const struct plan_domain *, struct arena *);
/* ---- survey_address.c ---- */
void survey_address(struct survey *, size_t order, const struct source *, struct arena *);
