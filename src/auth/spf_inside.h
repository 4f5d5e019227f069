/* spf_inside.h - what the files of one SPF check share. */
#pragma once
#include "auth/spf.h"
#include "auth/spf_macro.h"
#include "auth/spf_record.h"

/* One check, over all its records. */
struct spf_work {
    struct resolver *resolver;
    const struct spf_query *query;
    struct arena *arena; /* of the result */
    struct spf_check *ret;
    struct spf_macro_values values; /* `domain` is of the record at hand */
    struct str fault;               /* why the result is an error, or none */

    struct spf_step *step, **next_step; /* step: what look-ups are noted in; NULL when nothing is kept */
    struct spf_lookup **next_lookup;
    size_t steps, lookups;
    size_t walked; /* terms, over all records */

    bool client_known; /* the fields below are set */
    enum dns_status client_status;
    struct str client_names[SPF_NAMES_MAX]; /* validated (5.5) */
    size_t client_count;
};

/* One record of it. */
struct spf_frame {
    struct str domain;
    unsigned depth;
    bool included; /* below an include: it explains nothing and decides nothing by itself */
};

enum spf_match { SPF_MISS, SPF_MATCH, SPF_TEMPORARY, SPF_PERMANENT };

void spf_drop_arena(struct arena **);
#define SPF_SCRATCH struct arena *scratch __attribute__((cleanup(spf_drop_arena))) = arena_new(0)

/* spf_step.c */
void spf_step_begin(struct spf_work *, const struct spf_frame *, struct str term);
void spf_step_end(struct spf_work *, enum spf_step_end, const char *note);
void spf_step_target(struct spf_work *, struct str target);
/* Asks, and notes question and answer in the step. Past the deadline the answer is DNS_FAILED at once. */
void spf_ask(struct spf_work *, struct str name, enum dns_type, struct arena *, struct dns_answer *ret);
/* Sets the fault: "`term` of domain: what". Returns `match`. */
enum spf_match spf_fault(struct spf_work *, const struct spf_frame *, struct str term, const char *what,
                         enum spf_match match);

/* Can a name be asked for (RFC 1035 lengths; RFC 8616 section 4: no UTF-8)? */
bool spf_name_askable(struct str name);

/* spf_mechanism.c: every mechanism but `all` and `include`. `target` is expanded. */
enum spf_match spf_mechanism(struct spf_work *, const struct spf_frame *, const struct spf_term *,
                             struct str target);
/* %{p}; the context is the work. */
struct str spf_validated_name(void *work);
