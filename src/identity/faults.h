/* faults.h - what the surveys have found, kept from one to the next: since when each fault is there.
 *
 * A fault goes when a survey is certain that it is gone; while the DNS does not answer, what was known stays
 * (invariant 7). For any thread; a file keeps it across restarts.
 */
#pragma once
#include "identity/survey.h"

struct fault {
    enum survey_code code;
    struct str subject, what, put;
    int64_t since, seen; /* wall ms: first and last found */
};

enum { FAULT_CODES = SURVEY_UNANSWERED + 1, FAULTS_UNANSWERED_MAX = 200 };

struct faults_counts {
    int64_t checked; /* wall ms: the end of the last survey; 0: there was none */
    size_t faults, warnings, unanswered;
    size_t by_code[FAULT_CODES];
};

struct faults;
struct faults *faults_new(void);
struct faults *faults_free(struct faults *); /* NULL is fine */

/* After survey_end. Of the unanswered questions FAULTS_UNANSWERED_MAX are kept, and the number of all. */
void faults_take(struct faults *, struct survey *, const struct survey_result *, int64_t now);
struct faults_counts faults_count(struct faults *);
/* All of them, the unanswered last, copied into the arena. */
size_t faults_list(struct faults *, struct arena *, struct fault **ret);
/* "no-ptr: there is no name; ..., since 2026-11-22": what is wrong with this subject, warnings left out; ""
 * when nothing is. In the arena. A NULL table knows nothing. */
struct str faults_about(struct faults *, struct str subject, struct arena *);
/* Is anything, warnings too? */
bool faults_has(struct faults *, struct str subject);

/* The file's text. Parsing: 0 or CORRUPT, and nothing was taken. */
[[nodiscard]] int faults_parse(struct faults *, struct str text);
void faults_text(struct faults *, struct buf *out);

/* Blocks. Reading: NOTFOUND; CORRUPT, IO, DENIED with *ret_why, and nothing was taken. */
[[nodiscard]] int faults_read(struct faults *, const char *path, struct arena *, struct str *ret_why);
[[nodiscard]] int faults_write(struct faults *, const char *path, struct arena *, struct str *ret_why);
